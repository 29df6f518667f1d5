"""Reads the pickles that `torch.save` writes, without PyTorch and without running anything.

A pickle is a program for a machine with a stack. Python's own reader imports and calls whatever the
program names. This one knows the steps that tensors, dictionaries of tensors and layers need. All
that a pickle names stays a name: tensors become `Tensor`, layers become `Layer`, and any other name
is refused.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import io
import math
import pickletools
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr.errors import InputError

_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(tf.bfloat16.as_numpy_dtype),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# Modules whose classes are layers; of these, only names and attributes are kept.
_LAYER_MODULES = ("torch.nn.", "torchvision.models.", "torchxrayvision.models")
# Parts of training states that stand beside weights. Their values are not read.
_UNREAD = {
    "torch device",
    "torch._utils _rebuild_parameter_with_state",
    "numpy dtype",
    "numpy.core.multiarray scalar",
    "numpy._core.multiarray scalar",
    "_codecs encode",
}
_MOST_DIMENSIONS = 8
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_LITERALS = frozenset(
    ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING")
    + ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
)


@dataclasses.dataclass(frozen=True)
class Storage:
    """Numbers of one type that one or more tensors show; `key` says where the file has them."""

    key: str
    dtype: np.dtype
    numbers: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A part of a storage: `offset` and `strides` count its numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A pickled `torch.nn.Module`: the name of its class, and its attributes."""

    name: str
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Name:
    """What a pickle names, as "module name"."""

    text: str


@dataclasses.dataclass(frozen=True)
class Pickled:
    """What is in a pickle.

    Attributes:
      value: tuples, lists, dictionaries, numbers and text, with `Tensor` and `Layer` in them.
      storages: all that it names, by their keys.
    """

    value: Any
    storages: dict[str, Storage]


def read(file: io.BytesIO) -> Pickled:
    """Reads one pickle, from where the file stands up to its end mark.

    Raises:
      InputError: the pickle is damaged or names what is not needed for tensors and layers.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return Pickled(machine.pop(), machine.storages)
            machine.step(opcode.name, argument)
    except InputError:
        raise
    except (IndexError, KeyError, ValueError) as error:  # Also what is no text.
        raise InputError(f"expected an intact pickle, found a damaged one ({error})") from None
    raise InputError("expected an intact pickle, found one without an end")


class _Machine:
    """The stack, and what the pickle refers to again by number."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda _: None,
            "FRAME": lambda _: None,
            "MARK": lambda _: self._mark(),
            "TUPLE": lambda _: self._push(tuple(self._pop_mark())),
            "TUPLE1": lambda _: self._push(tuple(self._pop_many(1))),
            "TUPLE2": lambda _: self._push(tuple(self._pop_many(2))),
            "TUPLE3": lambda _: self._push(tuple(self._pop_many(3))),
            "BINGET": lambda number: self._push(self._memo[number]),
            "LONG_BINGET": lambda number: self._push(self._memo[number]),
            "BINPUT": self._remember,
            "LONG_BINPUT": self._remember,
            "MEMOIZE": lambda _: self._remember(len(self._memo)),
            "GLOBAL": lambda text: self._push(_Name(text)),
            "STACK_GLOBAL": lambda _: self._push(_Name(" ".join(map(str, self._pop_many(2))))),
            "BINPERSID": lambda _: self._push(self._persistent(self.pop())),
            "NEWOBJ": lambda _: self._push(_new(*self._pop_many(2))),
            "REDUCE": lambda _: self._push(_called(*self._pop_many(2))),
            "BUILD": lambda _: self._build(self.pop()),
            "APPEND": lambda _: self._append(self._pop_many(1)),
            "APPENDS": lambda _: self._append(self._pop_mark()),
            "SETITEM": lambda _: self._set(self._pop_many(2)),
            "SETITEMS": lambda _: self._set(self._pop_mark()),
        }

    def step(self, name: str, argument: Any) -> None:
        """Does one step of the pickle's program."""
        if name in _CONSTANTS:
            self._push(_CONSTANTS[name])
        elif name in _EMPTY:
            self._push(_EMPTY[name]())
        elif name in _LITERALS:
            self._push(argument)
        elif name in self._steps:
            self._steps[name](argument)
        else:
            raise InputError(f"expected a pickle of tensors and layers, found the step {name}")

    def pop(self) -> Any:
        """Takes the top of the stack."""
        return self._stack.pop()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop_many(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise IndexError("empty stack")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._marks.pop()
        return values

    def _remember(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    def _append(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise InputError("expected an intact pickle, found values appended to no list")
        self._stack[-1].extend(values)

    def _set(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise InputError("expected an intact pickle, found entries of no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2]):
            if not isinstance(key, (str, int)):
                raise InputError(f"expected names as keys, found a {type(key).__name__}")
            target[key] = value

    def _persistent(self, value: Any) -> Storage | _Name:
        """A storage, or the class of a layer, which older files name together with its source."""
        if isinstance(value, tuple) and len(value) == 4 and value[0] == "module":
            if not _is_layer(value[1]):
                raise _refusal(value[1])
            return value[1]
        storage = _storage(value)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise InputError(f"expected one size of storage {storage.key[:40]!r}, found several")
        return storage

    def _build(self, state: Any) -> None:
        """Gives a layer its attributes; a dictionary's own attributes are not needed."""
        target = self._stack[-1]
        if isinstance(target, Layer) and isinstance(state, dict):
            target.attributes.update(state)
        elif not isinstance(target, (dict, _Name)):
            raise InputError(f"expected a layer with attributes, found a {type(target).__name__}")


def _is_layer(name: Any) -> bool:
    return isinstance(name, _Name) and name.text.startswith(_LAYER_MODULES)


def _refusal(name: Any) -> InputError:
    found = name.text.replace(" ", ".") if isinstance(name, _Name) else type(name).__name__
    return InputError(
        f"expected a file of PyTorch with tensors and layers alone, found {found[:80]!r}"
    )


def _new(name: Any, _: Any) -> Layer:
    if not _is_layer(name):
        raise _refusal(name)
    return Layer(name.text.replace(" ", "."))


def _called(name: Any, arguments: Any) -> Any:
    """What stands for the result of a call in a pickle; nothing is called but these."""
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise _refusal(name)
    if name.text == "collections OrderedDict" and not arguments:
        return {}
    if name.text in ("__builtin__ set", "builtins set") and len(arguments) == 1:
        return arguments[0]
    if name.text == "torch Size" and len(arguments) == 1:
        return arguments[0]
    if name.text == "torch._utils _rebuild_parameter" and arguments:
        return arguments[0]
    if name.text in ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"):
        return _tensor(*arguments[:4], *[None] * (4 - len(arguments)))
    if name.text in _UNREAD:
        return _Name(name.text)
    raise _refusal(name)


def _storage(value: Any) -> Storage:
    if not isinstance(value, tuple) or len(value) not in (5, 6) or value[0] != "storage":
        raise InputError("expected storages of numbers, found another object kept apart")
    _, kind, key, _, numbers, *view = value
    if not isinstance(key, str) or not _is_count(numbers):
        raise InputError("expected the name and size of a storage, found others")
    module, _, name = kind.text.partition(" ") if isinstance(kind, _Name) else ("", "", "")
    if module != "torch" or name not in _DTYPES:
        raise _refusal(kind)
    if view not in ([], [None]):
        raise InputError(f"expected whole storages, found a part of {key[:40]!r}")
    return Storage(key, _DTYPES[name], numbers)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    counts = [offset, *_counts(shape), *_counts(strides)]
    if not isinstance(storage, Storage) or not all(map(_is_count, counts)):
        raise InputError("expected a tensor of a storage, with a shape and strides, found another")
    if len(shape) != len(strides) or len(shape) > _MOST_DIMENSIONS:
        raise InputError(
            f"expected as many strides as dimensions, at most {_MOST_DIMENSIONS}, found "
            f"{len(shape)} dimensions and {len(strides)} strides"
        )
    numbers = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if numbers > storage.numbers or (numbers and last >= storage.numbers):
        raise InputError(
            f"expected a tensor within the {storage.numbers} numbers of {storage.key[:40]!r}, "
            f"found shape {shape}, strides {strides} and offset {offset}"
        )
    return Tensor(storage, offset, shape, strides)


def _counts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (None,)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
