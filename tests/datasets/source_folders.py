"""The tiny datasets of `testdata/`, to be read or to be spoiled."""

from __future__ import annotations

import pathlib
import shutil

TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "testdata"


def copy(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Copies one dataset to a folder of the test's own and returns its root."""
    return pathlib.Path(shutil.copytree(TESTDATA / name, folder / name))


def edit(path: pathlib.Path, old: str, new: str) -> None:
    """Replaces the first occurrence of a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
