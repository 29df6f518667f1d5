"""The record of a complete run for TensorBoard's HParams: its settings and its final results.

It lies in a folder of its own beside those of the curves, so that one `--logdir` shows both. With
the folder above several runs as `--logdir`, the dashboard compares them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import json
import math
import pathlib
from typing import Any

from tffcxr.evaluation import registry, result_rows
from tffcxr.sweeps import sweep_finals

# No training is called so, see `study.py`.
_NAME = "results"
# Settings that say where files are, or change no model.
_LEFT_OUT = frozenset(
    {"site", "external_site", "columns", "weights_sha256", "bootstrap", "heatmaps"}
)
_ALWAYS_NAMED = ("task", "training")


def is_written(run: pathlib.Path) -> bool:
    """Whether a run's folder has its record."""
    return any((run / "tensorboard" / _NAME).glob("events.out.tfevents.*"))


def write(run: pathlib.Path) -> None:
    """Writes the record of a complete run, from its `config.json` and `metrics.json`.

    Raises:
      InputError: `metrics.json` is damaged.
    """
    from tffcxr.training import hparams

    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    trial = hparams.Trial(
        name=_NAME,
        hparams={"recipe": config["recipe"], **settings(config, _LEFT_OUT)},
        results=results(result_rows.read_metrics(run)["rows"]),
        curves={},
        title=run.resolve().name,
    )
    hparams.write(run / "tensorboard", [trial])


def results(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The metrics of all rows of a `metrics.json`, as `final/<task>/…/<training>/<metric>`.

    Between task and training comes what else identifies the row, such as the model.
    """
    names = list(_ALWAYS_NAMED)
    for name in sweep_finals.IDENTITY:
        if len({_identity(row, names) for row in rows}) < len(rows) and name not in names:
            names.append(name)
    names.sort(key=sweep_finals.IDENTITY.index)
    return {
        "/".join(("final", *_identity(row, names), metric)): value
        for row in rows
        for metric, value in _numbers(row).items()
    }


def settings(config: Mapping[str, Any], left_out: Collection[str] = ()) -> dict[str, str]:
    """The settings of a run that have a value, with those that were derived from others."""
    derived = {k: v for k, v in config.get("derived", {}).items() if not isinstance(v, dict)}
    told = {}
    for name, value in {**config["settings"], **derived}.items():
        if value is not None and value != [] and name not in left_out:
            told[name] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return told


def _identity(row: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in names if row.get(name) is not None)


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row, the sensitivities of classes among them; a missing one is NaN."""
    of_classes = row.get(sweep_finals.BY_CLASS)
    found = {name: row[name] for name in registry.BY_NAME if name in row}
    if isinstance(of_classes, dict):
        found.update({f"{sweep_finals.BY_CLASS}/{name}": of_classes[name] for name in of_classes})
    return {name: math.nan if value is None else float(value) for name, value in found.items()}
