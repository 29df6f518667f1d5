"""The command line as it was typed."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import os
import pathlib
import re

# `bazel run` starts a program in a folder of its own, and says here where the user stands.
BAZEL_FOLDER = "BUILD_WORKING_DIRECTORY"
_BY_BAZEL = re.compile(r"\./bazelw run //experiments:(\w+) --")


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """The words of a command.

    Attributes:
      program: the name under which absl knows the program's flags.
      arguments: what was typed after it, `--flagfile=FILE` included.
    """

    program: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The program's name, such as "cheXviz"."""
        return pathlib.PurePath(self.program).name.removesuffix(".py").rpartition(".")[2]

    @property
    def words(self) -> list[str]:
        """The command as Bazel takes it, or `tffcxr` where Bazel has not started the program."""
        return [*start_of(self.name), *self.arguments]

    def has(self, flag: str) -> bool:
        """Whether a flag was typed, not only given by a file of flags."""
        typed = {argument.partition("=")[0].lstrip("-") for argument in self.arguments}
        return not typed.isdisjoint({flag, f"no{flag}"})


def start_of(program: str) -> list[str]:
    """The first words of the command that starts a program as this one was started."""
    return [f"//experiments:{program}"] if by_bazel() else ["tffcxr", program]


def by_bazel() -> bool:
    """Whether `bazel run` has started this program, or the sweep that has started it."""
    return BAZEL_FOLDER in os.environ


def as_started(text: str) -> str:
    """Returns a text whose commands start programs as this one was started."""
    return text if by_bazel() else _BY_BAZEL.sub(r"tffcxr \1", text)


_current = CommandLine()


def remember(argv: Sequence[str]) -> None:
    """Stores the command line that the flags are parsed from."""
    global _current
    _current = CommandLine(argv[0], tuple(argv[1:]))


def current() -> CommandLine:
    """The command line of this program."""
    return _current
