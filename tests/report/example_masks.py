"""A run directory of a segmentation with made-up numbers, as a finished run leaves it."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd

from tffcxr.evaluation import mean_interval, segmentation

TRAININGS = ("pooled", "federated")
_SIZE = 64
_KINDS = ("worst", "median", "best")


def write(
    run_dir: pathlib.Path,
    images: int = 40,
    rounds: int = 12,
    cases: int = 3,
    trainings: tuple[str, ...] = TRAININGS,
) -> pathlib.Path:
    """Writes every file that a report reads."""
    generator = np.random.default_rng(0)
    config = {
        "recipe": "cxr_fl_segmentation",
        "kind": "masks",
        "settings": {"model": "unet", "image_size": _SIZE, "rounds": rounds},
        "derived": {"measured_split": "test"},
        "command": ["//experiments:cxr_fl_segmentation"],
    }
    (run_dir / "config.json").write_text(json.dumps(config))
    measured = {training: _rounds(rounds, i) for i, training in enumerate(trainings)}
    for training, table in measured.items():
        name = "rounds.csv" if training == "federated" else "rounds_pooled.csv"
        table.to_csv(run_dir / name, index=False)
    _clients(rounds).to_csv(run_dir / "clients.csv", index=False)
    masks = _masks(images, trainings, generator)
    masks.to_csv(run_dir / "masks.csv", index=False)
    rows = [_row(masks, training, measured[training]) for training in trainings]
    results = {
        "recipe": "cxr_fl_segmentation", "kind": "masks", "rows": rows, "complete": True,
    }  # fmt: skip
    (run_dir / "metrics.json").write_text(json.dumps(results))
    _write_cases(run_dir, cases, trainings, generator)
    return run_dir


def _rounds(rounds, shift):
    number = np.arange(1, rounds + 1)
    # The last rounds are worse again.
    jaccard = 0.93 - 0.6 * np.exp(-number / 2) - 0.01 * shift - 0.01 * np.clip(number - 9, 0, None)
    return pd.DataFrame(
        {
            "round": number, "seconds": 10.0, "images": 90, "clients": 3, "failed_clients": 0,
            "learning_rate": 1e-3, "train_loss": 0.1 + 0.7 * np.exp(-number / 4),
            "Lungs/loss": 0.15 + 0.7 * np.exp(-number / 4) + 0.02 * shift,
            "Lungs/jaccard": jaccard, "Lungs/dice": 2 * jaccard / (1 + jaccard),
        }
    )  # fmt: skip


def _clients(rounds):
    return pd.DataFrame(
        [
            (r, f"hospital_{c}", 30, 0.1 + 0.02 * c + 0.7 * np.exp(-r / 4), "ok")
            for r in range(1, rounds + 1)
            for c in range(3)
        ],
        columns=["round", "client", "images", "train_loss", "status"],
    )


def _masks(images, trainings, generator):
    hard = generator.exponential(0.05, images)
    tables = []
    for shift, training in enumerate(trainings):
        jaccard = np.clip(0.95 - hard - 0.01 * shift, 0, 1)
        jaccard[0] = 0.31  # a failure of every model
        tables.append(
            pd.DataFrame(
                {
                    "task": "Lungs",
                    "training": training,
                    "client": "hospital_0",
                    "row": np.arange(images),
                    "loss": 1 - jaccard,
                    "jaccard": jaccard,
                    "dice": 2 * jaccard / (1 + jaccard),
                    "truth_area": np.where(np.arange(images) == 1, 0.0, 0.3),
                    "predicted_area": 0.3,
                }
            )  # fmt: skip
        )
    return pd.concat(tables)


def _row(masks, training, rounds):
    of_training = masks[masks["training"] == training]
    row = {
        "task": "Lungs", "model": "unet", "training": training, "split": "test",
        "images": len(of_training), "patients": len(of_training) // 2,
        "loss": float(of_training["loss"].mean()),
        "interval": "95 % percentile interval, 200 bootstrap replicates of patients",
        "round": int(rounds["Lungs/jaccard"].idxmax()) + 1,
        "chosen": "largest Jaccard on the test images",
        "last_jaccard": float(rounds["Lungs/jaccard"].iloc[-1]),
        "last_dice": float(rounds["Lungs/dice"].iloc[-1]),
    }  # fmt: skip
    for metric in ("jaccard", "dice"):
        mean = mean_interval.mean_interval(of_training[metric].to_numpy(), replicates=200)
        row[metric], row[f"{metric}_low"], row[f"{metric}_high"] = mean
    return row


def _write_cases(run_dir, cases, trainings, generator):
    (run_dir / "segmentations").mkdir()
    x, y = np.meshgrid(np.linspace(0, 1, _SIZE), np.linspace(0, 1, _SIZE))

    def lungs(shift, height):
        both = [((x - c - shift) / 0.17) ** 2 + ((y - 0.5) / height) ** 2 < 1 for c in (0.28, 0.72)]
        return both[0] | both[1]

    rows = []
    # The best one first: the report has to order them.
    for case in reversed(range(cases)):
        truth = lungs(0, 0.33)
        image = np.where(truth, 70, 170) + generator.normal(0, 8, truth.shape)
        error = 0.12 * (1 - case / cases)
        masks = {
            training: lungs(error * (1 + 0.3 * shift), 0.33 - error)
            for shift, training in enumerate(trainings)
        }
        file = f"segmentations/lungs_{case + 1}.npz"
        np.savez_compressed(
            run_dir / file, image=np.clip(image, 0, 255).astype(np.uint8), truth=truth,
            **{f"mask_{training}": mask for training, mask in masks.items()},
        )  # fmt: skip
        for training, mask in masks.items():
            rows.append(
                {
                    "task": "Lungs", "case": case + 1, "kind": _KINDS[case * 3 // cases],
                    "training": training, "jaccard": segmentation.jaccard(mask, truth),
                    "dice": segmentation.dice(mask, truth), "overlap": np.nan, "file": file,
                }
            )  # fmt: skip
    pd.DataFrame(rows).to_csv(run_dir / "segmentations.csv", index=False)
