"""Fills a model's representation block from ImageNet weights or from a file.

name or file ─► weight_file: arrays ─► layouts: names of our layers, stem ─► matching ─► model
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import pathlib

import numpy as np

from tffcxr.errors import InputError
from tffcxr.models.blocks import CxrModel
from tffcxr.models.files import run_models, weight_file
from tffcxr.models.files.layouts import known_layouts, matching, published
from tffcxr.models.files.layouts.stored import Stored
from tffcxr.models.networks.stem import PLAIN, Stem


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Weights that were read, but are in no model yet.

    Attributes:
      source: their name or path.
      library: whose layout they have.
      stored: the arrays under the names of our layers.
      stem: how images enter the network that they are for.
      by_order: see `Layout`.
    """

    source: str
    library: str
    stored: Stored
    stem: Stem
    by_order: bool

    def fill(self, model: CxrModel) -> None:
        """Fills the representation block; the task block is left as it is.

        Args:
          model: the model to fill, built eagerly, with this stem.

        Raises:
          InputError: the weights do not fit or are not finite; the model is unchanged then.
        """
        try:
            match = matching.match(model, self.stored, self.by_order)
        except InputError as error:
            raise InputError(f"weights {self.source}: {error}") from error
        for weight, values in match.pairs:
            weight.assign(np.asarray(values, weight.dtype.as_numpy_dtype))
        logging.info(
            "weights %s (%s): %d layers from %s to %s; new: %s",
            self.source,
            self.library,
            len(match.layers),
            match.layers[0],
            match.layers[-1],
            ", ".join((*_summary(match.kept), *model.task)),
        )


def read(network: str, weights: str) -> Pretrained:
    """Reads the weights of a network.

    Args:
      network: its name.
      weights: "imagenet" (see `published`), the folder of a complete run (its first exported model
        of this network), or the path of a file: `weight_file` reads its format, and `layouts` has
        the libraries whose names of layers are known.

    Raises:
      InputError: the weights cannot be had or read. The message is one line.
    """
    if weights == "imagenet":
        return _pretrained(network, weights, published.read(network))
    path = pathlib.Path(weights)
    if path.is_dir():
        path = run_models.find(path, network=network)
    if not path.is_file():
        raise InputError(
            f"--weights: expected none, imagenet, a run's folder or a file, found nothing at {path}"
        )
    try:
        return _pretrained(network, weights, weight_file.read(path))
    except InputError as error:
        raise InputError(f"weights file {path} cannot be read into the model: {error}") from error


def stem(network: str, weights: str) -> Stem:
    """How images enter the network that has these weights; see `read`."""
    if weights == "none":
        return PLAIN
    if weights == "imagenet":
        return published.stem(network)
    path = pathlib.Path(weights)
    return _stem_of_file(network, weights, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache
def _stem_of_file(network: str, weights: str, unused_changed: int) -> Stem:
    """Reads a file once for the many models of a study that are built without its weights."""
    return read(network, weights).stem


def _pretrained(network: str, source: str, stored: Stored) -> Pretrained:
    layout = known_layouts.find(network, stored)
    return Pretrained(
        source, layout.library, layout.convert(stored), layout.stem(stored), layout.by_order
    )


def _summary(layers: tuple[str, ...]) -> tuple[str, ...]:
    """The layers of a decoder, in short."""
    return (f"{len(layers)} layers from {layers[0]} to {layers[-1]}",) if layers else ()
