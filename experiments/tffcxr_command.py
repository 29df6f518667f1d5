"""The command `tffcxr PROGRAM FLAGS`: what `./bazelw run //experiments:PROGRAM -- FLAGS` does.

It exists where the package is installed, see `[project.scripts]` in pyproject.toml. A program is a
module of this folder that can be run. The list of programs is read from their files, because to
import them all would take longer than a list may.
"""

from __future__ import annotations

import ast
import pathlib
import shutil
import signal
import sys
import textwrap

from experiments import recipes
from tffcxr import child_process, errors

_IS_PROGRAM = '\nif __name__ == "__main__":\n'
_USAGE_STATUS = 2
_WIDEST = 100


def main() -> None:
    """Runs the program that the command names; prints the list, or the version, for no program."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name == "help" and arguments:
        name, arguments = arguments[0], ["--help"]
    if name in ("help", "--help", "-h"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # The reader may be `head`.
        print(_help())
    elif name == "--version":
        import importlib.metadata  # Takes longer than the rest.

        print(f"tffcxr {importlib.metadata.version('tffcxr')}")
    else:
        child_process.run_program(f"experiments.{_program(name)}", arguments)


def programs() -> dict[str, str]:
    """The programs, recipes first, and what each does in one line."""
    found = {}
    for path in pathlib.Path(__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        if _IS_PROGRAM in source:
            found[path.stem] = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    in_order = sorted(found, key=lambda name: (name not in recipes.RECIPES, name.lower()))
    return {name: found[name] for name in in_order}


def _program(name: str) -> str:
    """The program of a name in any case and with either dash; ends the command if there is none."""
    known = {program.lower(): program for program in programs()}
    written = name.lower().replace("-", "_")
    if written not in known:
        hint = errors.did_you_mean(written, known.values())
        print(
            f"tffcxr: expected one of {', '.join(known.values())}, found {name!r}{hint}",
            file=sys.stderr,
        )
        sys.exit(_USAGE_STATUS)
    return known[written]


def _help() -> str:
    width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    about = programs()
    indent = max(map(len, about)) + 4
    lines = [
        textwrap.fill(
            text,
            width,
            initial_indent=f"  {name}".ljust(indent),
            subsequent_indent=" " * indent,
        )
        for name, text in about.items()
    ]
    return "\n".join(
        [
            "tffcxr PROGRAM --FLAG=VALUE …   runs a program",
            "tffcxr PROGRAM --help           lists its flags",
            "tffcxr --version                prints the version",
            "",
            "Programs:",
            *lines,
        ]
    )
