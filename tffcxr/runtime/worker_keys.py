"""The keys by which the workers of an engine mask what secure sums take, see `masking.py`.

All workers belong to who runs the program, which also decides what they compute: the masks keep the
updates of single clients out of the program that coordinates, and out of the messages to it. They
do not protect from its user.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
import tensorflow as tf

from tffcxr.runtime import engine, masking, placed

_SECRET_BYTES = 32


class WorkerKey:
    """A worker's key for one invocation: an X25519 key (RFC 7748), and a secret of its own.

    Attributes:
      public: 32 bytes.
    """

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self._own = secrets.token_bytes(_SECRET_BYTES)
        self.public = self._private.public_key().public_bytes_raw()

    def secret_with(self, public: bytes) -> bytes:
        """What two clients share; of the same worker, its own secret."""
        if public == self.public:
            return self._own
        return self._private.exchange(X25519PublicKey.from_public_bytes(public))


def pairs_of(key: WorkerKey | None, task: engine.Task) -> list[masking.Pair] | None:
    """What masks a client's part of a walk; None if that needs another key than the worker has."""
    if not task.keys:
        return []
    if key is None or task.keys[task.client] != key.public.hex():
        return None
    pairs = []
    for other, public in enumerate(task.keys):
        if other != task.client:
            both = sorted([task.client, other])
            context = json.dumps([task.computation, task.invocation, task.walks, task.keys, both])
            secret = key.secret_with(bytes.fromhex(public))
            pairs.append(
                masking.Pair(masking.pair_key(secret, context.encode()), task.client < other)
            )
    return pairs


def masked(
    found: Sequence[tuple[placed.Aggregation, Any]], pairs: Sequence[masking.Pair]
) -> list[Any]:
    """A client's value for each aggregation, masked where that is a secure sum.

    Args:
      found: as `client_part.Invocation.compute` returns it.
      pairs: see `pairs_of`.
    """
    values = [value for _, value in found]
    leaves = [
        (place, leaf, summand.modulus)
        for place, (aggregation, value) in enumerate(found)
        if aggregation.summands is not None
        for leaf, summand in zip(tf.nest.flatten(value), aggregation.summands)
    ]
    arrays = masking.masked(
        [leaf.numpy() for _, leaf, _ in leaves], [modulus for *_, modulus in leaves], pairs
    )
    for place in {place for place, *_ in leaves}:
        mine = [array for (where, *_), array in zip(leaves, arrays) if where == place]
        values[place] = tf.nest.pack_sequence_as(values[place], mine)
    return values
