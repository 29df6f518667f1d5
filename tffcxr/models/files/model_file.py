"""A Keras model in one `.keras` file, and what a program needs to know of it as JSON beside it."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.models.files import safe_files

PIXELS = "float32 [B, S, S, 1] in 0..1, higher = denser"
_LARGEST_IMAGE = 4096  # Pixels a side.


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


def load_metadata(path: pathlib.Path) -> dict[str, Any]:
    """Reads the metadata of the model in `path`.

    Raises:
      InputError: there are none, or they are no JSON object.
    """
    path = path.with_suffix(".json")
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(safe_files.MAXIMUM_JSON_BYTES + 1)
        if len(text) > safe_files.MAXIMUM_JSON_BYTES:
            raise InputError(
                f"{path}: expected metadata of at most {safe_files.MAXIMUM_JSON_BYTES} characters"
            )
        data = json.loads(text)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"expected an exported model's metadata, found no file {path}") from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: expected an exported model's metadata: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected an exported model's metadata, found {str(data)[:40]}")
    return data


def check_version(path: pathlib.Path, metadata: Mapping[str, Any], version: int) -> None:
    """Checks the format of the metadata of the model in `path`.

    Raises:
      InputError: it is another one.
    """
    found = metadata.get("format_version", "none")
    if found != version:
        raise InputError(
            f"{path.with_suffix('.json')}: expected format version {version}, found {found}"
        )


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


def check_input(model: tf.keras.Model, image_size: int, fit: str) -> None:
    """Checks that a model takes images of a size, of at most 4096 pixels, and that its fit is one.

    Raises:
      ValueError: one does not fit.
    """
    if tuple(model.input_shape[1:3]) != (image_size, image_size):
        raise ValueError(
            f"the model takes images of {model.input_shape[1:3]} pixels, "
            f"the metadata say {image_size}"
        )
    if not isinstance(image_size, int) or not 1 <= image_size <= _LARGEST_IMAGE:
        raise ValueError(
            f"expected images of 1 to {_LARGEST_IMAGE} pixels a side, found {image_size!r:.60}"
        )
    if fit not in options.FITS:
        raise ValueError(f"fit must be pad or stretch, found {fit!r}")
