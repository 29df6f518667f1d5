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

from tffcxr import errors
from tffcxr.errors import InputError

_MOST_NAMES = 12  # In a message.


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
      layer: name of the top-level layer that owns it; of the model, if it belongs to no layer.
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
          private_layers: names of the layers whose weights stay at the client, top-level or inside
            other layers.

        Raises:
          InputError: a private layer is not in the model, or shares a weight with a layer that is
            averaged.
        """
        held = _held(model)
        private = _private_weights(model, held, private_layers)
        # What the model holds by itself, outside layers, stands for a layer of the model's name.
        owner = {id(weight): model for weight in model.weights}
        owner.update({id(w): layer for layer in model.layers for w in layer.weights})
        innermost = dict(owner)
        for layer, of_layer in sorted(held, key=lambda pair: -len(pair[1])):
            innermost.update(dict.fromkeys(map(id, of_layer), layer))  # Layers in layers come last.
        trainable = {id(w) for w in model.trainable_weights}
        statistics = _statistics(model)
        weights = []
        for weight in model.weights:
            key = id(weight)
            # A whole number, such as a count, has no mean; it stays as it is.
            is_training = innermost[key].trainable and weight.dtype.is_floating
            group = _group(is_training, key in trainable, key in private)
            weights.append(
                Weight(
                    owner[key].name,
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


_Held = list[tuple[tf.keras.layers.Layer, list[tf.Variable]]]


def _held(model: tf.keras.Model) -> _Held:
    """All layers at any depth with their weights; those of `model.layers` come first."""
    inside = [each for each in model.submodules if isinstance(each, tf.keras.layers.Layer)]
    unique = {id(layer): layer for layer in [*model.layers, *inside]}
    return [(layer, layer.weights) for layer in unique.values()]


def _private_weights(model: tf.keras.Model, held: _Held, names: Iterable[str]) -> frozenset[int]:
    """The ids of the weights of the private layers."""
    wanted = frozenset(names)
    if not wanted:
        return frozenset()
    by_name: dict[str, tf.keras.layers.Layer] = {}
    for layer, _ in held:
        other = by_name.setdefault(layer.name, layer)
        if other is not layer and layer.name in wanted:
            raise InputError(
                f"private layers: expected names that one layer has, found several layers named "
                f"{layer.name!r} in the model {model.name!r}; give them different names"
            )
    missing = sorted(wanted - by_name.keys())
    if missing:
        known = [layer.name for layer in model.layers if layer.weights]
        if len(known) > _MOST_NAMES:
            known = [*known[: _MOST_NAMES // 2], "…", *known[-_MOST_NAMES // 2 :]]
        raise InputError(
            f"private layers: expected layers of the model {model.name!r}, whose layers with "
            f"weights are {', '.join(known)}; found {missing[0]!r}"
            f"{errors.did_you_mean(missing[0], by_name)}"
        )
    private = {name: by_name[name] for name in sorted(wanted)}
    _check_not_shared(held, private)
    return frozenset(id(w) for layer in private.values() for w in layer.weights)


def _check_not_shared(held: _Held, private: Mapping[str, tf.keras.layers.Layer]) -> None:
    """Raises InputError if a weight of a private layer is also one of a layer that is averaged."""
    holders: dict[int, list[tf.keras.layers.Layer]] = {}
    for layer, weights in held:
        for weight in weights:
            holders.setdefault(id(weight), []).append(layer)
    for name, layer in private.items():
        for weight in layer.weights:
            for other in holders[id(weight)]:
                if other is not layer and not any(
                    _is_related(other, each) for each in private.values()
                ):
                    raise InputError(
                        f"private layers: expected weights of their own, found that {name!r} "
                        f"shares {weight.name} with the layer {other.name!r}, which is averaged; "
                        "make both private, or neither"
                    )


def _is_related(one: tf.keras.layers.Layer, other: tf.keras.layers.Layer) -> bool:
    """Whether two layers are the same, or one is inside the other."""
    return (
        one is other
        or any(each is one for each in other.submodules)
        or any(each is other for each in one.submodules)
    )


def _group(is_training: bool, is_trainable: bool, is_private: bool) -> Group:
    """The group of a weight.

    Args:
      is_training: whether the layer that holds it is trained.
      is_trainable: whether gradient steps move it.
      is_private: whether it stays at the client.
    """
    if is_private:
        return Group.PRIVATE_TRAINABLE if is_trainable else Group.PRIVATE_OTHER
    if is_trainable:
        return Group.SHARED_TRAINABLE
    # A non-trainable weight of a layer that trains is a running statistic; a frozen layer
    # (`trainable=False`) runs in inference mode and changes nothing.
    return Group.SHARED_STATISTICS if is_training else Group.SHARED_CONSTANTS


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
