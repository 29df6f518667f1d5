"""A run directory with made-up numbers, as a finished run leaves it."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd

from tests.report import example_chest
from tffcxr import run_tables
from tffcxr.evaluation import metrics, result_rows
from tffcxr.report import style

TASKS = {"Lung Opacity": "opacity", "Pneumothorax": "pneumothorax"}
_TRAININGS = {"site": 1.6, "pooled": 1.9, "federated": 1.8}
_SIZE = 64


def write(
    run_dir: pathlib.Path, images: int = 160, rounds: int = 12, cases: int = 3
) -> pathlib.Path:
    """Writes every file that a report reads."""
    generator = np.random.default_rng(0)
    _write_config(run_dir, rounds)
    _write_rounds(run_dir, rounds, generator)
    _write_results(run_dir, images, generator)
    _write_explanations(run_dir, cases, generator)
    write_heat(run_dir)
    (run_dir / "models").mkdir()
    (run_dir / "models" / "multi_task.keras").write_bytes(b"only its name is read")
    return run_dir


def _write_config(run_dir, rounds):
    config = {
        "recipe": "cheXviz",
        "kind": "findings",
        "settings": {
            "model": "standard",
            "image_size": 64,
            "rounds": rounds,
            "learning_rate": 1e-3,
            "phantom_patients": 600,
            "seed": 0,
            "site": [],
        },
        "command": ["//experiments:cheXviz", "--output_dir=my run"],
        "versions": {"tensorflow": "2.14.1", "numpy": "1.25.2"},
    }
    (run_dir / "config.json").write_text(json.dumps(config))


def _write_rounds(run_dir, rounds, generator):
    number = np.arange(1, rounds + 1)
    falling = 0.25 + 0.4 * np.exp(-number / 4)
    table = pd.DataFrame(
        {
            "round": number, "seconds": 12.5, "images": 830, "clients": 2,
            "failed_clients": (number == 5).astype(int), "learning_rate": 1e-3,
            "train_loss": falling, "stage": np.where(number <= 4, "head", "fine-tuning"),
        }
    )  # fmt: skip
    clients = []
    for shift, (task, client) in enumerate(TASKS.items()):
        noise = generator.normal(0, 0.01, rounds)
        table[f"{task}/loss"] = falling + 0.05 + 0.02 * shift + noise
        table[f"{task}/auroc"] = 0.93 - 0.35 * np.exp(-number / 3) - 0.02 * shift + noise
        failed = (number == 5) & (client == "opacity")
        clients.append(
            pd.DataFrame(
                {
                    "round": number,
                    "client": client,
                    "images": 415,
                    "train_loss": np.where(failed, np.nan, falling + 0.03 * shift + noise),
                    "status": np.where(failed, "not finite: conv_2/kernel", "ok"),
                }
            )  # fmt: skip
        )
    table.to_csv(run_dir / "rounds.csv", index=False)
    pd.concat(clients).to_csv(run_dir / "clients.csv", index=False)


def _write_results(run_dir, images, generator):
    rows, predictions = [], []
    for task, client in TASKS.items():
        labels = np.repeat([0.0, 1.0], [images - images // 3, images // 3])
        evidence = generator.normal(size=images)
        scores = {
            training: 1 / (1 + np.exp(-(d * (2 * labels - 1) + 1.2 * evidence
                                        + generator.normal(0, 0.8, images))))
            for training, d in _TRAININGS.items()
        }  # fmt: skip
        for training, of_model in scores.items():
            rows.append(
                result_rows.result_row(
                    task,
                    "standard",
                    training,
                    "test",
                    labels,
                    of_model,
                    metrics.operating_point(labels[::2], of_model[::2]),
                    baseline_scores=scores["site"] if training == "federated" else None,
                    further_baselines=(
                        {"pooled": scores["pooled"]} if training == "federated" else None
                    ),
                    groups=np.arange(images) // 2,
                    replicates=200,
                    client=client,
                )  # fmt: skip
            )
            predictions.append(
                pd.DataFrame(
                    {
                        "task": task,
                        "training": training,
                        "client": client,
                        "split": "test",
                        "row": np.arange(images),
                        "label": labels,
                        "score": of_model,
                    }
                )  # fmt: skip
            )
    result_rows.write_metrics(run_dir, "cheXviz", "findings", rows)
    pd.concat(predictions).to_csv(run_dir / "predictions.csv", index=False)


def _write_explanations(run_dir, cases, generator):
    (run_dir / "explanations").mkdir()
    offsets = {"site": 0.15, "federated": 0.03}
    rows = []
    for task in TASKS:
        for case in range(cases):
            file = f"explanations/{style.slug(task)}_{case}.npz"
            heat = example_chest.write(run_dir / file, _SIZE, generator, offsets)
            for training, shares in heat.items():
                row = {"task": task, "case": case, "training": training, "score": 0.9, "file": file}
                rows.append({**row, **shares})
    pd.DataFrame(rows).to_csv(run_dir / "explanations.csv", index=False)


def write_heat(run_dir: pathlib.Path) -> None:
    """Writes `heat.csv`, without heat in annotations and without areas."""
    rows = []
    for task, site in TASKS.items():
        for training, other, mean in (
            ("federated", "", 0.6), ("site", "", 0.5), ("federated", "site", 0.125),
        ):  # fmt: skip
            row = dict.fromkeys(run_tables.HEAT.columns, np.nan)
            row.update(
                task=task, model="standard", training=training, compared_with=other, site=site,
                cases="true positives", images=20, patients=18, without_heat=2 * (not other),
                heat_in_lungs=mean, heat_in_lungs_low=mean - 0.25, heat_in_lungs_high=mean + 0.0625,
                entropy=7.5, lungs_images=20, lungs_area=0.25, annotation_images=0, pixels=_SIZE**2,
            )  # fmt: skip
            rows.append(row)
    run_tables.HEAT.write(run_dir, pd.DataFrame(rows))
