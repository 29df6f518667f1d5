"""Datasets by name."""

from __future__ import annotations

import importlib
import os
import pathlib

import pandas as pd

from tffcxr.datasets import load_options, records, views
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.errors import InputError

LOADERS = {
    "chexpert": "tffcxr.datasets.sources.chexpert",
    "classes": "tffcxr.datasets.sources.classes",
    "covid_radiography": "tffcxr.datasets.sources.covid_radiography",
    "covidx": "tffcxr.datasets.sources.covidx",
    "csv": "tffcxr.datasets.sources.own_table",
    "kermany": "tffcxr.datasets.sources.kermany",
    "lungs": "tffcxr.datasets.sources.lungs",
    "medmnist": "tffcxr.datasets.sources.medmnist",
    "mimic_cxr": "tffcxr.datasets.sources.mimic_cxr",
    "montgomery": "tffcxr.datasets.sources.montgomery",
    "nih": "tffcxr.datasets.sources.nih",
    "padchest": "tffcxr.datasets.sources.padchest",
    "rsna": "tffcxr.datasets.sources.rsna",
    "shenzhen": "tffcxr.datasets.sources.shenzhen",
    "siim": "tffcxr.datasets.sources.siim",
    "vindr_cxr": "tffcxr.datasets.sources.vindr_cxr",
}

# Loaders whose `load_records` takes options and the site's name, with the options that they have.
OPTIONS = {
    "chexpert": ("uncertain",),
    "csv": ("columns", "uncertain"),
    "mimic_cxr": ("uncertain",),
}


def load_records(
    loader: str,
    root: str | os.PathLike[str],
    site: str,
    options: LoadOptions = load_options.DEFAULT,
) -> pd.DataFrame:
    """Returns the validated records table of one dataset, with `site` filled in.

    Args:
      loader: one of `LOADERS`.
      root: the dataset's folder, in the layout that the loader's module describes.
      site: the name of the hospital that the images stand for.
      options: what to read, and how.

    Raises:
      InputError: there is no such loader, or the data cannot be used; there are no labels, and
        `options` demand some.
    """
    if loader not in LOADERS:
        raise InputError(f"expected a loader among {', '.join(LOADERS)}, found {loader!r}")
    if not os.path.exists(root):
        raise InputError(f"{loader}: expected a dataset at {root}, found nothing")
    if options.columns.path and "columns" not in OPTIONS.get(loader, ()):
        raise InputError(
            f"{options.columns.path}: expected a table of the loader csv that it describes, found "
            f"{loader}"
        )
    module = importlib.import_module(LOADERS[loader])
    path = pathlib.Path(root)
    df = (
        module.load_records(path, options, site) if loader in OPTIONS else module.load_records(path)
    )
    if options.views == "frontal":
        df = views.keep_frontal(df, loader)
    df = records.validate(df.assign(site=site))
    if not options.unlabelled and not records.has_labels(df):
        raise InputError(
            f"{loader}: expected a finding or a mask to train on, found {len(df)} images in {root} "
            "without a table that labels them"
        )
    return df
