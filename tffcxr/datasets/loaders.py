"""Datasets by name."""

from __future__ import annotations

import importlib
import os
import pathlib

import pandas as pd

from tffcxr.datasets import records
from tffcxr.errors import InputError

LOADERS = {
    "classes": "tffcxr.datasets.sources.classes",
    "covid_radiography": "tffcxr.datasets.sources.covid_radiography",
    "covidx": "tffcxr.datasets.sources.covidx",
    "kermany": "tffcxr.datasets.sources.kermany",
    "lungs": "tffcxr.datasets.sources.lungs",
    "medmnist": "tffcxr.datasets.sources.medmnist",
    "montgomery": "tffcxr.datasets.sources.montgomery",
    "nih": "tffcxr.datasets.sources.nih",
    "rsna": "tffcxr.datasets.sources.rsna",
    "shenzhen": "tffcxr.datasets.sources.shenzhen",
    "siim": "tffcxr.datasets.sources.siim",
}


def load_records(loader: str, root: str | os.PathLike[str], site: str) -> pd.DataFrame:
    """Returns the validated records table of one dataset, with `site` filled in.

    Args:
      loader: one of `LOADERS`.
      root: the dataset's folder, in the layout that the loader's module describes.
      site: the name of the hospital that the images stand for.

    Raises:
      InputError: there is no such loader, or the data cannot be used.
    """
    if loader not in LOADERS:
        raise InputError(f"expected a loader among {', '.join(LOADERS)}, found {loader!r}")
    if not os.path.exists(root):
        raise InputError(f"{loader}: expected a dataset at {root}, found nothing")
    module = importlib.import_module(LOADERS[loader])
    df = module.load_records(pathlib.Path(root))
    return records.validate(df.assign(site=site))
