"""The rows of `metrics.json`: one trained model on one test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import json
import math
import os
import pathlib
from typing import Any

import numpy as np

from tffcxr import errors, files
from tffcxr.evaluation import (
    bootstrap,
    delong,
    finding_intervals,
    inputs,
    metrics,
    proportion_interval,
    recalibration,
)

FILE_NAME = "metrics.json"
EXTERNAL = "external"  # The split of images of sites that were not trained on.


def result_row(
    task: str,
    model: str,
    training: str,
    split: str,
    labels: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    *,
    operating_point: str = "Youden index, chosen on validation images",
    baseline_scores: np.ndarray | None = None,
    baseline: str = "site",
    further_baselines: Mapping[str, np.ndarray] | None = None,
    groups: np.ndarray | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    **extra: Any,
) -> dict[str, Any]:
    """Returns one row of the results: a trained model on a test set.

    Args:
      task: the finding.
      model: the model's name, such as "densenet121".
      training: "federated", "site" or "pooled".
      split: the images that are evaluated, such as "test".
      labels: [N], 1 present, 0 absent, NaN unknown (left out).
      scores: [N], probabilities in 0..1.
      threshold: the operating point; a score of at least this much counts as positive.
      operating_point: by which rule and on which data the threshold was chosen.
      baseline_scores: [N], the scores of the model to compare with on the same images; None
        leaves the p-values undefined.
      baseline: the `training` of that model.
      further_baselines: by `training`, [N], the scores of other models to compare with.
      groups: [N], the patient of each image; None: every image is a patient.
      replicates: number of bootstrap replicates, of the interval and of the paired t-test.
      level: coverage of the interval.
      seed: of the bootstrap.
      **extra: further columns, such as `client`.

    Returns:
      The columns of `metrics.json`: `task`, `model`, `training`, `split`; `images`, `positives`
      and `patients` with a known label; the metrics of `metrics.binary_metrics` and
      `recalibration`, each with `<metric>_low` and `<metric>_high`; `interval`, what kind of
      interval these are, and `proportion_interval`, what those of proportions are; `p_ttest` and
      `p_delong` against `baseline`, and `p_ttest_NAME` and `p_delong_NAME` against each of
      `further_baselines`, none of them adjusted for the number of comparisons (see `comparisons`);
      `threshold` and `operating_point`. Undefined numbers are NaN.

    Raises:
      ValueError: for arrays that do not fit together or scores that are no probabilities.
    """
    data = inputs.known(labels, [scores], groups)
    intervals = finding_intervals.binary_intervals(
        labels, scores, threshold, groups, replicates, level, seed
    )
    known = groups if groups is None else np.asarray(groups)[~np.isnan(np.asarray(labels, float))]
    row: dict[str, Any] = {
        "task": task,
        "model": model,
        "training": training,
        "split": split,
        "images": int(data.positive.size),
        "positives": int(data.positive.sum()),
        "patients": int(np.unique(data.groups).size),
        **metrics.binary_metrics(labels, scores, threshold),
        **intervals,
        **recalibration.recalibration(labels, scores, groups, level),
        "interval": (
            f"{100 * level:g} % percentile interval, {replicates} bootstrap replicates of "
            f"{'images' if groups is None else 'patients'}"
        ),
        "proportion_interval": proportion_interval.method(known, replicates, level),
        "threshold": float(threshold),
        "operating_point": operating_point,
        "p_ttest": float("nan"),
        "p_delong": float("nan"),
    }
    others = {f"_{name}": values for name, values in (further_baselines or {}).items()}
    if baseline_scores is not None:
        row["baseline"] = baseline
        others[""] = baseline_scores
    for suffix, values in others.items():
        row[f"p_ttest{suffix}"] = bootstrap.paired_ttest(
            labels, scores, values, groups, replicates, seed
        )
        row[f"p_delong{suffix}"] = delong.delong_test(labels, scores, values, groups)[1]
    clash = sorted(row.keys() & extra.keys())
    if clash:
        raise ValueError(f"expected further columns with names of their own, found {clash}")
    return {**row, **extra}


def divide(
    rows: Iterable[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Divides rows into those of sites that were trained on, and of those that were not."""
    own: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for row in rows:
        (others if row["split"] == EXTERNAL else own).append(dict(row))
    return own, others


def write_metrics(
    run_dir: str | os.PathLike[str],
    recipe: str,
    kind: str,
    rows: Iterable[Mapping[str, Any]],
    complete: bool = True,
    remarks: Sequence[str] = (),
) -> pathlib.Path:
    """Writes `metrics.json` so that a reader finds the old file or the whole new one.

    Rows are sorted by task, model, split, training and client, keys by name: equal results give
    equal bytes. Numbers that are not finite become null.

    Args:
      run_dir: an existing run directory.
      recipe: the program that ran, such as "cheXviz".
      kind: of study, such as "findings", as in `config.json`.
      rows: from `result_row`.
      complete: False while results are still to come.
      remarks: what a reader of the rows must know, a line each; left out without any.

    Returns:
      The file's path.

    Raises:
      OSError: if it cannot be written; the old file, if any, is then untouched.
    """
    keys = ("task", "model", "split", "training", "client")
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    plain.sort(key=lambda row: [str(row.get(key, "")) for key in keys])
    about = {"remarks": list(remarks)} if remarks else {}
    text = json.dumps(
        {"recipe": recipe, "kind": kind, "rows": plain, "complete": bool(complete), **about},
        indent=2,
        sort_keys=True,
        allow_nan=False,
        ensure_ascii=False,
    )
    path = pathlib.Path(run_dir) / FILE_NAME
    files.write_text(path, text + "\n")
    return path


def read_metrics(run_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the contents of `metrics.json`; null in a row is NaN again.

    Raises:
      errors.InputError: if the file is missing or is no such table.
    """
    path = pathlib.Path(run_dir) / FILE_NAME
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.InputError(f"expected results in {path}, found {error.strerror}") from error
    except ValueError as error:
        raise errors.InputError(f"expected JSON in {path}, found {error}") from error
    rows = table.get("rows") if isinstance(table, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise errors.InputError(f"expected an object with a list of rows in {path}")
    table["rows"] = [
        {key: float("nan") if value is None else value for key, value in row.items()}
        for row in rows
    ]
    return table


def _plain(value: Any) -> Any:
    """Turns NumPy scalars into Python's, and numbers that are not finite into None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
