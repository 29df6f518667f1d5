"""A run directory of a cross-domain study with made-up numbers, as a finished run leaves it."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd

TASKS = ("Kidneys in CT", "Kidneys in PET")
TRAININGS = ("federated", "federated_private_norm", "site")
_SIZE = 32


def write(run_dir: pathlib.Path, rounds: int = 4, cases: int = 6) -> pathlib.Path:
    """Writes every file that a report reads."""
    config = {
        "recipe": "cross_domain",
        "kind": "volumes",
        "settings": {"phantom_patients": 20, "image_size": _SIZE, "rounds": rounds},
        "derived": {"measured_split": "test", "loss": "Binary cross-entropy"},
        "sites": [{"client": "ct", "site": "ct", "source": "ct", "task": "Kidneys in CT"}],
    }
    (run_dir / "config.json").write_text(json.dumps(config))
    _rounds(rounds).to_csv(run_dir / "rounds.csv", index=False)
    table = _cases(cases)
    table.to_csv(run_dir / "cases.csv", index=False)
    rows = [_row(table, task, training) for task in TASKS for training in TRAININGS]
    results = {"recipe": "cross_domain", "kind": "volumes", "rows": rows, "complete": True}
    (run_dir / "metrics.json").write_text(json.dumps(results))
    _write_pictures(run_dir)
    return run_dir


def _rounds(rounds):
    number = np.arange(1, rounds + 1)
    table = pd.DataFrame(
        {
            "round": number, "seconds": 5.0, "images": 90, "clients": 4, "failed_clients": 0,
            "learning_rate": 1e-3, "stage": "all",
        }
    )  # fmt: skip
    for variant in ("", ", private norm"):
        for task in TASKS:
            table[f"{task}{variant}/loss"] = 0.6 * np.exp(-number / 3)
            table[f"{task}{variant}/dice"] = 0.8 - 0.6 * np.exp(-number / 2)
            table[f"{task}{variant}/overlap"] = 0.9 - 0.6 * np.exp(-number / 2)
    return table


def _cases(cases):
    return pd.DataFrame(
        [
            (task, training, case, 0.9 - 0.02 * case, 0.8 - 0.1 * case * (training == "site"), 0)
            for task in TASKS
            for training in TRAININGS
            for case in range(1, cases + 1)
        ],
        columns=["task", "training", "case", "overlap", "dice", "missed"],
    )


def _row(table, task, training):
    mine = table[(table["task"] == task) & (table["training"] == training)]
    row = {
        "task": task, "model": "unet", "training": training, "split": "test", "images": 72,
        "cases": len(mine), "patients": len(mine), "loss": 0.11,
        "missed": int(training == "site"),
        "interval": "95 % percentile interval, 200 bootstrap replicates of patients",
    }  # fmt: skip
    for metric in ("dice", "overlap"):
        mean = float(mine[metric].mean())
        row.update({metric: mean, f"{metric}_low": mean - 0.05, f"{metric}_high": mean + 0.05})
    if training != "federated":
        row.update(dice_difference=-0.1, dice_difference_low=-0.2, dice_difference_high=0.05)
    return row


def _write_pictures(run_dir):
    (run_dir / "segmentations").mkdir()
    rows = []
    truth = np.zeros((_SIZE, _SIZE), bool)
    truth[10:20, 8:14] = True
    for number, task in enumerate(TASKS, start=1):
        arrays = {"image": np.full(truth.shape, 90, np.uint8), "truth": truth}
        for training in TRAININGS:
            arrays[f"mask_{training}"] = arrays[f"boxes_{training}"] = np.roll(truth, 2, axis=1)
            rows.append(
                (task, number, "worst", training, 0.5, 2 / 3, 2 / 3, f"segmentations/{number}.npz")
            )
        np.savez_compressed(run_dir / f"segmentations/{number}.npz", **arrays)
    columns = ["task", "case", "kind", "training", "jaccard", "dice", "overlap", "file"]
    pd.DataFrame(rows, columns=columns).to_csv(run_dir / "segmentations.csv", index=False)
