"""A hub and its links in one process; messages pass as bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
import concurrent.futures
import threading
import time
import uuid
import weakref

from tffcxr.errors import RunError
from tffcxr.hospitals import exchange, wire

_LARGEST = 1 << 30
_ASKED_AGAIN_SECONDS = 0.01
_IsSo = Callable[[str, wire.Message], bool]


class Hub:
    """An `exchange.Hub`.

    Args:
      loses: (site, task) -> whether the hospital ends when it is given that task.
      holds: (site, task) -> whether the hospital begins with that task when it was taken back.
      loses_answer: (site, task) -> whether the hospital ends when it has done that task.
      changes: (site, answer) -> what arrives in place of an answer.

    Attributes:
      sent: what the hospitals were sent, each with the site.
      received: what the hospitals have sent.
      answers: weak references to the answers as the coordinator has got them.
    """

    def __init__(
        self,
        loses: _IsSo = lambda *_: False,
        holds: _IsSo = lambda *_: False,
        loses_answer: _IsSo = lambda *_: False,
        changes: Callable[[str, wire.Message], wire.Message] = lambda _, answer: answer,
    ) -> None:
        self._loses, self._holds, self._loses_answer = loses, holds, loses_answer
        self._changes = changes
        self.answers: list[weakref.ref[wire.Message]] = []
        self._changed = threading.Condition()
        self._members: dict[str, exchange.Member] = {}
        self._handlers: dict[str, Callable] = {}
        self._tasks: dict[str, dict[str, tuple]] = {}
        self.sent: list[tuple[str, wire.Message]] = []
        self.received: list[tuple[str, wire.Message]] = []
        self.report: dict = {}

    def members(self) -> Mapping[str, exchange.Member]:
        with self._changed:
            return dict(self._members)

    def wait_for(self, is_so, seconds):
        end = time.monotonic() + seconds
        while not is_so(self.members()):
            if time.monotonic() > end:
                return False
            with self._changed:
                self._changed.wait(_ASKED_AGAIN_SECONDS)
        return True

    def handle(self, kind, answer):
        self._handlers[kind] = answer

    def ask(self, site, task, store=wire.in_memory):
        future: concurrent.futures.Future = concurrent.futures.Future()
        with self._changed:
            self._tasks.setdefault(site, {})[uuid.uuid4().hex] = task, future, store
            self._changed.notify_all()
        return future

    def withdraw(self, asked):
        with self._changed:
            for tasks in self._tasks.values():
                for name in [name for name, (_, future, _) in tasks.items() if future is asked]:
                    del tasks[name]
            self._changed.notify_all()
        asked.cancel()

    def set_member(self, site: str, doing: str | None) -> None:
        with self._changed:
            if doing is None:
                self._members.pop(site, None)
            else:
                self._members[site] = exchange.Member(site, 0.0, time.time(), doing)
            self._changed.notify_all()

    def call(self, site: str, message: wire.Message) -> wire.Message:
        while True:
            self.received.append((site, message))
            handler = self._handlers.get(message.kind, lambda *_: None)
            answer = handler(site, _copy(message))
            if answer is not None:
                self.sent.append((site, answer))
                return _copy(answer)
            time.sleep(_ASKED_AGAIN_SECONDS)

    def next_task(self, site: str, has: Collection[str]) -> tuple[str, wire.Message]:
        def waiting():
            tasks = self._tasks.get(site, {}).items()
            return [(name, task) for name, (task, *_) in tasks if name not in has]

        with self._changed:
            self._changed.wait_for(waiting)
            name, task = waiting()[0]
        if self._loses(site, task):
            self.set_member(site, None)
            raise LostError
        if self._holds(site, task):
            with self._changed:
                self._changed.wait_for(lambda: name not in self._tasks[site])
        self.sent.append((site, task))
        return name, _copy(task)

    def answer(self, site: str, name: str, message: wire.Message) -> None:
        self.received.append((site, message))
        with self._changed:
            task, future, store = self._tasks[site].get(name, (None, None, None))
        if task is not None and self._loses_answer(site, task):
            self.set_member(site, None)
            raise LostError
        with self._changed:
            self._tasks[site].pop(name, None)
        if future is not None and future.set_running_or_notify_cancel():
            arrived = _copy(self._changes(site, message), store)
            self.answers.append(weakref.ref(arrived))
            future.set_result(arrived)


class LostError(RunError):
    """The hospital was killed."""

    def __init__(self) -> None:
        super().__init__("killed")


class Link:
    """An `exchange.Link`."""

    def __init__(self, hub: Hub, site: str) -> None:
        self._hub = hub
        self._site = site
        self._has: set[str] = set()

    def doing(self, what: str) -> None:
        self._hub.set_member(self._site, what)

    def call(self, message):
        return self._hub.call(self._site, message)

    def next_task(self):
        name, task = self._hub.next_task(self._site, self._has)
        self._has.add(name)
        return name, task

    def answer(self, task, message):
        self._hub.answer(self._site, task, message)
        self._has.discard(task)


def _copy(message: wire.Message, store: wire.Store = wire.in_memory) -> wire.Message:
    return wire.decode(list(wire.encode(message)), _LARGEST, lambda _: store)
