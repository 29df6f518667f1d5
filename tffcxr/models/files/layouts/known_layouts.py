"""All layouts, in the order in which a file is compared with them."""

from __future__ import annotations

from tffcxr.models.files.layouts import (
    keras_applications,
    keras_cv,
    own,
    pytorch,
    segmentation_models,
)
from tffcxr.models.files.layouts.stored import Layout, Stored

LAYOUTS = (
    *own.LAYOUTS,
    *pytorch.LAYOUTS,
    *keras_applications.LAYOUTS,
    *keras_cv.LAYOUTS,
    *segmentation_models.LAYOUTS,
)
_SAME_NAMES = Layout("layers of the same names", None, lambda _: True)


def find(network: str, stored: Stored) -> Layout:
    """The layout of a file for a network; where none is known, layers are expected by our names."""
    for layout in LAYOUTS:
        is_for_it = layout.networks is None or network in layout.networks
        if is_for_it and layout.recognises(stored):
            return layout
    return _SAME_NAMES
