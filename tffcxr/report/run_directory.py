"""Reads a run directory into memory, and says in one line what is wrong with it.

Only `config.json` is required: a run that was stopped, or has no explanations, still has a
report. A file that is there must be whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import json
import os
import pathlib
from typing import Any, Union
import zipfile
import zlib

import numpy as np
import pandas as pd

from tffcxr import errors

PathLike = Union[str, "os.PathLike[str]"]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The heat maps of one image.

    Attributes:
      task: the finding.
      case: the name of the image in the report.
      image: uint8 [S, S], 0..255.
      heat: by kind of training, float32 [S, S] in 0..1.
      scores: by kind of training, the probability of the finding.
      in_lungs: by kind of training, the share of the heat inside the lungs, NaN if unknown.
      in_annotation: the same for the annotation.
      annotation: bool [S, S], or None if the finding is not drawn.
      lungs: bool [S, S], or None.
    """

    task: str
    case: str
    image: np.ndarray
    heat: Mapping[str, np.ndarray]
    scores: Mapping[str, float]
    in_lungs: Mapping[str, float]
    in_annotation: Mapping[str, float]
    annotation: np.ndarray | None
    lungs: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run directory holds; empty where a file is not there.

    Attributes:
      path: the directory.
      config: `config.json`.
      recipe: the program that ran.
      rows: of `metrics.json`, null as NaN.
      complete: whether `metrics.json` is there and says that it is complete.
      rounds: `rounds.csv`, a row per round.
      clients: `clients.csv`, a row per round and client.
      predictions: `predictions.csv`, a row per model and image.
      explanations: of `explanations.csv`, in its order.
      models: the exported models, relative to `path`.
    """

    path: pathlib.Path
    config: dict[str, Any]
    recipe: str
    rows: list[dict[str, Any]]
    complete: bool
    rounds: pd.DataFrame
    clients: pd.DataFrame
    predictions: pd.DataFrame
    explanations: list[Explanation]
    models: list[str]


def read(run_dir: PathLike) -> Run:
    """Reads a run directory.

    Raises:
      errors.InputError: if it is none, or a file in it is damaged.
    """
    path = pathlib.Path(run_dir)
    if not path.is_dir():
        raise errors.InputError(f"expected a run directory, found no folder {path}")
    config = _read_json(path / "config.json")
    results: dict[str, Any] = {}
    if (path / "metrics.json").exists():
        results = _read_json(path / "metrics.json")
    rounds = _read_csv(path / "rounds.csv", ["round"], text=["stage"])
    if "stage" not in rounds:
        rounds["stage"] = ""
    return Run(
        path=path,
        config=config,
        recipe=str(results.get("recipe") or config.get("recipe") or "experiment"),
        rows=_rows(results, path / "metrics.json"),
        complete=bool(results.get("complete", False)),
        rounds=rounds.sort_values("round", kind="stable"),
        clients=_read_csv(
            path / "clients.csv",
            ["round", "client", "images", "train_loss", "status"],
            text=["client", "status"],
        ),
        predictions=_read_csv(
            path / "predictions.csv",
            ["task", "training", "client", "split", "label", "score"],
            text=["task", "training", "client", "split", "row"],
        ),
        explanations=_read_explanations(path),
        models=sorted(f"models/{file.name}" for file in (path / "models").glob("*.keras")),
    )


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.InputError(
            f"expected a run directory with {path.name}, found {error.strerror}: {path}"
        ) from error
    except ValueError as error:
        raise errors.InputError(f"expected JSON in {path}, found {_one_line(error)}") from error
    if not isinstance(value, dict):
        raise errors.InputError(f"expected a JSON object in {path}, found {type(value).__name__}")
    return value


def _rows(results: dict[str, Any], path: pathlib.Path) -> list[dict[str, Any]]:
    """Checks the rows of the results; null becomes NaN."""
    rows = results.get("rows", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise errors.InputError(f"expected a list of rows in {path}")
    for position, row in enumerate(rows):
        missing = [key for key in ("task", "training", "split") if key not in row]
        if missing:
            raise errors.InputError(f"expected {missing[0]!r} in row {position} of {path}")
    return [
        {key: float("nan") if value is None else value for key, value in row.items()}
        for row in rows
    ]


def _read_csv(path: pathlib.Path, required: list[str], text: Iterable[str]) -> pd.DataFrame:
    """Reads a table; columns are numbers (empty is NaN) unless named in `text`.

    Returns:
      The table, with the required columns and no row if there is no such file.
    """
    if not path.exists():
        return pd.DataFrame({column: [] for column in required})
    try:
        # As text first: an id such as "007" or "NA" is a name, not a number or a gap.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise errors.InputError(f"expected a table in {path}, found {_one_line(error)}") from error
    missing = [column for column in required if column not in table]
    if missing:
        raise errors.InputError(
            f"expected column {missing[0]!r} in {path}, found {', '.join(table.columns)}"
        )
    for column in table.columns.difference(list(text)):
        try:
            table[column] = pd.to_numeric(table[column].replace("", np.nan)).astype(float)
        except ValueError as error:
            raise errors.InputError(
                f"expected numbers in column {column!r} of {path}, found {_one_line(error)}"
            ) from error
    return table


def _read_explanations(run_dir: pathlib.Path) -> list[Explanation]:
    """Reads `explanations.csv` and the arrays that it names."""
    table = _read_csv(
        run_dir / "explanations.csv",
        ["task", "case", "training", "score", "file", "heat_in_lungs", "heat_in_annotation"],
        text=["task", "case", "training", "file"],
    )
    explanations = []
    for (task, case), rows in table.groupby(["task", "case"], sort=False):
        by_training = rows.set_index("training")
        arrays: dict[str, np.ndarray] = {}
        for file in dict.fromkeys(rows["file"]):
            arrays.update(_read_arrays(run_dir / file))
        path = run_dir / rows["file"].iloc[0]
        image = arrays.get("image")
        if image is None or image.ndim != 2:
            raise errors.InputError(f"expected an array 'image' [S, S] in {path}")
        heat = {}
        for training in by_training.index:
            if f"heat_{training}" not in arrays:
                raise errors.InputError(f"expected an array 'heat_{training}' in {path}")
            heat[training] = arrays[f"heat_{training}"]
        for name, array in arrays.items():
            if array.shape != image.shape:
                raise errors.InputError(
                    f"expected {name!r} of the image's shape {image.shape} in {path}, "
                    f"found {array.shape}"
                )
        explanations.append(
            Explanation(
                task=task,
                case=case,
                image=image,
                heat=heat,
                scores=by_training["score"].to_dict(),
                in_lungs=by_training["heat_in_lungs"].to_dict(),
                in_annotation=by_training["heat_in_annotation"].to_dict(),
                annotation=arrays.get("annotation"),
                lungs=arrays.get("lungs"),
            )
        )
    return explanations


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file."""
    try:
        # A damaged header would make NumPy fail in many ways; the checksums find it first.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"damaged {damaged}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise errors.InputError(f"expected arrays in {path}, found {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    """Returns an error's message without line breaks."""
    return " ".join(str(error).split())
