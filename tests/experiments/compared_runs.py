"""Compares two runs of the same command, file by file and bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
import pathlib

import numpy as np


def assert_same(
    ours: pathlib.Path, theirs: pathlib.Path, tables: Sequence[str], trainings: Sequence[str]
) -> None:
    """Asserts that the results, some CSV files and some trainings' checkpoints are the same."""
    for name in tables:
        assert lines(ours / name) == lines(theirs / name), name
    assert (ours / "metrics.json").read_bytes() == (theirs / "metrics.json").read_bytes()
    for training in trainings:
        names = sorted(path.name for path in (theirs / "checkpoints" / training).glob("*.npz"))
        assert names
        for name in names:
            mine = arrays(ours / "checkpoints" / training / name)
            other = arrays(theirs / "checkpoints" / training / name)
            assert mine.keys() == other.keys()
            for leaf in mine:
                assert mine[leaf].shape == other[leaf].shape, leaf
                assert mine[leaf].tobytes() == other[leaf].tobytes(), leaf


def lines(path: pathlib.Path) -> list[list[str]]:
    """The lines of a CSV file without its column `seconds`."""
    found = [line.split(",") for line in path.read_text().splitlines()]
    column = found[0].index("seconds") if "seconds" in found[0] else None
    return [[v for i, v in enumerate(line) if i != column] for line in found]


def arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint, by name."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
