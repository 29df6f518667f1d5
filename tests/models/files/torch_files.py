"""Writes files as `torch.save` does, without PyTorch: its two formats, with real pickle steps."""

import collections
import dataclasses
import io
import pickle
import struct
from typing import Any
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
_KINDS = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A storage, and what of it a tensor shows; by default all of it in one dimension."""

    numbers: np.ndarray
    offset: Any = 0
    shape: Any = None
    strides: Any = None
    claimed: int | None = None  # Numbers that the file says it has.


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """An object of a class of PyTorch; `parts` are layers within it."""

    name: str
    tensors: dict[str, Any] = dataclasses.field(default_factory=dict)
    buffers: dict[str, Any] = dataclasses.field(default_factory=dict)
    parts: dict[str, "Layer"] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Raw:
    """Steps of a pickle as they are, which leave one value on the stack."""

    steps: bytes


def state(tensors):
    """A dictionary of arrays, as `state_dict` makes one."""
    return collections.OrderedDict((name, _of_array(array)) for name, array in tensors.items())


def _of_array(array):
    array = np.ascontiguousarray(array)
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Tensor(array.reshape(-1), 0, array.shape, strides)


def write(path, value, legacy=False):
    """Writes the file; `value` has dictionaries, lists, tuples, `Tensor` and `Layer` in it."""
    storages: dict[str, np.ndarray] = {}
    content = _pickle(value, storages, legacy)
    if legacy:
        path.write_bytes(_legacy(content, storages))
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        for key, numbers in storages.items():
            archive.writestr(f"archive/data/{key}", numbers.tobytes())
        archive.writestr("archive/version", "3\n")


def _legacy(content, storages):
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    heads = [pickle.dumps(value, protocol=2) for value in (MAGIC, 1001, system)]
    numbers = b"".join(struct.pack("<q", each.size) + each.tobytes() for each in storages.values())
    return b"".join((*heads, content, pickle.dumps(list(storages), protocol=2), numbers))


def _pickle(value, storages, legacy):
    file = io.BytesIO()
    file.write(b"\x80\x02")
    _put(file, value, storages, legacy)
    file.write(b".")
    return file.getvalue()


def _put(file, value, storages, legacy):
    def put(*values):
        for each in values:
            _put(file, each, storages, legacy)

    if isinstance(value, Raw):
        file.write(value.steps)
    elif isinstance(value, Tensor):
        key = str(len(storages))
        storages[key] = value.numbers
        kind = Raw(b"ctorch\n" + _KINDS[value.numbers.dtype.name].encode() + b"\n")
        count = value.numbers.size if value.claimed is None else value.claimed
        file.write(b"ctorch._utils\n_rebuild_tensor_v2\n(")
        put(("storage", kind, key, "cuda:0", count, *((None,) if legacy else ())), Raw(b"Q"))
        shape = (value.numbers.size,) if value.shape is None else value.shape
        strides = (1,) if value.strides is None else value.strides
        put(value.offset, shape, strides, False, collections.OrderedDict())
        file.write(b"tR")
    elif isinstance(value, Layer):
        module, _, name = value.name.rpartition(".")
        named = Raw(f"c{module}\n{name}\n".encode())
        put(*((("module", named, "models.py", "class …"), Raw(b"Q")) if legacy else (named,)))
        file.write(b")\x81")
        parts = collections.OrderedDict(value.parts)
        parameters = {name: Raw(b"N") if x is None else x for name, x in value.tensors.items()}
        no_names = Raw(b"c__builtin__\nset\n]\x85R")
        put({"training": False, "_parameters": parameters, "_buffers": value.buffers})
        file.write(b"b}(")
        put("_modules", parts, "_non_persistent_buffers_set", no_names, "kernel_size", (3, 3))
        file.write(b"ub")
    elif isinstance(value, dict):
        file.write(
            b"ccollections\nOrderedDict\n)R" if isinstance(value, collections.OrderedDict) else b"}"
        )
        file.write(b"(")
        for key, each in value.items():
            put(key, each)
        file.write(b"u")
    elif isinstance(value, (tuple, list)):
        file.write(b"(")
        put(*value)
        file.write(b"t" if isinstance(value, tuple) else b"l")
    else:  # Text and numbers, without the frame of a pickle.
        file.write(pickle.dumps(value, protocol=2)[2:-1])
