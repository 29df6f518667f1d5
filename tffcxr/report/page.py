"""What all pages share: the look, escaping, the command line, and figures that lie in the page."""

from __future__ import annotations

import base64
import pathlib
import shlex
from typing import Any

import jinja2
from matplotlib import figure as matplotlib_figure

from tffcxr import files
from tffcxr.report import style
from tffcxr.report.figures import panels

_TEMPLATES = pathlib.Path(__file__).parent / "templates"


def template(name: str) -> jinja2.Template:
    """Loads a page; every value is escaped and an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        colour=style.training_colour,
        counted=style.counted,
        value_and_interval=style.value_and_interval,
        number=style.number,
        p_value=style.p_value,
        percent=style.percent,
    )
    return environment.get_template(name)


def command(words: Any) -> str:
    """Returns the command line of a list of words or a text; a Bazel target as one runs it."""
    if not isinstance(words, list):
        return str(words or "")
    words = [str(word) for word in words]
    if words and words[0].startswith("//"):
        words = ["./bazelw", "run", words[0], "--", *words[1:]]
    return shlex.join(words)


def command_beside(words: Any, program: str, *arguments: str) -> str:
    """Returns the command line of another program, started as that of `words` was."""
    is_installed = isinstance(words, list) and words[:1] == ["tffcxr"]
    start = ["tffcxr", program] if is_installed else [f"//experiments:{program}"]
    return command([*start, *arguments])


def write_figure(
    folder: pathlib.Path, name: str, figure: matplotlib_figure.Figure | None
) -> str | None:
    """Writes `figures/NAME.png` in a folder and returns it as a data URI.

    Returns:
      None if there is no figure.
    """
    if figure is None:
        return None
    content = panels.png(figure)
    path = folder / "figures" / f"{name}.png"
    files.write_atomically(path, lambda file: file.write(content))
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
