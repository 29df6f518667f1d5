"""Reads the arrays of a file of weights, by what is in it; nothing of a model is built or run.

- HDF5 of Keras 1 and 2 ("legacy"): a list of layers, each with a list of weights.
- HDF5 of Keras 2.14 and 3 (`.weights.h5`): groups by the classes of layers; Keras 3 also writes
  the layers' names.
- `.keras`: an archive of such a file and the model's configuration, which has the names.
- `.pt`, `.pth`: a file of PyTorch, see `torch_archive`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import io
import pathlib
import re
from typing import Any, TypeGuard

import h5py
import numpy as np

from tffcxr.errors import InputError
from tffcxr.models.files import safe_files, torch_archive
from tffcxr.models.files.layouts import pytorch
from tffcxr.models.files.layouts.matching import short, snake_case
from tffcxr.models.files.layouts.stored import Arrays, Stored

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK"
_HEAD_BYTES = 512
# Names of the arrays that Keras numbers, by the class of the layer and how many there are.
_WEIGHTS = {
    "conv2d": ("kernel", "bias"),
    "grouped_conv2d": ("kernel", "bias"),
    "conv2d_transpose": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "depthwise_conv2d": ("depthwise_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "group_normalization": ("gamma", "beta"),
}
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


def read(path: pathlib.Path) -> Stored:
    """Reads the layers of a file.

    Raises:
      InputError: the file is none of those, is damaged or not safe, see `safe_files`. The message
        is one line without the path.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if torch_archive.is_archive(path):
        return pytorch.read(path)
    for magic, reader in _READERS.items():
        if head.startswith(magic):
            return reader(path)
    raise InputError(
        "expected weights of Keras (.keras, .weights.h5 or .h5) or of PyTorch (.pt or .pth), found "
        f"{_what(head)}"
    )


def _what(head: bytes) -> str:
    """What a file that holds no weights looks like."""
    if not head:
        return "an empty file"
    if re.match(rb"\s*(<!doctype|<html|<\?xml)", head, re.IGNORECASE):
        return "a web page"
    try:
        head.decode("ascii")
    except UnicodeDecodeError:
        return "another kind of file"
    return "a text file"


def _read_hdf5(path: pathlib.Path) -> Stored:
    safe_files.check_hdf5(path)
    with h5py.File(path, "r") as file:
        return _of_hdf5(file, [])


def _read_keras(path: pathlib.Path) -> Stored:
    config, weights = safe_files.read_keras(path, of_keras_3=True)
    with h5py.File(io.BytesIO(weights), "r") as file:
        return _of_hdf5(file, _layers_of(config))


_READERS: dict[bytes, Callable[[pathlib.Path], Stored]] = {_HDF5: _read_hdf5, _ZIP: _read_keras}


def _of_hdf5(file: h5py.File, layers: list[tuple[str, str]]) -> Stored:
    """Reads arrays; `layers` are the classes and names of a model's configuration, if known."""
    for container in _CONTAINERS:
        if isinstance(file.get(container), h5py.Group):
            return _of_classes(file[container], layers)
    group = file.get("model_weights", file)
    stored: dict[str, Arrays] = {}
    for layer in _names(group, "layer_names"):
        for name, arrays in _of_legacy_layer(layer, _member(group, layer)):
            stored[name] = arrays
    return Stored(stored)


def _of_classes(container: h5py.Group, layers: list[tuple[str, str]]) -> Stored:
    """Reads groups like `conv2d_1/vars/0`."""
    names = _numbered(layers)
    stored: dict[str, Arrays] = {}
    is_named = bool(layers)
    for group in sorted(container, key=_natural):
        variables = container[group].get("vars") if _is_group(container[group]) else None
        if not _is_group(variables):
            continue
        name = variables.attrs.get("name")
        is_named |= isinstance(name, str)
        layer = name if isinstance(name, str) else names.get(group, group)
        stored[layer] = _numbered_arrays(group, variables)
    if layers:  # In the order of the model.
        order = {name: place for place, (_, name) in enumerate(layers)}
        stored = dict(sorted(stored.items(), key=lambda item: order.get(item[0], len(order))))
    return Stored(stored, is_named)


def _is_group(value: Any) -> TypeGuard[h5py.Group]:
    return isinstance(value, h5py.Group)


def _natural(name: str) -> tuple[str, int]:
    kind, _, number = name.rpartition("_")
    return (kind, int(number)) if number.isdigit() and kind else (name, 0)


def _numbered(layers: list[tuple[str, str]]) -> dict[str, str]:
    """From the groups that Keras makes of layers, numbered within a class, to their names."""
    counts: dict[str, int] = {}
    names = {}
    for kind, name in layers:
        group = snake_case(kind)
        count = counts.get(group, 0)
        counts[group] = count + 1
        names[f"{group}_{count}" if count else group] = name
    return names


def _numbered_arrays(group: str, variables: h5py.Group) -> Arrays:
    arrays = [variables[name][()] for name in sorted(variables, key=_natural_number)]
    names: tuple[str, ...] = _WEIGHTS.get(_natural(group)[0], ())
    if _natural(group)[0] == "batch_normalization" and len(arrays) == 3:
        names = ("beta", *names[2:])  # Without a scale.
    if len(arrays) > len(names):
        names = tuple(str(place) for place in range(len(arrays)))
    return dict(zip(names, arrays))


def _natural_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (0, name)


def _layers_of(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the class and the name of every layer of a configuration, in its order."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not isinstance(layers, list):
        raise InputError("expected the configuration of a model with layers, found none")
    found = []
    for layer in layers:
        options = layer.get("config") if isinstance(layer, dict) else None
        name = options.get("name") if isinstance(options, dict) else None
        if not isinstance(name, str):
            raise InputError("expected a configuration with names of layers, found none")
        found.append((str(layer.get("class_name")), name))
    return found


def _of_legacy_layer(layer: str, group: h5py.Group) -> Iterator[tuple[str, Arrays]]:
    """Yields the layer; a model within the model as its own layers."""
    names = _names(group, "weight_names")
    is_model = len({short(name) for name in names}) < len(names)
    stored: dict[str, Arrays] = {} if is_model else {layer: {}}
    for name in names:
        values = _member(group, name)
        if not isinstance(values, h5py.Dataset):
            raise InputError(f"expected the array {name:.60}, found a group")
        owner = name.rpartition("/")[0] if is_model else layer
        stored.setdefault(owner, {})[short(name)] = np.asarray(values[()])
    yield from stored.items()


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Returns the names of layers, or of a layer's weights, that a legacy file lists."""
    names = group.attrs.get(attribute) if _is_group(group) else None
    if not isinstance(names, np.ndarray) or names.ndim != 1:
        raise InputError(f"expected Keras weights with {attribute}, found none")
    return [
        name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names
    ]


def _member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    value = group.get(name)
    if value is None:
        raise InputError(f"expected {name:.60} as listed in the file, found nothing of this name")
    return value
