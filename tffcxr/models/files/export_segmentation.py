"""A model that segments one region, as a file that gives probabilities for each pixel."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.models.files import model_file

FORMAT_VERSION = 1
# Where a run's folder has the model.
IN_RUN = pathlib.PurePath("models", "segmentation.keras")
_KIND = "segmentation"


@dataclasses.dataclass(frozen=True)
class SegmentationMetadata:
    """What a program needs to know to use an exported segmentation model.

    Attributes:
      region: what is segmented, such as "Lungs".
      image_size: height and width of the input in pixels.
      fit: how a radiograph that is not square is fitted to the input, "pad" or "stretch".
      threshold: the probability above 0 and below 1 at or above which a pixel is in the region.
      format_version: of the file.
    """

    region: str
    image_size: int
    fit: str
    threshold: float = 0.5
    format_version: int = FORMAT_VERSION


@dataclasses.dataclass(frozen=True)
class ExportedSegmentation:
    """An exported model: images float32 [B, S, S, 1] in 0..1 to probabilities of the same shape."""

    keras: tf.keras.Model
    metadata: SegmentationMetadata


def save(path: pathlib.Path, model: tf.keras.Model, metadata: SegmentationMetadata) -> None:
    """Writes the model with a sigmoid behind it, and its metadata as JSON beside it.

    A killed program leaves no pair that loads and is wrong.

    Args:
      path: ends in `.keras`, or a run's folder, where it goes to `models/segmentation.keras`; the
        metadata goes to the same name with `.json`.
      model: images float32 [B, S, S, 1] in 0..1 to logits [B, S, S, 1].
      metadata: what it is.

    Raises:
      ValueError: the path has another suffix, or the metadata do not fit the model.
    """
    path = path if path.suffix else path / IN_RUN
    sigmoid = tf.keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")
    exported = ExportedSegmentation(
        tf.keras.Model(model.input, sigmoid(model.output), name=_KIND), metadata
    )
    _check(exported)
    values = {
        "kind": _KIND,
        **dataclasses.asdict(metadata),
        "pixels": model_file.PIXELS,
        "outputs": "probabilities [B, S, S, 1]",
    }
    model_file.save(path, exported.keras, values)


def load(path: pathlib.Path) -> ExportedSegmentation:
    """Reads what `save` wrote.

    Args:
      path: a `.keras` file, or the folder of a run with `models/segmentation.keras`.

    Raises:
      InputError: there is no such file or run, it is no segmentation model, has another format
        version, takes another number of channels than 1, or does not fit its metadata.
    """
    path = model_path(path)
    metadata = _read_metadata(path)
    exported = ExportedSegmentation(model_file.load_model(path), metadata)
    try:
        _check(exported)
    except ValueError as error:
        raise InputError(f"{path} does not fit its metadata: {error}") from error
    return exported


def model_path(path: pathlib.Path) -> pathlib.Path:
    """Returns the `.keras` file that is meant by itself or by the folder of its run.

    Raises:
      InputError: there is neither.
    """
    if path.is_dir():
        if not (path / IN_RUN).is_file():
            others = sorted(file.name for file in path.glob("models/*.keras"))
            raise InputError(
                f"expected a complete segmentation run with {IN_RUN} in {path}, found "
                f"{', '.join(others) or 'no model'}"
            )
        return path / IN_RUN
    if path.suffix != ".keras" or not path.is_file():
        found = "another file" if path.is_file() else "nothing"
        raise InputError(
            f"expected the folder of a segmentation run or a .keras file at {path}, found {found}"
        )
    return path


def _read_metadata(path: pathlib.Path) -> SegmentationMetadata:
    data = model_file.load_metadata(path)
    if data.get("kind") != _KIND:
        findings = data.get("findings")
        found = f"one of the findings {', '.join(findings)}" if findings else "another"
        raise InputError(f"{path}: expected a segmentation model, found {found}")
    model_file.check_version(path, data, FORMAT_VERSION)
    names = [field.name for field in dataclasses.fields(SegmentationMetadata)]
    missing = [name for name in names if name not in data]
    if missing:
        raise InputError(
            f"{path.with_suffix('.json')}: expected {', '.join(missing)} in an exported model's "
            "metadata"
        )
    return SegmentationMetadata(**{name: data[name] for name in names})


def _check(exported: ExportedSegmentation) -> None:
    metadata, model = exported.metadata, exported.keras
    channels: Any = model.input_shape[-1]
    if channels != 1:
        raise ValueError(f"expected a model of images with 1 channel, found {channels}")
    model_file.check_input(model, metadata.image_size, metadata.fit)
    size = metadata.image_size
    if model.output_shape[1:] != (size, size, 1):
        raise ValueError(
            f"expected one output for each of {size}x{size} pixels, found the shape "
            f"{model.output_shape[1:]}"
        )
    if not isinstance(metadata.threshold, float) or not 0 < metadata.threshold < 1:
        raise ValueError(f"expected a threshold between 0 and 1, found {metadata.threshold!r}")
    if not isinstance(metadata.region, str) or not metadata.region:
        raise ValueError(f"expected the name of a region, found {metadata.region!r}")
