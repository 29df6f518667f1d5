"""TFF's secure sums, as aggregations that say how the values of clients may be masked.

Where all clients are computed in one process, the values are added as they are. Who computes a
client elsewhere may mask what it sends (`masking.py`): the arithmetic here is modulo the same
number, so that the sum has the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.errors import RunError
from tffcxr.runtime import masking, placed, sequences

Value = Any


def summed(federation: placed.Federation, argument: Value, result: tff.Type) -> placed.ServerValue:
    """`federated_secure_sum`: `<{V}@CLIENTS, M> -> V@SERVER`; M is the largest value."""
    source, most = argument
    return _summed(federation, source, _leaves(most, result.member), result)


def summed_bitwidth(
    federation: placed.Federation, argument: Value, result: tff.Type
) -> placed.ServerValue:
    """`federated_secure_sum_bitwidth`: `<{V}@CLIENTS, B> -> V@SERVER`; B is a number of bits."""
    source, bits = argument
    most = [(1 << each) - 1 for each in _leaves(bits, result.member)]
    return _summed(federation, source, most, result)


def summed_modulo(
    federation: placed.Federation, argument: Value, result: tff.Type
) -> placed.ServerValue:
    """`federated_secure_modular_sum`: `<{V}@CLIENTS, M> -> V@SERVER`; M is the modulus."""
    source, modulus = argument
    moduli = _leaves(modulus, result.member)

    def remainders(_: int, value: Value) -> Value:
        leaves = [
            tf.math.floormod(leaf, tf.cast(of_leaf, leaf.dtype))
            for leaf, of_leaf in zip(tf.nest.flatten(value), moduli)
        ]
        return tf.nest.pack_sequence_as(value, leaves)

    def add(total: Value, value: Value) -> Value:
        leaves = [
            tf.constant(masking.added_modulo(a.numpy(), b.numpy(), of_leaf))
            for a, b, of_leaf in zip(tf.nest.flatten(total), tf.nest.flatten(value), moduli)
        ]
        return tf.nest.pack_sequence_as(total, leaves)

    return federation.aggregate(
        placed.ClientValue(remainders, [source], result.member),
        lambda: sequences.zeros(result.member),
        add,
        lambda total: total,
        result.member,
        summands=tuple(masking.Summand(each - 1, each) for each in moduli),
    )


def _summed(
    federation: placed.Federation, source: Value, most: list[int], result: tff.Type
) -> placed.ServerValue:
    """The sum of values whose leaves are from 0 to a limit."""
    summands = tuple(map(masking.Summand, most))

    def checked(_: int, value: Value) -> Value:
        for leaf, limit in zip(tf.nest.flatten(value), most):
            least, largest = _range(leaf)
            if not 0 <= least <= largest <= limit:
                found = f"{least} to {largest}"
                raise ValueError(f"a secure sum takes values from 0 to {limit}, found {found}")
        return value

    def report(total: Value) -> Value:
        if federation.is_masked:
            total = _lowest_bytes(total, summands, federation.clients)
        for leaf, limit in zip(tf.nest.flatten(total), most):
            least, largest = _range(leaf)
            if not 0 <= least <= largest <= limit * federation.clients:
                raise RunError(
                    f"a secure sum of {federation.clients} clients is below 0 or larger than "
                    f"{limit} for each: the masks of one do not cancel, or it has sent other "
                    "values; the same command tries the round again"
                )
        return total

    return federation.aggregate(
        placed.ClientValue(checked, [source], result.member),
        lambda: sequences.zeros(result.member),
        lambda total, value: tf.nest.map_structure(tf.add, total, value),
        report,
        result.member,
        summands=summands,
    )


def _lowest_bytes(total: Value, summands: Sequence[masking.Summand], clients: int) -> Value:
    """A sum of values of which as many bytes were sent as `masking.Summand.width` says."""
    leaves = []
    for leaf, summand in zip(tf.nest.flatten(total), summands):
        array = leaf.numpy()
        size = summand.width(array.dtype, clients)
        narrow = masking.narrowed(array, size)
        leaves.append(tf.constant(masking.widened(narrow, array.dtype, array.shape)))
    return tf.nest.pack_sequence_as(total, leaves)


def _leaves(value: Value, member: tff.Type) -> list[int]:
    """A whole number for each leaf of a type, from one for each or one for all."""
    found = [int(leaf) for leaf in tf.nest.flatten(value)]
    count = len(tf.nest.flatten(sequences.zeros(member)))
    return found * count if len(found) == 1 else found


def _range(leaf: tf.Tensor) -> tuple[int, int]:
    """The least and the largest value; 0 where there is none."""
    if not leaf.shape.num_elements():
        return 0, 0
    return int(tf.reduce_min(leaf)), int(tf.reduce_max(leaf))
