"""Writes the page of `evaluate`: a finished model at hospitals that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from tffcxr import concealed, errors, files
from tffcxr.evaluation import result_rows
from tffcxr.report import elsewhere_table, page, run_files
from tffcxr.report.kinds import kinds

RECIPE = "evaluate"
_PAGE = "report.html"


def check_folder(folder: pathlib.Path) -> None:
    """Checks that a folder holds nothing that another program wrote, such as the files of a run.

    Raises:
      InputError: it is no new or empty folder, and no earlier evaluation.
    """
    if not folder.exists() or _is_mine(folder):
        return
    raise errors.InputError(
        "--output_dir: expected a new or an empty folder or that of an earlier evaluation, found "
        f"{folder}"
    )


def _is_mine(folder: pathlib.Path) -> bool:
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    if not names:
        return True
    if not names <= {result_rows.FILE_NAME, _PAGE} or result_rows.FILE_NAME not in names:
        return False
    try:
        return run_files.read_json(folder / result_rows.FILE_NAME).get("recipe") == RECIPE
    except errors.InputError:  # Of somebody else.
        return False


def write(
    folder: pathlib.Path,
    rows: Sequence[Mapping[str, Any]],
    kind: str,
    remarks: Sequence[str],
    model: pathlib.Path,
    command: Sequence[str],
) -> pathlib.Path:
    """Writes `report.html`, which needs no other file.

    Args:
      folder: of the page.
      rows: of `metrics.json`.
      kind: of model.
      remarks: what a reader of the results must know, a line each.
      model: its file.
      command: the words of the command line.

    Returns:
      The path of the page.

    Raises:
      OSError: it cannot be written.
    """
    named = kinds.named(kind)
    html = page.template("elsewhere_page.html.jinja").render(
        title=elsewhere_table.TITLE,
        model=model.name,
        command=page.command(concealed.command(command)),
        remarks=remarks,
        kind=named,
        elsewhere=elsewhere_table.of(rows, named, {}),
        roc_elsewhere=None,
    )
    path = folder / _PAGE
    files.write_text(path, html)
    return path
