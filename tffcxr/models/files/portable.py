"""Exported models for programs without Keras: ONNX and SavedModel, with the preprocessing inside.

A radiograph's grey pixels of any height and width go in, as uint8 or uint16, higher = whiter;
probabilities come out. The graph fits images to the model's square, see `pixel_graph`.

uint16 pixels are stretched from the smallest to the largest of each image, as `images.read_image`
does with 16-bit PNG files; an image of one value has no probabilities (NaN). Models of volumes take
prepared slices, uint8 [B, S, S, C].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import json
import logging
import os
import pathlib
import shutil
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.datasets.imaging import images
from tffcxr.errors import RunError
from tffcxr.models.files import export, metadata, pixel_graph
from tffcxr.models.files.export import Exported

TOLERANCE = 1e-4  # Of a probability, between Keras and what was written,
_NOISES = 4  # or this many times what rounding does in Keras itself, where that is more.
UINT8, UINT16 = "uint8", "uint16"
_OPSET = 17
_INPUT, _OUTPUT = "pixels", "probabilities"
_SUFFIX_16 = "_uint16"  # An ONNX graph has one type of input; this one is for uint16.
_METADATA = "metadata.json"


class Portable(tf.Module):
    """A model with its preprocessing.

    Attributes:
      exported: the model.
    """

    def __init__(self, exported: Exported):
        super().__init__(name="tffcxr")
        self.exported = exported
        # Tracked by SavedModel; the model itself would also be traced and written layer by layer.
        self._weights = exported.keras.weights

    def function(self, dtype: str) -> Any:
        """A TensorFlow function from pixels of a type to {"probabilities": …}.

        Its input is [B, H, W] of radiographs, and uint8 [B, S, S, C] of slices. Its output is
        [B, outputs] of findings and classes, [B, H, W] of masks, and [B, S, S, 1] of slices.
        """
        about = self.exported.metadata
        size = about.image_size
        shape: list[int | None] = [None, None, None]
        if about.kind == metadata.VOLUMES:
            shape = [None, size, size, about.channels]

        @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name=_INPUT)])
        def probabilities(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return {_OUTPUT: self._probabilities(pixels)}

        return probabilities

    def _probabilities(self, pixels: tf.Tensor) -> tf.Tensor:
        about = self.exported.metadata
        if about.kind == metadata.VOLUMES:
            return self.exported.keras(tf.cast(pixels, tf.float32) / 255.0, training=False)
        found = self.exported.keras(self.squares(pixels), training=False)
        found = self._place(pixels).spread(found[..., 0]) if about.marks_pixels else found
        is_deep = pixels.dtype == tf.uint16
        return pixel_graph.unknown_where_constant(found, pixels) if is_deep else found

    def squares(self, pixels: tf.Tensor) -> tf.Tensor:
        """Radiographs [B, H, W] as the network takes them, float32 [B, S, S, 1] in 0..1."""
        is_deep = pixels.dtype == tf.uint16
        grey = pixel_graph.stretched(pixels) if is_deep else tf.cast(pixels, tf.float32)
        return self._place(pixels).fitted(grey)[..., tf.newaxis] / 255.0

    def _place(self, pixels: tf.Tensor) -> pixel_graph.Place:
        about, shape = self.exported.metadata, tf.shape(pixels)
        return pixel_graph.Place(shape[1], shape[2], about.image_size, about.fit)


def types(about: metadata.Metadata) -> tuple[str, ...]:
    """The types of pixels that a model takes; slices are uint8."""
    return (UINT8,) if about.kind == metadata.VOLUMES else (UINT8, UINT16)


def write_missing(
    folder: pathlib.Path,
    formats: tuple[options.ExportFormat, ...],
    say: Callable[[str], None],
) -> None:
    """Writes the exported models of a folder in further formats, unless they are there.

    Args:
      folder: with `.keras` files and their metadata, see `export.save`.
      formats: see `options.EXPORT_FORMATS`.
      say: takes a line for each model.

    Raises:
      InputError: a model cannot be read.
      RunError: what was written differs from Keras.
    """
    for path in sorted(folder.glob("*.keras")):
        dtypes, exported = types(metadata.read(path)), None
        for name in formats:
            targets = _targets(path, name, dtypes)
            if all(target.exists() for target in targets.values()):
                continue
            exported = exported or export.load(path)
            difference = save(path, exported, name)
            names = ", ".join(target.name for target in targets.values())
            say(f"export: {names} (largest difference from Keras: {difference:.1e})")


def save(path: pathlib.Path, exported: Exported, format_name: options.ExportFormat) -> float:
    """Writes a model beside its `.keras` file, and compares it with Keras.

    ONNX becomes `NAME.onnx` for uint8 and `NAME_uint16.onnx`; the metadata stand in the file under
    the key "tffcxr". SavedModel becomes the folder `NAME_savedmodel`, with the signatures
    "serving_default" for uint8 and "uint16", and `assets/metadata.json`.

    Args:
      path: of the `.keras` file.
      exported: the model.
      format_name: one of `options.EXPORT_FORMATS`.

    Returns:
      The largest difference of a probability, on images of several sizes and types.

    Raises:
      RunError: a probability differs by more than `TOLERANCE`, and than what rounding does in the
        network; nothing is left of the file.
    """
    writer = {"onnx": _write_onnx, "savedmodel": _write_saved_model}[format_name]
    reader = {"onnx": read_onnx, "savedmodel": read_saved_model}[format_name]
    targets = _targets(path, format_name, types(exported.metadata))
    partial = {dtype: file.with_name(f".{file.stem}.partial{file.suffix}")
               for dtype, file in targets.items()}  # fmt: skip
    for file in partial.values():
        _remove(file)
    try:
        model = Portable(exported)
        writer(partial, model)
        difference = max(
            _difference(model, reader(file, dtype), dtype) for dtype, file in partial.items()
        )
        limit = TOLERANCE
        if not difference <= limit:
            limit = max(limit, _NOISES * _noise(exported))
        if not difference <= limit:
            raise RunError(
                f"{path.name}: expected the probabilities of {format_name} to differ from those of "
                f"Keras by at most {limit:.2g}, found {difference:.2g}"
            )
        for dtype, file in partial.items():
            if file.exists():  # Types may share a file.
                _remove(targets[dtype])
                os.replace(file, targets[dtype])
    finally:
        for file in partial.values():
            _remove(file)
    return difference


def read_onnx(file: pathlib.Path, dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from pixels to probabilities that an ONNX file holds."""
    del dtype  # The file has only one.
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([_OUTPUT], {_INPUT: pixels})[0]


def read_saved_model(folder: pathlib.Path, dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from pixels of a type to probabilities that a SavedModel holds."""
    loaded = tf.saved_model.load(str(folder))
    function = loaded.signatures["serving_default" if dtype == UINT8 else dtype]

    def read(pixels: np.ndarray) -> np.ndarray:
        assert loaded is not None  # Kept here: the signature does not keep its variables.
        return function(pixels=tf.constant(pixels))[_OUTPUT].numpy()

    return read


def _targets(
    path: pathlib.Path, format_name: options.ExportFormat, dtypes: tuple[str, ...]
) -> dict[str, pathlib.Path]:
    if format_name == "savedmodel":
        return dict.fromkeys(dtypes, path.with_name(f"{path.stem}_savedmodel"))
    suffixes = {UINT8: "", UINT16: _SUFFIX_16}
    return {dtype: path.with_name(f"{path.stem}{suffixes[dtype]}.onnx") for dtype in dtypes}


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_onnx(files: dict[str, pathlib.Path], model: Portable) -> None:
    import onnx
    import tf2onnx

    about = json.dumps(model.exported.metadata.to_json(), allow_nan=False)
    for dtype, file in files.items():
        function = model.function(dtype)
        with _quiet("tf2onnx"):
            proto, _ = tf2onnx.convert.from_function(
                function, input_signature=function.input_signature, opset=_OPSET
            )
        onnx.helper.set_model_props(proto, {"tffcxr": about})
        onnx.save(proto, str(file))


def _write_saved_model(files: dict[str, pathlib.Path], model: Portable) -> None:
    (folder,) = set(files.values())
    signatures = {
        "serving_default" if dtype == UINT8 else dtype: model.function(dtype) for dtype in files
    }
    with _quiet("tensorflow"):
        tf.saved_model.save(model, str(folder), signatures=signatures)
    about = json.dumps(model.exported.metadata.to_json(), indent=2, allow_nan=False)
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / _METADATA).write_text(about + "\n", encoding="utf-8")


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keeps a converter's notes on its own graph from the terminal."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _difference(model: Portable, read: Callable[[np.ndarray], np.ndarray], dtype: str) -> float:
    """The largest difference of a probability between Keras and what was written.

    Both get the same squares: OpenCV rounds ties of grey the other way, see `pixel_graph`, and a
    network may tell single greys apart.
    """
    about, keras = model.exported.metadata, model.exported.keras
    size, draw = about.image_size, np.random.default_rng(0)
    if about.kind == metadata.VOLUMES:
        slices = draw.integers(0, 256, (2, size, size, about.channels), np.uint8)
        expected = keras(slices.astype(np.float32) / np.float32(255.0)).numpy()
        return float(np.abs(read(slices) - expected).max())
    found = []
    for shape in ((2 * size + 3, 3 * size), (size, size), (size // 2 + 1, 2 * size)):
        coarse = draw.integers(0, np.iinfo(dtype).max, (2, 5, 7), dtype, endpoint=True)
        pixels = np.stack([_smooth(each, shape) for each in coarse])
        expected = keras(model.squares(tf.constant(pixels))).numpy()
        if about.marks_pixels:
            place = images.place_in_square(shape, size, about.fit)
            expected = np.stack([images.take_nearest(e[place][..., 0], *shape) for e in expected])
        found.append(float(np.abs(read(pixels) - expected).max()))
    return max(found)


def _noise(exported: Exported) -> float:
    """How far probabilities of Keras differ if TensorFlow may put operations in another order.

    It is rounding of float32, which is more than `TOLERANCE` in deep networks whose logits are in
    the hundreds.
    """
    shape = (2, *exported.keras.input_shape[1:])
    squares = np.random.default_rng(0).random(shape, np.float32)
    compiled = tf.function(lambda batch: exported.keras(batch, training=False), autograph=False)
    return float(np.abs(compiled(squares) - exported.keras(squares, training=False)).max())


def _smooth(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels as smooth as a radiograph's, of the shape and of the same type."""
    grown = cv2.resize(coarse.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(grown), 0, np.iinfo(coarse.dtype).max).astype(coarse.dtype)
