"""What a hospital computes, and what it is computed from, in the forms of runtime and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_federated as tff

from tffcxr.hospitals import masked_fields, questions, values_as_fields, wire
from tffcxr.hospitals.serving import ClientTurn
from tffcxr.hospitals.work import CannotError
from tffcxr.learning import process
from tffcxr.runtime import computation_ids, masking


class Part:
    """What a client's part of a walk sends: as it is, and what secure sums take of it masked."""

    def __init__(self) -> None:
        self._fields: list[wire.Field] = []
        self._secure: dict[int, masking.Summand] = {}

    def add(self, fields: Sequence[wire.Field], summands: Sequence[masking.Summand] | None) -> None:
        """Adds what an aggregation takes.

        Args:
          fields: its leaves.
          summands: see `placed.Aggregation`.
        """
        start = len(self._fields)
        self._fields += fields
        if summands is not None:
            self._secure.update({start + place: each for place, each in enumerate(summands)})

    def fields(self, pairs: Sequence[masking.Pair]) -> tuple[wire.Field, ...]:
        """The fields of the answer.

        Args:
          pairs: see `masks.Masks.agree`; none where no masks were agreed on.

        Raises:
          CannotError: there is something to mask, and nothing to mask it with.
        """
        if not self._secure:
            return tuple(self._fields)
        if not pairs:
            raise CannotError(
                questions.NOT_MASKED,
                "expected the hospitals whose masks hide this one's part of a secure sum, found "
                "none in the question",
            )
        found = list(self._fields)
        values = [found[place].array for place in self._secure]
        moduli = [summand.modulus for summand in self._secure.values()]
        clients = len(pairs) + 1
        for (place, summand), array in zip(
            self._secure.items(), masking.masked(values, moduli, pairs)
        ):
            field = wire.Field(found[place].name, array)
            found[place] = masked_fields.sent(field, summand, clients)
        return tuple(found)


def computation(stage_process: process.FederatedProcess, wanted: str) -> tff.Computation:
    """The computation of an id, which this hospital has built itself."""
    known = {
        computation_ids.computation_id(comp): comp
        for comp in (stage_process.next, stage_process.recompute)
        if comp is not None
    }
    if wanted not in known:
        raise CannotError(
            questions.OTHER_COMPUTATION,
            f"expected the computation {' or '.join(k[:12] for k in known)}, which this hospital "
            f"has built of the study's settings, found {wanted[:12]}: the coordinator's programs "
            "or packages are others",
        )
    return known[wanted]


def turn(fields: Sequence[wire.Field]) -> ClientTurn:
    """What a client's metrics say, see `FederatedProcess.next`."""
    found = {field.name.rpartition("/")[2]: float(field.array) for field in fields}
    return ClientTurn(int(found["images"]), found["labels"], found["loss"])


def data_type(block: Any) -> tff.SequenceType:
    """The type of a client's batches in a compiled computation."""
    for _, element in tff.structure.iter_elements(block.type_signature.parameter):
        if isinstance(element, tff.FederatedType) and not element.all_equal:
            return element.member["data"]
    raise TypeError(f"expected clients that bring data, found {block.type_signature}")


def packed(arrays: Sequence[np.ndarray], type_spec: tff.Type) -> Any:
    """The value of a type with these arrays, in the form of `runtime.interpreter`."""
    return values_as_fields.values([wire.Field("state", each) for each in arrays], [type_spec])[0]


def named(value: Any, type_spec: tff.Type) -> dict[str, Any]:
    """The elements of a struct, by name, as arrays."""
    names = [name for name, _ in tff.structure.iter_elements(type_spec)]
    return {name: values_as_fields.flat(part) for name, part in zip(names, value)}


def with_shared(stage_process: process.FederatedProcess, fields: Sequence[wire.Field]) -> Any:
    """A server state with the shared weights of a message, see `shared_fields`."""
    groups = stage_process.partition.server_weights(stage_process.partition.weights)
    waiting = iter(fields)
    found: dict[str, list[np.ndarray]] = {}
    for group, of_group in groups.items():
        found[group] = []
        for expected in of_group:
            field = next(waiting, None)
            if field is None or field.array.shape != expected.shape:
                raise wire.MessageError(
                    f"expected shared weights of shape {expected.shape}, found "
                    f"{'none' if field is None else field.array.shape}"
                )
            found[group].append(field.array)
    if next(waiting, None) is not None:
        raise wire.MessageError("expected the shared weights of the model, found more")
    return {"weights": found}
