"""A run directory of a classification into classes with made-up numbers, as a finished run's."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd

from tests.report import example_chest
from tffcxr import run_tables
from tffcxr.report.figures import contact_sheet

CLASSES = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
VARIANTS = (
    ("densenet121", "full"),
    ("densenet121", "segmented"),
    ("resnet50", "full"),
    ("resnet50", "segmented"),
)
_SIZE = 64
# Images of each class.
_IMAGES = (60, 90, 25)


def write(
    run_dir: pathlib.Path,
    rounds: int = 12,
    cases: int = 3,
    variants: tuple[tuple[str, str], ...] = VARIANTS,
    trainings: tuple[str, ...] = ("federated",),
) -> pathlib.Path:
    """Writes every file that a report reads."""
    generator = np.random.default_rng(0)
    config = {
        "recipe": "cxr_fl_classification",
        "kind": "classes",
        "settings": {"rounds": rounds, "image_size": _SIZE},
        "derived": {
            "measured_split": "test",
            "parameters": {"resnet50": 23514179, "densenet121": 6956931},
            "lungs": {
                "images": 800, "implausible": 12, "unreadable": 3, "model": "segmentation.keras",
                "reasons": {"empty": 9, "unlikely area": 3},
            },
        },
        "command": ["//experiments:cxr_fl_classification"],
        "paper": "Somebody et al., “Federated R&D”, 2022",
        "sites": [
            {"client": f"hospital_{client}", "site": "hospital", "train_images": sum(counts),
             **{f"train: {name}": count for name, count in zip(CLASSES, counts)}}
            for client, counts in enumerate(((60, 90, 25), (8, 0, 40)))
        ],
    }  # fmt: skip
    (run_dir / "config.json").write_text(json.dumps(config))
    rows = []
    for training in trainings:
        table = pd.DataFrame({"round": np.arange(1, rounds + 1), "seconds": 20.0})
        for position, (model, images) in enumerate(variants):
            variant = f"{model} {images}"
            noise = generator.normal(0, 0.01, rounds)
            table[f"{variant}/loss"] = 0.7 + 0.5 * np.exp(-table["round"] / 4) + 0.03 * position
            table[f"{variant}/accuracy"] = (
                0.72 - 0.3 * np.exp(-table["round"] / 3) - 0.03 * position + noise
            )
            rows.append(_row(table, model, images, training, position))
        name = "rounds.csv" if training == "federated" else "rounds_pooled.csv"
        table.to_csv(run_dir / name, index=False)
    results = {
        "recipe": "cxr_fl_classification", "kind": "classes", "rows": rows, "complete": True,
    }  # fmt: skip
    (run_dir / "metrics.json").write_text(json.dumps(results))
    _write_explanations(run_dir, cases, variants, generator)
    _write_lungs(run_dir)
    return run_dir


def _row(table, model, images, training, position):
    right = [int(count * (0.75 - 0.05 * position)) for count in _IMAGES]
    confusion = [
        [right[true] if true == predicted else (count - right[true]) // 2 for predicted in range(3)]
        for true, count in enumerate(_IMAGES)
    ]
    for true, count in enumerate(_IMAGES):
        confusion[true][(true + 1) % 3] += count - sum(confusion[true])
    accuracy = sum(right) / sum(_IMAGES)
    of_variant = {metric: table[f"{model} {images}/{metric}"] for metric in ("loss", "accuracy")}
    return {
        "task": "RSNA classes", "model": model, "images_kind": images, "training": training,
        "split": "test", "images": sum(_IMAGES), "patients": sum(_IMAGES),
        "loss": float(of_variant["loss"].iloc[-1]), "accuracy": accuracy,
        "accuracy_low": accuracy - 0.06, "accuracy_high": accuracy + 0.06,
        "interval": "95 % percentile interval, 1000 bootstrap replicates of patients",
        "classes": CLASSES, "confusion": confusion,
        "sensitivity_by_class": {
            name: hits / count for name, hits, count in zip(CLASSES, right, _IMAGES)
        },
        "maximum_accuracy": float(of_variant["accuracy"].max()),
        "maximum_accuracy_round": int(of_variant["accuracy"].idxmax()) + 1,
        "minimum_loss": float(of_variant["loss"].min()),
        "minimum_loss_round": int(of_variant["loss"].idxmin()) + 1,
        "round": int(of_variant["accuracy"].idxmax()) + 1,
        "chosen": "largest accuracy on the test images",
    }  # fmt: skip


def _write_lungs(run_dir):
    reasons = [None, "empty"]
    pd.DataFrame(
        {
            "client": "hospital_0", "row": [0, 1], "plausible": [True, False], "reason": reasons,
            "area": [0.25, 0.0], "jaccard": [0.9, np.nan],
        }
    ).to_csv(run_dir / run_tables.LUNGS.file, index=False)  # fmt: skip
    lungs = np.zeros((2, _SIZE, _SIZE), bool)
    lungs[0, 16:48, 16:48] = True
    np.savez_compressed(
        run_dir / contact_sheet.EXAMPLES, images=np.where(lungs, 70, 170).astype(np.uint8),
        lungs=lungs, positions=np.array([1, 0]),
        kinds=np.array([contact_sheet.IMPLAUSIBLE, contact_sheet.SAMPLE]),
    )  # fmt: skip


def _write_explanations(run_dir, cases, variants, generator):
    (run_dir / "explanations").mkdir()
    offsets = {f"{model} {images}": 0.04 * i for i, (model, images) in enumerate(variants)}
    rows = []
    for case in range(1, cases + 1):
        file = f"explanations/lung-opacity_{case}.npz"
        heat = example_chest.write(run_dir / file, _SIZE, generator, offsets)
        for name, shares in heat.items():
            row = {"task": "Lung Opacity", "case": case, "training": name, "score": 0.7}
            rows.append({**row, "file": file, **shares})
    pd.DataFrame(rows).to_csv(run_dir / "explanations.csv", index=False)
