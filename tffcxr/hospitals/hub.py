"""The coordinator's side of `exchange.Hub`, over the network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
import concurrent.futures
import contextlib
import functools
import hashlib
import threading
import time
from typing import Any

from tffcxr.errors import InputError, RunError, one_line
from tffcxr.hospitals import protocol, wire
from tffcxr.hospitals.authority import COORDINATOR, Credentials
from tffcxr.hospitals.exchange import Member
from tffcxr.hospitals.protocol import USUAL_TIMING, Reason, RefusedError, Timing
from tffcxr.hospitals.rpc_server import Server
from tffcxr.hospitals.sessions import Session, Sessions
from tffcxr.hospitals.tasks import Task, Tasks

_Handler = Callable[[str, wire.Message], "wire.Message | None"]
_ASKED_AGAIN_SECONDS = 0.2
_GOODBYE_BEATS = 1.5


class CoordinatorHub:
    """Implements `exchange.Hub`: hospitals connect to it in its `with` block.

    Attributes:
      report: what a status tells of the run beside its members, such as the round; JSON values.
    """

    def __init__(
        self,
        credentials: Credentials,
        address: str,
        sites: tuple[str, ...],
        versions: Mapping[str, str],
        *,
        revoked: Callable[[], Collection[int]] = frozenset,
        timing: Timing = USUAL_TIMING,
        largest: Callable[[str], int] = protocol.largest,
    ) -> None:
        """Takes the address; no hospital gets in before `start`.

        Args:
          credentials: the coordinator's.
          address: "HOST:PORT" to listen at; port 0 has the system choose one.
          sites: the study's hospitals, which are the names of their certificates.
          versions: of what the coordinator computes with; a hospital must have the same.
          revoked: the numbers of the certificates that are not valid any more, as of now.
          timing: see there.
          largest: how many bytes a message of a kind may have.

        Raises:
          InputError: nothing can listen at the address.
        """
        self.report: dict[str, Any] = {}
        self._sites = sites
        self._versions = dict(versions)
        self._timing = timing
        # Guards what follows; notified of all that a thread may wait for.
        self._changed = threading.Condition()
        self._sessions = Sessions(sites, versions, timing.gone)
        self._tasks = Tasks()
        self._handlers: dict[str, _Handler] = {}
        self._proposal: str | None = None
        self._ended: str | None = None
        self._is_stopping = False
        self._deciding: set[str] = set()
        self._server = Server(
            credentials,
            address,
            self._answer,
            members=len(sites),
            revoked=revoked,
            timing=timing,
            largest=largest,
            store_of=self._store_of,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    def __enter__(self) -> CoordinatorHub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Lets the hospitals in."""
        self._server.start()

    def stop(self) -> None:
        """Says goodbye to the hospitals that are connected, which try to come back, and closes.

        One that computes hears of it by its next sign of life, which is waited for.
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
            if self._ended is None:
                self._changed.wait_for(
                    lambda: all(each.knows_stop for each in self._sessions.alive().values()),
                    _GOODBYE_BEATS * self._timing.beat,
                )
        self._server.stop()

    def propose(self, proposal: bytes) -> None:
        """Has every hospital approve a study before it gets a task.

        Args:
          proposal: JSON, by whose SHA-256 the hospitals approve it.
        """
        with self._changed:
            self._proposal = proposal.decode()
            self._changed.notify_all()

    def end(self, reason: str, seconds: float = 10) -> None:
        """Tells the hospitals that the study is over, and cancels all open tasks.

        Args:
          reason: one line for the hospitals.
          seconds: to wait at most until the connected ones know.
        """
        with self._changed:
            self._ended = reason
            tasks = self._tasks.all()
            self._changed.notify_all()
        for task in tasks:
            self.withdraw(task.answer)
        with self._changed:
            self._changed.wait_for(
                lambda: all(session.knows_end for session in self._sessions.alive().values()),
                seconds,
            )

    def members(self) -> Mapping[str, Member]:
        """See `exchange.Hub`; only those that approved what is proposed."""
        with self._changed:
            study = self._study()
            alive = self._sessions.alive()
            return {
                site: self._member(site, session)
                for site, session in alive.items()
                if session.study == study
            }

    def wait_for(self, is_so: Callable[[Mapping[str, Member]], bool], seconds: float) -> bool:
        """See `exchange.Hub`."""
        end = time.monotonic() + seconds
        while not is_so(self.members()):
            left = end - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                # Also a hospital's silence changes the members, and tells nobody.
                self._changed.wait(min(left, _ASKED_AGAIN_SECONDS))
        return True

    def handle(self, kind: str, answer: _Handler) -> None:
        """See `exchange.Hub`.

        `answer` is called by threads of the hub, without its lock: again every 0.2 s while it
        returns None, and again with the same message where the answer did not arrive. What it
        raises as InputError or RunError, the hospital gets as a refusal.
        """
        with self._changed:
            self._handlers[kind] = answer
            self._changed.notify_all()

    def ask(
        self, site: str, task: wire.Message, store: wire.Store = wire.in_memory
    ) -> concurrent.futures.Future[wire.Message]:
        """See `exchange.Hub`; cancelling the future withdraws the task.

        Raises:
          InputError: the study has no such site.
          TypeError: the task cannot be sent.
        """
        wire.begun(task)
        if site not in self._sites:
            raise InputError(f"expected a site ({', '.join(self._sites)}), found {site}")
        with self._changed:
            opened = self._tasks.add(site, task, store)
            self._changed.notify_all()
        key = opened.key  # The answer must not hold its task, nor so its arrays each other.
        opened.answer.add_done_callback(lambda _: self._close(site, key))
        return opened.answer

    def withdraw(self, asked: concurrent.futures.Future[wire.Message]) -> None:
        """See `exchange.Hub`."""
        asked.cancel()

    def status(self) -> dict[str, Any]:
        """What is known of the hospitals and the run, as JSON values."""
        with self._changed:
            alive = self._sessions.alive()
            return {
                "members": {site: self._described(site, site in alive) for site in self._sites},
                "report": dict(self.report),
                "protocol": protocol.VERSION,
                "versions": self._versions,
            }

    def _described(self, site: str, is_connected: bool) -> dict[str, Any]:
        session = self._sessions.last(site)
        doing = session.doing if session else ""
        return {
            "is_connected": is_connected,
            "since": session.since if session else None,
            "seen": session.seen if session else None,
            "doing": "asked to approve the study" if site in self._deciding else doing,
            "error": session.error if session else "",
        }

    def _answer(self, site: str, call: wire.Message) -> wire.Message:
        if call.kind == "status":
            if site != COORDINATOR:
                self._sessions.check_site(site)
            return wire.Message("status", self.status())
        with self._changed:
            if self._ended is not None:
                self._tell_end(site)
        answer = self._answer_of_member(site, call)
        if self._is_stopping and answer.kind in protocol.NOTHING_TO_SAY:
            return self._goodbye(site, answer)
        return answer

    def _goodbye(self, site: str, answer: wire.Message) -> wire.Message:
        with self._changed:
            session = self._sessions.last(site)
            if session is not None:
                session.knows_stop = True
                self._changed.notify_all()
        return wire.Message(answer.kind, {**answer.about, protocol.STOPPING: True})

    def _answer_of_member(self, site: str, call: wire.Message) -> wire.Message:
        if call.kind == "hello":
            return self._hello(site, call)
        if call.kind == "poll":
            return self._poll(site, call)
        if call.kind == "beat":
            return self._beat(site, call)
        if call.kind == "answer":
            return self._take(site, call)
        return self._reply(site, call)

    def _tell_end(self, site: str) -> None:
        session = self._sessions.alive().get(site)
        if session is not None:
            session.knows_end = True
            self._changed.notify_all()
        raise RefusedError(Reason.ENDED, self._ended or "")

    def _hello(self, site: str, call: wire.Message) -> wire.Message:
        with self._changed:
            self._sessions.check(site, call)
            study = self._study()
            if study not in (None, call.about.get("approved")):
                self._deciding.add(site)
                return wire.Message("proposal", {"proposal": self._proposal})
            self._deciding.discard(site)
            session = self._sessions.begin(site, call, study)
            self._changed.notify_all()
            return wire.Message("session", {"session": session.token})

    def _poll(self, site: str, call: wire.Message) -> wire.Message:
        has = call.about.get("has")
        wait = call.about.get("wait")
        if not (isinstance(has, list) and isinstance(wait, (int, float)) and wait >= 0):
            raise wire.MessageError("expected the tasks that a hospital has, found other values")
        end = time.monotonic() + min(wait, self._timing.wait)
        with self._changed:
            session = self._session(site, call)
            session.polls += 1
            poll = session.polls
            self._changed.notify_all()  # An earlier poll, whose connection broke, waits no longer.
            while session.polls == poll and self._is_current(site, session):
                if self._ended is not None:
                    self._tell_end(site)
                self._check_study(session)
                task = self._tasks.next(site, has)
                if task is not None:
                    return protocol.wrap("task", {"task": task.key}, task.asked)
                if not self._changed.wait(end - time.monotonic()):
                    break
        return wire.Message("nothing")

    def _beat(self, site: str, call: wire.Message) -> wire.Message:
        doing, error = (protocol.plain(protocol.text(call, key)) for key in ("doing", "error"))
        with self._changed:
            session = self._sessions.find(site, call)
            session.doing, session.error = doing, error
            self._changed.notify_all()
            self._check_study(session)
        return wire.Message("noted")

    def _store_of(self, site: str, call: wire.Message) -> wire.Store:
        """Takes the arrays of a call; of an answer that does not count, nothing is kept."""
        if call.kind != "answer":
            return wire.in_memory
        with self._changed:
            task = self._tasks.find(site, protocol.text(call, "task"))
        return functools.partial(_stored, task) if task else wire.nowhere

    def _take(self, site: str, call: wire.Message) -> wire.Message:
        key, answer = protocol.text(call, "task"), protocol.unwrap(call)
        with self._changed:
            session = self._session(site, call)
            if key in session.answered:
                return wire.Message("noted")
            task = self._tasks.close(site, key)
            if task is not None:
                session.answered.add(key)
        if task is None or not _settle(task, answer):
            raise RefusedError(
                Reason.TASK, f"expected an answer to an open task, found one to {key[:40]!r}"
            )
        return wire.Message("noted")

    def _reply(self, site: str, call: wire.Message) -> wire.Message:
        message = protocol.unwrap(call)
        end = time.monotonic() + self._timing.wait
        while time.monotonic() < end:
            with self._changed:
                session = self._session(site, call)
                handler = self._handlers.get(message.kind)
            answer = None if handler is None else _handled(handler, site, message)
            if answer is not None:
                return protocol.wrap("reply", {}, answer)
            with self._changed:
                self._changed.wait(_ASKED_AGAIN_SECONDS)
                if self._ended is not None:
                    self._tell_end(site)
                if not self._is_current(site, session):
                    break
        return wire.Message("later")

    def _session(self, site: str, call: wire.Message) -> Session:
        session = self._sessions.find(site, call)
        self._check_study(session)
        return session

    def _is_current(self, site: str, session: Session) -> bool:
        return not self._is_stopping and self._sessions.is_current(site, session)

    def _check_study(self, session: Session) -> None:
        if session.study != self._study():
            raise RefusedError(Reason.STUDY, "another study is proposed")

    def _study(self) -> str | None:
        if self._proposal is None:
            return None
        return hashlib.sha256(self._proposal.encode()).hexdigest()

    def _close(self, site: str, key: str) -> None:
        with self._changed:
            self._tasks.close(site, key)

    def _member(self, site: str, session: Session) -> Member:
        received, sent = self._server.traffic(site)
        return Member(
            site, session.since, session.seen, session.doing, session.error, received, sent
        )


def _stored(
    task: Task, layouts: Sequence[wire.Layout], take: Callable[[int], Iterator[memoryview]]
) -> Sequence[wire.Field]:
    """A `wire.Store` of the answer to a task, which fails where that cannot be stored."""
    try:
        return task.store(layouts, take)
    except RunError as error:
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            task.answer.set_exception(error)
        line = "the coordinator cannot store an answer and stops"
        raise RefusedError(Reason.BUSY, line) from error


def _settle(task: Task, answer: wire.Message) -> bool:
    """Gives a task its answer; False if it was withdrawn meanwhile."""
    try:
        task.answer.set_result(answer)
    except concurrent.futures.InvalidStateError:
        return False
    return True


def _handled(handler: _Handler, site: str, message: wire.Message) -> wire.Message | None:
    try:
        return handler(site, message)
    except (InputError, RunError) as error:
        raise RefusedError(Reason.MESSAGE, one_line(error)) from error
