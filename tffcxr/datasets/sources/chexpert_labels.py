"""The fourteen labels that CheXpert's labeller takes from reports, as tables of several sets have.

Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert
Comparison" (AAAI 2019): 1 present, 0 absent, -1 uncertain, empty where the report does not mention
the finding. "No Finding" is 1 where no pathology is present or uncertain.
"""

from __future__ import annotations

import math
import pathlib

import pandas as pd

from tffcxr import options
from tffcxr.datasets import findings
from tffcxr.datasets.sources import source_files
from tffcxr.datasets.tables import label_values

# As the tables have them, in the order of `findings.CHEXPERT`.
COLUMNS = tuple(name if name != "Effusion" else "Pleural Effusion" for name in findings.CHEXPERT)
_NO_FINDING = findings.NO_FINDING
_NO_PATHOLOGIES = (_NO_FINDING, "Support Devices")


def read(
    path: pathlib.Path, df: pd.DataFrame, uncertain: options.Uncertain, source: str
) -> pd.DataFrame:
    """Returns the labels, float columns of `findings.CHEXPERT`, with the table's index.

    What a report does not mention is unknown, unless it has "No Finding": then every pathology is
    absent.

    Args:
      path: the table's file, for messages.
      df: the table, with the columns `COLUMNS` as text.
      uncertain: what -1 means.
      source: the data set's name.

    Raises:
      InputError: a value is no label, or a row has both "No Finding" and a pathology.
    """

    def parse(text: str) -> float | None:
        try:
            return label_values.parse(text, uncertain)
        except ValueError:
            return None

    values = {text: parse(text) for text in pd.unique(df[list(COLUMNS)].to_numpy().ravel())}
    wrong = [text for text, value in values.items() if value is None]
    bad = df[list(COLUMNS)].isin(wrong).any(axis=1)
    if bad.any():
        raise source_files.bad_row(path, df, bad, "labels of 1, 0, -1 or nothing", source)
    numbers = {text: math.nan if value is None else value for text, value in values.items()}
    labels = pd.DataFrame(
        {name: df[column].map(numbers) for name, column in zip(findings.CHEXPERT, COLUMNS)},
        index=df.index,
        dtype=float,
    )
    pathologies = [name for name in findings.CHEXPERT if name not in _NO_PATHOLOGIES]
    is_free = labels[_NO_FINDING] == 1
    bad = is_free & (df[[column for name, column in zip(findings.CHEXPERT, COLUMNS)
                         if name in pathologies]].isin(_present(values))).any(axis=1)  # fmt: skip
    if bad.any():
        raise source_files.bad_row(path, df, bad, "No Finding or a pathology, not both", source)
    labels.loc[is_free, pathologies] = 0.0
    return labels


def _present(values: dict[str, float | None]) -> list[str]:
    """The texts that are 1, not those that are uncertain."""
    return [text for text, value in values.items() if value == 1 and not text.startswith("-")]
