"""A Keras model in one `.keras` file, and what a program needs to know of it as JSON beside it."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any
import zipfile

import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.models.networks import grouped  # noqa: F401  register layers of saved models
from tffcxr.nnunet import inference  # noqa: F401  register layers of saved models

PIXELS = "float32 [B, S, S, 1] in 0..1, higher = denser"


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
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"expected an exported model's metadata, found no file {path}") from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
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
    """Reads the model, not compiled.

    Raises:
      InputError: the file is missing or holds no Keras model, or a weight is not finite.
    """
    if not path.is_file():
        raise InputError(f"expected an exported model, found no file {path}")
    try:
        model = tf.keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise InputError(f"expected an exported Keras model in {path}: {reason}") from error
    for weight in model.weights:
        # Its predictions need not tell: some implementations of ReLU make NaN a zero.
        if not np.isfinite(weight.numpy()).all():
            raise InputError(f"{path}: expected finite weights, found {weight.name} with others")
    return model


def check_input(model: tf.keras.Model, image_size: int, fit: str) -> None:
    """Checks that a model takes images of a size, and that its fit is one.

    Raises:
      ValueError: one does not fit.
    """
    if tuple(model.input_shape[1:3]) != (image_size, image_size):
        raise ValueError(
            f"the model takes images of {model.input_shape[1:3]} pixels, "
            f"the metadata say {image_size}"
        )
    if fit not in options.FITS:
        raise ValueError(f"fit must be pad or stretch, found {fit!r}")
