"""Values in the memory of another device."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def copy_to(device: str, value: Any) -> Any:
    """Brings the tensors of a value into the memory of `device`.

    Datasets and strings stay on the CPU, where all devices find them.
    """
    if isinstance(value, (tuple, list)):
        return type(value)(copy_to(device, part) for part in value)
    if not isinstance(value, tf.Tensor) or not (
        value.dtype.is_floating
        or value.dtype.is_integer
        or value.dtype.is_complex
        or value.dtype.is_bool
    ):
        return value
    with tf.device(device):
        return tf.identity(value)
