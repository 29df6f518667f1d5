"""Which weights of a Keras model leave the client, and in what role.

Every weight of a model belongs to exactly one group:

    group               moves by                          leaves the client
    ------------------  --------------------------------  -------------------------
    shared_trainable    gradient steps                    yes, averaged every round
    shared_statistics   batch-norm moving averages        yes, averaged or recomputed
    shared_constants    nothing (layers that are frozen)  no, it came from the server
    private_trainable   gradient steps                    never
    private_other       batch-norm moving averages        never
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import enum

import numpy as np
import tensorflow as tf


class Group(enum.Enum):
    """The role of one weight, see the module's table."""

    SHARED_TRAINABLE = "shared_trainable"
    SHARED_STATISTICS = "shared_statistics"
    SHARED_CONSTANTS = "shared_constants"
    PRIVATE_TRAINABLE = "private_trainable"
    PRIVATE_OTHER = "private_other"


@dataclasses.dataclass(frozen=True)
class Weight:
    """One weight of a model.

    Attributes:
      layer: name of the top-level layer that owns it.
      name: the weight's own name, such as "conv1/kernel:0".
      shape: its static shape.
      dtype: its dtype's name.
      group: its role in a round.
    """

    layer: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    group: Group


@dataclasses.dataclass(frozen=True)
class WeightPartition:
    """The weights of a model in the order of `model.weights`, each with its group."""

    weights: tuple[Weight, ...]

    @classmethod
    def of(cls, model: tf.keras.Model, private_layers: Iterable[str]) -> WeightPartition:
        """Partitions a model's weights by layer.

        Args:
          model: a built model; `layer.trainable` decides what is frozen.
          private_layers: names of the top-level layers whose weights stay at the client.

        Raises:
          ValueError: a private layer is not in the model, or a weight is owned by no layer.
        """
        private = frozenset(private_layers)
        missing = private - {layer.name for layer in model.layers}
        if missing:
            raise ValueError(f"private layers {sorted(missing)} are not layers of {model.name!r}")
        owner = {id(w): layer for layer in model.layers for w in layer.weights}
        trainable = {id(w) for w in model.trainable_weights}
        weights = []
        for weight in model.weights:
            layer = owner[id(weight)]
            group = _group(layer, id(weight) in trainable, layer.name in private)
            weights.append(
                Weight(layer.name, weight.name, tuple(weight.shape), weight.dtype.name, group)
            )
        return cls(tuple(weights))

    def indices(self, group: Group) -> tuple[int, ...]:
        """Positions in `model.weights` of the weights of one group."""
        return tuple(i for i, weight in enumerate(self.weights) if weight.group is group)

    def select(self, values: Sequence, group: Group) -> tuple:
        """Picks one group's entries out of `values`, which follow `model.weights`."""
        return tuple(values[i] for i in self.indices(group))

    def merge(self, groups: Mapping[Group, Sequence]) -> list:
        """Puts the entries of all groups back into the order of `model.weights`."""
        merged: list = [None] * len(self.weights)
        for group in Group:
            indices = self.indices(group)
            if len(indices) != len(groups[group]):
                raise ValueError(
                    f"{group.value}: expected {len(indices)} weights, found {len(groups[group])}"
                )
            for index, value in zip(indices, groups[group]):
                merged[index] = value
        return merged

    def check_values(self, values: Sequence[np.ndarray]) -> None:
        """Raises ValueError unless `values` have the shapes of the model's weights."""
        if len(values) != len(self.weights):
            raise ValueError(f"expected {len(self.weights)} weights, found {len(values)}")
        for weight, value in zip(self.weights, values):
            if tuple(np.shape(value)) != weight.shape:
                raise ValueError(
                    f"{weight.name}: expected shape {weight.shape}, found {np.shape(value)}"
                )


def _group(layer: tf.keras.layers.Layer, is_trainable: bool, is_private: bool) -> Group:
    if is_private:
        return Group.PRIVATE_TRAINABLE if is_trainable else Group.PRIVATE_OTHER
    if is_trainable:
        return Group.SHARED_TRAINABLE
    # A non-trainable weight of a layer that trains is a running statistic; a frozen layer
    # (`trainable=False`) runs in inference mode and changes nothing.
    return Group.SHARED_STATISTICS if layer.trainable else Group.SHARED_CONSTANTS


def batch_norm_layers(model: tf.keras.Model) -> tuple[str, ...]:
    """Names of the model's top-level batch-normalisation layers.

    Keeping these private is FedBN (Li et al., "FedBN: Federated Learning on Non-IID Features via
    Local Batch Normalization", ICLR 2021).
    """
    return tuple(
        layer.name
        for layer in model.layers
        if isinstance(layer, tf.keras.layers.BatchNormalization)
    )
