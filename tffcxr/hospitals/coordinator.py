"""The coordinator of a study over hospitals: who takes part, and what they are asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import pathlib
import sys
import threading
import time
from typing import Any

import tensorflow_federated as tff

from tffcxr import files
from tffcxr.clients.shards.shard_store import SPLITS, ShardSpec, ShardStore
from tffcxr.errors import one_line
from tffcxr.hospitals import exchange, joint_rows, questions, reported_results, wire
from tffcxr.hospitals.answer_files import AnswerFolder
from tffcxr.hospitals.exchanged_results import CLIENTS, ROWS
from tffcxr.runtime import parts, threads

REGISTER, GATHER, TRAINING, MEASURE, FINISH, RESULTS = (
    "register", "gather", "training", "measure", "finish", "results",
)  # fmt: skip
FINGERPRINT = "fingerprint"
MEASURING = "computing its own results"  # What a hospital does after a training.
_TICK_SECONDS = 1.0
_SAID_AGAIN_SECONDS = 60.0


def serving(name: str) -> str:
    """What a hospital says it does while it serves a training."""
    return f"training {name}"


@dataclasses.dataclass(frozen=True)
class Registration:
    """What a hospital has, as far as its policy lets it say.

    Attributes:
      site: its name.
      clients: client to split to `images` and `labels`, see `shard_store.ShardStore`; a count that
        is not reported is None.
    """

    site: str
    clients: Mapping[str, Mapping[str, Mapping[str, Any]]]


class Coordinator:
    """The coordinator's side of a run over hospitals.

    Args:
      hub: reaches them; already open.
      findings_of: of the study's sites, in order; none where all have the same task.
      quorum: how many hospitals a round needs; with fewer it waits.
      seconds: after which a hospital that has not answered is left out of the round.
      folder: keeps what hospitals have said, for a coordinator that starts again; also, while a
        round lasts, what they answer.
      has_own_clients: whether a site may be several clients, which are known once it has joined;
        then the run begins when all sites have.
    """

    def __init__(
        self,
        hub: exchange.Hub,
        findings_of: Mapping[str, tuple[str, ...]],
        quorum: int,
        seconds: float,
        folder: pathlib.Path,
        has_own_clients: bool = False,
    ) -> None:
        self.findings_of = dict(findings_of)
        self._hub = hub
        self._quorum = quorum
        self._seconds = seconds
        self._folder = folder
        self._answers = AnswerFolder(folder / "answers")
        self._has_own_clients = has_own_clients
        self._registered = {
            site: Registration(site, about["clients"])
            for site, about in self._kept("clients").items()
        }
        self._has_begun = threading.Event()
        self._finished: dict[str, wire.Message] = {}
        self._results = {site: about["rows"] for site, about in self._kept("rows").items()}
        self._asking: questions.Questions | None = None
        self._lock = threading.Lock()
        self._traffic: dict[str, dict[str, Any]] = {}
        hub.handle(REGISTER, self._register)
        hub.handle(GATHER, self._gather)
        hub.handle(TRAINING, self._standing)
        hub.handle(RESULTS, self._take_results)

    def begin(self) -> None:
        """Waits until enough hospitals have said what they have."""
        needed = len(self.findings_of) if self._has_own_clients else self._quorum
        self._wait(lambda: len(self._registered) >= needed, f"{needed} hospitals to join")
        self._has_begun.set()

    def gathered(self, what: str, of_clients: Mapping[str, Any]) -> dict[str, Any]:
        """What all clients say of their images, once all hospitals of the study have said it."""
        del of_clients  # There are none here.
        self._wait(lambda: self._all(what) is not None, f"the {what} of all hospitals")
        return self._all(what) or {}

    @property
    def site_of(self) -> dict[str, str]:
        """Client to its hospital. One that has not joined yet is a single client of its name."""
        with self._lock:
            registered = dict(self._registered)
        found = {client: site for site, of in registered.items() for client in of.clients}
        for site in self.findings_of:
            if site not in registered:
                found[site] = site
        return {client: found[client] for client in sorted(found)}

    def store(self, spec: ShardSpec) -> ShardStore:
        """What is known of the clients' images in the form of shards, without any file."""
        clients: dict[str, Any] = {}
        for client, site in self.site_of.items():
            splits = self._registered[site].clients[client] if site in self._registered else {}
            clients[client] = {
                "rejected": [],
                "splits": {
                    split: _counts(splits.get(split, {}), spec.findings) for split in SPLITS
                },
            }
        return ShardStore(pathlib.Path("hospitals"), spec, {"clients": clients})

    def parts(
        self,
        comp: tff.Computation,
        compiled: tff.framework.ComputationBuildingBlock,
        argument: Any,
        clients: int,
    ) -> parts.Parts:
        """What computes clients in a round; see `device.DeviceContext`."""
        if not clients:
            return threads.Threads(0, ["/CPU:0"])
        assert self._asking, "expected a round, found a computation outside of one"
        return questions.HospitalParts(self._asking, comp, compiled, argument, clients)

    def await_quorum(self, name: str, clients: Sequence[str]) -> list[str]:
        """See `coordinated_training.Hospitals`.

        Hospitals that are connected, and do something else as yet, are waited for as long as for
        an answer: so who begins a training a little later than others misses no round.
        """
        self._wait(
            lambda: self.is_quorum(self._present(name, clients), clients),
            f"{self._quorum} hospitals to serve",
        )
        site_of = self.site_of
        self._hub.wait_for(
            lambda members: all(
                members[site_of[client]].doing == serving(name)
                for client in clients
                if site_of[client] in members
            ),
            self._seconds,
        )
        return self._present(name, clients)

    def is_quorum(self, clients: Sequence[str], of_clients: Sequence[str]) -> bool:
        """See `coordinated_training.Hospitals`; of fewer hospitals than the quorum, all."""
        site_of = self.site_of
        wanted = len({site_of[client] for client in of_clients})
        return len({site_of[client] for client in clients}) >= min(self._quorum, wanted)

    @contextlib.contextmanager
    def round(self, name: str, round_number: int) -> Iterator[questions.Questions]:
        """See `coordinated_training.Hospitals`."""
        about = {"training": name}
        before = self._hub.members()
        started = time.monotonic()
        asking = questions.Questions(self._hub, self._answers, self.site_of, about, self._seconds)
        self._asking = asking
        try:
            yield asking
        finally:
            self._asking = None
            asking.close()
            lasted = time.monotonic() - started
            self._traffic = {
                site: {
                    "took_part": "yes" if site in asking.work_seconds else "no",
                    "work_seconds": round(worked, 3),
                    "wait_seconds": round(max(0.0, lasted - worked), 3),
                    "received_bytes": _more(before, member, "received"),
                    "sent_bytes": _more(before, member, "sent"),
                }
                for site, member in self._hub.members().items()
                for worked in [asking.work_seconds.get(site, 0.0)]
            }

    @property
    def traffic(self) -> Mapping[str, Mapping[str, Any]]:
        """Of the last round, by hospital: columns of `hospitals.csv`."""
        return self._traffic

    def report(self, about: Mapping[str, Any]) -> None:
        """Takes what `hospital status` says of the run from now on: JSON values."""
        self._hub.report = dict(about)

    def measured(
        self, name: str, round_number: int, states: dict[str, int], fields: Sequence[wire.Field]
    ) -> dict[str, wire.Message]:
        """See `coordinated_training.Hospitals`."""
        site_of = self.site_of
        present = sorted({site_of[client] for client in self._present(name, list(states))})
        shared = tuple(field.serialized() for field in fields)
        asked: dict[str, concurrent.futures.Future[wire.Message]] = {}
        clients_of: dict[str, set[str]] = {}
        for site in present:
            mine = {client: after for client, after in states.items() if site_of[client] == site}
            about = {"training": name, "round_number": round_number, "states": mine}
            asked[site] = self._hub.ask(site, wire.Message(MEASURE, about, shared))
            clients_of[site] = set(mine)
        done, late = concurrent.futures.wait(asked.values(), self._seconds)
        for future in late:
            self._hub.withdraw(future)
        answers = {site: future.result() for site, future in asked.items() if future in done}
        found = {}
        for site, answer in answers.items():
            images = answer.about.get("images")
            if isinstance(images, Mapping) and set(images) == clients_of[site]:
                found[site] = answer
            else:
                why = answer.about.get("failed", "its answer is of other clients")
                logging.warning("round %d: %s has measured nothing: %s", round_number, site, why)
        return found

    def finish(self, name: str, message: wire.Message) -> None:
        """Ends a training.

        Args:
          name: of the training.
          message: for the hospitals: `rounds`, `planned`, `round` (that is reported),
            `is_chosen` (whether by a metric), `states` and `reported_states` (the round after which
            each client's private state counts), and the shared weights after the last round and
            after the reported one.
        """
        with self._lock:
            self._finished[name] = message
        # Also those that are away: they may come back without asking where the training stands.
        site_of = self.site_of
        for site in sorted({site_of[client] for client in message.about["states"]}):
            self._hub.ask(site, message)

    def result_rows(self) -> list[dict[str, Any]]:
        """Waits for what the hospitals have measured at the end.

        One that is away for as long as a round may take is not waited for any longer.

        Returns:
          The rows of all that came, each with its hospital as `client`.
        """
        sites = [site for site in self.findings_of if site in self._registered]
        waiting, seen = sites, time.monotonic()
        while waiting and time.monotonic() - seen <= self._seconds:
            answered = [site for site in sites if site not in waiting]
            self.report({"answered": answered, "waiting": waiting})
            self._hub.wait_for(lambda _: all(s in self._results for s in sites), _TICK_SECONDS)
            waiting = [site for site in sites if site not in self._results]
            if any(site in self._hub.members() for site in waiting):
                seen = time.monotonic()
        if waiting:
            away = f"no results from {', '.join(waiting)}, away for {self._seconds:g} s"
            print(f"{away}; the same command waits for them again", file=sys.stderr)
        self.report({"answered": [s for s in sites if s not in waiting], "waiting": []})
        return joint_rows.joined({s: self._results[s] for s in sites if s not in waiting})

    def _present(self, name: str, clients: Sequence[str]) -> list[str]:
        """Which of the clients are at hospitals that serve a training now."""
        members, site_of = self._hub.members(), self.site_of
        return [
            client
            for client in clients
            if site_of[client] in members and members[site_of[client]].doing == serving(name)
        ]

    def _wait(self, is_so: Any, for_what: str) -> None:
        said = 0.0
        while not is_so():
            now = time.monotonic()
            if now - said > _SAID_AGAIN_SECONDS:
                here = ", ".join(sorted(self._hub.members())) or "none"
                print(f"waiting for {for_what}; connected: {here}", file=sys.stderr)
                said = now
            self._hub.wait_for(lambda _: is_so(), _TICK_SECONDS)

    def _register(self, site: str, message: wire.Message) -> wire.Message | None:
        """A hospital says what it has, and learns when the run has begun."""
        clients = _check_clients(message.about.get("clients"))
        refused = self._take(Registration(site, clients))
        if refused:
            logging.warning("%s may not join: %s", site, refused)
            return wire.Message("refused", {"reason": refused})
        return wire.Message(REGISTER) if self._has_begun.is_set() else None

    def _take(self, registration: Registration) -> str:
        """Notes what a hospital has; why it may not take part, empty if it may."""
        site, clients = registration.site, set(registration.clients)
        if site not in self.findings_of:
            return f"expected a hospital of the run, found {site}"
        if not self._has_own_clients and clients != {site}:
            return f"expected the client {site} alone, found {', '.join(sorted(clients)) or 'none'}"
        with self._lock:
            for other, of in self._registered.items():
                if other != site and not clients.isdisjoint(of.clients):
                    both = ", ".join(sorted(clients & set(of.clients)))
                    return f"expected clients of {site} alone, found that {other} has {both}"
            known = self._registered.get(site)
            is_other = known is not None and set(known.clients) != clients
            if self._has_begun.is_set() and (is_other or (known is None and self._has_own_clients)):
                return f"the run has begun without {site}"
            if known is None:
                about = {"clients": registration.clients}
                files.write_json(self._folder / f"{site}{CLIENTS}", about)
            self._registered[site] = registration
        return ""

    def _gather(self, site: str, message: wire.Message) -> wire.Message | None:
        """A hospital says something of its images, and learns what all have said."""
        what, of_clients = str(message.about["what"]), message.about["of_clients"]
        if what != FINGERPRINT or not isinstance(of_clients, dict):
            raise wire.MessageError("expected a fingerprint, found other values")
        path = self._folder / f"{site}.{what}.json"
        if not path.exists():
            files.write_json(path, of_clients)
        found = self._all(what)
        return None if found is None else wire.Message(GATHER, {"of_clients": found})

    def _all(self, what: str) -> dict[str, Any] | None:
        """What all hospitals have said, by client; None before the last has."""
        said = self._kept(what)
        if len(said) < len(self.findings_of):
            return None
        return {client: value for of_site in said.values() for client, value in of_site.items()}

    def _standing(self, site: str, message: wire.Message) -> wire.Message:
        """A hospital asks for the end of a training, should that have come."""
        del site
        with self._lock:
            return self._finished.get(message.about["training"], wire.Message(TRAINING))

    def _take_results(self, site: str, message: wire.Message) -> wire.Message:
        rows = reported_results.read(message.about.get("rows"))
        files.write_json(self._folder / f"{site}{ROWS}", {"rows": rows})
        self._results.setdefault(site, rows)
        return wire.Message(RESULTS)

    def _kept(self, what: str) -> dict[str, Any]:
        """What hospitals have said before this coordinator was started again."""
        found = {}
        for site in self.findings_of:
            path = self._folder / f"{site}.{what}.json"
            if path.exists():
                found[site] = json.loads(path.read_text(encoding="utf-8"))
        return found


def _counts(reported: Mapping[str, Any], findings: Sequence[str]) -> dict[str, Any]:
    """A split as the store has it, of which a hospital has reported some counts."""
    unknown = {"present": None, "absent": None, "unknown": None}
    labels = reported.get("labels", {})
    of_findings = {finding: {**unknown, **labels.get(finding, {})} for finding in findings}
    return {"files": [], "images": reported.get("images"), "labels": of_findings}


def _more(before: Mapping[str, exchange.Member], now: exchange.Member, way: str) -> int:
    """Bytes since then; of a hospital that has connected again, they are counted from 0 again."""
    last = getattr(before[now.site], way) if now.site in before else 0
    return max(0, getattr(now, way) - last)


def _check_clients(clients: Any) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """What a hospital says of its clients.

    Raises:
      wire.MessageError: these are other values.
    """
    try:
        for splits in clients.values():
            for of_split in splits.values():
                counts = [of_split["images"]]
                counts += [n for of in of_split["labels"].values() for n in of.values()]
                if not all(n is None or (type(n) is int and n >= 0) for n in counts):
                    raise ValueError(f"counts {counts}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise wire.MessageError(
            f"expected the clients of a hospital, found other values: {one_line(error)}"
        ) from error
    return clients
