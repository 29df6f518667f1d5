"""The arrays of a file of weights, and what the layout of a library says of them."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses

import numpy as np

from tffcxr.models.networks.stem import PLAIN, Stem

# By what a layer calls its weights: "kernel", "gamma", …
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Stored:
    """The layers of a file.

    Attributes:
      layers: by name, in the order of the file. Layers without weights have no arrays; a file need
        not list them.
      named: whether these are the layers' own names. Otherwise they are those of their classes,
        numbered in the order of the model ("conv2d", "conv2d_1", …).
    """

    layers: dict[str, Arrays]
    named: bool = True


def _as_it_is(stored: Stored) -> Stored:
    return stored


def _plain(unused_stored: Stored) -> Stem:
    return PLAIN


@dataclasses.dataclass(frozen=True)
class Layout:
    """What one library calls the layers of some networks.

    Attributes:
      library: its name in messages.
      networks: the names of ours that it has; None for all.
      recognises: tells a file of this layout by its content.
      convert: returns the arrays under the names of our layers, with the shapes of our weights, but
        for the biases of convolutions, which `matching` adds to the batch norm after them.
      stem: how images enter that network.
      by_order: whether the layers of a file, if they have other names, are taken in the order of
        the network, as Keras does with the files that its packages download.
    """

    library: str
    networks: tuple[str, ...] | None
    recognises: Callable[[Stored], bool]
    convert: Callable[[Stored], Stored] = _as_it_is
    stem: Callable[[Stored], Stem] = _plain
    by_order: bool = False
