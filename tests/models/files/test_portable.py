"""Models in ONNX and SavedModel give the probabilities that Keras gives, from the pixels on."""

import dataclasses
import functools
import json

import numpy as np
import onnx
from PIL import Image
import pytest
import tensorflow as tf

from tests.models.files import exported_models
from tffcxr import options
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError, RunError
from tffcxr.models.files import export, metadata, pixel_graph, portable
from tffcxr.models.networks import grouped

SIZE = exported_models.SIZE


@functools.cache
def _exported(kind):
    return exported_models.exported(kind)


@pytest.fixture(name="written", scope="module")
def _written(tmp_path_factory):
    """A function from kind and format to the folder with the model; writing takes seconds."""

    @functools.cache
    def folder(kind, format_name):
        path = tmp_path_factory.mktemp("models") / "model.keras"
        assert portable.save(path, _exported(kind), format_name) <= portable.TOLERANCE
        return path.parent

    return folder


def _read(folder, dtype="uint8"):
    file = folder / ("model.onnx" if dtype == "uint8" else "model_uint16.onnx")
    if file.exists():
        return portable.read_onnx(file, dtype)
    return portable.read_saved_model(folder / "model_savedmodel", dtype)


@pytest.mark.parametrize("fit", options.FITS)
@pytest.mark.parametrize(
    "shape", [(16, 16), (32, 32), (40, 25), (33, 32), (9, 9), (5, 40), (40, 5), (1, 1), (21, 64)]
)
def test_the_graph_fits_images_as_opencv_does(shape, fit):
    image = np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)
    place = pixel_graph.Place(tf.constant(shape[0]), tf.constant(shape[1]), SIZE, fit)
    found = place.fitted(tf.constant(image[np.newaxis], tf.float32))[0]
    expected = images.fit_to_square(image, SIZE, fit)
    difference = np.abs(found - expected.astype(np.float32))
    # Ties may be rounded the other way.
    assert difference.max() <= 1 and (difference > 0).mean() <= 0.02
    if shape in ((16, 16), (32, 32), (40, 25)):
        assert not difference.any()
    mask = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
    content = mask[images.place_in_square(shape, SIZE, fit)]
    np.testing.assert_array_equal(
        place.spread(tf.constant(mask[np.newaxis]))[0], images.take_nearest(content, *shape)
    )


@pytest.mark.parametrize("format_name", options.EXPORT_FORMATS)
def test_probabilities_of_a_file_s_pixels(tmp_path, written, format_name):
    exported = _exported(metadata.FINDINGS)
    read = _read(written(metadata.FINDINGS, format_name))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 50, 33), np.uint8)
    found = read(pixels)
    assert found.shape == (3, len(exported.metadata.outputs)) and np.ptp(found) > 1e-3
    for image, row in zip(pixels, found):
        Image.fromarray(image).save(tmp_path / "image.png")
        expected = list(exported.predict(tmp_path / "image.png").values())
        np.testing.assert_allclose(row, expected, atol=1e-5)
    np.testing.assert_allclose(read(pixels[:1]), found[:1], atol=1e-6)


@pytest.mark.parametrize("format_name", options.EXPORT_FORMATS)
def test_pixels_of_16_bits_are_stretched_as_those_of_a_png_file(tmp_path, written, format_name):
    pixels = np.random.default_rng(0).integers(300, 4000, (1, 40, 40), np.uint16)
    Image.fromarray(pixels[0]).save(tmp_path / "image.png")
    read = _read(written(metadata.FINDINGS, format_name), "uint16")
    expected = list(_exported(metadata.FINDINGS).predict(tmp_path / "image.png").values())
    np.testing.assert_allclose(read(pixels)[0], expected, atol=1e-5)
    both = read(np.concatenate([pixels, np.full_like(pixels, 7)]))
    assert np.isfinite(both[0]).all() and np.isnan(both[1]).all()


@pytest.mark.parametrize("format_name", options.EXPORT_FORMATS)
def test_masks_have_the_size_of_the_pixels(written, format_name):
    exported = _exported(metadata.MASKS)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 33), np.uint8)
    for image, found in zip(pixels, _read(written(metadata.MASKS, format_name))(pixels)):
        middle = float(np.quantile(found, 0.4))
        about = dataclasses.replace(exported.metadata, threshold=middle + 1e-6)
        expected = export.Exported(exported.keras, about).mask(image[..., np.newaxis])
        assert np.mean((found >= about.threshold) != expected) < 0.01
        assert 0.1 < expected.mean() < 0.9


@pytest.mark.parametrize("format_name", options.EXPORT_FORMATS)
def test_slices_of_volumes_are_taken_as_they_are(written, format_name):
    slices = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    folder = written(metadata.VOLUMES, format_name)
    expected = _exported(metadata.VOLUMES).keras(slices.astype(np.float32) / 255)
    np.testing.assert_allclose(_read(folder)(slices), expected, atol=1e-6)
    assert not (folder / "model_uint16.onnx").exists()


def test_metadata_travel_with_the_model(written):
    expected = _exported(metadata.FINDINGS).metadata.to_json()
    folder = written(metadata.FINDINGS, "onnx")
    assert sorted(file.name for file in folder.iterdir()) == ["model.onnx", "model_uint16.onnx"]
    (found,) = onnx.load(folder / "model.onnx").metadata_props
    assert json.loads(found.value) == expected
    folder = written(metadata.FINDINGS, "savedmodel")
    assert [file.name for file in folder.iterdir()] == ["model_savedmodel"]
    beside = (folder / "model_savedmodel" / "assets" / "metadata.json").read_text("utf-8")
    assert json.loads(beside) == expected


def test_a_difference_leaves_nothing_unless_rounding_explains_it(tmp_path, monkeypatch):
    exported = _exported(metadata.VOLUMES)
    assert portable._noise(exported) < portable.TOLERANCE
    read = portable.read_onnx

    def reading(file, dtype):
        right = read(file, dtype)
        return lambda pixels: right(pixels) + np.float32(0.01)

    monkeypatch.setattr(portable, "read_onnx", reading)
    with pytest.raises(RunError, match=r"^model.keras: .* of Keras by at most 0.0001, found 0.01"):
        portable.save(tmp_path / "model.keras", exported, "onnx")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(portable, "_noise", lambda _: 0.005)
    found = portable.save(tmp_path / "model.keras", exported, "onnx")
    assert found == pytest.approx(0.01, abs=1e-4)


def test_only_what_is_missing_is_written(tmp_path):
    export.save(tmp_path / "model.keras", _exported(metadata.VOLUMES))
    lines: list[str] = []
    portable.write_missing(tmp_path, ("onnx",), lines.append)
    (line,) = lines
    assert line.startswith("export: model.onnx (largest difference from Keras: ")
    written = (tmp_path / "model.onnx").stat().st_mtime_ns
    portable.write_missing(tmp_path, ("onnx",), lines.append)
    assert len(lines) == 1 and (tmp_path / "model.onnx").stat().st_mtime_ns == written
    (tmp_path / "model.keras").write_bytes(b"no model")
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(InputError, match="model.keras"):
        portable.write_missing(tmp_path, ("onnx",), lines.append)


def test_grouped_convolutions(tmp_path):
    images = tf.keras.Input((SIZE, SIZE, 1))
    features = tf.keras.layers.Conv2D(8, 3, activation="relu")(images)
    features = grouped.GroupedConv2D(8, 3, groups=4, name="conv")(features)
    pooled = tf.keras.layers.GlobalAveragePooling2D()(features)
    logits = tf.keras.Model(images, tf.keras.layers.Dense(2)(pooled))
    about = exported_models.about(metadata.FINDINGS)
    exported = export.Exported(export.with_probabilities(logits, "sigmoid"), about)
    assert portable.save(tmp_path / "model.keras", exported, "onnx") <= portable.TOLERANCE


def test_a_model_that_tells_single_greys_apart_is_written(tmp_path):
    """Where OpenCV rounds a tie the other way, the models are given other greys, and must agree."""
    pixels = tf.keras.Input((32, 32, 1))
    quarters = tf.keras.layers.Rescaling(255.0 * np.pi / 2)(pixels)
    logits = tf.keras.Model(pixels, tf.keras.layers.Activation(tf.math.sin)(quarters))
    about = exported_models.about(metadata.MASKS, image_size=32)
    exported = export.Exported(export.with_probabilities(logits, "sigmoid"), about)
    assert portable.save(tmp_path / "model.keras", exported, "savedmodel") <= portable.TOLERANCE
