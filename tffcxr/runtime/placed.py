"""Values placed at the server and at clients, computed client by client when something needs them.

A TFF computation says what happens to all clients at once. Doing that literally would hold the
results of all clients in memory. Here `federated_map` and its kin only record what to do, and an
aggregation, when its result is needed, walks over the clients once: each client's values are
computed, accumulated in the order of the clients, and dropped. All aggregations (and results that
the caller wants back per client) that can share a walk do, so that nothing is computed twice.

Clients' parts are computed where a `parts.Parts` says: in threads of this process (`threads.py`),
or in other processes (`engine.py`). Whoever computes them is at most two clients ahead of the
accumulation, which bounds memory. No result depends on who was faster.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
import concurrent.futures
import functools
import logging
import threading
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import errors
from tffcxr.runtime import copies, masking

if TYPE_CHECKING:
    from tffcxr.runtime.parts import Parts

_logger = logging.getLogger(__name__)


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
      type_spec: of the value; needed where clients in other processes take it.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        needs: Iterable[ServerValue] = (),
        type_spec: tff.Type | None = None,
    ) -> None:
        self._compute: Callable[..., Any] | None = compute
        self.needs = tuple(needs)
        self.type_spec = type_spec
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
            self._copies[device] = copies.copy_to(device, self._value)
        return self._copies[device]


def known(value: Any, type_spec: tff.Type | None = None) -> ServerValue:
    """A server value that is already known."""
    result = ServerValue(lambda: None, type_spec=type_spec)
    result.set(value)
    return result


class ClientValue:
    """A value at every client, computed for one client at a time.

    Args:
      compute: makes one client's value from the client's number and its values of `sources`.
      sources: what it is computed from; a ServerValue is the same for all clients.
      type_spec: of one client's value; needed where it leaves the client's process.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        sources: Iterable[ClientValue | ServerValue] = (),
        type_spec: tff.Type | None = None,
    ) -> None:
        self._compute = compute
        self.sources = tuple(sources)
        self.type_spec = type_spec
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

    Attributes:
      number: its position among all that were recorded, the same wherever that is done.
      is_collected: whether it is the list of the clients' values, as a result has them.
      summands: what a secure sum takes, leaf by leaf; None of an aggregation in the clear.

    Args:
      walk: computes this value, and others with it; see `Federation`.
      source: what is accumulated.
      zero: makes the accumulator to start from.
      accumulate: makes the next accumulator from the last and one client's value.
      report: makes the result from the last accumulator.
      type_spec: see `ServerValue`.
    """

    def __init__(
        self,
        walk: Callable[[Aggregation], None],
        source: ClientValue,
        zero: Callable[[], Any],
        accumulate: Callable[[Any, Any], Any],
        report: Callable[[Any], Any],
        type_spec: tff.Type | None = None,
    ) -> None:
        super().__init__(lambda: None, type_spec=type_spec)
        self._walk = walk
        self.number = -1
        self.is_collected = False
        self.summands: tuple[masking.Summand, ...] | None = None
        self.source = source
        self.accumulate = accumulate
        self.report = report
        self.zero = zero

    def get(self) -> Any:
        """The value, for which the clients are walked over now unless it is known."""
        if not self.is_known:
            self._walk(self)
        return super().get()

    def set(self, value: Any) -> None:
        """See `ServerValue`; also drops the way to it, so that no cycle keeps clients' values."""
        if not self.is_known:
            del self._walk, self.source, self.accumulate, self.report, self.zero
        super().set(value)


class Walk:
    """One walk over the clients.

    Attributes:
      joint: the aggregations whose sources are wanted of every client.
      later: the aggregations that will need other walks.
    """

    def __init__(self, joint: Sequence[Aggregation], later: Sequence[Aggregation]) -> None:
        self.joint = tuple(joint)
        self.later = tuple(later)
        # Now, before anything is kept: what is kept changes the answer.
        self._kept = _computed_in_both(joint, later)

    def common(self) -> dict[ServerValue, None]:
        """The server values that the clients take, in an order that the computation alone gives."""
        return dict.fromkeys(value for each in self.joint for value in _common(each.source))

    def compute(self, client: int, device: str) -> list[Any]:
        """One client's value for each of `joint`; what later walks take up is kept beside it.

        Raises:
          ClientError: the computation failed at the client.
        """
        seen: dict[ClientValue, Any] = {}
        with tf.device(device):
            try:
                values = [each.source.at(client, device, seen) for each in self.joint]
            except Exception as error:
                raise ClientError(client, reason(error)) from error
        for node in self._kept:
            if node in seen:  # Unless this client was asked before.
                node.kept[client] = seen[node]
        return values


class Federation:
    """The clients of one invocation, and the aggregations over them that nobody asked for yet.

    Args:
      clients: how many there are.
      server: the server's device.
      parts: where the clients' parts are computed; None at a client, which is never asked to walk.
    """

    def __init__(self, clients: int, server: str, parts: Parts | None = None) -> None:
        self.clients = clients
        self.recorded: list[Aggregation] = []
        self._server = server
        self._parts = parts
        self._pending: list[Aggregation] = []
        self._is_stopped = threading.Event()

    def aggregate(
        self,
        source: ClientValue,
        zero: Callable[[], Any],
        accumulate: Callable[[Any, Any], Any],
        report: Callable[[Any], Any],
        type_spec: tff.Type | None = None,
        summands: tuple[masking.Summand, ...] | None = None,
    ) -> Aggregation:
        """Records an aggregation, see there; it happens when its value is needed."""
        result = Aggregation(
            self._walk,
            source,
            zero,
            lambda total, value: accumulate(total, copies.copy_to(self._server, value)),
            report,
            type_spec,
        )
        result.summands = summands
        if summands is not None and self._parts is not None and not self.is_masked:
            _say_in_the_clear()
        return self._record(result)

    @property
    def is_masked(self) -> bool:
        """Whether what clients add to secure sums comes masked."""
        return self._parts is not None and self._parts.masks

    def collect(self, source: ClientValue, export: Callable[[Any], Any]) -> Aggregation:
        """Records that every client's value is wanted, each put through `export`, as a list."""
        result = Aggregation(self._walk, source, list, lambda got, one: [*got, export(one)], list)
        result.is_collected = True
        return self._record(result)

    def _record(self, aggregation: Aggregation) -> Aggregation:
        aggregation.number = len(self.recorded)
        self.recorded.append(aggregation)
        self._pending.append(aggregation)
        return aggregation

    def stop(self) -> None:
        """Has whatever computes a client's part end at its next batch."""
        self._is_stopped.set()

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
        walk = Walk(joint, self._pending)
        for value in walk.common():
            value.get()
        totals = [aggregation.zero() for aggregation in joint]
        for values in self._results(walk):
            for index, aggregation in enumerate(joint):
                totals[index] = aggregation.accumulate(totals[index], values[index])
            del values
        for aggregation, total in zip(joint, totals):
            aggregation.set(aggregation.report(total))

    def _results(self, walk: Walk) -> Iterator[list[Any]]:
        """Yields every client's values, in order, while the lanes are at most `ahead` clients."""
        assert self._parts is not None
        lanes = self._parts.lanes()
        waiting: dict[int, collections.deque[int]] = {}
        for client, lane in enumerate(lanes):
            waiting.setdefault(lane, collections.deque()).append(client)
        room = dict.fromkeys(waiting, self._parts.ahead)
        asked: dict[int, concurrent.futures.Future[Any]] = {}
        try:
            for client in range(self.clients):
                for lane, clients in sorted(waiting.items()):  # The largest is in the first.
                    while clients and room[lane]:
                        asked[clients[0]] = self._parts.ask(clients[0], walk)
                        clients.popleft()
                        room[lane] -= 1
                yield self._parts.values(client, walk, asked.pop(client))
                room[lanes[client]] += 1
        except BaseException:  # A client failed, or whoever asks has given up.
            self.stop()
            self._parts.give_up(list(asked.values()))
            raise


@functools.cache
def _say_in_the_clear() -> None:
    """Says it once in this process."""
    _logger.warning("secure sums are added in the clear: all clients are computed in one process")


def reason(error: Exception) -> str:
    """What an error says, without the operations of a graph."""
    return error.message if isinstance(error, tf.errors.OpError) else str(error) or repr(error)


def _nodes(source: ClientValue, stop: Callable[[ClientValue], bool]) -> Iterator[ClientValue]:
    """Yields the client values that `source` needs, itself first, none twice."""
    found = {source}
    waiting = [source]
    while waiting:
        node = waiting.pop()
        yield node
        if not stop(node):
            for each in node.sources:
                if isinstance(each, ClientValue) and each not in found:
                    found.add(each)
                    waiting.append(each)


def _is_kept(node: ClientValue) -> bool:
    return bool(node.kept)


def _common(source: ClientValue) -> list[ServerValue]:
    """The server values that computing `source` at a client takes."""
    return [
        each
        for node in _nodes(source, lambda _: False)
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


def _computed_in_both(
    now: Sequence[Aggregation], later: Sequence[Aggregation]
) -> list[ClientValue]:
    """The client values computed for `now` that `later` takes directly, so as to keep them."""
    computed = {
        node for each in now for node in _nodes(each.source, _is_kept) if not _is_kept(node)
    }
    return list(
        dict.fromkeys(
            node
            for each in later
            for node in _nodes(each.source, lambda node: node in computed or _is_kept(node))
            if node in computed
        )
    )
