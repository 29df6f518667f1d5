"""Whether the final results of a run over hospitals have been exchanged, by the files of a run.

Each side's own report may be complete before: a hospital may be killed before it has sent its
results, or be away for so long that the coordinator ends without them.
"""

from __future__ import annotations

import pathlib

from tffcxr import files

CLIENTS, ROWS = ".clients.json", ".rows.json"
_REPORTED = "results_reported"


def missing(folder: pathlib.Path) -> list[str]:
    """The hospitals that have joined a run, and whose results the coordinator lacks.

    Args:
      folder: where the coordinator keeps what hospitals have said.
    """
    joined = {path.name.removesuffix(CLIENTS) for path in folder.glob(f"*{CLIENTS}")}
    return sorted(site for site in joined if not (folder / f"{site}{ROWS}").exists())


def note_reported(folder: pathlib.Path) -> None:
    """Notes in a hospital's folder of private states that the coordinator has its results."""
    files.write_text(folder / _REPORTED, "")


def are_reported(folder: pathlib.Path) -> bool:
    """Whether the coordinator has a hospital's results, see `note_reported`."""
    return (folder / _REPORTED).exists()
