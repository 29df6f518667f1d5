"""An exported segmentation model gives the probabilities of the model that was trained."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.models.files import export_segmentation
from tffcxr.models.spec import ModelSpec

METADATA = export_segmentation.SegmentationMetadata("Lungs", 64, "pad", threshold=0.25)


def _images():
    return np.random.default_rng(0).random((2, 64, 64, 1), np.float32)


def _tiny(channels=1, outputs=1, size=64):
    """A convolution, so that most tests need not build a U-Net."""
    images = tf.keras.Input((size, size, channels))
    return tf.keras.Model(images, tf.keras.layers.Conv2D(outputs, 1)(images))


# U-Net++ has a test of its own, on a model that is there already.
@pytest.mark.parametrize("name", ["unet", "nnunet"])
def test_a_saved_model_gives_the_same_probabilities(tmp_path, name):
    model = ModelSpec(name, 64, seed=2).build().keras
    export_segmentation.save(tmp_path / "run", model, METADATA)
    loaded = export_segmentation.load(tmp_path / "run")
    assert loaded.metadata == METADATA
    found = loaded.keras(_images())
    assert (found.dtype, found.shape) == (tf.float32, (2, 64, 64, 1))
    np.testing.assert_allclose(found, tf.sigmoid(model(_images())), atol=1e-6)
    assert np.ptp(found) > 1e-4


def test_lower_precision_gives_probabilities_in_float32(tmp_path):
    model = ModelSpec("unet", 64, precision="bfloat16").build().keras
    export_segmentation.save(tmp_path / "m.keras", model, METADATA)
    found = export_segmentation.load(tmp_path / "m.keras").keras(_images())
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, tf.sigmoid(model(_images())), atol=1e-3)


def test_the_file_and_the_folder_of_its_run_mean_the_same(tmp_path):
    export_segmentation.save(tmp_path / "run", _tiny(), METADATA)
    export_segmentation.save(tmp_path / "run", _tiny(), METADATA)  # replaces what it wrote
    models = tmp_path / "run" / "models"
    assert sorted(file.name for file in models.iterdir()) == [
        "segmentation.json",
        "segmentation.keras",
    ]
    by_run, by_file = (
        export_segmentation.load(path) for path in (tmp_path / "run", models / "segmentation.keras")
    )
    np.testing.assert_array_equal(by_run.keras(_images()), by_file.keras(_images()))
    data = json.loads((models / "segmentation.json").read_text())
    assert (data["kind"], data["region"], data["format_version"]) == ("segmentation", "Lungs", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "expected format version 1, found 2"),
        ({"format_version": ...}, "expected format version 1, found none"),
        ({"kind": ..., "findings": ["Mass", "Nodule"]}, "found one of the findings Mass, Nodule"),
        ({"kind": "other"}, "expected a segmentation model, found another"),
        ({"image_size": 32}, "images of .64, 64. pixels, the metadata say 32"),
        ({"image_size": "64"}, "the metadata say 64"),
        ({"fit": "crop"}, "fit must be pad or stretch, found 'crop'"),
        ({"threshold": 1.5}, "expected a threshold between 0 and 1, found 1.5"),
        ({"threshold": None}, "expected a threshold between 0 and 1, found None"),
        ({"region": ""}, "expected the name of a region"),
        ({"region": ..., "fit": ...}, "expected region, fit in an exported model's metadata"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path, change, message):
    path = tmp_path / "m.keras"
    export_segmentation.save(path, _tiny(), METADATA)
    data = json.loads(path.with_suffix(".json").read_text())
    data = {key: value for key, value in {**data, **change}.items() if value is not ...}
    path.with_suffix(".json").write_text(json.dumps(data))
    _refused(path, message)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_tiny(channels=3), "expected a model of images with 1 channel, found 3"),
        (_tiny(outputs=2), "one output for each of 64x64 pixels, found the shape .64, 64, 2."),
        (_tiny(size=32), "images of .32, 32. pixels, the metadata say 64"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_on_both_ends(tmp_path, model, message):
    path = tmp_path / "m.keras"
    with pytest.raises(ValueError, match=message):
        export_segmentation.save(path, model, METADATA)
    assert not path.exists()
    export_segmentation.save(path, _tiny(), METADATA)
    model.save(path)
    _refused(path, message)


def test_what_is_no_segmentation_model_is_named(tmp_path):
    _refused(
        tmp_path / "none", "folder of a segmentation run or a .keras file at .*, found nothing"
    )
    (tmp_path / "m.h5").write_bytes(b"")
    _refused(tmp_path / "m.h5", "found another file")
    (tmp_path / "m.keras").write_bytes(b"PK")
    _refused(tmp_path / "m.keras", "metadata, found no file .*m.json")
    (tmp_path / "m.json").write_text("[1]")
    _refused(tmp_path / "m.keras", "expected an exported model's metadata, found .1.")
    (tmp_path / "run" / "models").mkdir(parents=True)
    _refused(tmp_path / "run", "with models/segmentation.keras in .*, found no model")
    (tmp_path / "run" / "models" / "multi_task.keras").write_bytes(b"PK")
    _refused(tmp_path / "run", "found multi_task.keras")
    export_segmentation.save(tmp_path / "m.keras", _tiny(), METADATA)
    (tmp_path / "m.keras").write_bytes(b"PK")
    _refused(tmp_path / "m.keras", "expected an exported Keras model in .*m.keras")


def test_save_refuses_another_suffix(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        export_segmentation.save(tmp_path / "m.h5", _tiny(), METADATA)


def _refused(path, message):
    with pytest.raises(InputError, match=message) as raised:
        export_segmentation.load(path)
    assert "\n" not in str(raised.value)
