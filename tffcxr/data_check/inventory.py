"""What is in a data set: counts of images, patients, labels, views, ages, scanners, sizes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tffcxr.data_check.site_data import SiteData
from tffcxr.datasets import records, scanners

_BANDS = (0, 18, 40, 60, 80, 121)  # Years.
UNKNOWN = "unknown"
Inventory: TypeAlias = "dict[str, Any]"  # Values of JSON.


def describe(site: SiteData) -> Inventory:
    """Counts of one site."""
    table, findings = site.table, site.findings
    about: Inventory = {
        "site": site.name,
        "source": site.source,
        "images": len(table),
        "patients": int(table["patient"].nunique()),
        "most_images_per_patient": int(table["patient"].value_counts().max()),
        "masks": int(table["mask"].notna().sum()),
        "labels": [_label(table, finding) for finding in findings],
        "together": _together(table, findings),
        "views": _counts(table["view"]),
        "sexes": _counts(table["sex"]),
        "ages": _ages(table["age"]),
        "scanners": _counts(scanners.pooled(table["scanner"], table["patient"])[0]),
    }
    if records.SPLIT in table:
        about["splits"] = _counts(table[records.SPLIT])
    if site.facts:
        facts = [each for each in site.facts if each.is_readable]
        about["readable"] = len(facts)
        about["modalities"] = _counts(each.modality or None for each in facts)
        about["body_parts"] = _counts(each.body_part or None for each in facts)
        about["bits"] = _counts(each.bits for each in facts)
        about["sizes"] = _counts(f"{each.width}x{each.height}" for each in facts)
    return about


def _label(table: pd.DataFrame, finding: str) -> dict[str, Any]:
    values = table[finding]
    patients = table["patient"][values == 1].nunique()
    return {
        "finding": finding,
        "present": int((values == 1).sum()),
        "absent": int((values == 0).sum()),
        "unknown": int(values.isna().sum()),
        "patients_with": int(patients),
    }


def _together(table: pd.DataFrame, findings: list[str]) -> list[list[int]]:
    """How many images have both findings of a row and a column: [findings, findings]."""
    present = (table[findings] == 1).to_numpy(np.int64)
    return (present.T @ present).tolist()


def _counts(values: Iterable[Hashable | None]) -> dict[str, int]:
    """How often each value occurs, the most frequent one first."""
    found = pd.Series(list(values), dtype=object)
    named = found.where(found.notna(), UNKNOWN).astype(str)
    return {str(name): int(count) for name, count in named.value_counts().items()}


def _ages(ages: pd.Series) -> Mapping[str, int]:
    bands = pd.cut(ages, _BANDS, right=False)
    names = {band: f"{int(band.left)} to {int(band.right) - 1}" for band in bands.cat.categories}
    counts = {name: int((bands == band).sum()) for band, name in names.items()}
    unknown = int(ages.isna().sum())
    return {**counts, **({UNKNOWN: unknown} if unknown else {})}
