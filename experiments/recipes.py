"""The list of recipes: each is a program of its name, with `RECIPE`."""

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
