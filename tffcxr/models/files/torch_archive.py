"""Tensors by name from a file of PyTorch (`.pt`, `.pth`), read without PyTorch.

`torch.save` has two formats: a zip archive since version 1.6, before that pickles one after the
other, then the numbers. Both hold a dictionary of tensors (`state_dict`), a training state that has
one as an entry, or a whole model. What is in the file is read by `pickled_tensors` and never run.
"""

from __future__ import annotations

from collections.abc import Iterator
import io
import math
import pathlib
import pickle
import struct
from typing import Any
import zipfile

import numpy as np

from tffcxr.errors import InputError
from tffcxr.models.files import pickled_tensors, safe_files
from tffcxr.models.files.pickled_tensors import Layer, Pickled, Storage, Tensor

_MAGIC = 0x1950A86A20F9469CFC6C  # The first pickle of the format before 1.6.
_HEAD = pickle.dumps(_MAGIC, protocol=2)
_PROTOCOL = 1001
# Of all tensors together, which may share theirs.
_MOST_NUMBERS = safe_files.MAXIMUM_WEIGHT_BYTES // 4
_MOST_ENTRIES = 1 << 17  # Tensors and layers.
_LONGEST_NAME = 1000
_STATES = ("state_dict", "model_state_dict", "model")  # What training states call the tensors.
_PARALLEL = "module."  # What `torch.nn.DataParallel` puts before every name.


def is_archive(path: pathlib.Path) -> bool:
    """Whether a file looks like one that `torch.save` wrote."""
    with path.open("rb") as file:
        if file.read(len(_HEAD)) == _HEAD:
            return True
        try:
            with zipfile.ZipFile(file) as archive:
                return any(name.endswith("/data.pkl") for name in archive.namelist())
        except safe_files.ZIP_ERRORS:
            return False


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a file, by the names that `state_dict` gives them.

    Returns:
      Read-only arrays; they share memory where the file's tensors do.

    Raises:
      InputError: the file is damaged, holds more than tensors and layers, or no tensors. The
        message is one line without the path.
    """
    most = safe_files.MAXIMUM_WEIGHT_BYTES
    if (size := path.stat().st_size) > most:
        raise InputError(f"expected at most {most} bytes, found {size}")
    content = path.read_bytes()
    if content.startswith(_HEAD):
        found, numbers = _read_legacy(io.BytesIO(content))
    else:
        found, numbers = _read_zip(content)
    tensors = dict(_named(_state(found.value)))
    if not tensors:
        raise InputError("expected tensors by name, found none")
    if sum(math.prod(tensor.shape) for tensor in tensors.values()) > _MOST_NUMBERS:
        raise InputError(f"expected at most {_MOST_NUMBERS} weights, found more")
    if strange := next((name for name in tensors if not name.isprintable()), None):
        raise InputError(f"expected names of tensors, found {strange[:80]!r}")
    if all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    return {name: _array(tensor, numbers) for name, tensor in tensors.items()}


def _read_zip(content: bytes) -> tuple[Pickled, dict[Storage, np.ndarray]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member.filename: member for member in archive.infolist()}
            folder = _folder(members)
            used = sum(member.file_size for member in members.values())
            if used > len(content):
                raise InputError(
                    f"expected an archive of at most {len(content)} bytes, found {used} in it"
                )
            order = f"{folder}/byteorder"
            if order in members and archive.read(order) != b"little":
                raise InputError("expected numbers in little-endian order, found another")
            found = pickled_tensors.read(io.BytesIO(archive.read(f"{folder}/data.pkl")))
            numbers = {}
            for storage in found.storages.values():
                name = f"{folder}/data/{storage.key}"
                if name not in members:
                    raise InputError(f"expected {name[:80]!r} in the archive, found none")
                numbers[storage] = _numbers(storage, archive.read(name))
    except InputError:
        raise
    except safe_files.ZIP_ERRORS as error:
        raise InputError(f"expected an intact archive, found: {error}") from None
    return found, numbers


def _folder(members: dict[str, zipfile.ZipInfo]) -> str:
    """The folder that all of an archive is in; its name is that of the file when it was saved."""
    folders = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise InputError(f"expected an archive with one data.pkl, found {len(folders)}")
    for member in members.values():
        if member.compress_type != zipfile.ZIP_STORED:
            raise InputError(
                f"expected an archive that is not compressed, found {member.filename[:80]!r}"
            )
    return folders[0]


def _read_legacy(file: io.BytesIO) -> tuple[Pickled, dict[Storage, np.ndarray]]:
    if [pickled_tensors.read(file).value for _ in range(2)] != [_MAGIC, _PROTOCOL]:
        raise InputError("expected a file that torch.save wrote, found another pickle")
    system = pickled_tensors.read(file).value
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise InputError("expected numbers in little-endian order, found another")
    found, keys = pickled_tensors.read(file), pickled_tensors.read(file).value
    if not isinstance(keys, list) or [key for key in keys if key not in found.storages]:
        raise InputError("expected the numbers of the tensors' storages, found others")
    numbers = {}
    for key in keys:
        storage = found.storages[key]
        header = file.read(8)
        if len(header) < 8 or struct.unpack("<q", header)[0] != storage.numbers:
            raise InputError(
                f"expected {storage.numbers} numbers of storage {key[:40]!r}, not found"
            )
        # `read` returns no more than the file has.
        numbers[storage] = _numbers(storage, file.read(storage.numbers * storage.dtype.itemsize))
    return found, numbers


def _numbers(storage: Storage, content: bytes) -> np.ndarray:
    size = storage.numbers * storage.dtype.itemsize
    if len(content) != size:
        raise InputError(
            f"expected {size} bytes of storage {storage.key[:40]!r}, found {len(content)}"
        )
    return np.frombuffer(content, storage.dtype)


def _state(found: Any) -> Any:
    """What has the tensors: a layer, or a dictionary of them, perhaps in a training state."""
    for name in _STATES:
        if isinstance(found, dict) and isinstance(found.get(name), (dict, Layer)):
            return found[name]
    return found


def _named(state: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a dictionary by its keys; those of a layer as its `state_dict` names them.

    Layers may be within themselves, or many times within others, so that names have no end.
    """
    waiting, seen = [("", state)], 0
    while waiting:
        prefix, value = waiting.pop()
        if len(prefix) > _LONGEST_NAME:
            raise InputError(f"expected names of at most {_LONGEST_NAME} characters, found longer")
        if isinstance(value, Layer):
            parts = [_part(value, part) for part in ("_parameters", "_buffers")]
            waiting.extend(
                (f"{prefix}{name}.", layer)
                for name, layer in reversed(_part(value, "_modules").items())
            )
        else:
            parts = [value] if isinstance(value, dict) else []
        seen += 1 + sum(map(len, parts))
        if seen + len(waiting) > _MOST_ENTRIES:
            raise InputError(f"expected at most {_MOST_ENTRIES} tensors and layers, found more")
        for part in parts:
            for name, tensor in part.items():
                if isinstance(tensor, Tensor):
                    yield f"{prefix}{name}", tensor


def _part(layer: Layer, name: str) -> dict[str, Any]:
    part = layer.attributes.get(name)
    if not isinstance(part, dict):
        raise InputError(f"expected a layer {layer.name:.80} with {name}, found none")
    return part


def _array(tensor: Tensor, numbers: dict[Storage, np.ndarray]) -> np.ndarray:
    if tensor.storage not in numbers:
        raise InputError(f"expected numbers of storage {tensor.storage.key[:40]!r}, found none")
    strides = [stride * tensor.storage.dtype.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        numbers[tensor.storage][tensor.offset :], tensor.shape, strides, writeable=False
    )
