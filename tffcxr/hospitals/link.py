"""A hospital's side of `exchange.Link`, over the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import json
import pathlib
import secrets
import sys
import threading
import time
from typing import Any

from tffcxr import files
from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import protocol, wire
from tffcxr.hospitals.authority import Credentials
from tffcxr.hospitals.outgoing import OutgoingLog
from tffcxr.hospitals.protocol import (
    USUAL_TIMING,
    Reason,
    RefusedError,
    StudyEndedError,
    Timing,
    UnreachableError,
)
from tffcxr.hospitals.rpc_channel import Channel

# A poll and a beat have so many seconds on their way.
_ON_ITS_WAY_SECONDS = 30
_FIRST_RETRY_SECONDS = 0.25


class HospitalLink:
    """Implements `exchange.Link`; use it in a `with` block.

    Its calls wait while the coordinator cannot be reached, and say so once on the standard error
    output, and once when it is back. A thread tells the coordinator every few seconds that this
    hospital is there.
    """

    def __init__(
        self,
        credentials: Credentials,
        address: str,
        *,
        outgoing: OutgoingLog,
        versions: Mapping[str, str],
        instance: str,
        approve: Callable[[bytes], str],
        timing: Timing = USUAL_TIMING,
    ) -> None:
        """Connects at the first call.

        Args:
          credentials: the hospital's.
          address: of the coordinator, "HOST:PORT".
          outgoing: records what leaves the hospital.
          versions: of what this hospital computes with.
          instance: of the hospital's folder, see `kept_instance`.
          approve: gets a proposed study, as JSON, and returns its SHA-256 in hexadecimal digits
            once the hospital approved it, however long that takes; or raises RunError.
          timing: see there.
        """
        self._sender = _Sender(Channel(credentials, address, timing), outgoing, timing)
        self._approve = approve
        self._timing = timing
        self._hello_of_all = {
            "protocol": protocol.VERSION,
            "versions": dict(versions),
            "instance": instance,
            "process": secrets.token_hex(8),
        }
        self._approved: str | None = None
        self._session: str | None = None
        self._saying_hello = threading.Lock()
        self._has: set[str] = set()
        self._doing = ""
        self._error = ""
        self._is_closed = threading.Event()
        self._beat_now = threading.Event()
        self._failure: Exception | None = None
        self._beats = threading.Thread(target=self._beat_on, name="beats", daemon=True)

    def __enter__(self) -> HospitalLink:
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves; calls of other threads raise RunError."""
        self._is_closed.set()
        self._beat_now.set()
        self._sender.close()
        if self._beats.is_alive():
            self._beats.join()

    def connect(self) -> None:
        """Waits until the coordinator knows this hospital; `call` and `next_task` do, too.

        Raises:
          InputError: the kit cannot be used any more.
          StudyEndedError: the study is over.
          RunError: the coordinator refuses this hospital, or the hospital the study.
        """
        self._exchange(lambda session: wire.Message("beat", self._beat(session)))

    def doing(self, what: str) -> None:
        """See `exchange.Link`; returns at once."""
        self._doing = what
        self._beat_now.set()

    def failed(self, line: str) -> None:
        """Tells the coordinator what went wrong here last; returns at once."""
        self._error = line
        self._beat_now.set()

    def call(self, message: wire.Message) -> wire.Message:
        """See `exchange.Link`; may arrive twice where the connection breaks meanwhile."""
        while True:
            reply = self._exchange(
                lambda session: protocol.wrap("call", {"session": session}, message)
            )
            if reply.kind == "reply":
                return protocol.unwrap(reply)

    def next_task(self) -> tuple[str, wire.Message]:
        """See `exchange.Link`; never one that this hospital has and did not answer yet."""
        while True:
            reply = self._exchange(
                lambda session: wire.Message(
                    "poll",
                    {"session": session, "has": sorted(self._has), "wait": self._timing.wait},
                )
            )
            if reply.kind == "task":
                task = protocol.text(reply, "task")
                self._has.add(task)
                return task, protocol.unwrap(reply)

    def answer(self, task: str, message: wire.Message) -> None:
        """See `exchange.Link`."""
        try:
            self._exchange(
                lambda session: protocol.wrap("answer", {"session": session, "task": task}, message)
            )
        except RunError as error:
            if not isinstance(error, RefusedError) or error.reason is not Reason.TASK:
                self._failure = error  # Whoever waits for a task would never learn of it.
                raise
        self._has.discard(task)

    def _exchange(self, make: Callable[[str], wire.Message]) -> wire.Message:
        """Sends a message of the current session until it is answered."""
        while True:
            if self._failure is not None:
                raise self._failure
            session = self._session
            if session is None:
                self._hello(None)
                continue
            try:
                return self._sender.send(make(session))
            except RefusedError as refused:
                if refused.reason in (Reason.SESSION, Reason.STUDY):
                    self._hello(session)
                elif refused.reason is Reason.ENDED:
                    raise StudyEndedError(str(refused)) from None
                else:
                    raise
            except UnreachableError as error:
                self._knock(session, error)

    def _knock(self, session: str, error: UnreachableError) -> None:
        """Waits until the coordinator is there and knows this hospital, by small messages only."""
        self._sender.wait(error)
        while not self._is_closed.is_set():
            try:
                self._sender.send(wire.Message("beat", self._beat(session)))
                return
            except RefusedError as refused:
                if refused.reason in (Reason.SESSION, Reason.STUDY):
                    self._hello(session)
                return
            except UnreachableError as again:
                self._sender.wait(again)
        raise RunError("the connection was closed by this hospital")

    def _hello(self, stale: str | None) -> None:
        """Gets a session in place of one; asks the hospital where it has to approve a study."""
        with self._saying_hello:
            while self._session == stale:
                try:
                    proposal = self._say_hello()
                except UnreachableError as error:
                    if self._is_closed.is_set():
                        raise RunError("the connection was closed by this hospital") from None
                    self._sender.wait(error)
                    continue
                if proposal is not None:
                    self._approved = self._approve(proposal)

    def _say_hello(self) -> bytes | None:
        """Says hello once; returns the study to approve first, None if there is a session now."""
        about = {**self._hello_of_all, "approved": self._approved}
        try:
            reply = self._sender.send(wire.Message("hello", about))
        except RefusedError as refused:
            if refused.reason is Reason.ENDED:
                raise StudyEndedError(str(refused)) from None
            raise
        if reply.kind == "proposal":
            return protocol.text(reply, "proposal").encode()
        self._session = protocol.text(reply, "session")
        return None

    def _beat(self, session: str) -> dict[str, Any]:
        return {"session": session, "doing": self._doing, "error": self._error}

    def _beat_on(self) -> None:
        while not self._is_closed.is_set():
            self._beat_now.clear()
            session = self._session
            try:
                if session is not None:
                    self._sender.send(wire.Message("beat", self._beat(session)))
            except UnreachableError as error:
                self._sender.say_away(error)
            except RefusedError as refused:
                self._beat_refused(refused, session)
            except (InputError, RunError) as error:
                self._failure = error
            if self._failure is not None:
                return
            self._beat_now.wait(self._timing.beat)

    def _beat_refused(self, refused: RefusedError, session: str | None) -> None:
        """Says hello from the beats' thread, but never asks the hospital anything there."""
        if refused.reason is Reason.ENDED:
            self._failure = StudyEndedError(str(refused))
        elif refused.reason is Reason.MEMBER:
            self._failure = refused
        elif refused.reason is Reason.SESSION and self._saying_hello.acquire(blocking=False):
            try:
                if self._session == session:
                    self._say_hello()
            except UnreachableError as error:
                self._sender.say_away(error)
            except (InputError, RunError) as error:
                self._failure = error
            finally:
                self._saying_hello.release()
            self._beat_now.set()


class _Sender:
    """The only way out of the hospital: whatever leaves it, `send` records and sends."""

    def __init__(self, channel: Channel, outgoing: OutgoingLog | None, timing: Timing) -> None:
        self._channel = channel
        self._outgoing = outgoing
        self._timing = timing
        self._lock = threading.Lock()
        self._last: dict[str, str] = {}
        self._is_closed = threading.Event()
        self._away_since: float | None = None
        self._retry = _FIRST_RETRY_SECONDS

    def send(self, message: wire.Message) -> wire.Message:
        """Records a message and sends it; what cannot be recorded is not sent.

        A message without arrays that says the same as the last one of its kind is sent and not
        recorded again: these are the signs of life, every few seconds, and what is repeated after
        the connection broke. A message with arrays is recorded each time that it is sent.
        """
        with self._lock:
            content = json.dumps(dict(message.about), sort_keys=True)
            if message.fields or self._last.get(message.kind) != content:
                self._record(message)
                self._last[message.kind] = content
        reply = self._send(message)
        if reply.about.get(protocol.STOPPING):
            self._say_away("the coordinator stopped; waiting until it is started again")
            self._is_closed.wait(_FIRST_RETRY_SECONDS)  # Not to ask it again until it is gone.
        else:
            self._say_back()
        return reply

    def _record(self, message: wire.Message) -> None:
        if self._outgoing is not None:
            try:
                self._outgoing.record(message)
            except OSError as error:
                line = f"the log of what leaves this hospital cannot be written: {error}"
                raise RunError(line) from error

    def _send(self, message: wire.Message) -> wire.Message:
        seconds = self._timing.exchange
        if message.kind not in ("answer", "call"):
            seconds = min(seconds, self._timing.wait + _ON_ITS_WAY_SECONDS)
        try:
            return self._channel.call(message, seconds)
        except RefusedError:
            self._say_back()
            raise

    def wait(self, error: UnreachableError) -> None:
        """Waits before the next attempt, longer each time."""
        self.say_away(error)
        with self._lock:
            seconds = self._retry
            self._retry = min(2 * self._retry, self._timing.retry)
        self._is_closed.wait(seconds)

    def say_away(self, error: UnreachableError) -> None:
        """Says once that the coordinator cannot be reached."""
        self._say_away(f"{error}; trying again until it can")

    def _say_away(self, line: str) -> None:
        with self._lock:
            if self._away_since is not None or self._is_closed.is_set():
                return
            self._away_since = time.monotonic()
        _say(line)

    def close(self) -> None:
        """Cuts what is under way."""
        self._is_closed.set()
        self._channel.close()

    def _say_back(self) -> None:
        with self._lock:
            since, self._away_since = self._away_since, None
            self._retry = _FIRST_RETRY_SECONDS
        if since is not None:
            _say(f"the coordinator can be reached again after {time.monotonic() - since:.0f} s")


def kept_instance(folder: pathlib.Path) -> str:
    """The random name of a hospital's folder, which is made at its first use.

    A hospital that starts again there takes over from its process that died; a copy of its kit
    elsewhere is another one.

    Raises:
      OSError: the folder cannot be written to.
    """
    path = folder / "instance"
    if not path.exists():
        files.write_atomically(path, lambda file: file.write(secrets.token_hex(8).encode()))
    return path.read_text().strip()


def status(
    credentials: Credentials,
    address: str,
    outgoing: OutgoingLog | None = None,
    timing: Timing = USUAL_TIMING,
) -> Mapping[str, Any]:
    """Asks the coordinator once who is there and how far the run is.

    Args:
      credentials: of any member, the coordinator itself included.
      address: of the coordinator, "HOST:PORT".
      outgoing: records what leaves, at a hospital.
      timing: see there.

    Returns:
      `members` (by site: `is_connected`, and `since`, `seen`, `doing`, `error` as `exchange.Member`
      has them; the times are None where the hospital never connected), `report` (of the run),
      `protocol` and `versions` of the coordinator.

    Raises:
      InputError: the kit cannot be used any more.
      RunError: the coordinator cannot be reached or refuses.
    """
    sender = _Sender(Channel(credentials, address, timing), outgoing, timing)
    try:
        return sender.send(wire.Message("status")).about
    finally:
        sender.close()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
