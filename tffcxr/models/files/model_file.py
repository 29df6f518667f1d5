"""A Keras model in one `.keras` file, and what a program needs to know of it as JSON beside it."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.models.files import safe_files


def save(path: pathlib.Path, model: tf.keras.Model, metadata: Mapping[str, Any]) -> None:
    """Writes a model and its metadata.

    Both are written under a temporary name and renamed, the metadata last, so that a killed
    program leaves no pair that loads and is wrong.

    Args:
      path: ends in `.keras`; the metadata goes to the same name with `.json`.
      model: the model.
      metadata: JSON values, with `format_version`.

    Raises:
      ValueError: the path has another suffix.
    """
    if path.suffix != ".keras":
        raise ValueError(f"expected a path that ends in .keras, found {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata_path = path.with_suffix(".json")
    temporary_model = path.with_name(f".{path.stem}.partial.keras")
    temporary_metadata = path.with_name(f".{path.stem}.partial.json")
    model.save(temporary_model)
    text = json.dumps(metadata, indent=2, allow_nan=False)
    temporary_metadata.write_text(text + "\n", encoding="utf-8")
    metadata_path.unlink(missing_ok=True)
    os.replace(temporary_model, path)
    os.replace(temporary_metadata, metadata_path)


def load_model(path: pathlib.Path) -> tf.keras.Model:
    """Reads the model, not compiled. Nothing in the file is run, see `safe_files`.

    Raises:
      InputError: the file is missing, holds no Keras model or one that is not safe to load, or a
        weight is not finite.
    """
    if not path.is_file():
        raise InputError(f"expected an exported model, found no file {path}")
    try:
        model = safe_files.load_keras(path)
    except InputError as error:
        raise InputError(f"expected an exported Keras model in {path}: {error}") from error
    for weight in model.weights:
        # Its predictions need not tell: some implementations of ReLU make NaN a zero.
        if not np.isfinite(weight.numpy()).all():
            raise InputError(f"{path}: expected finite weights, found {weight.name} with others")
    return model
