"""A sweep with made-up numbers, as its runs leave it: local epochs by clients, two repeats."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd

from tffcxr.sweeps import sweep_results

METRIC = "Lungs/jaccard"


def runs(epochs=(1, 2, 3), clients=(1, 2, 3), repeats=2, failed=()):
    """The runs; those whose index is in `failed` have failed."""
    made: list[sweep_results.Run] = []
    for repeat in range(1, repeats + 1):
        for epoch in epochs:
            for client in clients:
                name = f"local_epochs={epoch},clients_per_round={client}"
                has_failed = len(made) in failed
                made.append(
                    sweep_results.Run(
                        folder=f"runs/{name}/repeat_{repeat}",
                        configuration=name,
                        flags={"local_epochs": str(epoch), "clients_per_round": str(client)},
                        repeat=repeat,
                        seed=repeat - 1,
                        status="failed" if has_failed else "complete",
                        error="every <client> failed" if has_failed else "",
                    )
                )
    return made


def write(path: pathlib.Path, made, rounds: int = 15) -> pathlib.Path:
    """Writes what a complete run has and a sweep reads."""
    for run in made:
        if run.status != sweep_results.COMPLETE:
            continue
        folder = path / run.folder
        folder.mkdir(parents=True)
        generator = np.random.default_rng([run.seed, len(run.configuration)])
        number = np.arange(1, rounds + 1)
        speed = 0.25 * int(run.flags["local_epochs"]) + 0.1 * int(run.flags["clients_per_round"])
        jaccard = 0.95 - 0.6 * np.exp(-speed * number) + generator.normal(0, 0.006, rounds)
        table = pd.DataFrame(
            {
                "round": number,
                "seconds": 2.0,
                "train_loss": 1.0 - jaccard,
                "Lungs/loss": 1.1 - jaccard,
                METRIC: jaccard,
                "stage": "all",
            }
        )
        table.to_csv(folder / "rounds.csv", index=False)
        (folder / "config.json").write_text(json.dumps({"recipe": "cxr_fl_segmentation"}))
        (folder / "report.html").write_text("a run")
    return path
