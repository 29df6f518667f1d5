"""Tiny complete runs of every kind, which keep and name their test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from tffcxr import kept_names, run_tables
from tffcxr.evaluation import metrics

LABELS = np.repeat([0.0, 1.0], 10)
SCORES = np.where(LABELS == 1, 0.7, 0.3) + np.linspace(-0.25, 0.25, 20)
# Those of a worse model on the same images.
WORSE = np.clip(SCORES + np.tile([0.3, -0.3, 0.1, -0.1], 5), 0.01, 0.99)
CLASSES = ("normal", "ill")
_SETTINGS = {"rounds": 2, "learning_rate": 0.1}


def findings(
    run: pathlib.Path,
    scores: np.ndarray = SCORES,
    labels: np.ndarray = LABELS,
    images: Sequence[str] | None = None,
    **settings: Any,
) -> pathlib.Path:
    """A run of one finding: a federated model, two images of each of ten patients."""
    table = pd.DataFrame(
        {
            "task": "Opacity", "training": "federated", "client": "north", "split": "test",
            "row": range(len(labels)), "label": labels, "score": scores,
        }
    )  # fmt: skip
    row = {
        "task": "Opacity", "model": "standard", "training": "federated", "split": "test",
        "client": "north", "threshold": 0.5, **metrics.binary_metrics(labels, scores, 0.5),
    }  # fmt: skip
    rounds = {"Opacity/loss": [0.6, 0.5], "Opacity/auroc": [0.6, 0.8]}
    _write(run, "findings", [row], rounds, settings)
    run_tables.PREDICTIONS.write(run, table)
    write_images(run, table, images)
    return run


def classes(run: pathlib.Path, ill: np.ndarray, **settings: Any) -> pathlib.Path:
    """A run of two classes, of which the second half of the images is ill."""
    half = len(ill) // 2
    truth = np.repeat([0, 1], half)
    table = pd.DataFrame(
        {
            "model": "resnet18", "images_kind": "full", "training": "federated", "client": "north",
            "row": range(len(ill)), "class": [CLASSES[place] for place in truth],
            "probability: normal": 1 - ill, "probability: ill": ill,
        }
    )  # fmt: skip
    right = (ill > 0.5) == truth
    row = {
        "task": "Disease", "model": "resnet18", "training": "federated", "split": "test",
        "classes": list(CLASSES), "accuracy": float(right.mean()),
        "sensitivity_by_class": {
            name: float(right[truth == place].mean()) for place, name in enumerate(CLASSES)
        },
    }  # fmt: skip
    _write(run, "classes", [row], {"resnet18/loss": [0.6, 0.5]}, settings)
    run_tables.CLASS_PREDICTIONS.write(run, table)
    write_images(run, table)
    return run


def masks(run: pathlib.Path, jaccard: np.ndarray, **settings: Any) -> pathlib.Path:
    """A run of lungs, whose Dice is as its Jaccard."""
    table = pd.DataFrame(
        {
            "task": "Lungs", "training": "federated", "client": "north", "row": range(len(jaccard)),
            "loss": 1 - jaccard, "jaccard": jaccard, "dice": jaccard, "truth_area": 0.3,
            "predicted_area": 0.3,
        }
    )  # fmt: skip
    mean = float(np.nanmean(jaccard))
    row = {
        "task": "Lungs", "model": "unet", "training": "federated", "split": "test", "jaccard": mean,
        "dice": mean, "loss": 1 - mean,
    }  # fmt: skip
    _write(run, "masks", [row], {"Lungs/jaccard": [0.3, 0.5]}, settings)
    run_tables.MASKS.write(run, table)
    write_images(run, table)
    return run


def volumes(run: pathlib.Path, dice: Mapping[str, np.ndarray], **settings: Any) -> pathlib.Path:
    """A run of several domains, by name with the Dice of each case; a row of all beside them."""
    cases: list[tuple] = []
    images: list[tuple[str, ...]] = []
    rows, sites = [], []
    for domain, of_domain in dice.items():
        for number, value in enumerate(of_domain, start=1):
            cases.append((domain, "federated", number, value, value, 0))
            # Two slices of each; the names of the patients are not in the order of the files.
            images += [(domain, str(len(images) + k), "test", f"{number}.npy#{k}", f"p{number:02}")
                       for k in (1, 0)]  # fmt: skip
        rows.append(_of_volumes(domain, of_domain))
        sites.append({"client": domain, "site": domain, "task": domain})
    rows.append(_of_volumes("All domains", np.concatenate(list(dice.values()))))
    _write(run, "volumes", rows, {}, settings, sites)
    columns = ["task", "training", "case", "overlap", "dice", "missed"]
    run_tables.CASES.write(run, pd.DataFrame(cases, columns=columns))
    table = pd.DataFrame(images, columns=list(run_tables.IMAGES.columns))
    kept_names.write(run, run_tables.IMAGES, table)
    return run


def write_images(
    run: pathlib.Path, table: pd.DataFrame, images: Sequence[str] | None = None
) -> None:
    """Names the images of a table."""
    rows = list(table["row"])
    named = {
        "client": table["client"], "row": rows, "split": "test",
        "image": images or [f"/data/{row}.dcm" for row in rows],
        "patient": [f"p{row // 2}" for row in rows],
    }  # fmt: skip
    kept_names.write(run, run_tables.IMAGES, pd.DataFrame(named))


def _of_volumes(task: str, dice: np.ndarray) -> dict[str, Any]:
    return {
        "task": task, "model": "unet", "training": "federated", "split": "test",
        "dice": float(dice.mean()),
    }  # fmt: skip


def _write(
    run: pathlib.Path,
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    rounds: Mapping[str, Sequence[float]],
    settings: Mapping[str, Any],
    sites: Sequence[Mapping[str, str]] = ({"client": "north", "site": "north"},),
) -> None:
    run.mkdir(parents=True)
    config = {
        "recipe": "tiny", "kind": kind, "settings": {**_SETTINGS, **settings}, "sites": list(sites),
        "data_fingerprint": run.name,
    }  # fmt: skip
    (run / "config.json").write_text(json.dumps(config))
    results = {"recipe": "tiny", "kind": kind, "rows": list(rows), "complete": True}
    (run / "metrics.json").write_text(json.dumps(results))
    of_rounds = {"round": [1, 2], "seconds": [60.0, 30.0], "images": [20, 20], "stage": "all"}
    pd.DataFrame({**of_rounds, **rounds}).to_csv(run / "rounds.csv", index=False)
