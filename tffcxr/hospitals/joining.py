"""The first steps of `hospital join`: what is asked, whether the policy allows it, the approval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import approvals, kits, link, outgoing, policy, proposals, protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tffcxr.hospitals.kits import CoordinatorKit, Kit
    from tffcxr.hospitals.proposals import Proposal

OUTGOING = "outgoing.jsonl"
# The questions of `hospital check` and `hospital status`, which may run beside `hospital join`.
OUTGOING_QUESTIONS = "outgoing_questions.jsonl"
_TRIED_SECONDS = 15.0


@contextlib.contextmanager
def connected(
    kit: Kit, versions: Mapping[str, str], approve: Callable[[Proposal], None]
) -> Iterator[tuple[link.HospitalLink, Proposal]]:
    """Connects a hospital, and gives the study that is proposed and approved.

    Args:
      kit: the hospital's.
      versions: of what it computes with.
      approve: called with a proposal that the policy allows; raises RunError where the hospital
        does not approve it.

    Raises:
      InputError: the kit or the policy cannot be used.
      RunError: the coordinator refuses the hospital, or the hospital the study.
    """
    limits = policy.read(kit.folder / kits.POLICY)
    found: list[Proposal] = []

    def decide(content: bytes) -> str:
        proposal = proposals.from_json(content)
        if proposal.study != kit.study:
            raise RunError(f"expected the study {kit.study} of the kit, found {proposal.study}")
        problems = policy.problems(limits, proposal)
        if problems:
            raise RunError(f"{kit.folder / kits.POLICY} does not allow it: {problems[0]}")
        approve(proposal)
        found[:] = [proposal]
        return proposal.hash

    with (
        contextlib.closing(outgoing.OutgoingLog(kit.folder / OUTGOING)) as log,
        link.HospitalLink(
            kit.credentials(),
            kit.address,
            outgoing=log,
            versions=versions,
            instance=link.kept_instance(kit.folder),
            approve=decide,
        ) as connection,
    ):
        connection.connect()
        if not found:
            raise RunError("the coordinator proposes no study")
        yield connection, found[0]


def ask_status(kit: Kit | CoordinatorKit) -> Mapping[str, Any]:
    """Asks the coordinator once how the run stands; a hospital records that it has asked.

    Args:
      kit: a hospital's, or the coordinator's.

    Returns:
      See `link.status`.

    Raises:
      InputError: the kit cannot be used any more, or the record cannot be written.
      protocol.UnreachableError: the coordinator cannot be reached.
      RunError: it refuses the hospital, or the connection cannot be trusted.
    """
    timing = dataclasses.replace(protocol.USUAL_TIMING, exchange=_TRIED_SECONDS)
    with contextlib.ExitStack() as stack:
        log = None
        if kit.role == kits.SITE:
            log = outgoing.OutgoingLog(kit.folder / OUTGOING_QUESTIONS)
            stack.callback(log.close)
        return link.status(kit.credentials(), kit.address, log, timing)


def ask_for_approval(
    kit: Kit, approved: str | None, is_terminal: bool, ask: Callable[[str], str]
) -> Callable[[Proposal], None]:
    """Makes what shows a proposal and has it approved, once for each hash.

    A warning of what the policy lets others learn is printed before, each time.

    Args:
      kit: the hospital's; remembers what was approved.
      approved: the first digits of the hash that is approved without a question, at least 8.
      is_terminal: whether somebody can be asked.
      ask: prints a question and returns the answer.

    Raises:
      InputError: `approved` is no such hash.
    """
    if approved is not None and (len(approved) < 8 or set(approved) - set("0123456789abcdef")):
        raise InputError(f"--approve: expected at least 8 digits of a hash, found {approved!r}")

    def approve(proposal: Proposal) -> None:
        warning = policy.warning(policy.read(kit.folder / kits.POLICY), proposal)
        if warning:
            print(f"warning: {kit.folder / kits.POLICY}: {warning}", file=sys.stderr, flush=True)
        if approvals.is_approved(kit.folder, proposal):
            return
        print(proposal.words(), flush=True)
        if approved is not None and proposal.hash.startswith(approved):
            approvals.approve(kit.folder, proposal)
            return
        if approved is not None:
            raise RunError(
                f"expected the study of --approve={approved}, found one with the hash "
                f"{proposal.hash[:12]}"
            )
        if not is_terminal:
            raise RunError(
                f"nobody can be asked here; --approve={proposal.hash[:12]} approves this study"
            )
        if ask("Take part? Type yes: ").strip().lower() != "yes":
            raise RunError("the study was not approved; nothing was sent but this hospital's name")
        approvals.approve(kit.folder, proposal)

    return approve
