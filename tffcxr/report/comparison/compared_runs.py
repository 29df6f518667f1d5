"""The runs that are compared: complete ones of one kind, each with a letter and a name."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
import string

from tffcxr import errors
from tffcxr.report import run_reader, style


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """A run among others.

    Attributes:
      letter: what it is called in tables, in the order of the command line: "A", "B" …
      name: of its folder, with as many folders above it as tell it from the others.
      colour: of its curves, #RRGGBB.
      run: its files.
    """

    letter: str
    name: str
    colour: str
    run: run_reader.Run

    @property
    def label(self) -> str:
        """Its letter, and its name unless that is the letter."""
        return self.letter if self.name == self.letter else f"{self.letter}: {self.name}"


def read(run_dirs: Sequence[run_reader.PathLike]) -> list[ComparedRun]:
    """Reads the runs.

    Args:
      run_dirs: at least two, the one that the others are compared with first.

    Raises:
      errors.InputError: a folder is no run, damaged, given twice or not complete; the runs are of
        different kinds, or more than there are letters.
    """
    paths = [pathlib.Path(run_dir) for run_dir in run_dirs]
    if len(paths) > len(string.ascii_uppercase):
        raise errors.InputError(
            f"--run: expected at most {len(string.ascii_uppercase)} runs, found {len(paths)}"
        )
    real = [path.resolve() for path in paths]
    for path, resolved in zip(paths, real):
        if real.count(resolved) > 1:
            raise errors.InputError(f"--run: expected different runs, found {path} twice")
    runs = [run_reader.read(path) for path in paths]
    for run in runs:
        if not run.complete or not run.rows:
            raise errors.InputError(
                f"--run: expected complete runs to compare, found {run.path}, which "
                + ("has no results" if run.complete else "has not finished")
            )
    first = runs[0]
    for run in runs[1:]:
        if run.kind != first.kind:
            raise errors.InputError(
                f"--run: expected runs of one kind, found {first.kind.name} in {first.path} and "
                f"{run.kind.name} in {run.path}"
            )
    colours = style.colours(string.ascii_uppercase[: len(runs)])
    return [
        ComparedRun(letter, name, colours[letter], run)
        for letter, name, run in zip(string.ascii_uppercase, _names(real), runs)
    ]


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """Returns the ends of the paths, as long as needed to tell them apart."""
    for count in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
