"""A hospital's side of secure sums: whom it masks its values with, and when it refuses to.

    key ◄──── the coordinator names an attempt at a round
        ────► a fresh X25519 key (RFC 7748), signed, see `round_keys.py`
    compute ◄ the clients of the attempt, and the keys of their hospitals
        ────► each client's part, in which what secure sums take is masked, see `masking.py`

The masks depend on all that the hospitals were sent: where the coordinator sends other weights to
one of them, to learn its part from what the others then cannot add (Pasquini et al., "Eluding
Secure Aggregation in Federated Learning via Model Inconsistency", CCS 2022), no masks cancel.

All attempts at a round have the same clients of a hospital: the difference of two sums that differ
in one client would be its part. So a hospital of several clients has all of a round's or none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import hashlib
import json
import secrets
import sys
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
import numpy as np

from tffcxr.errors import RunError, one_line
from tffcxr.hospitals import questions, wire
from tffcxr.hospitals.round_keys import Attempt, Signer
from tffcxr.hospitals.work import CannotError
from tffcxr.runtime import masking

_SECRET_BYTES = 32


@dataclasses.dataclass
class _Kept:
    """What this hospital has of an attempt.

    Attributes:
      attempt: what its key is for.
      private: its key.
      own: the secret of each two of its own clients.
      agreed: the clients and keys that it has agreed to, as text; None before.
      secrets: that it has with each hospital, by site; itself included.
      answered: the clients, each with the number of a walk, whose parts were asked for.
    """

    attempt: Attempt
    private: X25519PrivateKey
    own: bytes
    agreed: str | None = None
    secrets: dict[str, bytes] = dataclasses.field(default_factory=dict)
    answered: set[tuple[str, int]] = dataclasses.field(default_factory=set)


class Masks:
    """The attempts at a round that a hospital takes part in.

    Args:
      signer: the hospital's.
      fewest: hospitals in a sum, this one included; at least 2.
    """

    def __init__(self, signer: Signer, fewest: int = 2) -> None:
        self._signer = signer
        self._fewest = fewest
        self._said: list[str] = []
        self._kept: dict[str, _Kept] = {}
        self._clients_of: dict[tuple[str, int], set[str]] = {}  # Its own, by training and round.

    def forget(self) -> None:
        """Forgets all keys, once the round is over; not whose parts it was asked for."""
        self._kept.clear()

    def key(self, message: wire.Message) -> wire.Message:
        """Answers the question for the key of an attempt; when asked again, with the same."""
        about = message.about
        name = str(about["attempt"])
        attempt = Attempt(
            self._signer.study, str(about["training"]), int(about["round_number"]), name
        )
        self._kept = {  # Of an earlier round, nothing is asked any more.
            key: kept
            for key, kept in self._kept.items()
            if (kept.attempt.training, kept.attempt.round_number)
            == (attempt.training, attempt.round_number)
        }
        if name not in self._kept:
            private, own = X25519PrivateKey.generate(), secrets.token_bytes(_SECRET_BYTES)
            self._kept[name] = _Kept(attempt, private, own)
        kept = self._kept[name]
        return wire.Message(questions.KEY, {"key": self._signer.signed(kept.private, attempt)})

    def agree(
        self, message: wire.Message, content: bytes, client: str, clients: Collection[str]
    ) -> list[masking.Pair]:
        """Checks with whom a client's part is masked, before it is computed.

        Args:
          message: the question, see `questions.HospitalParts`; each is agreed to once.
          content: see `content`.
          client: whose part it asks for.
          clients: of this hospital.

        Returns:
          What masks the part.

        Raises:
          CannotError: this hospital does not add its part to such a sum.
        """
        about = message.about
        site_of, keys = dict(about["masking"]["clients"]), dict(about["masking"]["keys"])
        kept = self._kept.get(str(about["masking"]["attempt"]))
        if kept is None:
            raise CannotError(
                questions.NO_KEY, "expected an attempt that this hospital has made a key for"
            )
        mine = {each for each, site in site_of.items() if site == self._signer.site}
        if client not in mine or not mine <= set(clients):
            raise _refusal(f"this hospital's clients, {client} among them", sorted(mine))
        sites = sorted(set(site_of.values()))
        if len(sites) < self._fewest:
            raise CannotError(
                questions.TOO_FEW_HOSPITALS,
                f"expected at least {self._fewest} hospitals in a secure sum, found "
                f"{', '.join(sites)} alone: the fewer there are, the more their sum tells of each",
            )
        number = kept.attempt.training, kept.attempt.round_number
        if mine != self._clients_of.get(number, mine):
            raise CannotError(
                questions.OTHER_CLIENTS,
                f"expected {', '.join(sorted(self._clients_of[number]))} of this hospital in every "
                f"secure sum of round {kept.attempt.round_number}, found "
                f"{', '.join(sorted(mine))}: two such sums differ by what the others add",
            )
        agreed = json.dumps([sorted(site_of.items()), keys], sort_keys=True)
        if kept.agreed is None:
            kept.secrets = self._secrets(kept, sites, keys)
            kept.agreed = agreed
            self._clients_of[number] = mine
            self._say(kept.attempt, sites)
        question = client, len(about["walks"])
        if (
            kept.agreed != agreed
            or question in kept.answered
            or kept.attempt.round_number != int(about["round_number"])
        ):
            raise _refusal(
                "one question of each client, with the same hospitals and keys, in an attempt at "
                f"round {kept.attempt.round_number}",
                [client, sites],
            )
        kept.answered.add(question)
        context = _context(kept.attempt, agreed, message, content)
        return [
            masking.Pair(
                masking.pair_key(
                    kept.secrets[site],
                    context + json.dumps(sorted([client, other])).encode(),
                ),
                adds=client < other,
            )
            for other, site in sorted(site_of.items())
            if other != client
        ]

    def _say(self, attempt: Attempt, sites: list[str]) -> None:
        """Says whose updates are summed with this hospital's, as often as that changes."""
        if sites != self._said:
            line = f"round {attempt.round_number}: secure sums over {', '.join(sites)}"
            print(line, file=sys.stderr, flush=True)
            self._said = sites

    def _secrets(
        self, kept: _Kept, sites: Sequence[str], keys: Mapping[str, Any]
    ) -> dict[str, bytes]:
        """What this hospital shares with each."""
        found = {self._signer.site: kept.own}
        for site in sites:
            if site == self._signer.site:
                continue
            try:
                public = self._signer.public_key(site, keys.get(site), kept.attempt)
                found[site] = kept.private.exchange(public)
            except (RunError, ValueError) as error:  # ValueError: a key that gives no secret.
                raise CannotError(questions.WRONG_KEY, one_line(error)) from error
        return found


def _refusal(expected: str, found: Any) -> CannotError:
    return CannotError(questions.OTHER_ATTEMPT, f"expected {expected}, found {found!r:.200}")


def content(message: wire.Message) -> bytes:
    """The SHA-256 of the arrays of a question, which all hospitals of a sum have in common."""
    digest = hashlib.sha256()
    for field in message.fields:
        digest.update(f"{field.array.dtype.str}{field.array.shape}".encode())
        digest.update(np.ascontiguousarray(field.array))
    return digest.digest()


def _context(attempt: Attempt, agreed: str, message: wire.Message, content: bytes) -> bytes:
    """The SHA-256 of what names a sum."""
    common = [message.about[name] for name in ("computation", "walks", "arrays")]
    about = [*dataclasses.astuple(attempt), agreed, common, content.hex()]
    return hashlib.sha256(json.dumps(about).encode()).digest()
