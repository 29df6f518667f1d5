"""Which images a run has trained or chosen its model on, also where another folder has them."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.data_check import duplicates, image_facts
from tffcxr.datasets import records
from tffcxr.report import file_names, run_files

_SEEN = ("train", "validation")


def read(run: pathlib.Path) -> pd.DataFrame | None:
    """The images that a run has trained on or chosen by: `image` and `patient`.

    None where the run's cache, which stays at the hospital, does not have their names.

    Raises:
      InputError: the table of names is damaged.
    """
    folder = run / file_names.FOLDER
    if not (folder / run_tables.IMAGES.file).exists():
        return None
    table = run_files.read_table(folder, run_tables.IMAGES)
    return table[table[records.SPLIT].isin(_SEEN)].reset_index(drop=True)


class KnownImages:
    """The images that a run has seen, all of which are read once.

    Args:
      seen: of `read`; files that are not there any more cannot be compared.
    """

    def __init__(self, seen: pd.DataFrame):
        self._paths = [path for path in seen["image"] if pathlib.Path(path).is_file()]
        self._facts = image_facts.measure_all(self._paths)

    def among(self, images: Sequence[str]) -> np.ndarray:
        """Which of some images are known: the same file, or the same picture in another one.

        All files are read. See `duplicates` for what counts as the same picture.

        Args:
          images: paths.

        Returns:
          bool [N].
        """
        found = np.isin(np.array(images, object), np.array(self._paths, object))
        found[duplicates.find_between(self._facts, image_facts.measure_all(images))] = True
        return found
