"""Writes the page of `evaluate`: a finished model at hospitals that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from tffcxr import files
from tffcxr.report import elsewhere_table, page
from tffcxr.report.kinds import kinds


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
        model=model,
        command=page.command(list(command)),
        remarks=remarks,
        kind=named,
        elsewhere=elsewhere_table.of(rows, named, {}),
        roc_elsewhere=None,
    )
    path = folder / "report.html"
    files.write_text(path, html)
    return path
