"""Which group of patients an image is of: by sex, age, view and scanner, of the records."""

from __future__ import annotations

from collections.abc import Mapping
import pathlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.datasets import scanners, views
from tffcxr.evaluation import subgroups
from tffcxr.studies.study import Scored, Study

UNKNOWN = scanners.UNKNOWN
_AGES = {"0-17": 18, "18-39": 40, "40-59": 60, "60-79": 80, "80 or older": np.inf}  # Years below.
_SEXES = {"F": "female", "M": "male"}
_VIEWS = ("PA", "AP", "other frontal", "lateral or oblique", "other")


class Attribute(NamedTuple):
    """What divides patients into groups.

    Attributes:
      name: of it.
      groups: in order.
      of_image: object [N], the group of each image.
    """

    name: str
    groups: tuple[str, ...]
    of_image: np.ndarray


def attributes(study: Study, scored: Scored, patients: np.ndarray) -> list[Attribute]:
    """Divides images by each attribute that puts them into two known groups or more.

    Args:
      study: has the records.
      scored: the images.
      patients: [N], of the images.
    """
    found = {
        name: np.array([of(value) for value in _column(study, scored, name)], dtype=object)
        for name, of in (("sex", _sex), ("age", _age), ("view", _view))
    }
    groups = {"sex": tuple(_SEXES.values()), "age": tuple(_AGES), "view": _VIEWS}
    found["scanner"], groups["scanner"] = scanners.pooled(
        _column(study, scored, "scanner").tolist(), patients.tolist()
    )
    return [
        Attribute(name, (*groups[name], UNKNOWN), of_image)
        for name, of_image in found.items()
        if len(set(of_image) - {UNKNOWN}) > 1
    ]


def rows(
    study: Study,
    found: list[Attribute],
    about: Mapping[str, Any],
    labels: np.ndarray,
    scores: np.ndarray,
    called: np.ndarray | None,
    patients: np.ndarray,
) -> list[dict[str, Any]]:
    """The rows of `subgroups.csv` of one model and finding.

    Args:
      study: has the settings.
      found: of `attributes`.
      about: the columns that name the model and the images.
      labels: [N]; this and the others as `subgroups.compare` takes them.
      scores: [N].
      called: bool [N], or None.
      patients: [N].
    """
    settings = study.settings
    result = []
    for attribute in found:
        for group in subgroups.compare(
            *(attribute.of_image, attribute.groups, labels, scores, called, patients),
            settings.replicates,
            seed=settings.seed,
        ):
            result.append(
                {
                    **_about_group(about, attribute, group),
                    "positives": group.positives,
                    **group.auroc.named("auroc"),
                    **group.gap.named("auroc_gap"),
                    **group.sensitivity.named("sensitivity"),
                    **group.specificity.named("specificity"),
                }
            )
    return result


def mean_rows(
    study: Study,
    found: list[Attribute],
    about: Mapping[str, Any],
    values: Mapping[str, np.ndarray],
    patients: np.ndarray,
) -> list[dict[str, Any]]:
    """The rows of `subgroups.csv` of one model of masks or volumes.

    Args:
      study: has the settings.
      found: of `attributes`.
      about: the columns that name the model and the images.
      values: [N] by metric, as `subgroups.compare_means` takes them.
      patients: [N].
    """
    settings = study.settings
    result = []
    for attribute in found:
        for group in subgroups.compare_means(
            *(attribute.of_image, attribute.groups, values, patients, settings.replicates),
            seed=settings.seed,
        ):
            row = _about_group(about, attribute, group)
            for metric in values:
                row.update(group.means[metric].named(metric))
                row.update(group.gaps[metric].named(f"{metric}_gap"))
            result.append(row)
    return result


def _about_group(
    about: Mapping[str, Any], attribute: Attribute, group: subgroups.Group | subgroups.MeanGroup
) -> dict[str, Any]:
    """What every row has of its group, besides metrics."""
    return {
        **about,
        "attribute": attribute.name,
        "group": group.name,
        "images": group.images,
        "patients": group.patients,
        "too_small": int(group.is_small),
    }


def write(directory: pathlib.Path, of_models: list[dict[str, Any]]) -> None:
    """Writes the rows of all models as `subgroups.csv`; no file where no attribute is known."""
    if of_models:
        run_tables.SUBGROUPS.write(directory, table(of_models))


def table(of_models: list[dict[str, Any]]) -> pd.DataFrame:
    """Puts the rows of all models together, in the order of the file's columns."""
    columns = run_tables.SUBGROUPS.columns
    present = [name for name in columns if any(name in row for row in of_models)]
    return pd.DataFrame(of_models, columns=present)


def _column(study: Study, scored: Scored, name: str) -> np.ndarray:
    """A column of the images' records, object [N]."""
    values = np.empty(len(scored.rows), dtype=object)
    for client in sorted(set(scored.clients)):
        mine = scored.clients == client
        values[mine] = study.clients.records[client][name].to_numpy()[scored.rows[mine]]
    return values


def _sex(value: Any) -> str:
    return _SEXES.get(value, UNKNOWN)


def _age(years: float) -> str:
    return next((band for band, end in _AGES.items() if years < end), UNKNOWN)


def _view(view: Any) -> str:
    """The program's own names: a hospital's table may have anything as the view."""
    if not isinstance(view, str) or not view.strip():
        return UNKNOWN
    words = view.upper().split()
    is_frontal = views.is_frontal(view)
    if is_frontal is False:
        return "lateral or oblique"
    if words[0] in ("PA", "AP"):
        return words[0]
    return "other frontal" if is_frontal else "other"
