"""The networks by name, described by their Keras configuration.

A description is made once and changed in copies (seeds, group norm, frozen layers) before a model
is made of it, see `spec`. The same description gives the same layer names and the same initial
weights eagerly and inside the graph that a TFF computation is traced in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import concurrent.futures
import contextlib
import functools
import importlib
from typing import Any

import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.models import networks
from tffcxr.models import width as width_multiplier
from tffcxr.models.networks.architecture import TASK_LAYER, Architecture
from tffcxr.models.networks.stem import PLAIN, Stem
from tffcxr.nnunet import plain_unet
from tffcxr.nnunet.topology import Topology


def get(name: str) -> Architecture:
    """The network of a name in `options.CLASSIFIERS` or `options.SEGMENTERS`.

    Raises:
      InputError: there is none.
    """
    modules = {**options.CLASSIFIER_MODULES, **options.SEGMENTER_MODULES}
    if name not in modules:
        raise InputError(f"model must be one of {', '.join(modules)}, found {name!r}")
    module = importlib.import_module(f"{networks.__name__}.{modules[name]}")
    architecture: Architecture = module.ARCHITECTURES[name]
    return architecture


@functools.cache
def describe(
    name: str,
    image_size: int,
    outputs: int,
    precision: str,
    channels: int,
    width: float,
    with_shapes: bool = False,
    stem: Stem = PLAIN,
) -> dict[str, Any]:
    """The Keras configuration of a whole model; callers change a copy.

    All arguments but the last two are those of `spec.ModelSpec`. `with_shapes` says whether every
    layer has to name the shape that it is built for. At width 1 it always does; otherwise the model
    must be made once more for it. `stem` is that of the weights, for networks that take one.
    """
    architecture = get(name)
    make_trunk: Callable[..., tf.keras.Model] = architecture.trunk
    further: dict[str, Any] = {"channels": channels} if architecture.takes_channels else {}
    if architecture.takes_stem:
        further["stem"] = stem

    def make() -> tf.keras.Model:
        with _precision(precision):
            trunk = make_trunk(image_size, **further)
        logits = architecture.task_layer(outputs)(trunk.output)
        return tf.keras.Model(trunk.input, logits, name=name)

    config = _configuration_of(make)
    if width != 1.0:
        width_multiplier.scale(config, width, kept=TASK_LAYER)
        if with_shapes:
            return _configuration_of(lambda: tf.keras.Model.from_config(config))
    return config


@functools.cache
def describe_planned(planned: Topology, precision: str) -> dict[str, Any]:
    """The same of nnU-Net's network of a plan."""

    def make() -> tf.keras.Model:
        with _precision(precision):
            return plain_unet.network(planned)

    return _configuration_of(make)


def _configuration_of(make: Callable[[], tf.keras.Model]) -> dict[str, Any]:
    """The configuration of a model that is only made for it.

    A thread of its own has no default graph, so the architecture is built eagerly even if the
    caller is tracing: keras-cv cannot be built inside a plain `tf.Graph`.
    """

    def describe() -> dict[str, Any]:
        # Starts the eager context: before that, Keras takes its own graph for eager execution.
        tf.zeros([])
        return make().get_config()

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(describe).result()


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Gives the layers that are made inside a precision; Keras knows none but the global one."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
