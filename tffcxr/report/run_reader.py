"""Reads a run directory into memory, and says in one line what is wrong with it.

Only `config.json` is required: a run that was stopped, or has no explanations, still has a
report. A file that is there must be whole.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from typing import Any, Union

import pandas as pd

from tffcxr import concealed, errors, run_tables
from tffcxr.evaluation import result_rows
from tffcxr.report import privacy_text, resources_text, run_cases, run_files, style
from tffcxr.report.kinds import kinds
from tffcxr.report.kinds.kind import Kind

# What a row of results is told by.
_TEXTS = ("task", "model", "training", "split", "client", "baseline", "images_kind")
_POOLED = "rounds_pooled.csv"
_LOG = logging.getLogger(__name__)
PathLike = Union[str, "os.PathLike[str]"]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run directory holds; empty where a file is not there.

    Attributes:
      path: the directory.
      config: `config.json`.
      recipe: the program that ran.
      kind: of study.
      rows: of `metrics.json`, null as NaN, of the sites that were trained on.
      external: the same of sites that were not.
      complete: whether `metrics.json` is there and says that it is complete.
      rounds: `rounds.csv`, a row per round.
      rounds_pooled: `rounds_pooled.csv`, the same of the pooled baseline.
      clients: `clients.csv`, a row per round and client.
      hospitals: `hospitals.csv`, a row per round and hospital, of the coordinator of hospitals.
      predictions: `predictions.csv`, a row per model and image.
      class_predictions: `class_predictions.csv`, the same of classes.
      roc: `roc.csv`, a row per point of an ROC curve, where there are no predictions.
      masks: `masks.csv`, a row per model and segmented image.
      cases: `cases.csv`, a row per model and segmented volume.
      heat: `heat.csv`, a row per model and site's images, and per two models that are compared.
      subgroups: `subgroups.csv`, a row per model, test set and group of patients.
      resources: of `resources.json`, a record per start of the program.
      privacy: `privacy.json`, of a run with differential privacy.
      explanations: of `explanations.csv`, in its order.
      segmentations: of `segmentations.csv`, in its order.
      models: the exported models, relative to `path`.
      damaged: sentences about tables that lack lines or the end of one.
    """

    path: pathlib.Path
    config: dict[str, Any]
    recipe: str
    kind: Kind
    rows: list[dict[str, Any]]
    external: list[dict[str, Any]]
    complete: bool
    rounds: pd.DataFrame
    rounds_pooled: pd.DataFrame
    clients: pd.DataFrame
    hospitals: pd.DataFrame
    predictions: pd.DataFrame
    class_predictions: pd.DataFrame
    roc: pd.DataFrame
    masks: pd.DataFrame
    cases: pd.DataFrame
    heat: pd.DataFrame
    subgroups: pd.DataFrame
    resources: list[dict[str, float | None]]
    privacy: dict[str, Any]
    explanations: list[run_cases.Explanation]
    segmentations: list[run_cases.Segmentation]
    models: list[str]
    damaged: list[str] = dataclasses.field(default_factory=list)

    @property
    def measured_split(self) -> str:
        """What images models were measured on after every round: "validation" or "test"."""
        return str(self.derived.get("measured_split") or "validation")

    @property
    def loss_name(self) -> str | None:
        """What the loss is, where a program says so."""
        name = self.derived.get("loss")
        return name if isinstance(name, str) else None

    @property
    def lungs(self) -> dict[str, Any]:
        """How many lungs were cut out and how that went; empty if they were not."""
        return _object(self.derived.get("lungs"))

    @property
    def derived(self) -> dict[str, Any]:
        """What the program derived from its settings and data."""
        return _object(self.config.get("derived"))


def read(run_dir: PathLike) -> Run:
    """Reads a run directory; warns of tables that lack lines, which can be read all the same.

    Raises:
      errors.InputError: if it is none, or a file in it is damaged.
    """
    path = pathlib.Path(run_dir)
    if not path.is_dir():
        raise errors.InputError(f"expected a run directory, found no folder {path}")
    # Of a run of an earlier version, paths are concealed here.
    config = concealed.config(_config(path / "config.json"))
    results: dict[str, Any] = {}
    if (path / "metrics.json").exists():
        results = run_files.read_json(path / "metrics.json")
    rows, external = result_rows.divide(_rows(results, path / "metrics.json"))
    run = Run(
        path=path,
        config=config,
        recipe=str(results.get("recipe") or config.get("recipe") or "experiment"),
        kind=_kind(config, path / "config.json"),
        rows=rows,
        external=external,
        complete=bool(results.get("complete", False)),
        rounds=_rounds(path, run_tables.ROUNDS.file),
        rounds_pooled=_rounds(path, _POOLED),
        clients=run_files.read_table(path, run_tables.CLIENTS),
        hospitals=run_files.read_table(path, run_tables.HOSPITALS),
        predictions=run_files.read_table(path, run_tables.PREDICTIONS),
        class_predictions=run_files.read_table(path, run_tables.CLASS_PREDICTIONS),
        roc=run_files.read_table(path, run_tables.ROC),
        masks=run_files.read_table(path, run_tables.MASKS),
        cases=run_files.read_table(path, run_tables.CASES),
        heat=run_files.read_table(path, run_tables.HEAT),
        subgroups=run_files.read_table(path, run_tables.SUBGROUPS),
        resources=resources_text.starts(path),
        privacy=privacy_text.read(path),
        explanations=run_cases.read_explanations(path),
        segmentations=run_cases.read_segmentations(path),
        models=sorted(f"models/{file.name}" for file in (path / "models").glob("*.keras")),
    )
    run.damaged.extend(_damaged(run))
    for sentence in run.damaged:
        _LOG.warning("%s: %s", path, sentence)
    return run


def _damaged(run: Run) -> list[str]:
    """Returns what the tables of a run lack."""
    names = [table.file for table in vars(run_tables).values() if type(table) is run_tables.Table]
    found = [
        f"{name} ends within a line: it was cut off, so its last row is damaged and others may be "
        "missing."
        for name in (*names, _POOLED)
        if (run.path / name).exists() and run_files.is_cut_off(run.path / name)
    ]
    # A client takes part in a round that the log of rounds has.
    lacking = {*run.clients["round"]} - {*run.rounds["round"]}
    if run.complete and lacking:
        found.append(
            f"{run_tables.ROUNDS.file} lacks {style.counted(len(lacking), 'round')} that "
            f"{run_tables.CLIENTS.file} has: rows are missing."
        )
    return found


def _config(path: pathlib.Path) -> dict[str, Any]:
    """Reads the configuration and checks what a report takes from it."""
    config = run_files.read_json(path)
    for name in ("settings", "derived"):
        if not isinstance(config.get(name, {}), dict):
            raise errors.InputError(f"expected an object as {name!r} in {path}")
    lungs = _object(_object(config.get("derived")).get("lungs"))
    reasons = _object(lungs.get("reasons"))
    counts = [lungs.get(name) for name in ("images", "implausible", "unreadable")]
    known = [*(count for count in counts if count is not None), *reasons.values()]
    if not all(style.is_number(count) for count in known):
        raise errors.InputError(f"expected numbers of images as 'lungs' in {path}")
    return config


def _kind(config: dict[str, Any], path: pathlib.Path) -> Kind:
    if "kind" not in config:
        raise errors.InputError(
            f'expected "kind" in {path}, one of {", ".join(kinds.KINDS)}, found none: the run '
            "stopped before its images were prepared, or is of an earlier version"
        )
    try:
        return kinds.named(config["kind"])
    except errors.InputError as error:
        raise errors.InputError(f'"kind" in {path}: {error}') from error


def _object(value: Any) -> dict[str, Any]:
    """Returns a JSON object, an empty one where there is something else."""
    return value if isinstance(value, dict) else {}


def _rows(results: dict[str, Any], path: pathlib.Path) -> list[dict[str, Any]]:
    """Checks the rows of the results; null becomes NaN."""
    rows = results.get("rows", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise errors.InputError(f"expected a list of rows in {path}")
    for position, row in enumerate(rows):
        missing = [key for key in ("task", "training", "split") if key not in row]
        if missing:
            raise errors.InputError(f"expected {missing[0]!r} in row {position} of {path}")
        wrong = [key for key in _TEXTS if not isinstance(row.get(key), (str, type(None)))]
        if wrong:
            raise errors.InputError(f"expected a text as {wrong[0]!r} in row {position} of {path}")
        classes = row.get("classes") or []
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise errors.InputError(
                f"expected a list of texts as 'classes' in row {position} of {path}"
            )
        if "confusion" in row and not _is_square(row["confusion"], row.get("classes")):
            raise errors.InputError(
                f"expected counts of every class by every class as 'confusion' in row {position} "
                f"of {path}"
            )
    return [
        {key: float("nan") if value is None else value for key, value in row.items()}
        for row in rows
    ]


def _is_square(confusion: Any, classes: Any) -> bool:
    """Whether a confusion matrix has a row and a column of numbers for every class."""
    if not isinstance(classes, list) or not isinstance(confusion, list):
        return False
    return len(confusion) == len(classes) and all(
        isinstance(counts, list)
        and len(counts) == len(classes)
        and all(style.is_number(count) for count in counts)
        for counts in confusion
    )


def _rounds(path: pathlib.Path, file: str) -> pd.DataFrame:
    """Reads a row per round, in order, each with the name of its stage of training."""
    rounds = run_files.read_table(path, run_tables.ROUNDS, file)
    if "stage" not in rounds:
        rounds["stage"] = ""
    return rounds.sort_values("round", kind="stable")
