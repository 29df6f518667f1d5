"""The command line as it was typed."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib


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
        """The command as Bazel takes it."""
        return [f"//experiments:{self.name}", *self.arguments]

    def has(self, flag: str) -> bool:
        """Whether a flag was typed, not only given by a file of flags."""
        typed = {argument.partition("=")[0].lstrip("-") for argument in self.arguments}
        return not typed.isdisjoint({flag, f"no{flag}"})


_current = CommandLine()


def remember(argv: Sequence[str]) -> None:
    """Stores the command line that the flags are parsed from."""
    global _current
    _current = CommandLine(argv[0], tuple(argv[1:]))


def current() -> CommandLine:
    """The command line of this program."""
    return _current
