"""Optimizers and aggregators as a Python user gives them: by name, or as objects."""

from __future__ import annotations

from collections.abc import Mapping
import math
import numbers
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.learning import aggregators, optimizers
from tffcxr.learning.loss_scale import LossScaling
from tffcxr.learning.server import AggregationFactory

_DEFAULT_RATE = 1e-3
_KERAS = "SGD, Adam, AdamW or Adagrad"
# `packing.py` joins weights into vectors; this one treats the rows of a matrix together.
_NOT_ELEMENTWISE = ("_Adafactor",)


def client_optimizer(
    optimizer: Any, learning_rate: float | None, scales_loss: bool
) -> tuple[tff.learning.optimizers.Optimizer, float]:
    """The optimizer of local training, and its learning rate.

    Args:
      optimizer: one of `options.CLIENT_OPTIMIZERS`, one of `tff.learning.optimizers`, or Keras'
        SGD, Adam, AdamW or Adagrad.
      learning_rate: None for the object's own, and for 0.001 where a name is given.
      scales_loss: whether its gradients are those of a scaled loss, for float16.

    Raises:
      InputError: another optimizer, or a rate that is not above 0.
    """
    if isinstance(optimizer, str) and optimizer.lower() in options.CLIENT_OPTIMIZERS:
        rate = _DEFAULT_RATE if learning_rate is None else learning_rate
        check_rate(rate)
        name = optimizer.lower()
        return optimizers.client_optimizer(name, rate, scales_loss=scales_loss), rate
    if isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer  # Losses are scaled here where they have to be.
    if isinstance(optimizer, tf.keras.optimizers.Optimizer):
        optimizer = _of_keras(optimizer)
    if not isinstance(optimizer, tff.learning.optimizers.Optimizer):
        raise InputError(
            f"optimizer: expected one of {', '.join(options.CLIENT_OPTIMIZERS)}, an optimizer of "
            f"tff.learning.optimizers, or Keras' {_KERAS}; found {_shown(optimizer)}"
        )
    if type(optimizer).__name__ in _NOT_ELEMENTWISE:
        raise InputError(
            "optimizer: expected one that treats every number by itself, found Adafactor"
        )
    if learning_rate is None:
        state = optimizer.initialize((tf.TensorSpec([1]),))
        learning_rate = float(optimizer.get_hparams(state)["learning_rate"])
    check_rate(learning_rate)
    return (LossScaling(optimizer) if scales_loss else optimizer), learning_rate


def server_optimizer(
    optimizer: Any, learning_rate: float | None
) -> tff.learning.optimizers.Optimizer:
    """The optimizer of the shared weights.

    Args:
      optimizer: one of `options.SERVER_OPTIMIZERS`, or one of `tff.learning.optimizers`.
      learning_rate: for a name; None for the usual one.

    Raises:
      InputError: another optimizer, or a rate beside an object.
    """
    if isinstance(optimizer, str) and optimizer.lower() in options.SERVER_OPTIMIZERS:
        if learning_rate is not None:
            check_rate(learning_rate, "server_learning_rate")
        return optimizers.server_optimizer(optimizer.lower(), learning_rate)
    if not isinstance(optimizer, tff.learning.optimizers.Optimizer):
        raise InputError(
            f"server_optimizer: expected one of {', '.join(options.SERVER_OPTIMIZERS)} or an "
            f"optimizer of tff.learning.optimizers, found {_shown(optimizer)}"
        )
    if learning_rate is not None:
        raise InputError("server_learning_rate: expected none beside an optimizer that has its own")
    return optimizer


def aggregator(name_or_factory: Any) -> AggregationFactory | None:
    """The aggregation of the clients' updates; None for the mean.

    Args:
      name_or_factory: one of `options.AGGREGATORS` but "dp", or any factory of
        `tff.aggregators`.

    Raises:
      InputError: something else; "dp" too, since its noise has no default.
    """
    factories = (
        tff.aggregators.WeightedAggregationFactory,
        tff.aggregators.UnweightedAggregationFactory,
    )
    if isinstance(name_or_factory, factories):
        return name_or_factory
    names = [name for name in options.AGGREGATORS if name != "dp"]
    if name_or_factory in names:
        return aggregators.make(name_or_factory)
    raise InputError(
        f"aggregator: expected one of {', '.join(names)} or a factory of tff.aggregators, such as "
        f"DifferentiallyPrivateFactory; found {name_or_factory!r}"
    )


def _of_keras(optimizer: tf.keras.optimizers.Optimizer) -> tff.learning.optimizers.Optimizer:
    """The same optimizer of TFF's, which is a function of its state."""
    config = optimizer.get_config()
    _check_plain(optimizer, config)
    rate = config["learning_rate"]
    if not isinstance(rate, (int, float)):
        try:
            rate = float(rate)
        except TypeError:
            raise InputError(
                f"optimizer: expected a constant learning rate, found a schedule in "
                f"{config['name']}; give learning_rate= a function of the round"
            ) from None
    kind, decay = type(optimizer).__name__, config.get("weight_decay")
    if decay and kind != "AdamW":
        raise InputError(f"optimizer: expected no weight_decay in {kind}, found {decay}; use AdamW")
    build = tff.learning.optimizers
    if kind == "SGD" and not config["nesterov"]:
        return build.build_sgdm(rate, config["momentum"] or None)
    if kind == "SGD":
        return optimizers.client_optimizer("sgd", rate, momentum=config["momentum"], nesterov=True)
    moments = {name: config.get(name) for name in ("beta_1", "beta_2", "epsilon")}
    if kind == "Adam":
        return build.build_adam(rate, **moments)
    if kind == "AdamW":
        return build.build_adamw(rate, **moments, weight_decay=decay or 0.0)
    if kind == "Adagrad":
        return build.build_adagrad(rate, config["initial_accumulator_value"], config["epsilon"])
    raise InputError(f"optimizer: expected Keras' {_KERAS}, found {kind}")


def _check_plain(optimizer: tf.keras.optimizers.Optimizer, config: Mapping[str, Any]) -> None:
    """Raises InputError for what TFF's optimizers do not do."""
    for name in ("clipnorm", "clipvalue", "global_clipnorm", "use_ema", "amsgrad", "centered"):
        if config.get(name):
            raise InputError(
                f"optimizer: expected {name} to be off, found {config['name']} with {name}="
                f"{config[name]}; give an optimizer of tff.learning.optimizers"
            )
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_names"):
        if getattr(optimizer, name, None):
            raise InputError(
                f"optimizer: expected weight decay of all weights, found {config['name']} with "
                "exclude_from_weight_decay"
            )


def _shown(given: Any) -> str:
    return repr(given) if isinstance(given, str) else type(given).__name__


def check_rate(rate: Any, name: str = "learning_rate") -> None:
    """Raises InputError unless a learning rate is a number above 0."""
    if not is_number(rate) or not 0.0 < rate < math.inf:
        raise InputError(f"{name}: expected a number above 0, found {rate!r}")


def is_number(value: Any) -> bool:
    """Whether it is a real number of Python or NumPy, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
