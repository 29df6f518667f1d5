"""keras-cv's DenseNet121 and ResNets, whose networks are ours: images in 0..1, padded as "same".

L. Wood et al., KerasCV, https://github.com/keras-team/keras-cv, 2022. Its presets
(`densenet121_imagenet`, `resnet50_imagenet`) are a file `model.weights.h5` each.
"""

from __future__ import annotations

from tffcxr.errors import InputError
from tffcxr.models.files.layouts.stored import Layout, Stored
from tffcxr.models.networks.stem import PLAIN, Stem

_NETWORKS = ("densenet121", "resnet18", "resnet34", "resnet50")
_NAMES = {"conv2_block_0_0_bn", "v2_stack_0_block1_1_conv"}


def _recognises(stored: Stored) -> bool:
    return not stored.named or not _NAMES.isdisjoint(stored.layers)


def _stem(stored: Stored) -> Stem:
    if not stored.named and {"zero_padding2d", "rescaling"} <= stored.layers.keys():
        # A model of this project that started from weights of another library.
        raise InputError(
            "expected layers with names, which say how images are normalised, found none: save the "
            "model as .keras instead of .weights.h5"
        )
    return PLAIN


LAYOUTS = (Layout("keras-cv", _NETWORKS, _recognises, stem=_stem),)
