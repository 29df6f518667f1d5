"""An exported model of every kind comes back equal, and says of a file what the network says."""

import json

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from tests.models.files import exported_models
from tffcxr.errors import InputError
from tffcxr.models.files import export, metadata
from tffcxr.models.spec import ModelSpec

SIZE = exported_models.SIZE


def _images(kind=metadata.FINDINGS):
    channels = 3 if kind == metadata.VOLUMES else 1
    return np.random.default_rng(0).random((2, SIZE, SIZE, channels), np.float32)


@pytest.mark.parametrize("kind", metadata.KINDS)
def test_a_saved_model_comes_back_equal(tmp_path, kind):
    exported = exported_models.exported(kind)
    path = tmp_path / "run" / "models" / "model.keras"
    export.save(path, exported)
    export.save(path, exported)  # Replaces what it wrote before.
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.keras"]
    for named in (path, str(tmp_path / "run")):
        loaded = export.load(named)
        assert loaded.metadata == exported.metadata
        found = loaded.keras(_images(kind))
        np.testing.assert_array_equal(found, exported.keras(_images(kind)))
        assert found.dtype == tf.float32
    assert np.ptp(found) > 1e-3
    if kind == metadata.CLASSES:
        np.testing.assert_allclose(np.sum(found, axis=1), 1, atol=1e-6)


# U-Net++ has a test of its own, on a model that is there already.
@pytest.mark.parametrize(("network", "precision"), [("unet", "bfloat16"), ("nnunet", "float32")])
def test_segmenters_give_the_probabilities_of_their_logits(tmp_path, network, precision):
    model = ModelSpec(network, 32, seed=2, precision=precision).build().keras
    about = exported_models.about(metadata.MASKS, image_size=32, network=network)
    path = tmp_path / "m.keras"
    export.save(path, export.Exported(export.with_probabilities(model, "sigmoid"), about))
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    found = export.load(path).keras(images)
    assert (found.dtype, found.shape) == (tf.float32, (2, 32, 32, 1))
    np.testing.assert_allclose(found, tf.sigmoid(model(images)), atol=1e-3)
    assert np.ptp(found) > 1e-4


@pytest.fixture(name="picture")
def _picture(tmp_path):
    """A file of 20 rows and 40 columns."""
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(1).integers(0, 256, (20, 40), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("kind", [metadata.FINDINGS, metadata.CLASSES])
def test_probabilities_of_a_file(picture, kind):
    exported = exported_models.exported(kind)
    pixels = exported.read(picture)
    assert (pixels.shape, pixels.dtype) == ((SIZE, SIZE, 1), np.float32)
    assert not pixels[: SIZE // 4].any()  # "pad" centres the image on black.
    assert 0.9 > pixels.max() > 0.5
    found = exported.predict(picture)
    assert tuple(found) == exported.metadata.outputs
    np.testing.assert_allclose(list(found.values()), exported.keras(pixels[None])[0], atol=1e-7)


def _bright(threshold, image_size=SIZE):
    """A model that marks what is brighter than half."""
    images = tf.keras.Input((image_size, image_size, 1))
    layer = tf.keras.layers.Conv2D(1, 1)
    logits = tf.keras.Model(images, layer(images))
    layer.set_weights([np.full((1, 1, 1, 1), 20.0), np.array([-10.0])])
    about = exported_models.about(metadata.MASKS, threshold=threshold)
    return export.Exported(export.with_probabilities(logits, "sigmoid"), about)


def test_the_mask_of_a_file_has_the_size_of_its_image(tmp_path):
    pixels = np.full((20, 40), 20, np.uint8)
    pixels[:, 30:] = 220
    Image.fromarray(pixels).save(tmp_path / "image.png")
    mask = _bright(0.5).predict(tmp_path / "image.png")
    assert (mask.dtype, mask.shape) == (bool, (20, 40))
    assert mask[:, 31:].all() and not mask[:, :29].any()
    # All of it is below 0.9999 of a probability.
    assert not _bright(0.9999).predict(tmp_path / "image.png").any()


def test_what_a_model_does_not_take_is_said(picture):
    with pytest.raises(InputError, match="prepared slices"):
        exported_models.exported(metadata.VOLUMES).predict(picture)
    with pytest.raises(InputError, match="black outside of the lungs"):
        exported_models.exported(metadata.CLASSES, cut_out=True).read(picture)
    with pytest.raises(
        InputError, match="expected a model of findings or classes, found a model t"
    ):
        exported_models.exported(metadata.MASKS).probabilities(_images()[0])
    with pytest.raises(InputError, match="expected a model that marks a region, found a model of"):
        exported_models.exported(metadata.FINDINGS).mask(np.zeros((9, 9, 1), np.uint8))
    with pytest.raises(InputError, match="expected an image .H, W, 1., found the shape .9, 9, 3."):
        exported_models.exported(metadata.FINDINGS).fitted(np.zeros((9, 9, 3), np.uint8))


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("findings", {"outputs": ("A",)}, "gives the shape .2,., the metadata say .1,."),
        ("findings", {"image_size": 64}, "of the shape .16, 16, 1., the metadata say .64, 64, 1."),
        (
            "findings",
            {"gradcam_layers": {"Lung Opacity": "x", "Pneumothorax": "conv"}},
            "the model has no layer x",
        ),
        ("volumes", {"channels": 1}, "of the shape .16, 16, 3., the metadata say .16, 16, 1."),
    ],
)
def test_a_model_of_other_metadata_is_refused_on_both_ends(tmp_path, kind, change, message):
    path = tmp_path / "m.keras"
    if "outputs" in change:
        change = {**change, "operating_points": {}}
    other = exported_models.about(kind, **change)
    with pytest.raises(ValueError, match=message):
        export.save(path, export.Exported(exported_models.keras(kind), other))
    assert not list(tmp_path.iterdir())
    export.save(path, exported_models.exported(kind))
    path.with_suffix(".json").write_text(json.dumps(other.to_json()))
    with pytest.raises(InputError, match=f"does not fit its metadata: .*{message}"):
        export.load(path)


def test_a_model_of_several_outputs_is_refused(tmp_path):
    images = tf.keras.Input((SIZE, SIZE, 1))
    layers = [tf.keras.layers.Conv2D(1, 1)(images) for _ in range(2)]
    path = tmp_path / "m.keras"
    export.save(path, exported_models.exported(metadata.MASKS))
    tf.keras.Model(images, layers).save(path)
    with pytest.raises(InputError, match="does not fit its metadata: the model gives the shape"):
        export.load(path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("m.json", None, "metadata, found no file"),
        ("m.json", b"{", "expected an exported model's metadata"),
        ("m.keras", None, "expected a run's folder or a .keras file, found nothing"),
        ("m.keras", b"PK", "expected an exported Keras model"),
    ],
)
def test_files_that_are_missing_or_broken_are_named(tmp_path, file, content, message):
    export.save(tmp_path / "m.keras", exported_models.exported(metadata.FINDINGS))
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        export.load(tmp_path / "m.keras")
    assert "\n" not in str(raised.value)


def test_a_model_with_a_weight_that_is_not_finite_is_not_loaded(tmp_path):
    # Its probabilities may look well: some implementations of ReLU make NaN a zero.
    exported = exported_models.exported(metadata.FINDINGS)
    values = exported.keras.get_weights()
    values[0].flat[0] = np.inf
    exported.keras.set_weights(values)
    export.save(tmp_path / "m.keras", exported)
    with pytest.raises(InputError, match="expected finite weights, found"):
        export.load(tmp_path / "m.keras")


def test_save_wants_a_keras_file(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        export.save(tmp_path / "m.h5", exported_models.exported(metadata.FINDINGS))
    assert not list(tmp_path.iterdir())
