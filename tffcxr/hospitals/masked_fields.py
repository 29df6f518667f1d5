"""What an aggregation takes of each client, on its way from a hospital.

Of each integer of a secure sum, the lowest bytes that the sum needs: see `masking.Summand`.
"""

from __future__ import annotations

from collections.abc import Iterator
import math
from typing import Any

import numpy as np
import tensorflow_federated as tff

from tffcxr.hospitals import values_as_fields, wire
from tffcxr.runtime import masking, placed


def type_of(aggregation: placed.Aggregation) -> tff.Type:
    """The type of what an aggregation takes of each client."""
    found = aggregation.source.type_spec
    assert found is not None  # The interpreter gives one to every placed value.
    return found


def sent_type(aggregation: placed.Aggregation, clients: int) -> tff.Type:
    """The type of what comes of each client.

    Args:
      aggregation: that takes it.
      clients: whose parts are added.
    """
    of_value = type_of(aggregation)
    if aggregation.summands is None:
        return of_value
    return tff.StructType(
        [
            (None, tff.TensorType(np.uint8, [math.prod(shape), summand.width(dtype, clients)]))
            for (dtype, shape), summand in zip(_leaves(of_value), aggregation.summands)
        ]
    )


def sent(field: wire.Field, summand: masking.Summand, clients: int) -> wire.Field:
    """What is sent of masked integers."""
    size = summand.width(field.array.dtype, clients)
    return wire.Field(field.name, masking.narrowed(field.array, size))


def received(aggregation: placed.Aggregation, value: Any) -> Any:
    """The value that a client's part has in an aggregation, from one of `sent_type`."""
    if aggregation.summands is None:
        return value
    of_value = type_of(aggregation)
    fields = [
        wire.Field("update", masking.widened(narrow.numpy(), dtype, shape))
        for narrow, (dtype, shape) in zip(value, _leaves(of_value))
    ]
    return values_as_fields.value(iter(fields), of_value)


def _leaves(type_spec: tff.Type) -> Iterator[tuple[np.dtype, tuple[int, ...]]]:
    """The type and the shape of each tensor, in order."""
    if isinstance(type_spec, tff.StructType):
        for _, element in tff.structure.iter_elements(type_spec):
            yield from _leaves(element)
    else:
        assert isinstance(type_spec, tff.TensorType)
        yield np.dtype(type_spec.dtype.type), tuple(type_spec.shape)
