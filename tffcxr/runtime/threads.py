"""Clients' parts computed in this process, each by a thread with a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import concurrent.futures
import functools
import os
from typing import Any, TypeVar

from tffcxr.runtime import placed

_AHEAD = 2
_Result = TypeVar("_Result")


class Threads:
    """A `parts.Parts` that deals clients in turn to workers, each a thread with a device.

    Args:
      clients: how many there are.
      workers: the device of each worker.
    """

    masks = False

    def __init__(self, clients: int, workers: Sequence[str]) -> None:
        self._clients = clients
        self._workers = workers
        self._is_alone = len(workers) == 1 or clients < 2

    @property
    def ahead(self) -> int:
        """See `parts.Parts`; who computes in the caller's thread computes when asked."""
        return 1 if self._is_alone else _AHEAD

    def lanes(self) -> Sequence[int]:
        """See `parts.Parts`."""
        return [client % len(self._workers) for client in range(self._clients)]

    def ask(self, client: int, walk: placed.Walk) -> concurrent.futures.Future[list[Any]]:
        """See `parts.Parts`."""
        return self.run(client, functools.partial(walk.compute, client))

    def run(
        self, client: int, compute: Callable[[str], _Result]
    ) -> concurrent.futures.Future[_Result]:
        """Has a client's worker call a function of its device, after whatever it was given before.

        What a function raises in the caller's thread, for want of others, is raised here.
        """
        number = client % len(self._workers)
        if not self._is_alone:
            return _thread(number, os.getpid()).submit(compute, self._workers[number])
        done: concurrent.futures.Future[_Result] = concurrent.futures.Future()
        done.set_result(compute(self._workers[number]))
        return done

    def values(
        self, client: int, walk: placed.Walk, asked: concurrent.futures.Future[list[Any]]
    ) -> list[Any]:
        """See `parts.Parts`."""
        del client, walk
        return asked.result()

    def give_up(self, asked: Sequence[concurrent.futures.Future[list[Any]]]) -> None:
        """See `parts.Parts`."""
        for future in asked:
            future.cancel()
        concurrent.futures.wait(asked)

    def close(self) -> None:
        """See `parts.Parts`; the threads stay."""


@functools.cache
def _thread(number: int, process: int) -> concurrent.futures.ThreadPoolExecutor:
    """The thread of a worker, which lasts as long as the process; a fork makes its own.

    TensorFlow and the allocator keep memory for every thread that has called them, so new threads
    in every round would let memory grow with rounds.
    """
    del process  # Only distinguishes forks.
    return concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"worker_{number}")
