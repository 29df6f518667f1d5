"""Files of PyTorch: tensors are read by name in both formats; what else is in them is refused."""

import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tests.models.files import torch_files
from tests.models.files.torch_files import Layer, Raw, Tensor
from tffcxr.errors import InputError
from tffcxr.models.files import torch_archive

_STATE = {"conv.weight": np.arange(6.0, dtype=np.float32).reshape(2, 3), "steps": np.array(7)}


def _written(tmp_path, value, legacy=False):
    path = tmp_path / "model.pt"
    torch_files.write(path, value, legacy)
    return path


def _refusal(path):
    with pytest.raises(InputError) as raised:
        torch_archive.read(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("legacy", [False, True])
class TestBothFormats:
    @pytest.mark.parametrize("around", [dict, lambda x: {"epoch": 3, "state_dict": x}])
    def test_tensors_by_name(self, tmp_path, legacy, around):
        path = _written(tmp_path, around(torch_files.state(_STATE)), legacy)
        assert torch_archive.is_archive(path)
        read = torch_archive.read(path)
        assert list(read) == list(_STATE)
        for name, values in _STATE.items():
            np.testing.assert_array_equal(read[name], values)
            assert read[name].dtype == values.dtype

    def test_a_pickled_model_has_the_names_of_its_state_dict(self, tmp_path, legacy):
        def tensor(value):
            return Tensor(np.array([value], np.float32))

        norm = Layer(
            "torch.nn.modules.batchnorm.BatchNorm2d",
            {"weight": tensor(1), "bias": None},
            {"running_mean": tensor(2)},
        )
        parts = {"norm0": norm, "relu0": Layer("torch.nn.modules.activation.ReLU")}
        features = Layer("torch.nn.modules.container.Sequential", parts=parts)
        net = Layer("torchxrayvision.models.DenseNet", {"own": tensor(3)}, {}, {"f": features})
        read = torch_archive.read(_written(tmp_path, net, legacy))
        assert {name: values[0] for name, values in read.items()} == {
            "own": 3,
            "f.norm0.weight": 1,
            "f.norm0.running_mean": 2,
        }

    def test_a_file_that_ends_early(self, tmp_path, legacy):
        path = _written(tmp_path, torch_files.state(_STATE), legacy)
        path.write_bytes(path.read_bytes()[:-20])
        assert "expected" in _refusal(path)

    def test_what_a_pickle_would_call_is_named_and_not_called(self, tmp_path, legacy):
        called = tmp_path / "called"

        class Malicious:
            def __reduce__(self):
                return os.system, (f"touch {called}",)

        steps = pickle.dumps(Malicious(), protocol=2)[2:-1]
        path = _written(tmp_path, {"weight": Raw(steps)}, legacy)
        assert f"{os.system.__module__}.system" in _refusal(path)
        assert not called.exists()


def test_pickles_of_other_programs_are_no_archives(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps({"weight": 1}, protocol=2))
    assert not torch_archive.is_archive(path)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, tf.bfloat16.as_numpy_dtype, np.uint8])
def test_types_of_numbers(tmp_path, dtype):
    values = np.array([0, 1, 2.5], dtype)
    read = torch_archive.read(_written(tmp_path, {"x": Tensor(values)}))["x"]
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


def test_a_tensor_is_a_part_of_its_storage(tmp_path):
    part = Tensor(np.arange(10, dtype=np.float32), 1, (2, 3), (1, 3))
    read = torch_archive.read(_written(tmp_path, {"x": part}))
    np.testing.assert_array_equal(read["x"], [[1, 4, 7], [2, 5, 8]])


def test_the_prefix_of_a_model_on_several_devices_is_left_out(tmp_path):
    path = _written(tmp_path, torch_files.state({"module.a": np.ones(1), "module.b": np.ones(2)}))
    assert list(torch_archive.read(path)) == ["a", "b"]


_THREE = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Tensor(_THREE, 0, (4,), (1,)), "within the 3 numbers"),
        (Tensor(_THREE, 2, (2,), (1,)), "within the 3 numbers .* offset 2"),
        (Tensor(_THREE, 0, (2,), (3,)), "within the 3 numbers"),
        (Tensor(_THREE, 0, (1 << 40, 1 << 40), (0, 0)), "within the 3 numbers"),
        (Tensor(_THREE, -1), "expected a tensor of a storage"),
        (Tensor(_THREE, 0, (3,), ()), "as many strides as dimensions"),
        (Tensor(_THREE, 0, (1,) * 9, (1,) * 9), "found 9 dimensions"),
        (Tensor(_THREE, claimed=1 << 40), "expected 4398046511104 bytes of storage '0', found 12"),
        (Layer("builtins.list"), "tensors and layers alone, found 'builtins.list'"),
        (Raw(b"cposix\nsystem\n"), "tensors by name, found none"),  # A name alone does nothing.
        (Raw(b"(cposix\nsystem\nX\x01\x00\x00\x00ao"), "found the step OBJ"),
        (Raw(b"ctorch._utils\n_rebuild_tensor_v2\n)R"), "expected a tensor of a storage"),
        (Raw(b"h\x05"), "found a damaged one"),  # What was never remembered.
        (Raw(b"R"), "found a damaged one"),
        (Raw(b"X\xff\xff\xff\x7fabc"), "found a damaged one"),  # Text of 2 GB.
    ],
)
def test_what_does_not_fit_is_named(tmp_path, value, message):
    with pytest.raises(InputError, match=message):
        torch_archive.read(_written(tmp_path, {"x": value}))


def test_a_training_state_within_itself(tmp_path):
    steps = b"}q\x01(X\x05\x00\x00\x00modelh\x01u"
    assert "tensors by name, found none" in _refusal(_written(tmp_path, Raw(steps)))


def _layer(number, *parts):
    """Steps that make a layer, remember it by a number, and have those it refers to as parts."""

    def text(value):
        return b"X" + len(value).to_bytes(4, "little") + value

    names = [text(bytes([ord("a") + place])) for place in range(len(parts))]
    inner = b"".join(name + b"h" + bytes([part]) for name, part in zip(names, parts))
    return (
        b"ctorch.nn.modules.container\nSequential\n)\x81q" + bytes([number]) + b"}("
        + text(b"_modules") + b"}(" + inner + b"u"
        + text(b"_parameters") + b"}" + text(b"_buffers") + b"}ub"
    )  # fmt: skip


@pytest.mark.parametrize("parts", [(1,), (1, 1)])
def test_a_layer_within_itself_has_an_end(tmp_path, parts):
    path = _written(tmp_path, Raw(_layer(1, *parts)))
    assert "names of at most 1000 characters" in _refusal(path)


def test_layers_that_are_in_others_many_times_have_an_end(tmp_path):
    """Twenty layers, each of which has the one before it twice: a million names."""
    layers = b"".join(_layer(n, *([n - 1] * 2 if n else ())) for n in range(21))
    path = _written(tmp_path, {"x": Raw(b"(" + layers + b"t"), "model": Raw(b"h\x14")})
    assert "at most 131072 tensors and layers" in _refusal(path)


def test_tensors_that_show_the_same_numbers_many_times(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_archive, "_MOST_NUMBERS", 8)
    one = torch_files.state({"a": np.ones(9)})
    assert "expected at most 8 weights" in _refusal(_written(tmp_path, one))


_NAMES_A_STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03tQ."
)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a/data.pkl": b"", "b/data.pkl": b""}, "one data.pkl, found 2"),
        ({"a/data.pkl": b""}, "found one without an end|pickle exhausted"),
        ({"a/data.pkl": b"N.", "a/byteorder": b"big"}, "little-endian"),
        ({"a/data.pkl": _NAMES_A_STORAGE}, "'a/data/0' in the archive, found none"),
    ],
)
def test_archives_that_lack_something(tmp_path, members, message):
    path = pathlib.Path(tmp_path / "model.pt")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=message):
        torch_archive.read(path)


def test_archives_are_not_unpacked(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"N." + bytes(1 << 20))
    assert "that is not compressed, found 'a/data.pkl'" in _refusal(path)
