"""The two sides of --engine=hospitals: what the flags and the kit make of this program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import functools
import importlib.metadata
import pathlib
import platform
import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import training_flags, weights_flag
from tffcxr.errors import InputError, RunError

if TYPE_CHECKING:
    from tffcxr.clients.sites import ClientRecords
    from tffcxr.hospitals.coordinator import Coordinator
    from tffcxr.hospitals.kits import CoordinatorKit, Kit
    from tffcxr.hospitals.member import Member
    from tffcxr.hospitals.proposals import Proposal

FLAGS = flags.FLAGS

# Settings that a hospital decides for itself, and that no proposal has.
_OF_HOSPITALS = (
    "site",
    "external_site",
    "same",
    "columns",
    "phantom_patients",
    "weights_sha256",
)
_PACKAGES = ("tensorflow", "tensorflow-federated", "keras-cv", "numpy")
# Folders of a run: what hospitals have said, and a hospital's private states.
_SAID, _STATES = "hospitals", "states"

_current: Coordinator | Member | None = None


def current() -> Coordinator | Member | None:
    """This program's side of the run over hospitals; None in other runs."""
    return _current


def is_hospitals() -> bool:
    """Whether the clients are at hospitals, or this is one."""
    return bool(FLAGS.engine == "hospitals")


@functools.cache
def kit() -> Kit:
    """The kit of `--kit`.

    Raises:
      InputError: see `kits.read`.
    """
    from tffcxr.hospitals import kits

    return kits.read(pathlib.Path(FLAGS.kit))


def is_coordinator() -> bool:
    """Whether this program coordinates hospitals.

    Raises:
      InputError: see `kit`.
    """
    from tffcxr.hospitals import kits

    return is_hospitals() and kit().role == kits.COORDINATOR


def is_settled(folder: pathlib.Path) -> bool:
    """Whether a complete run has nothing left to exchange with the other side.

    Args:
      folder: the run's.
    """
    from tffcxr.hospitals import exchanged_results

    if not is_hospitals():
        return True
    if is_coordinator():
        return not exchanged_results.missing(folder / _SAID)
    return has_reported_results(folder)


def has_reported_results(folder: pathlib.Path) -> bool:
    """Whether the coordinator has the results of a hospital's run in a folder."""
    from tffcxr.hospitals import exchanged_results

    return exchanged_results.are_reported(folder / _STATES)


def apply_defaults() -> None:
    """Sets the defaults that differ over hospitals: a pooled baseline needs pooled images."""
    if is_hospitals() and "baseline" in FLAGS:
        is_list = isinstance(FLAGS.baseline, list)
        FLAGS.set_default("baseline", ["site"] if is_list else "none")


def apply_proposal() -> None:
    """Gives the flags of a hospital's program the settings of the study that it has approved.

    Raises:
      InputError: `--proposal` is no proposal, or has a setting that is the hospital's own to
        choose, or is no flag of this program.
    """
    if not is_hospitals() or not FLAGS.proposal:
        return
    from tffcxr.hospitals import proposals

    path = pathlib.Path(FLAGS.proposal)
    try:
        proposal = proposals.from_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"--proposal: {path}: {error.strerror}") from error
    known = {*training_flags.recorded_settings()} - {*_OF_HOSPITALS}
    for name, value in proposal.settings.items():
        if name not in known:
            raise InputError(f"--proposal: expected settings of a training, found {name!r}")
        FLAGS.set_default(name, value)


def check() -> None:
    """Checks the flags that do not go with hospitals.

    Raises:
      InputError: one does not, or the kit cannot be used.
    """
    if not is_hospitals():
        return
    _check_offered()
    if is_coordinator():
        for name in ("site", "columns", "phantom_patients", "phantom_dir", "cache_dir"):
            if name in FLAGS and FLAGS[name].present:
                raise InputError(
                    f"--{name}: expected at the hospitals, whose images are there, found with the "
                    "coordinator's --kit"
                )
        if FLAGS.export:
            raise InputError(
                "--export: expected none with the coordinator's --kit, since only hospitals have "
                f"whole models, found {','.join(FLAGS.export)}"
            )
        return
    if not FLAGS.proposal:
        raise InputError(
            f"--kit: expected the coordinator's, found that of {kit().site}, which is for "
            "`hospital join`"
        )
    sites = [text.partition("=")[0] for text in FLAGS.site]
    if sites != [kit().site]:
        raise InputError(
            f"--site: expected one hospital, {kit().site}, as in its kit, found "
            f"{', '.join(sites) or 'none'}"
        )


def _check_offered() -> None:
    """Raises InputError for what needs images or files of several hospitals in one place."""
    baseline = FLAGS.baseline if "baseline" in FLAGS else "none"
    if "pooled" in baseline:
        found = baseline if isinstance(baseline, str) else ",".join(baseline)
        raise InputError(
            "--baseline: expected site or none with --engine=hospitals, since a pooled model needs "
            f"pooled images, found {found}"
        )
    if weights_flag.paths(FLAGS.weights if "weights" in FLAGS else "none"):
        raise InputError(
            "--weights: expected none or imagenet with --engine=hospitals, since no file travels, "
            f"found {FLAGS.weights}"
        )
    if "segmentation_model" in FLAGS and FLAGS.segmentation_model:
        raise InputError(
            "--segmentation_model: expected none with --engine=hospitals, since no file travels, "
            f"found {FLAGS.segmentation_model}"
        )
    if "class_balance" in FLAGS and FLAGS.class_balance == "weights":
        raise InputError(
            "--class_balance: expected none or sampling with --engine=hospitals, since counts of "
            "classes stay at the hospitals, found weights"
        )


def outputs() -> tuple[str, ...]:
    """The findings of the study's hospitals, each once, in order: the model's outputs."""
    return tuple(dict.fromkeys(name for findings in findings_of().values() for name in findings))


def findings_of() -> Mapping[str, tuple[str, ...]]:
    """The study's hospitals with their findings; none where all have the same task."""
    if _current is None:
        return {}
    return _current.findings_of


def client_records() -> ClientRecords:
    """The clients of a coordinator, once enough hospitals have joined."""
    from tffcxr.clients.sites import ClientRecords
    from tffcxr.hospitals.coordinator import Coordinator

    assert isinstance(_current, Coordinator)
    _current.begin()
    findings = {site: found for site, found in _current.findings_of.items() if found}
    sources = dict.fromkeys(_current.findings_of, "hospital")
    return ClientRecords({}, _current.site_of, findings, sources)


@contextlib.contextmanager
def opened(recipe: str, folder: pathlib.Path, with_finding: bool) -> Iterator[None]:
    """Connects to the other side while the run lasts.

    Args:
      recipe: the program's name.
      folder: the run's.
      with_finding: whether each hospital labels a finding of its own.

    Raises:
      InputError: the kit or the policy cannot be used, or does not fit the recipe or the flags.
      RunError: the coordinator refuses this hospital, or the hospital has not approved the study.
    """
    global _current
    if not is_hospitals():
        yield
        return
    from tffcxr.hospitals import handshake_lines, kits

    opening: contextlib.AbstractContextManager[Coordinator | Member]
    refusals: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if is_coordinator():
        own = kits.read_coordinator(pathlib.Path(FLAGS.kit))
        _check_findings(own, recipe, with_finding)
        refusals = handshake_lines.in_words()
        opening = _coordinating(own, recipe, folder)
    else:
        opening = _taking_part(recipe, folder)
    with refusals, opening as federation:
        _current = federation
        try:
            yield
        finally:
            _current = None


def _check_findings(own: CoordinatorKit, recipe: str, with_finding: bool) -> None:
    """Raises InputError unless the study's hospitals have findings as the recipe needs them."""
    from tffcxr.hospitals import kits

    for site in own.sites:
        if bool(site.findings) != with_finding:
            expected = "a finding" if with_finding else "no finding"
            raise InputError(
                f"--kit: expected {expected} at each hospital for {recipe}, found "
                f"{', '.join(site.findings) or 'none'} at {site.name} in {own.folder / kits.STUDY}"
            )


def versions() -> dict[str, str]:
    """Of what decides the bits of a training; the same at all hospitals."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _proposed(recipe: str, settings: Mapping[str, Any], of: Any) -> Proposal:
    from tffcxr.hospitals.proposals import Proposal

    kept = {name: value for name, value in settings.items() if name not in _OF_HOSPITALS}
    return Proposal(of.study, recipe, kept, of.sites, versions())


@contextlib.contextmanager
def _coordinating(own: CoordinatorKit, recipe: str, folder: pathlib.Path) -> Iterator[Coordinator]:
    from tffcxr.hospitals import hub as hub_lib
    from tffcxr.hospitals import study_files

    sites = {site.name: site.findings for site in own.sites}
    quorum = FLAGS.quorum or len(sites)
    if quorum > len(sites):
        raise InputError(f"--quorum: expected at most {len(sites)} hospitals, found {quorum}")
    proposal = _proposed(recipe, training_flags.recorded_settings(), own)
    _, port = study_files.split_address(own.address)
    hub = hub_lib.CoordinatorHub(
        own.credentials(),
        FLAGS.listen or f"0.0.0.0:{port}",
        tuple(sites),
        versions(),
        revoked=own.revoked,
    )
    hub.propose(proposal.to_json())
    hub.start()
    print(
        f"study {own.study}, hash {proposal.hash[:12]}: listening for {', '.join(sites)} on port "
        f"{hub.port}",
        file=sys.stderr,
    )
    try:
        # TensorFlow and TFF are imported from here on, which takes seconds: hospitals may wait.
        from tffcxr.hospitals.coordinator import Coordinator

        coordinator = Coordinator(
            hub,
            sites,
            quorum,
            FLAGS.round_seconds,
            folder / _SAID,
            has_own_clients="partition" in FLAGS and FLAGS.partition != "none",
        )
        yield coordinator
        hub.end("the study is complete")
    finally:
        hub.stop()


@contextlib.contextmanager
def _taking_part(recipe: str, folder: pathlib.Path) -> Iterator[Member]:
    from tffcxr.hospitals import approvals, joining, kits, policy
    from tffcxr.hospitals.member import Member
    from tffcxr.hospitals.round_keys import Signer

    own = kit()

    def approve(proposal: Proposal) -> None:
        mine = _proposed(recipe, training_flags.recorded_settings(), proposal)
        if mine.hash != proposal.hash or not approvals.is_approved(own.folder, proposal):
            raise RunError(
                f"the coordinator proposes a study (hash {proposal.hash[:12]}) that this hospital "
                "has not approved; start `hospital join` again to read it"
            )

    with joining.connected(own, versions(), approve) as (connection, proposal):
        sites = {site.name: site.findings for site in proposal.sites}
        limits = policy.read(own.folder / kits.POLICY)
        signer = Signer(own.credentials(), f"{proposal.study} {proposal.hash}", sites)
        yield Member(connection, limits, folder / _STATES, sites, signer)
