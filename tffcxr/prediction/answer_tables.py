"""Writes what a model says of many files, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import csv
import io
import json
import math
import pathlib
from typing import Any

from tffcxr import files
from tffcxr.errors import InputError
from tffcxr.prediction import answers
from tffcxr.prediction.answers import Answer

FORMAT_VERSION = 1
# Behind those of the kind.
_COLUMNS = ("distance", "warning", "status", "error")


def write_csv(path: pathlib.Path, kind: str, found: Sequence[Answer]) -> None:
    """Writes a row per finding, class or region of every file, and one per file without any.

    Raises:
      InputError: the file cannot be written.
    """
    columns = answers.KINDS[kind].columns
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", *columns, *_COLUMNS))
    for answer in found:
        about = (
            "" if math.isnan(answer.distance) else round(answer.distance, 4),
            "; ".join(answer.warnings),
            answer.status,
            answer.error,
        )
        for cells in _cells(answer) if answer.rows else [("",) * len(columns)]:
            shown = ["" if cell is None else cell for cell in cells]
            writer.writerow((answer.file, *shown, *about))
    _write("csv", path, text.getvalue())


def write_json(
    path: pathlib.Path, kind: str, found: Sequence[Answer], model: Mapping[str, Any], notice: str
) -> None:
    """Writes an object per file, with an object per finding, class or region.

    Args:
      path: the new file.
      kind: of the model.
      found: the answers.
      model: what is said of it, as JSON has it.
      notice: what the reader of the file must know.

    Raises:
      InputError: the file cannot be written.
    """
    columns = answers.KINDS[kind].columns
    listed = [
        {
            "file": answer.file,
            "status": answer.status,
            "error": answer.error or None,
            "warnings": list(answer.warnings),
            "distance": None if math.isnan(answer.distance) else round(answer.distance, 4),
            "answers": [dict(zip(columns, cells)) for cells in _cells(answer)],
        }
        for answer in found
    ]
    content = {
        "format_version": FORMAT_VERSION,
        "notice": notice,
        "kind": kind,
        "model": dict(model),
        "files": listed,
    }
    _write("json", path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _cells(answer: Answer) -> Iterator[tuple[Any, ...]]:
    for row in answer.rows:
        yield (row.name, row.number, *row.others)


def _write(flag: str, path: pathlib.Path, text: str) -> None:
    try:
        files.write_text(path, text)
    except OSError as error:
        raise InputError(f"--{flag}: cannot write {path}: {error.strerror}") from error
