"""Clients' parts of a computation that are computed in other processes: the coordinator's side.

A round is one TFF computation. Both sides evaluate its compiled form: the coordinator for all but
the clients' values, a worker (`client_part.py`) for some clients' values alone. For each client and
each walk over the clients the coordinator asks one question, a `Task`, and the answer has what the
aggregations take, and nothing else of the client's values:

    coordinator ── computation (once), server values (once per walk), task (per client) ──► worker
    coordinator ◄── one client's values for the aggregations of the walk ────────────────── worker

Values travel as in `messages.py`, counted rather than named: both sides record the aggregations of
a computation, and find the server values that clients take, in the same order. How the messages
travel is an `Engine`'s business.

What secure sums take is masked (`masking.py`): before, the coordinator asks each worker for a key
of this invocation, by a task without a walk, and relays the keys. A worker that takes over
another's task has no such key; the computation is begun again then.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
import concurrent.futures
import dataclasses
import functools
import hashlib
from typing import Any, Protocol
import uuid

import tensorflow_federated as tff

from tffcxr.runtime import messages, parts, placed, sequences, values

NO_KEY = "its worker has another key for the masks"
_AHEAD = 2
_CPU = "/CPU:0"


@dataclasses.dataclass(frozen=True)
class Computation:
    """A computation that workers are asked to compute parts of.

    Attributes:
      name: the SHA-256 of the computation as it was before it was compiled.
      content: its compiled form, a serialized `computation_pb2.Computation`.
    """

    name: str
    content: bytes


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker is to compute, as plain values.

    Attributes:
      computation: the name of a `Computation`.
      invocation: a name of this call of it.
      walks: for every walk over the clients so far, the numbers of its aggregations; the values for
        those of the last one are wanted. Without any, the worker's key for this invocation is.
      later: the numbers of the aggregations that will need other walks.
      client: its position in the computation's argument.
      argument: what the client and nobody has of the argument, a message.
      keys: the public key of each client's worker, in hexadecimal digits, where the walk has secure
        sums; otherwise none.
    """

    computation: str
    invocation: str
    walks: tuple[tuple[int, ...], ...]
    later: tuple[int, ...]
    client: int
    argument: messages.Packed
    keys: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a worker has computed.

    Attributes:
      content: a value for each aggregation of the last walk, a message; empty if the
        computation failed at the client. Of a task without a walk, the key as its head.
      failed: why, in one line; empty if it did not.
    """

    content: messages.Packed
    failed: str = ""


class Engine(Protocol):
    """How workers are reached. Its calls come from one thread per invocation."""

    def lanes(self, sizes: Sequence[int]) -> Sequence[int]:
        """Deals clients to workers.

        Args:
          sizes: of the clients, in images.

        Returns:
          The number of each client's worker.
        """

    def share(self, content: messages.Packed) -> Hashable:
        """Makes server values available to all workers; the result stands for them in `ask`."""

    def ask(
        self, lane: int, computation: Computation, task: Task, shared: Sequence[Any]
    ) -> concurrent.futures.Future[Answer]:
        """Has a task done by the worker of a lane, or by another if that one is lost.

        Args:
          lane: of the client, see `lanes`.
          computation: that of the task; to be sent where it is not known yet.
          task: what to compute.
          shared: what `share` has made of the server values of each of the task's walks.
        """

    def forget(self, invocation: str) -> None:
        """Ends an invocation: workers drop its values and whatever of it they still compute."""


def deal(sizes: Sequence[int], workers: int) -> list[int]:
    """Deals clients to workers: the largest first, each to the one that has least to do by then.

    Args:
      sizes: of the clients.
      workers: how many there are.

    Returns:
      The number of each client's worker.
    """
    load = [0] * workers
    lanes = [0] * len(sizes)
    for client in sorted(range(len(sizes)), key=lambda client: (-sizes[client], client)):
        lanes[client] = min(range(workers), key=lambda worker: (load[worker], worker))
        load[lanes[client]] += max(1, sizes[client])
    return lanes


class RemoteParts:
    """A `parts.Parts` of clients that an engine's workers compute.

    Args:
      engine: reaches the workers.
      comp: the computation.
      compiled: its compiled form.
      argument: as `values.ingest` has made it.
      clients: how many there are.
    """

    masks = True

    def __init__(
        self,
        engine: Engine,
        comp: tff.Computation,
        compiled: tff.framework.ComputationBuildingBlock,
        argument: Any,
        clients: int,
    ) -> None:
        self._engine = engine
        self._comp = comp
        self._compiled = compiled
        self._argument = argument
        self._lanes = list(engine.lanes(parts.sizes_of(clients))) if clients else []
        self._invocation = uuid.uuid4().hex
        self._walks: list[placed.Walk] = []
        self._shared: list[Any] = []
        self._sent: set[placed.ServerValue] = set()
        self._keys: tuple[str, ...] = ()

    @property
    def ahead(self) -> int:
        """See `parts.Parts`."""
        return _AHEAD

    def lanes(self) -> Sequence[int]:
        """See `parts.Parts`."""
        return self._lanes

    def ask(self, client: int, walk: placed.Walk) -> concurrent.futures.Future[list[Any]]:
        """See `parts.Parts`."""
        if not self._walks or self._walks[-1] is not walk:
            self._share(walk)
        try:
            argument = values.of_client(self._argument, client, _CPU)
            content = messages.encode_all(argument, types_of_client(self._compiled))
        except Exception as error:
            raise placed.ClientError(client, placed.reason(error)) from error
        task = Task(
            self._computation.name,
            self._invocation,
            tuple(tuple(each.number for each in one.joint) for one in self._walks),
            tuple(each.number for each in walk.later),
            client,
            content,
            self._keys_of_workers() if _has_secure_sums(walk) else (),
        )
        asked = self._engine.ask(self._lanes[client], self._computation, task, tuple(self._shared))
        return _read(asked, client, walk)

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
        self.close()

    def _keys_of_workers(self) -> tuple[str, ...]:
        """The key of each client's worker, see `Task`.

        Raises:
          parts.MasksLostError: a worker has none to give.
        """
        if not self._keys:
            first = {lane: client for client, lane in reversed(list(enumerate(self._lanes)))}
            asked = {}
            for lane, client in sorted(first.items()):
                task = Task(
                    self._computation.name, self._invocation, (), (), client, messages.NOTHING
                )
                asked[lane] = self._engine.ask(lane, self._computation, task, ())
            found = {lane: future.result() for lane, future in asked.items()}
            if any(answer.failed for answer in found.values()):
                raise parts.MasksLostError
            self._keys = tuple(found[lane].content.head.hex() for lane in self._lanes)
        return self._keys

    def close(self) -> None:
        """See `parts.Parts`."""
        if self._walks:
            self._engine.forget(self._invocation)
        self._walks, self._shared, self._argument = [], [], None
        self._sent.clear()

    @functools.cached_property
    def _computation(self) -> Computation:
        return _as_sent(self._comp, self._compiled)

    def _share(self, walk: placed.Walk) -> None:
        """Makes the server values of a walk available that no walk before it has needed."""
        new = [value for value in walk.common() if value not in self._sent]
        content = messages.encode_all(
            [value.get() for value in new], [value.type_spec for value in new]
        )
        self._shared.append(self._engine.share(content))
        self._sent.update(new)
        self._walks.append(walk)


def _has_secure_sums(walk: placed.Walk) -> bool:
    return any(each.summands is not None for each in walk.joint)


def types_of_client(compiled: tff.framework.ComputationBuildingBlock) -> list[tff.Type]:
    """The types of what `values.of_client` finds in the argument of a computation."""
    return _types_of_client(compiled.type_signature.parameter)


def _types_of_client(type_spec: tff.Type | None) -> list[tff.Type]:
    if type_spec is None:
        return []
    if isinstance(type_spec, tff.FederatedType):
        return [] if type_spec.all_equal else [type_spec.member]
    if isinstance(type_spec, tff.StructType):
        return [
            found
            for element in sequences.element_types(type_spec)
            for found in _types_of_client(element)
        ]
    return [type_spec]


@functools.lru_cache(maxsize=32)
def _as_sent(
    comp: tff.Computation, compiled: tff.framework.ComputationBuildingBlock
) -> Computation:
    original = tff.framework.serialize_computation(comp).SerializeToString(deterministic=True)
    return Computation(
        hashlib.sha256(original).hexdigest(), compiled.proto.SerializeToString(deterministic=True)
    )


def _read(
    asked: concurrent.futures.Future[Answer], client: int, walk: placed.Walk
) -> concurrent.futures.Future[list[Any]]:
    """The values in an answer that is to come."""
    result: concurrent.futures.Future[list[Any]] = concurrent.futures.Future()

    def read(done: concurrent.futures.Future[Answer]) -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            answer = done.result()
            if answer.failed == NO_KEY:
                raise parts.MasksLostError
            if answer.failed:
                raise placed.ClientError(client, answer.failed)
            types = [each.source.type_spec for each in walk.joint]
            result.set_result(messages.decode_all(answer.content, types))
        except BaseException as error:  # noqa: BLE001  Whatever it is, it is for who waits.
            result.set_exception(error)

    asked.add_done_callback(read)
    return result
