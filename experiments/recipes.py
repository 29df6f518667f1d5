"""The list of recipes; each is the program of that name and defines `RECIPE`."""

from __future__ import annotations

RECIPES = (
    "cheXviz",
    "covid",
    "cross_domain",
    "cxr_fl_classification",
    "cxr_fl_segmentation",
    "pneumonia",
    "tuberculosis",
)
