"""Checks files of models that come from others before Keras reads them.

A file of a model says of which classes its layers are, by name and module, and Keras imports what
it names. Some layers hold code (Lambda) or call any function of TensorFlow, archives can unpack to
more than the memory holds, and HDF5 can link to other files. None of it is needed here: a file is
refused unless all that it names is on the list below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import io
import json
import math
import pathlib
import struct
import tempfile
from typing import Any
import zipfile
import zlib

import h5py
import tensorflow as tf

from tffcxr.errors import InputError, one_line
from tffcxr.models.networks import grouped  # noqa: F401  register their layers
from tffcxr.nnunet import inference  # noqa: F401  register their layers

MAXIMUM_WEIGHT_BYTES = 2 << 30  # 500 million weights.
MAXIMUM_JSON_BYTES = 16 << 20
_DEEPEST = 64  # Lists and objects within each other in a configuration.
_MOST_VALUES = 1 << 20  # Of an attribute of HDF5.

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LAYERS = _names(
    """
    Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D
    Conv2DTranspose Cropping2D Dense DepthwiseConv2D Dropout ELU Flatten GaussianDropout
    GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization
    InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Minimum Multiply
    Normalization PReLU Permute ReLU Rescaling Reshape Resizing SeparableConv2D Softmax
    SpatialDropout2D Subtract UnitNormalization UpSampling2D ZeroPadding2D
    """
)
_INITIALIZERS = _names(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal
    LecunUniform Ones Orthogonal RandomNormal RandomUniform TruncatedNormal
    VarianceScaling Zeros
    """
)
# Class names by the module under which Keras saves them.
_CLASSES = {
    "keras": ("Model", "Sequential"),
    "keras.constraints": ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"),
    "keras.initializers": _INITIALIZERS,
    "keras.layers": _LAYERS,
    "keras.mixed_precision": ("Policy",),
    "keras.regularizers": ("L1", "L1L2", "L2"),
    "keras.src.engine.functional": ("Functional",),
}
# What Keras 3 names besides these: it is read for the names of layers, and nothing of it is made.
_KERAS_3_CLASSES = {
    None: ("__keras_tensor__",),
    "keras": ("DTypePolicy",),
    "keras.src.models.functional": ("Functional",),
    "keras.src.models.sequential": ("Sequential",),
}
_KERAS_CLASSES = frozenset(name for names in _CLASSES.values() for name in names)
# Found by these names alone, whatever module they were in when they were saved.
_OWN_CLASSES = {"tffcxr>GroupedConv2D": "GroupedConv2D", "tffcxr>SlidingWindow": "SlidingWindow"}
_ACTIVATIONS = _names(
    """
    elu exponential gelu hard_sigmoid leaky_relu linear mish relu relu6 selu sigmoid
    silu softmax softplus softsign swish tanh
    """
)

ZIP_ERRORS = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_HDF5_ERRORS = (KeyError, OSError, RuntimeError, TypeError, ValueError)
# What Keras raises for configurations and weights that do not fit together.
KERAS_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    tf.errors.OpError,
)


def load_keras(path: pathlib.Path) -> tf.keras.Model:
    """Reads a model from a `.keras` file, not compiled.

    Raises:
      InputError: the file names what is not on the list, is too large, or is no model. The message
        is one line without the path.
    """
    config, weights = read_keras(path)
    try:
        # Not `load_model`: it reads the file again, and goes by its name and content to formats of
        # which some run code. It is also slow with weights inside of an archive (U-Net++: minutes).
        with bounded_variables():
            model = tf.keras.saving.deserialize_keras_object(config, safe_mode=True)
        if not isinstance(model, tf.keras.Model):
            raise InputError("expected the configuration of a model, found that of another object")
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder, _WEIGHTS)
            copy.write_bytes(weights)
            model.load_weights(copy)
    except KERAS_ERRORS as error:
        raise InputError(f"{one_line(error):.200}") from error
    return model


def read_keras(path: pathlib.Path, of_keras_3: bool = False) -> tuple[dict[str, Any], bytes]:
    """Returns the configuration and the weights of a `.keras` file, both checked.

    Args:
      path: the file.
      of_keras_3: whether the file may also be of Keras 3, of which Keras 2 cannot make a model.

    Raises:
      InputError: see `load_keras`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            config, weights = archive.read(_CONFIG), archive.read(_WEIGHTS)
    except InputError:
        raise
    except ZIP_ERRORS as error:
        raise InputError(f"expected an intact .keras file, found: {one_line(error):.200}") from None
    check_hdf5(io.BytesIO(weights))
    return _checked_config(config, _KERAS_3_CLASSES if of_keras_3 else {}), weights


def check_hdf5(file: Any) -> None:
    """Checks an HDF5 file: what it links to, its size, and the model's configuration if it has one.

    Args:
      file: the path, or the open file.

    Raises:
      InputError: the file is damaged, holds more than arrays of numbers of at most
        `MAXIMUM_WEIGHT_BYTES` in all, or its configuration names what is not on the list.
    """
    try:
        with h5py.File(file, "r") as root:
            _check_group(root)
            config = root.attrs.get("model_config")
    except InputError:
        raise
    except _HDF5_ERRORS as error:
        raise InputError(f"expected an intact HDF5 file, found: {one_line(error):.200}") from None
    if config is not None:
        _checked_config(config, _KERAS_3_CLASSES)


@contextlib.contextmanager
def bounded_variables() -> Iterator[None]:
    """Refuses to make variables that have more than `MAXIMUM_WEIGHT_BYTES` in all.

    Raises:
      InputError: a model would be larger.
    """
    total = 0

    def create(next_creator: Any, **options: Any) -> tf.Variable:
        nonlocal total
        total += 4 * math.prod(tf.TensorShape(options.get("shape") or []).as_list())
        if total > MAXIMUM_WEIGHT_BYTES:
            raise InputError(
                f"expected a model with weights of at most {MAXIMUM_WEIGHT_BYTES} bytes, found "
                "a larger one"
            )
        return next_creator(**options)

    with tf.variable_creator_scope(create):
        yield


def _check_members(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    names = sorted(member.filename for member in members)
    if names != _MEMBERS:
        raise InputError(
            f"expected a .keras file of {', '.join(_MEMBERS)}, found "
            f"{', '.join(map(repr, names)) or 'nothing'!s:.200}"
        )
    for member in members:
        # Keras does not compress. What is compressed can be large when it is unpacked.
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise InputError(
                f"expected a .keras file that is not compressed, found {member.filename} "
                f"of {member.file_size} bytes in {member.compress_size}"
            )
        limit = MAXIMUM_WEIGHT_BYTES if member.filename == _WEIGHTS else MAXIMUM_JSON_BYTES
        if member.file_size > limit:
            raise InputError(
                f"expected {member.filename} of at most {limit} bytes, found {member.file_size}"
            )


def _check_group(root: h5py.Group) -> None:
    """Visits all that is in a file of HDF5, reads nothing of it, and follows no link elsewhere."""
    groups, seen, size = [root], {_address(root)}, 0
    _check_attributes(root)
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"expected weights within the file, found the link {name!r:.60}")
            value = group[name]
            if _address(value) in seen:
                continue
            seen.add(_address(value))
            _check_attributes(value)
            if isinstance(value, h5py.Group):
                groups.append(value)
                continue
            if not isinstance(value, h5py.Dataset) or value.dtype.kind not in "biuf":
                raise InputError(f"expected arrays of numbers, found {name!r:.60} of another kind")
            if value.external or value.is_virtual:
                raise InputError(f"expected weights within the file, found {name!r:.60} elsewhere")
            size += value.size * value.dtype.itemsize
            if size > MAXIMUM_WEIGHT_BYTES:
                raise InputError(
                    f"expected weights of at most {MAXIMUM_WEIGHT_BYTES} bytes, found more"
                )


def _address(value: Any) -> int:
    return h5py.h5o.get_info(value.id).addr


def _check_attributes(value: Any) -> None:
    for name in value.attrs:
        if math.prod(value.attrs.get_id(name).shape or ()) > _MOST_VALUES:
            raise InputError(
                f"expected attributes of at most {_MOST_VALUES} values, found more in {name!r:.60}"
            )


def _checked_config(
    text: str | bytes, further: Mapping[str | None, Sequence[str]]
) -> dict[str, Any]:
    """Returns a model's configuration, which names nothing but what is on the list."""
    if not isinstance(text, (str, bytes)) or len(text) > MAXIMUM_JSON_BYTES:
        raise InputError(f"expected a configuration of at most {MAXIMUM_JSON_BYTES} bytes of JSON")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"expected a configuration in JSON, found: {one_line(error):.200}"
        ) from None
    if not isinstance(config, dict):
        raise InputError("expected the configuration of a model, found another value")
    config.pop("compile_config", None)  # How the model was trained is not read.
    values: list[tuple[Any, int]] = [(config, 0)]
    while values:
        value, depth = values.pop()
        if depth > _DEEPEST:
            raise InputError(f"expected a configuration of at most {_DEEPEST} levels, found more")
        if isinstance(value, dict):
            _check_object(value, further)
            values.extend((one, depth + 1) for one in value.values())
        elif isinstance(value, list):
            values.extend((one, depth + 1) for one in value)
    return config


def _check_object(value: dict[str, Any], further: Mapping[str | None, Sequence[str]]) -> None:
    """Checks what one object of a configuration names."""
    activation = value.get("activation")
    if activation is not None and not (isinstance(activation, str) and activation in _ACTIVATIONS):
        # An object is that of a function or of a class, of which Keras saves none here.
        raise InputError(f"expected an activation of Keras, found {activation!r:.80}")
    if "class_name" not in value and "module" not in value and "registered_name" not in value:
        return
    name, module = value.get("class_name"), value.get("module")
    registered = value.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, (str, type(None))):
        raise InputError(f"expected the name of a class, found {name!r:.60} of {module!r:.60}")
    if registered in (None, name) and name in further.get(module, ()):
        return
    if isinstance(registered, str) and registered in _OWN_CLASSES:
        known = name == _OWN_CLASSES[registered] and (module or "tffcxr.").startswith("tffcxr.")
    else:
        known = registered in (None, name) and (
            name in _KERAS_CLASSES if module is None else name in _CLASSES.get(module, ())
        )
    if not known:
        raise InputError(
            "expected layers of Keras that hold no code, or this project's own, found "
            f"{name!r:.60}"
            + (f" of {module!r:.60}" if module is not None else "")
            + (f", registered as {registered!r:.60}" if registered not in (None, name) else "")
        )
