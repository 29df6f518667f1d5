"""Weights from files: what fits is loaded by name, what does not is named and changes nothing."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models import built
from tffcxr.errors import InputError
from tffcxr.models import blocks
from tffcxr.models.files import export, pretrained
from tffcxr.models.files.metadata import Metadata
from tffcxr.models.spec import ModelSpec


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_every_format_gives_the_representation_back_and_a_new_task_block(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    source = ModelSpec("standard", 32, 2, seed=1).build()
    if suffix == ".weights.h5":
        source.keras.save_weights(path)
    else:
        source.keras.save(path)
    model = ModelSpec("standard", 32, 2, seed=2, weights=str(path)).build()
    fresh = ModelSpec("standard", 32, 2, seed=2).build()
    for block, expected in (("representation", source), ("task", fresh)):
        names = getattr(model, block)
        for a, b in zip(
            blocks.get_weights(model.keras, names), blocks.get_weights(expected.keras, names)
        ):
            np.testing.assert_array_equal(a, b)


def test_the_folder_of_a_run_stands_for_its_first_model_of_the_network(tmp_path):
    for number, network in enumerate(("resnet18", "standard", "standard"), start=1):
        # Which network a file holds is read from its metadata, so the first is none of ResNet18.
        source = ModelSpec("standard", 32, 2, seed=number).build()
        about = Metadata(
            "classes",
            ("Normal", "Pneumonia"),
            32,
            "pad",
            "tiny",
            network,
            phantoms=True,
            number=number,
            gradcam_layers=dict.fromkeys(("Normal", "Pneumonia"), source.gradcam_layer),
        )
        exported = export.Exported(export.with_probabilities(source.keras, "softmax"), about)
        export.save(tmp_path / "models" / f"model_{number}.keras", exported)
    model = ModelSpec("standard", 32, 3, seed=9, weights=str(tmp_path)).build()
    first = ModelSpec("standard", 32, 2, seed=2).build()
    np.testing.assert_array_equal(
        model.keras.get_layer("conv1").kernel, first.keras.get_layer("conv1").kernel
    )
    with pytest.raises(InputError, match="a model of the network resnet34 in .* found resnet18, s"):
        pretrained.read("resnet34", str(tmp_path)).fill(model)


def test_legacy_weights_file_without_a_model(tmp_path):
    source = ModelSpec("standard", 32, 1, seed=1).build()
    source.keras.save_weights(tmp_path / "legacy.h5", save_format="h5")
    model = ModelSpec("standard", 32, 1, seed=2, weights=str(tmp_path / "legacy.h5")).build()
    np.testing.assert_array_equal(
        model.keras.get_layer("conv2").kernel, source.keras.get_layer("conv2").kernel
    )


def test_a_model_of_other_findings_serves(tmp_path):
    source = ModelSpec("standard", 32, 5, seed=1).build()
    source.keras.save(tmp_path / "five.keras")
    model = ModelSpec("standard", 32, 1, seed=2, weights=str(tmp_path / "five.keras")).build()
    np.testing.assert_array_equal(
        model.keras.get_layer("features").kernel, source.keras.get_layer("features").kernel
    )


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_other_shapes_are_named_and_change_nothing(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    other = ModelSpec("standard", 64, 1).build().keras
    other.save(path) if suffix == ".keras" else other.save_weights(path)
    model = ModelSpec("standard", 32, 1, seed=2).build()
    before = model.keras.get_weights()
    with pytest.raises(InputError, match=r"model.*shape.*(1024|4096).*(1024|4096)") as raised:
        pretrained.read("standard", str(path)).fill(model)
    assert "\n" not in str(raised.value)
    for a, b in zip(before, model.keras.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_another_architecture_is_refused_by_layer(tmp_path):
    images = tf.keras.Input((32, 32, 1))
    x = tf.keras.layers.Conv2D(16, 3, name="conv1")(images)
    tf.keras.Model(images, x).save(tmp_path / "other.keras")
    expected = r"layer norm1 with gamma of shape \(16,\), not found among the layers conv1 …"
    with pytest.raises(InputError, match=expected):
        ModelSpec("standard", 32, 1, weights=str(tmp_path / "other.keras")).build()


def test_a_deeper_network_is_refused_although_it_has_all_layers(tmp_path):
    path = tmp_path / "deeper.h5"
    ModelSpec("resnet34", 32, width=0.125).build().keras.save_weights(path)
    with pytest.raises(InputError, match="40 layers, found 72, as of a deeper .* v2_stack_0_b"):
        ModelSpec("resnet18", 32, width=0.125, weights=str(path)).build()
    ModelSpec("resnet34", 32, width=0.125, weights=str(path)).build()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.keras", None, "found nothing at .*absent.keras"),
        ("text.keras", b"not a model", "cannot be read into the model.* found a text file"),
        ("empty.weights.h5", b"", "found an empty file"),
        ("page.h5", b"\n<!DOCTYPE html><title>404</title>", "found a web page"),
        ("image.h5", b"\x89PNG\r\n\x1a\n", "found another kind of file"),
        ("half.h5", b"\x89HDF\r\n\x1a\n half", "expected an intact HDF5 file"),
        ("model.pth", b"torch", "h5. or of PyTorch .* found a text file"),
    ],
)
def test_files_that_are_no_weights(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        pretrained.read("standard", str(tmp_path / name))
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_that_are_not_finite_are_named(tmp_path):
    source = ModelSpec("standard", 32, 1).build()
    kernel, bias = source.keras.get_layer("conv2").get_weights()
    kernel[0, 0, 0, 0] = np.nan
    source.keras.get_layer("conv2").set_weights([kernel, bias])
    source.keras.save(tmp_path / "diverged.keras")
    with pytest.raises(InputError, match="expected finite values of conv2/kernel"):
        ModelSpec("standard", 32, 1, weights=str(tmp_path / "diverged.keras")).build()


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_truncated_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"half{suffix}"
    keras = built.model("standard", 32).keras
    keras.save_weights(path) if suffix == ".weights.h5" else keras.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="half.* cannot be read into the model: expected an intac"):
        pretrained.read("standard", str(path))


def test_group_norm_takes_scale_and_offset_of_batch_norm(tmp_path):
    def tiny(norm):
        images = tf.keras.Input((4, 4, 1))
        x = tf.keras.layers.Conv2D(2, 1, name="conv")(images)
        x = tf.keras.layers.GlobalAveragePooling2D()(norm(name="norm")(x))
        model = tf.keras.Model(images, tf.keras.layers.Dense(1, name="task")(x))
        return blocks.CxrModel(model, ("conv", "norm"), ("task",), "norm")

    source = tiny(tf.keras.layers.BatchNormalization)
    source.keras.get_layer("norm").gamma.assign([2.0, 3.0])
    source.keras.get_layer("norm").beta.assign([4.0, 5.0])
    source.keras.save(tmp_path / "batch.h5")
    model = tiny(lambda name: tf.keras.layers.GroupNormalization(2, name=name))
    pretrained.read("tiny", str(tmp_path / "batch.h5")).fill(model)
    np.testing.assert_array_equal(model.keras.get_layer("norm").gamma, [2.0, 3.0])
    np.testing.assert_array_equal(model.keras.get_layer("norm").beta, [4.0, 5.0])


@pytest.mark.parametrize("name", ["standard", "resnet18", "resnet34", "resnext50", "covidnet"])
def test_models_without_imagenet_weights_say_which_have_them(name):
    with pytest.raises(InputError) as raised:
        pretrained.read(name, "imagenet").fill(built.model("standard", 32))
    assert str(raised.value) == (
        f"there are no ImageNet weights for model {name}, only for densenet121, resnet50, "
        "mobilenetv2, efficientnetlite0, unetplusplus, unet_ENCODER and unetplusplus_ENCODER: use "
        "--weights=none or --weights=FILE"
    )
