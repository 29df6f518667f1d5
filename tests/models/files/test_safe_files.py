"""Files of models that hold code, name other classes or fill the memory are refused unread."""

from __future__ import annotations

import contextlib
import json
import sys
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tests.models import built
from tffcxr.errors import InputError
from tffcxr.models.files import model_file, pretrained, safe_files
from tffcxr.models.networks import grouped
from tffcxr.models.spec import ModelSpec

_WEIGHTS = "model.weights.h5"


def _model(*layers):
    images = tf.keras.Input((4, 4, 1), name="images")
    x = tf.keras.layers.Conv2D(2, 1, activation="relu", name="conv")(images)
    for layer in layers:
        x = layer(x)
    return tf.keras.Model(images, x)


@pytest.fixture
def saved(tmp_path):
    _model().save(tmp_path / "good.keras")
    return tmp_path / "good.keras"


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that is there as soon as the module `payload` has been imported, or its class made."""
    path = tmp_path / "executed"
    (tmp_path / "payload.py").write_text(
        f"import pathlib\npathlib.Path({str(path)!r}).write_text('executed')\n"
        "def run(*_): return None\nclass Layer: from_config = run\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop("payload", None)


def _edited(saved, change, name="bad.keras"):
    """Writes a copy of a model whose configuration is changed in place."""
    path = saved.with_name(name)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.namelist():
            data = source.read(member)
            if member == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            target.writestr(member, data)
    return path


def _conv(config):
    return next(one for one in config["config"]["layers"] if one["class_name"] == "Conv2D")


def _refused(path, message):
    """Checks that both readers of models refuse a file, in one line."""
    with pytest.raises(InputError, match=message) as error:
        model_file.load_model(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match=message) as error:
        pretrained.read("standard", str(path)).fill(built.model("standard", 32, 1))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def _name_a_class(config):
    _conv(config).update(module="payload", class_name="Layer", registered_name=None)


def _name_a_registered_class(config):
    _conv(config).update(module="payload", class_name="Layer", registered_name="Layer")


def _name_a_model(config):
    config.update(module="payload", class_name="Layer", registered_name=None)


def _name_an_initializer(config):
    _conv(config)["config"]["kernel_initializer"].update(module="payload", class_name="Layer")


def _name_a_function(config):
    _conv(config)["config"]["activation"] = {
        "class_name": "function",
        "config": "run",
        "module": "payload",
        "registered_name": "run",
    }


def _name_a_type(config):
    _conv(config)["config"]["dtype"] = {
        "class_name": "__typespec__",
        "spec_name": "Layer",
        "module": "payload",
        "config": {},
        "registered_name": None,
    }


def _name_ours_elsewhere(config):
    _conv(config).update(module="payload", registered_name="tffcxr>Conv2D")


@pytest.mark.parametrize(
    "change",
    [
        _name_a_model,
        _name_a_class,
        _name_a_registered_class,
        _name_an_initializer,
        _name_a_function,
        _name_a_type,
        _name_ours_elsewhere,
    ],
)
def test_a_class_or_function_of_another_module_is_not_imported(saved, marker, change):
    path = _edited(saved, change)
    _refused(path, "payload")
    assert not marker.exists()


def test_keras_alone_would_have_run_it(saved, marker):
    """That what the tests look for does happen without the check."""
    with contextlib.suppress(TypeError, AttributeError, ValueError):
        tf.keras.models.load_model(_edited(saved, _name_a_model), compile=False)
    assert marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("keras.layers", "Lambda")],
)
def test_well_known_ways_out(saved, module, name):
    def change(config):
        _conv(config).update(module=module, class_name=name, registered_name=name)

    _refused(_edited(saved, change), f"found '{name}' of '{module}'")


def test_a_function_of_tensorflow_is_refused(saved):
    def change(config):
        function = {"name": "conv", "function": "io.write_file"}
        _conv(config).update(class_name="TFOpLambda", config=function)

    _refused(_edited(saved, change), "found 'TFOpLambda' of 'keras.layers'")


def _with_lambda(path, marker):
    def payload(x, file=str(marker)):
        with open(file, "w") as opened:
            opened.write("executed")
        return x

    model = _model(tf.keras.layers.Lambda(payload))
    model.save(path)
    marker.unlink()  # Making the model has run it.
    return path


def test_a_lambda_is_refused(marker, tmp_path):
    _refused(_with_lambda(tmp_path / "bad.keras", marker), "found 'Lambda' of 'keras.layers'")
    assert not marker.exists()


def test_a_lambda_in_hdf5_is_refused(marker, tmp_path):
    path = _with_lambda(tmp_path / "bad.h5", marker)
    with pytest.raises(InputError, match="bad.h5 .*found 'Lambda'"):
        ModelSpec("standard", 32, 1, weights=str(path)).build()
    assert not marker.exists()


def test_hdf5_by_the_name_of_another_format_is_refused(marker, tmp_path):
    """Keras goes by the content, and its safe mode is not for HDF5."""
    path = _with_lambda(tmp_path / "bad.h5", marker).rename(tmp_path / "bad.keras")
    _refused(path, "expected an intact .keras file")
    assert not marker.exists()
    tf.keras.models.load_model(path, compile=False)
    assert marker.exists()


def test_hdf5_that_names_another_module_is_refused(marker, tmp_path):
    path = tmp_path / "bad.h5"
    _model().save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        _name_a_class(config)
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(InputError, match="bad.h5 .*found 'Layer' of 'payload'") as error:
        ModelSpec("standard", 32, 1, weights=str(path)).build()
    assert "\n" not in str(error.value)
    assert not marker.exists()


def _archive(saved, change):
    """Writes a copy of an archive to which `change` may add, and which leaves `without` away."""
    path = saved.with_name("bad.keras")
    with zipfile.ZipFile(saved) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        change(members, target)
        for name, data in members.items():
            target.writestr(name, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
class TestArchives:
    def test_members_outside_of_the_folder(self, saved, tmp_path):
        for name in ("../executed", "/tmp/executed", "assets/../../executed", "assets/x"):
            path = _archive(saved, lambda members, target, name=name: members.update({name: b"x"}))
            _refused(path, "expected a .keras file of config.json, metadata.json, model.weights.h5")
        assert not (tmp_path.parent / "executed").exists()

    def test_a_bomb(self, saved):
        def compress(members, target):
            members.pop("metadata.json")
            target.writestr("metadata.json", bytes(64 << 20), zipfile.ZIP_DEFLATED)

        path = _archive(saved, compress)
        assert path.stat().st_size < 1 << 20
        _refused(path, "not compressed, found metadata.json of 67108864 bytes in")

    def test_a_large_configuration(self, saved, monkeypatch):
        monkeypatch.setattr(safe_files, "MAXIMUM_JSON_BYTES", 100)
        _refused(saved, "config.json of at most 100 bytes, found")

    def test_pickled_weights(self, saved):
        def replace(members, target):
            members.pop(_WEIGHTS)
            members["model.weights.npz"] = b"pickled"

        _refused(_archive(saved, replace), "found 'config.json', 'metadata.json', 'model.weights.n")

    def test_two_configurations(self, saved):
        def add(members, target):
            target.writestr("config.json", members["config.json"])

        _refused(_archive(saved, add), "found 'config.json', 'config.json'")

    @pytest.mark.parametrize(
        "text", ["[" * 100_000, '{"a": ' * 200 + "1" + "}" * 200, "[]", "no JSON", "\xff"]
    )
    def test_what_is_no_configuration(self, saved, text):
        path = _archive(
            saved,
            lambda members, target: members.update({"config.json": text.encode("latin-1")}),
        )
        _refused(path, "expected (a|the) configuration")


def test_a_layer_of_too_many_weights_is_refused_before_they_are_made(saved):
    def change(config):
        _conv(config)["config"]["filters"] = 10**12

    _refused(_edited(saved, change), "weights of at most 2147483648 bytes, found a larger one")


class TestHdf5:
    def _weights(self, saved, change):
        def replace(members, target):
            path = saved.with_name("weights.h5")
            path.write_bytes(members[_WEIGHTS])
            with h5py.File(path, "r+") as file:
                change(file)
            members[_WEIGHTS] = path.read_bytes()

        return _archive(saved, replace)

    def test_links(self, saved):
        for link in (h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/_layer")):
            path = self._weights(saved, lambda file, link=link: file.update({"x": link}))
            _refused(path, "weights within the file, found the link 'x'")

    def test_arrays_in_other_files(self, saved, tmp_path):
        (tmp_path / "secret").write_bytes(bytes(80))

        def change(file):
            external = [(str(tmp_path / "secret"), 0, 80)]
            file.create_dataset("x", (10,), np.float64, external=external)

        _refused(self._weights(saved, change), "within the file, found 'x' elsewhere")

    def test_an_array_that_takes_no_room_in_the_file(self, saved):
        def change(file):
            file.create_dataset("x", (1 << 40,), np.float32, chunks=(1 << 10,))

        _refused(self._weights(saved, change), "weights of at most 2147483648 bytes, found more")

    def test_an_array_of_objects(self, saved):
        def change(file):
            file["x"] = np.array([b"a", b"bc"], object)

        _refused(self._weights(saved, change), "arrays of numbers, found 'x' of another kind")

    def test_a_group_within_itself(self, saved):
        def change(file):
            file["_layer_checkpoint_dependencies/again"] = file

        path = self._weights(saved, change)
        assert model_file.load_model(path).count_params() == 4

    @pytest.mark.parametrize("attribute", ["layer_names", "weight_names"])
    def test_legacy_files_whose_names_are_none(self, tmp_path, attribute):
        path = tmp_path / "bad.h5"
        _model().save(path)
        with h5py.File(path, "r+") as file:
            group = file["model_weights"]
            group = group if attribute == "layer_names" else group["conv"]
            for names in ([b"absent"], [b"."], [b"/"], 3, np.float32([1.0])):
                group.attrs[attribute] = names
                file.flush()
                with pytest.raises(InputError, match="bad.h5 .*(expected|not found)") as error:
                    ModelSpec("standard", 32, 1, weights=str(path)).build()
                assert "\n" not in str(error.value)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_models_of_this_project_are_loaded(tmp_path, precision):
    model = ModelSpec("standard", 32, 1, precision=precision).build().keras
    model_file.save(tmp_path / "model.keras", model, {})
    found = model_file.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(found.get_weights()[0], model.get_weights()[0])


def test_layers_of_this_project_are_found_by_name_alone(tmp_path):
    model = _model(grouped.GroupedConv2D(4, 1, groups=2, name="grouped"))
    model.save(tmp_path / "good.keras")

    def move(config):
        config["config"]["layers"][-1]["module"] = "tffcxr.moved.since"

    path = _edited(tmp_path / "good.keras", move)
    assert isinstance(model_file.load_model(path).get_layer("grouped"), grouped.GroupedConv2D)


def test_a_compiled_model_is_loaded_without_how_it_was_trained(tmp_path):
    model = _model()
    model.compile("adam", "mse")
    model.save(tmp_path / "good.keras")
    assert model_file.load_model(tmp_path / "good.keras").optimizer is None
