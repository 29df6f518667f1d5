"""Models and settings as texts, to tell whether a training that is resumed is the same."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
from typing import Any

import tensorflow as tf

# Keras numbers layers over all models of a process, so that a model that is made again has others.
_OF_NAMES = ("name", "inbound_nodes", "input_layers", "output_layers", "registered_name")


def of_model(model: tf.keras.Model) -> str:
    """The model's class, weights and configuration, without names; not the values of weights."""
    shapes = [list(weight.shape) for weight in model.weights]
    try:
        config = _without_names(model.get_config())
    except NotImplementedError:
        config = None
    text = json.dumps([shapes, config], default=of, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{type(model).__name__}, {model.count_params()} parameters, {digest}"


def of(value: Any) -> str:
    """A setting: a name, a number, a function, or an object of Keras or TFF."""
    if isinstance(value, Mapping):
        return str({str(name): of(each) for name, each in sorted(value.items())})
    if isinstance(value, (list, tuple)):
        return str([of(each) for each in value])
    if hasattr(value, "get_config"):
        return f"{type(value).__name__} {_without_names(value.get_config())}"
    if isinstance(value, (str, int, float, bool, type(None))):
        return str(value)
    return getattr(value, "__name__", type(value).__name__)


def _without_names(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {
            name: _without_names(value) for name, value in config.items() if name not in _OF_NAMES
        }
    if isinstance(config, (list, tuple)):
        return [_without_names(value) for value in config]
    return config
