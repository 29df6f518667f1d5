"""What all pages share: the look, escaping, the command line, and figures that lie in the page."""

from __future__ import annotations

import base64
from collections.abc import Iterable
import json
import pathlib
import re
import shlex
from typing import Any

import jinja2
import markupsafe
from matplotlib import figure as matplotlib_figure

from tffcxr import files
from tffcxr.report import column_builders, style
from tffcxr.report.figures import panels

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# What Markdown would read as more than a letter; "_" and "&" mean something in some places only.
_MARKDOWN = re.compile(r"[\\`*\[\]|<~]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")


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
        heading=style.unbroken_brackets,
        value_and_interval=style.value_and_interval,
        number=style.number,
        p_value=style.p_value,
        percent=style.percent,
        without_interval=column_builders.without_interval,
    )
    return environment.get_template(name)


def markdown(name: str) -> jinja2.Template:
    """Loads a text in Markdown; every value is escaped and an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_markdown_text,
    )
    environment.filters.update(code=code, quoted=_quoted)
    return environment.get_template(name)


def markdown_table(headings: Iterable[str], cells: Iterable[Iterable[str]]) -> markupsafe.Markup:
    """Returns a table of texts as Markdown, without a final line break."""
    headings = list(headings)
    rows = [headings, ["---"] * len(headings), *cells]
    return markupsafe.Markup(
        "\n".join(f"| {' | '.join(map(_markdown_text, row))} |" for row in rows)
    )


def _markdown_text(value: Any) -> str:
    """Escapes a value, unless it is Markdown already."""
    if isinstance(value, markupsafe.Markup):
        return str(value)
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(str(value).split()))


def code(value: Any) -> markupsafe.Markup:
    """A name as code, in which only a backtick means something."""
    return markupsafe.Markup("`" + " ".join(str(value).replace("`", "'").split()) + "`")


def _quoted(value: Any) -> markupsafe.Markup:
    """A text as it stands in a program."""
    return markupsafe.Markup(json.dumps(str(value), ensure_ascii=False))


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
