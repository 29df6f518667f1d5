"""What an attacker of a rehearsal does to its update before it sends it."""

from __future__ import annotations

import collections

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

# A factor, the length of noise relative to that of the update, and the noise's seed.
TYPE = tff.StructWithPythonType(
    [
        ("factor", tff.TensorType(np.float32)),
        ("noise", tff.TensorType(np.float32)),
        ("seed", tff.TensorType(np.int64, [2])),
    ],
    collections.OrderedDict,
)


def value(
    factor: float, noise: float, seed: tuple[int, int]
) -> collections.OrderedDict[str, np.ndarray]:
    """A value of `TYPE`; the factor 1 and no noise leave an update as it is, bit for bit."""
    return collections.OrderedDict(
        factor=np.float32(factor), noise=np.float32(noise), seed=np.array(seed, np.int64)
    )


def build(train: tff.Computation) -> tff.Computation:
    """A client's turn, whose update is tampered with.

    Args:
      train: `(<W, <state=C, data=B*>> -> <update=U, client=C, metrics=M>)`.

    Returns:
      `(<W, <state=C, data=B*, tampering=TYPE>> -> <update=U, client=C, metrics=M>)`.
    """
    weights_type, client_type = train.type_signature.parameter
    tamper = build_of_update(train.type_signature.result["update"])
    attacker_type = tff.StructWithPythonType(
        [*tff.structure.iter_elements(client_type), ("tampering", TYPE)], collections.OrderedDict
    )

    @tff.federated_computation(weights_type, attacker_type)
    def turn(weights, client):
        honest = collections.OrderedDict(state=client["state"], data=client["data"])
        result = train(weights, honest)
        return collections.OrderedDict(
            update=tamper(result["update"], client["tampering"]),
            client=result["client"],
            metrics=result["metrics"],
        )

    return turn


def build_of_update(update_type: tff.Type) -> tff.Computation:
    """`(<U, TYPE> -> U)`: the update times the factor, plus Gaussian noise."""

    @tff.tensorflow.computation(update_type, TYPE)
    def tamper(update, tampering):
        flat = tf.nest.flatten(update)
        size = sum(part.shape.num_elements() for part in flat)
        deviation = tampering["noise"] * tf.linalg.global_norm(flat) / max(size, 1) ** 0.5
        is_honest = tf.logical_and(tampering["factor"] == 1.0, tampering["noise"] == 0.0)

        def tampered(place: int, part: tf.Tensor) -> tf.Tensor:
            noise = tf.random.stateless_normal(part.shape, tampering["seed"] + place)
            return tf.where(is_honest, part, tampering["factor"] * part + deviation * noise)

        return tf.nest.pack_sequence_as(
            update, [tampered(place, part) for place, part in enumerate(flat)]
        )

    return tamper
