"""Any radiographs in a folder per class: see `class_folders` for the layout.

For images that a hospital has sorted itself, and for studies of several sources: the folders may
contain links to the images.

Records: the classes as mutually exclusive findings, known for all.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from tffcxr.datasets.sources import class_folders


def load_records(root: pathlib.Path) -> pd.DataFrame:
    """Returns the records table of all images.

    Args:
      root: the folder that holds the folders of the classes, or train/, val/ and test/ with these.

    Raises:
      InputError: see `class_folders.read`.
    """
    return class_folders.read(root, "classes")
