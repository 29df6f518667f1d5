"""Values placed at the server and at clients, computed client by client when something needs them.

A TFF computation says what happens to all clients at once. Doing that literally would hold the
results of all clients in memory. Here `federated_map` and its kin only record what to do, and an
aggregation, when its result is needed, walks over the clients once: each client's values are
computed, accumulated in the order of the clients, and dropped. All aggregations (and results that
the caller wants back per client) that can share a walk do, so that nothing is computed twice.

Clients are dealt in turn to workers, each a thread with a device. A worker is at most two clients
ahead of the accumulation, which bounds memory. No result depends on which worker was faster.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
import concurrent.futures
import functools
import os
import threading
from typing import Any

import tensorflow as tf

from tffcxr import errors

_AHEAD_PER_WORKER = 2


class ClientError(errors.RunError):
    """The computation of one client failed.

    Attributes:
      client: its position in the computation's argument.
      reason: one line.
    """

    def __init__(self, client: int, reason: str):
        super().__init__(f"client {client}: {reason}")
        self.client = client
        self.reason = reason


class ServerValue:
    """A value at the server, or one that all clients have in common, computed when needed.

    Args:
      compute: makes the value from the values of `needs`.
      needs: values that must be known first.
    """

    def __init__(self, compute: Callable[..., Any], needs: Iterable[ServerValue] = ()) -> None:
        self._compute: Callable[..., Any] | None = compute
        self.needs = tuple(needs)
        self._value: Any = None
        self._copies: dict[str, Any] = {}

    @property
    def is_known(self) -> bool:
        """Whether `get` returns at once."""
        return self._compute is None

    def set(self, value: Any) -> None:
        """Sets the value, and drops what it would have been computed from."""
        self._value, self._compute, self.needs = value, None, ()

    def get(self) -> Any:
        """The value, computed now unless it is known."""
        if self._compute is not None:
            self.set(self._compute(*[need.get() for need in self.needs]))
        return self._value

    def on(self, device: str) -> Any:
        """The value, which must be known, in the memory of `device`, copied there once."""
        if device not in self._copies:
            self._copies[device] = copy_to(device, self._value)
        return self._copies[device]


def known(value: Any) -> ServerValue:
    """A server value that is already known."""
    result = ServerValue(lambda: None)
    result.set(value)
    return result


class ClientValue:
    """A value at every client, computed for one client at a time.

    Args:
      compute: makes one client's value from the client's number and its values of `sources`.
      sources: what it is computed from; a ServerValue is the same for all clients.
    """

    def __init__(
        self, compute: Callable[..., Any], sources: Iterable[ClientValue | ServerValue] = ()
    ) -> None:
        self._compute = compute
        self.sources = tuple(sources)
        self.kept: dict[int, Any] = {}

    def at(self, client: int, device: str, seen: dict[ClientValue, Any]) -> Any:
        """The value at one client; `seen` holds what was computed for this client already."""
        if client in self.kept:
            return self.kept[client]
        if self not in seen:
            arguments = [
                source.on(device)
                if isinstance(source, ServerValue)
                else source.at(client, device, seen)
                for source in self.sources
            ]
            seen[self] = self._compute(client, *arguments)
        return seen[self]


class Aggregation(ServerValue):
    """A server value that is accumulated over the clients.

    Args:
      walk: computes this value, and others with it; see `Federation`.
      source: what is accumulated.
      zero: makes the accumulator to start from.
      accumulate: makes the next accumulator from the last and one client's value.
      report: makes the result from the last accumulator.
    """

    def __init__(
        self,
        walk: Callable[[Aggregation], None],
        source: ClientValue,
        zero: Callable[[], Any],
        accumulate: Callable[[Any, Any], Any],
        report: Callable[[Any], Any],
    ) -> None:
        super().__init__(lambda: None)
        self._walk = walk
        self.source = source
        self.accumulate = accumulate
        self.report = report
        self.zero = zero

    def get(self) -> Any:
        """The value, for which the clients are walked over now unless it is known."""
        if not self.is_known:
            self._walk(self)
        return super().get()


class Federation:
    """The clients of one invocation, and the aggregations over them that nobody asked for yet.

    Args:
      clients: how many there are.
      workers: the device of each worker; the first device is also the server's.
    """

    def __init__(self, clients: int, workers: Sequence[str]) -> None:
        self.clients = clients
        self._workers = workers
        self._pending: list[Aggregation] = []
        self._is_stopped = threading.Event()

    def aggregate(
        self,
        source: ClientValue,
        zero: Callable[[], Any],
        accumulate: Callable[[Any, Any], Any],
        report: Callable[[Any], Any],
    ) -> Aggregation:
        """Records an aggregation; it happens when its value is needed."""
        server = self._workers[0]
        return self._record(
            Aggregation(
                self._walk,
                source,
                zero,
                lambda total, value: accumulate(total, copy_to(server, value)),
                report,
            )
        )

    def collect(self, source: ClientValue, export: Callable[[Any], Any]) -> Aggregation:
        """Records that every client's value is wanted, each put through `export`, as a list."""

        def append(values: list[Any], value: Any) -> list[Any]:
            values.append(export(value))
            return values

        return self._record(Aggregation(self._walk, source, list, append, lambda values: values))

    def _record(self, aggregation: Aggregation) -> Aggregation:
        self._pending.append(aggregation)
        return aggregation

    def until_stopped(self, elements: Iterable[Any]) -> Iterator[Any]:
        """Yields `elements`, unless the invocation is given up meanwhile.

        Raises:
          InterruptedError: it was, because another client failed or the program is ending.
        """
        for element in elements:
            if self._is_stopped.is_set():
                raise InterruptedError("the computation was given up")
            yield element

    def _walk(self, target: Aggregation) -> None:
        """Computes `target` and every other aggregation that can be computed by now."""
        for value in _common(target.source):
            value.get()  # This may walk for aggregations that `target` depends on.
        joint = [each for each in self._pending if _is_ready(each)]
        self._pending = [each for each in self._pending if each not in joint]
        for aggregation in joint:
            for value in _common(aggregation.source):
                value.get()
        later = _computed_in_both(joint, self._pending)
        totals = [aggregation.zero() for aggregation in joint]
        for client, values, seen in self._results(joint):
            for node in later:
                node.kept[client] = seen[node]
            for index, aggregation in enumerate(joint):
                totals[index] = aggregation.accumulate(totals[index], values[index])
            del values, seen
        for aggregation, total in zip(joint, totals):
            aggregation.set(aggregation.report(total))

    def _results(self, joint: Sequence[Aggregation]) -> Iterator[tuple[int, list[Any], dict]]:
        """Yields every client's number, values and intermediate values, in order."""

        def compute(client: int) -> tuple[int, list[Any], dict]:
            device = self._workers[client % len(self._workers)]
            seen: dict[ClientValue, Any] = {}
            with tf.device(device):
                try:
                    values = [each.source.at(client, device, seen) for each in joint]
                except Exception as error:
                    raise ClientError(client, _reason(error)) from error
            return client, values, seen

        if len(self._workers) == 1 or self.clients < 2:
            yield from map(compute, range(self.clients))
        else:
            yield from self._in_parallel(compute)

    def _in_parallel(self, compute: Callable[[int], Any]) -> Iterator[Any]:
        """Yields `compute(client)` for all clients in order, each computed by its worker."""
        count = len(self._workers)
        threads = [_thread(number, os.getpid()) for number in range(count)]
        waiting: collections.deque[concurrent.futures.Future] = collections.deque()
        try:
            for client in range(self.clients):
                if len(waiting) == _AHEAD_PER_WORKER * count:
                    yield waiting.popleft().result()
                waiting.append(threads[client % count].submit(compute, client))
            while waiting:
                yield waiting.popleft().result()
        except BaseException:  # A client failed, or whoever asks has given up.
            self._is_stopped.set()
            for future in waiting:
                future.cancel()
            concurrent.futures.wait(waiting)
            raise


@functools.cache
def _thread(number: int, process: int) -> concurrent.futures.ThreadPoolExecutor:
    """The thread of a worker, which lasts as long as the process; a fork makes its own.

    TensorFlow and the allocator keep memory for every thread that has called them, so new threads
    in every round would let memory grow with rounds.
    """
    del process  # Only distinguishes forks.
    return concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"worker_{number}")


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, tf.errors.OpError) else str(error) or repr(error)


def copy_to(device: str, value: Any) -> Any:
    """Brings the tensors of a value into the memory of `device`.

    Datasets and strings stay on the CPU, where all devices find them.
    """
    if isinstance(value, (tuple, list)):
        return type(value)(copy_to(device, part) for part in value)
    if not isinstance(value, tf.Tensor) or not (
        value.dtype.is_floating
        or value.dtype.is_integer
        or value.dtype.is_complex
        or value.dtype.is_bool
    ):
        return value
    with tf.device(device):
        return tf.identity(value)


def _nodes(source: ClientValue, stop: Callable[[ClientValue], bool]) -> Iterator[ClientValue]:
    """Yields the client values that `source` needs, itself first, none twice."""
    found = {source}
    waiting = [source]
    while waiting:
        node = waiting.pop()
        yield node
        if not stop(node):
            sources = {each for each in node.sources if isinstance(each, ClientValue)}
            waiting.extend(sources - found)
            found |= sources


def _is_kept(node: ClientValue) -> bool:
    return bool(node.kept)


def _common(source: ClientValue) -> list[ServerValue]:
    """The server values that computing `source` at a client takes."""
    return [
        each
        for node in _nodes(source, _is_kept)
        if not _is_kept(node)
        for each in node.sources
        if isinstance(each, ServerValue)
    ]


def _is_ready(aggregation: Aggregation) -> bool:
    """Whether no other aggregation must come first."""
    waiting = _common(aggregation.source)
    found = set(waiting)
    while waiting:
        value = waiting.pop()
        if isinstance(value, Aggregation) and not value.is_known:
            return False
        waiting.extend(set(value.needs) - found)
        found.update(value.needs)
    return True


def _computed_in_both(now: Sequence[Aggregation], later: Sequence[Aggregation]) -> set[ClientValue]:
    """The client values computed for `now` that `later` takes directly, so as to keep them."""
    computed = {
        node for each in now for node in _nodes(each.source, _is_kept) if not _is_kept(node)
    }
    return {
        node
        for each in later
        for node in _nodes(each.source, lambda node: node in computed or _is_kept(node))
        if node in computed
    }
