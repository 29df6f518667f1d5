"""Calls of Ray actors that are under way, and what has become of them, as events of a queue.

What to respect of Ray 2.52, which otherwise ends the whole program without any handler:

- No thread may let go of a reference after Ray was shut down. So calls are ended, and references
  dropped, before that.
- When a cluster has ended and another one is started, objects and actors get the same ids again. A
  reference of the old one that is let go counts as one of the new one, and an array of the old one
  is reported to an object store that is no more. So nothing of a lost cluster is let go.
- Two threads that call Ray after that would give the same ids to different objects. So after the
  start one thread alone calls Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import concurrent.futures
import dataclasses
import functools
import queue
from typing import Any

import numpy as np
import ray.exceptions

from tffcxr.runtime import engine


@dataclasses.dataclass(eq=False)
class Shared:
    """What is in Ray's object store, to be put there again if the cluster was."""

    content: bytes | tuple[bytes, tuple[np.ndarray, ...]]
    reference: Any = None
    generation: int = -1


@dataclasses.dataclass(eq=False)
class Request:
    """A task that waits for its answer; `reference` is that of the call that counts."""

    lane: int
    computation: engine.Computation
    task: engine.Task
    shared: Sequence[Shared]
    future: concurrent.futures.Future[engine.Answer]
    reference: Any = None
    losses: int = 0


@dataclasses.dataclass(eq=False)
class Slot:
    """The place of an actor; `reference` is that of its start.

    `problem` is why its last start failed, in a line, and `is_hopeless` whether another would, too.
    """

    actor: Any = None
    reference: Any = None
    is_ready: bool = False
    failures: int = 0
    problem: str = ""
    is_hopeless: bool = False
    known: set[str] = dataclasses.field(default_factory=set)
    requests: set[Request] = dataclasses.field(default_factory=set)
    about: dict[str, Any] = dataclasses.field(default_factory=dict)


class Calls:
    """The calls of an engine. `post` may be called by any thread, the others by one.

    Attributes:
      kept: what must not be let go before the program ends.
    """

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._events: queue.SimpleQueue[tuple[int | None, Any]] = queue.SimpleQueue()
        self._under_way: set[concurrent.futures.Future] = set()
        self._generation = 0

    def notify(self, reference: Any, what: Callable[..., None], *arguments: Any) -> None:
        """Makes an event of the end of a call: `what(*arguments, reference, done)`."""
        future = reference.future()
        self._under_way.add(future)
        event = functools.partial(what, *arguments, reference)
        future.add_done_callback(functools.partial(self._ended, self._generation, event))

    def _ended(
        self, generation: int, event: Callable[..., None], done: concurrent.futures.Future
    ) -> None:
        self._under_way.discard(done)
        self._events.put((generation, functools.partial(event, done)))

    def post(self, event: Callable[[], None] | None) -> None:
        """Adds an event; None has `next` return to its caller."""
        self._events.put((None, event))

    def next(self, timeout: float) -> Callable[[], None] | None:
        """The next event; None if there is none for so many seconds, or if that was posted."""
        try:
            generation, event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if generation is not None and generation != self._generation:
            self.kept.append(event)
            return None
        return event

    def abandon(self) -> None:
        """Has all calls so far make no events any more, since their cluster is lost."""
        self._generation += 1
        self.kept.append(self._under_way)
        self._under_way = set()

    def end(self, timeout: float) -> None:
        """Waits at most so many seconds for all calls to end, and drops their events."""
        concurrent.futures.wait(list(self._under_way), timeout)
        while not self._events.empty():
            self._events.get()


def is_own(error: BaseException) -> bool:
    """Whether an actor's own code has failed, and would again elsewhere."""
    cause = getattr(error, "cause", None)
    of_ray = isinstance(cause, ray.exceptions.RayError)  # An argument was lost, for example.
    return isinstance(error, ray.exceptions.RayTaskError) and not of_ray


def cannot_start(error: BaseException) -> bool:
    """Whether an actor's own code has failed as it started, and would again."""
    return is_own(error) or bool(getattr(error, "actor_init_failed", False))


def first_line(error: BaseException) -> str:
    """What an error says first."""
    return next(filter(None, str(error).splitlines()), type(error).__name__)
