"""A worker: computes clients' parts of computations for a coordinator in another process.

It evaluates the compiled computation as the coordinator does (`engine.py`), with server values that
arrive instead of being computed. What walks over the clients take up from earlier ones is kept here
until the invocation ends; whoever is asked for a later walk alone computes it again.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence
import itertools
import threading
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import (
    engine,
    graphs,
    interpreter,
    messages,
    placed,
    private_apis,
    sequences,
    values,
    worker_keys,
)

_REMEMBERED = 64  # Invocations that have ended, whose tasks may still wait in a queue.


class ClientPart:
    """A worker. `answer` and `load` are called by one thread, `forget` by any.

    Args:
      device: the name of a TensorFlow device, such as "/CPU:0".
      functions: the TensorFlow graphs known so far.
    """

    def __init__(self, device: str, functions: graphs.GraphFunctions) -> None:
        self._device = device
        self._functions = functions
        self._computations: dict[str, tff.framework.ComputationBuildingBlock] = {}
        self._invocations: dict[str, Invocation] = {}
        self._keys: dict[str, worker_keys.WorkerKey] = {}
        self._ended: collections.deque[str] = collections.deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def load(self, computation: engine.Computation) -> None:
        """Gets to know a computation that tasks will name."""
        if computation.name not in self._computations:
            proto = private_apis.computation_pb2.Computation.FromString(computation.content)
            block = tff.framework.ComputationBuildingBlock.from_proto(proto)
            self._computations[computation.name] = block

    def answer(self, task: engine.Task, shared: Sequence[messages.Packed]) -> engine.Answer:
        """Does a task.

        Args:
          task: what to compute; its computation must be known.
          shared: the server values of each of its walks, as `messages.encode_all` makes them.

        Raises:
          TypeError: values that arrive are of other types than the computation's.
        """
        with self._lock:
            if task.invocation in self._ended:
                return engine.Answer(messages.NOTHING, "the computation was given up")
            if not task.walks:
                key = self._keys.setdefault(task.invocation, worker_keys.WorkerKey())
                return engine.Answer(messages.Packed(key.public, ()))
            pairs = worker_keys.pairs_of(self._keys.get(task.invocation), task)
            if pairs is None:
                return engine.Answer(messages.NOTHING, engine.NO_KEY)
            if task.invocation not in self._invocations:
                block = self._computations[task.computation]
                invocation = Invocation(block, self._device, self._functions)
                self._invocations[task.invocation] = invocation
            invocation = self._invocations[task.invocation]
        own = messages.decode_all(task.argument, invocation.types)
        try:
            found = invocation.compute(task.walks, task.later, task.client, own, shared)
        except placed.ClientError as error:
            return engine.Answer(messages.NOTHING, error.reason)
        types = [each.source.type_spec for each, _ in found]
        return engine.Answer(messages.encode_all(worker_keys.masked(found, pairs), types))

    def forget(self, invocation: str) -> None:
        """Ends an invocation, also while a client's part of it is computed."""
        with self._lock:
            self._ended.append(invocation)
            found = self._invocations.pop(invocation, None)
            self._keys.pop(invocation, None)
        if found is not None:
            found.federation.stop()
            found.federation.recorded.clear()  # Which would keep each other alive.


class Invocation:
    """What a worker has of one call of a computation.

    Args:
      block: its compiled form.
      device: the name of a TensorFlow device.
      functions: the TensorFlow graphs known so far.
      read: makes the server values of given types from what arrives for a walk.

    Attributes:
      federation: records what happens at the clients.
      types: of what one client and nobody has of the argument, see `engine.types_of_client`.
    """

    def __init__(
        self,
        block: tff.framework.ComputationBuildingBlock,
        device: str,
        functions: graphs.GraphFunctions,
        read: Callable[[Any, Sequence[tff.Type | None]], list[Any]] = messages.decode_all,
    ) -> None:
        self.federation = placed.Federation(0, device)
        self.types = engine.types_of_client(block)
        self._block = block
        self._device = device
        self._functions = functions
        self._read = read
        self._own: dict[int, list[Any]] = {}
        self._is_recorded = False
        self._walks: list[placed.Walk] = []
        self._received: set[placed.ServerValue] = set()

    def compute(
        self,
        walks: Sequence[Sequence[int]],
        later: Sequence[int],
        client: int,
        own: list[Any],
        shared: Sequence[Any],
    ) -> list[tuple[placed.Aggregation, Any]]:
        """Computes a client's part of a walk.

        Args:
          walks: see `engine.Task`, as the next two.
          later: numbers of aggregations.
          client: any number that is the client's in all walks.
          own: its values of the argument, of `types`.
          shared: for each walk, what `read` takes.

        Returns:
          The aggregations of the last walk, each with the client's value for it.

        Raises:
          placed.ClientError: the computation failed at the client.
          TypeError: server values are of other types than the computation's.
        """
        self._own[client] = own
        try:
            if not self._is_recorded:
                self._record(own)
            for index in range(len(self._walks), len(walks)):
                is_last = index == len(walks) - 1
                self._receive(walks[index], later if is_last else (), shared[index])
            walk = self._walks[-1]
            return list(zip(walk.joint, walk.compute(client, self._device)))
        finally:
            del self._own[client]

    def _record(self, own: Sequence[Any]) -> None:
        """Evaluates the computation, which records what happens at the clients."""
        type_signature = self._block.type_signature
        with tf.device(self._device):
            argument = None
            if type_signature.parameter is not None:
                argument = self._placeholders(type_signature.parameter, itertools.count(), own)
            run = interpreter.Interpreter(self._functions, self.federation)
            result = run.evaluate(self._block, {})(argument)
            values.request(result, type_signature.result, self.federation)
        self._is_recorded = True

    def _placeholders(self, type_spec: tff.Type, numbers: Iterator[int], own: Sequence[Any]) -> Any:
        """The argument as `values.ingest` makes it, with values that are to come."""
        if isinstance(type_spec, tff.StructType):
            return tuple(
                self._placeholders(element, numbers, own)
                for element in sequences.element_types(type_spec)
            )
        if not isinstance(type_spec, tff.FederatedType):
            return own[next(numbers)]
        if type_spec.all_equal:
            return placed.ServerValue(_unknown, (), type_spec.member)
        number = next(numbers)
        return placed.ClientValue(lambda client: self._own[client][number], (), type_spec.member)

    def _receive(self, joint: Sequence[int], later: Sequence[int], shared: Any) -> None:
        """Takes over the server values of a walk that begins."""
        recorded = self.federation.recorded
        walk = placed.Walk([recorded[n] for n in joint], [recorded[n] for n in later])
        new = [value for value in walk.common() if value not in self._received]
        for value, found in zip(new, self._read(shared, [v.type_spec for v in new])):
            value.set(found)
        self._received.update(new)
        self._walks.append(walk)


def _unknown() -> Any:
    raise AssertionError("a value at the server was needed at a client")
