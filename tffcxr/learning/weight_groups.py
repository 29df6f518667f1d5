"""Which weights of a Keras model leave the client, and in what role.

Every weight of a model belongs to exactly one group:

    group               moves by                          leaves the client
    ------------------  --------------------------------  -------------------------
    shared_trainable    gradient steps                    yes, averaged every round
    shared_statistics   batch-norm moving averages        yes, averaged or recomputed
    shared_constants    nothing (layers that are frozen)  no, it came from the server
    private_trainable   gradient steps                    never
    private_other       batch-norm moving averages        never

The shared groups are the server's weights, the private ones a client's state. `WeightPartition`
defines their names.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import enum
from typing import Any

import numpy as np
import tensorflow as tf


class Group(enum.Enum):
    """The role of one weight, see the module's table."""

    SHARED_TRAINABLE = "shared_trainable"
    SHARED_STATISTICS = "shared_statistics"
    SHARED_CONSTANTS = "shared_constants"
    PRIVATE_TRAINABLE = "private_trainable"
    PRIVATE_OTHER = "private_other"


class Statistic(enum.Enum):
    """What a normalisation keeps of the activations that it has seen."""

    MEAN = "mean"
    VARIANCE = "variance"


# Where the groups stand in what the server sends, and in what a client keeps.
_IN_SERVER_WEIGHTS = {
    "trainable": Group.SHARED_TRAINABLE,
    "statistics": Group.SHARED_STATISTICS,
    "constants": Group.SHARED_CONSTANTS,
}
_IN_CLIENT_STATE = {"trainable": Group.PRIVATE_TRAINABLE, "other": Group.PRIVATE_OTHER}
# What an update sends to the server; constants came from there.
_IN_UPDATE = {
    name: group for name, group in _IN_SERVER_WEIGHTS.items() if group is not Group.SHARED_CONSTANTS
}


@dataclasses.dataclass(frozen=True)
class Weight:
    """One weight of a model.

    Attributes:
      layer: name of the top-level layer that owns it.
      name: the weight's own name, such as "conv1/kernel:0".
      shape: its static shape.
      dtype: its dtype's name.
      group: its role in a round.
      statistic: which one it is, if it is one of a normalisation.
    """

    layer: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    group: Group
    statistic: Statistic | None = None


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
        statistics = _statistics(model)
        weights = []
        for weight in model.weights:
            layer = owner[id(weight)]
            group = _group(layer, id(weight) in trainable, layer.name in private)
            weights.append(
                Weight(
                    layer.name,
                    weight.name,
                    tuple(weight.shape),
                    weight.dtype.name,
                    group,
                    statistics.get(id(weight)),
                )
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

    def server_weights(self, values: Sequence) -> collections.OrderedDict[str, tuple]:
        """`<trainable, statistics, constants>` out of `values`, which follow `model.weights`."""
        return self._split(values, _IN_SERVER_WEIGHTS)

    def client_state(self, values: Sequence) -> collections.OrderedDict[str, tuple]:
        """`<trainable, other>`, the private weights out of `values` like `model.weights`."""
        return self._split(values, _IN_CLIENT_STATE)

    def update(self, values: Sequence) -> collections.OrderedDict[str, tuple]:
        """`<trainable, statistics>`, what a client sends to the server, out of `values`."""
        return self._split(values, _IN_UPDATE)

    def merge_states(self, server_weights: Any, client_state: Any) -> list:
        """One client's model in the order of `model.weights`; see `groups_of`.

        Raises:
          ValueError: the states have other numbers of weights than the model.
        """
        return self.merge(groups_of(server_weights, client_state))

    def _split(
        self, values: Sequence, names: Mapping[str, Group]
    ) -> collections.OrderedDict[str, tuple]:
        return collections.OrderedDict(
            (name, self.select(values, group)) for name, group in names.items()
        )

    def check_values(self, values: Sequence[np.ndarray]) -> None:
        """Raises ValueError unless `values` have the shapes of the model's weights."""
        if len(values) != len(self.weights):
            raise ValueError(f"expected {len(self.weights)} weights, found {len(values)}")
        for weight, value in zip(self.weights, values):
            if tuple(np.shape(value)) != weight.shape:
                raise ValueError(
                    f"{weight.name}: expected shape {weight.shape}, found {np.shape(value)}"
                )


def groups_of(server_weights: Any, client_state: Any) -> dict[Group, Sequence]:
    """The weights of all groups, from the server's weights and a client's state.

    Args:
      server_weights: with the names of `WeightPartition.server_weights`, and maybe others.
      client_state: with the names of `WeightPartition.client_state`.
    """
    return {
        group: tuple(state[name])
        for state, names in (
            (server_weights, _IN_SERVER_WEIGHTS),
            (client_state, _IN_CLIENT_STATE),
        )
        for name, group in names.items()
    }


def _statistics(model: tf.keras.Model) -> dict[int, Statistic]:
    """The means and variances of activations in a model, by the ids of the variables."""
    found = {}
    for layer in model.submodules:
        for prefix in ("moving", "adapt"):  # Of batch norms, and of Keras' `Normalization`.
            for statistic in Statistic:
                variable = getattr(layer, f"{prefix}_{statistic.value}", None)
                if variable is not None:
                    found[id(variable)] = statistic
    return found


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
