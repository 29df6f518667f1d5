"""What becomes of a model's batch norm.

Group norm: Y. Wu, K. He, "Group Normalization", ECCV 2018, arXiv:1803.08494. It has no moving
statistics, so nothing in it depends on which images a client happened to see together; K. Hsieh
et al., "The Non-IID Data Quagmire of Decentralized Machine Learning", ICML 2020, recommend it for
sites that differ.
"""

from __future__ import annotations

from typing import Any

from tffcxr import options
from tffcxr.errors import InputError

_MOST_GROUPS = 32  # Wu & He, section 3.1
_KEPT = ("name", "trainable", "dtype", "epsilon", "center", "scale")


def check_policy(policy: str) -> None:
    """Raises InputError if the policy is unknown."""
    if policy not in options.BATCH_NORM:
        raise InputError(
            f"batch_norm must be one of {', '.join(options.BATCH_NORM)}, found {policy!r}"
        )


def groups(channels: int) -> int:
    """The largest number of equal groups of channels, at most 32."""
    return next(n for n in range(min(_MOST_GROUPS, channels), 0, -1) if channels % n == 0)


def apply(config: dict[str, Any], policy: options.BatchNorm) -> int:
    """Changes the batch-norm layers in a functional model's Keras configuration.

    Args:
      config: `model.get_config()` of a flat functional model; changed in place. Names stay.
      policy: "group" replaces each layer by group norm with the same epsilon, scale and offset,
        "frozen" makes it untrainable (Keras then runs it in inference mode), the others leave it.

    Returns:
      The number of batch-norm layers found.
    """
    layers = [layer for layer in config["layers"] if layer["class_name"] == "BatchNormalization"]
    for layer in layers:
        if policy == "frozen":
            layer["config"]["trainable"] = False
        elif policy == "group":
            channels = layer["build_config"]["input_shape"][-1]
            kept = {key: layer["config"][key] for key in _KEPT}
            layer["class_name"] = "GroupNormalization"
            layer["config"] = {**kept, "groups": groups(channels)}
    return len(layers)
