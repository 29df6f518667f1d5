"""Models of this project, which say by the names of their layers how images enter them."""

from __future__ import annotations

from tffcxr.models.files.layouts.stored import Layout
from tffcxr.models.networks import stem

# Every network of this project has its input under this name.
_INPUT = "images"

LAYOUTS = (
    Layout(
        "tffcxr",
        None,
        lambda stored: stored.named and _INPUT in stored.layers,
        stem=lambda stored: stem.of_layers(stored.layers),
    ),
)
