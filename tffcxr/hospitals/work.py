"""What a hospital works on: several clients at once, where it has several devices.

The thread that takes the tasks begins a client's part: it reads the private state, and traces and
compiles what is computed. The thread of the client's device computes it and sends the answer.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
import concurrent.futures
import dataclasses
import functools
import logging
import threading
import time
from typing import TypeAlias

from tffcxr.errors import RunError, one_line
from tffcxr.hospitals import exchange, questions, wire
from tffcxr.runtime import threads

_logger = logging.getLogger(__name__)

Compute: TypeAlias = Callable[[str], wire.Message]  # From the name of a device to an answer.
_Given: TypeAlias = collections.deque[tuple[str, concurrent.futures.Future[None]]]


class CannotError(RunError):
    """A task that this hospital does not do; `reported` is what the coordinator may know of it."""

    def __init__(self, reported: str, message: str) -> None:
        super().__init__(message)
        self.reported = reported


class Work:
    """The tasks of one training. One thread calls it, in a `with` block.

    Args:
      link: to the coordinator.
      clients: ids of the hospital's, which are dealt to devices as the local engine deals them.
      devices: of the workers, see `device.DeviceContext`.
      stop: has whatever is computed end soon, with an exception.
    """

    def __init__(
        self,
        link: exchange.Link,
        clients: Sequence[str],
        devices: Sequence[str],
        stop: Callable[[], None],
    ) -> None:
        self._link = link
        self._stop = stop
        self._threads = threads.Threads(len(clients), devices)
        self._places = {client: place for place, client in enumerate(clients)}
        self._lanes = dict(zip(clients, self._threads.lanes()))
        self._given: dict[int, _Given] = collections.defaultdict(collections.deque)
        self._is_given_up = threading.Event()
        self._clock = _Clock()

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        """Gives up what is not done, without an answer, and does not wait for its end."""
        self._is_given_up.set()
        for given in self._given.values():
            for each in given:
                each[1].cancel()
        self._stop()

    def do(self, task: str, kind: str, make: Callable[[], wire.Message]) -> None:
        """Does a task in this thread, once no client is computed any more, and answers it.

        Args:
          task: its id.
          kind: of the message.
          make: makes the answer. Of an exception, the coordinator learns `CannotError.reported`
            alone.
        """
        self.wait()
        self.do_at_once(task, kind, make)

    def do_at_once(self, task: str, kind: str, make: Callable[[], wire.Message]) -> None:
        """Does a task as `do` does, also while clients are computed."""
        self._clock.begin()
        self._do(task, kind, lambda _: make(), "")

    def do_beside(self, task: str, kind: str, client: str, begin: Callable[[], Compute]) -> None:
        """Has the thread of a client's device do a task, and answer it, while others do theirs.

        Waits while enough is given to that thread, or a task of the same client.

        Args:
          task: see `do`.
          kind: see `do`.
          client: its id.
          begin: called in this thread; makes what makes the answer, see `do`.
        """
        given = self._given[self._lanes.get(client, 0)]  # What is not a client's does not begin.
        while len(given) >= self._threads.ahead or any(client == other for other, _ in given):
            given.popleft()[1].result()
        self._clock.begin()
        try:
            compute = begin()
        except Exception as error:  # noqa: BLE001  A hospital stays, whatever it is asked.
            self._send(task, _failed(kind, error))
            return
        do = functools.partial(self._do, task, kind, compute)
        given.append((client, self._threads.run(self._places[client], do)))

    def wait(self) -> None:
        """Waits until no client is computed any more.

        Raises:
          RunError: an answer could not be sent.
        """
        for given in self._given.values():
            while given:
                given.popleft()[1].result()

    def take_seconds(self) -> float:
        """The seconds in which something was worked on since this was asked last."""
        return self._clock.take()

    def _do(self, task: str, kind: str, compute: Compute, device_name: str) -> None:
        try:
            answer = compute(device_name)
        except Exception as error:  # noqa: BLE001  A hospital stays, whatever it is asked.
            answer = _failed(kind, error)
        self._send(task, answer)

    def _send(self, task: str, answer: wire.Message) -> None:
        seconds = round(self._clock.end(), 3)
        if not self._is_given_up.is_set():
            about = {**answer.about, "seconds": seconds}
            self._link.answer(task, dataclasses.replace(answer, about=about))


class _Clock:
    """Counts the time in which there is at least one open task."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._counted_until = 0.0
        self._seconds = 0.0

    def begin(self) -> None:
        """Opens a task."""
        with self._lock:
            if not self._open:
                self._counted_until = time.monotonic()
            self._open += 1

    def end(self) -> float:
        """Closes a task; the seconds that no other was credited with."""
        with self._lock:
            now = time.monotonic()
            seconds, self._counted_until = now - self._counted_until, now
            self._open -= 1
            self._seconds += seconds
            return seconds

    def take(self) -> float:
        """The seconds of all tasks that were closed since this was asked last."""
        with self._lock:
            seconds, self._seconds = self._seconds, 0.0
            return seconds


def _failed(kind: str, error: Exception) -> wire.Message:
    if isinstance(error, CannotError):
        _logger.warning("%s: %s", kind, error)
        return wire.Message(kind, {"failed": error.reported})
    _logger.warning("%s: %s: %s", kind, type(error).__name__, one_line(error))
    _logger.debug("%s: the exception", kind, exc_info=error)
    return wire.Message(kind, {"failed": questions.FAILED})
