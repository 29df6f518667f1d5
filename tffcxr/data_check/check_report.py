"""Writes what a check found as `check.html` for people and `check.json` for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any

from tffcxr import files
from tffcxr.data_check import inventory
from tffcxr.data_check.fault import WARNING, WRONG, Fault
from tffcxr.report import page, style, text_table

FORMAT_VERSION = 1
_COUNTED = (
    *("splits", "views", "sexes", "ages", "scanners", "modalities", "body_parts", "bits", "sizes"),
)
_LABELS = ("present", "absent", "unknown")
_MOST_VALUES = 8  # Of a column of counts in the page.


def write(
    folder: pathlib.Path,
    about: Sequence[inventory.Inventory],
    faults: Sequence[Fault],
    command: Sequence[str],
    files_were_read: bool,
) -> pathlib.Path:
    """Writes both files; those of an earlier check are replaced.

    Args:
      folder: for the files.
      about: what is there, of `inventory.describe` for each site.
      faults: what is wrong.
      command: the words of the command line.
      files_were_read: whether the images were looked at, not only their table.

    Returns:
      The path of the page.

    Raises:
      OSError: a file cannot be written.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "files_were_read": files_were_read,
        "sites": list(about),
        "faults": [fault.to_json() for fault in faults],
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    files.write_atomically(folder / "check.json", lambda file: file.write(text.encode()))
    html = page.template("check.html.jinja").render(
        title="Check of " + ", ".join(each["site"] for each in about),
        command=page.command(list(command)),
        files_were_read=files_were_read,
        sites=[{**each, "counts": _counts(each)} for each in about],
        wrong=[fault for fault in faults if fault.severity == WRONG],
        warnings=[fault for fault in faults if fault.severity == WARNING],
    )
    path = folder / "check.html"
    files.write_atomically(path, lambda file: file.write(html.encode()))
    return path


def format_terminal(about: Sequence[inventory.Inventory], faults: Sequence[Fault]) -> str:
    """The counts of labels as a table, and a line per fault; arguments as of `write`."""
    rows = [
        [each["site"], label["finding"], *(str(label[name]) for name in _LABELS)]
        for each in about
        for label in each["labels"]
    ]
    parts = [
        f"{each['site']}: {style.counted(each['images'], 'image')} of "
        f"{style.counted(each['patients'], 'patient')}"
        for each in about
    ]
    if rows:
        parts.append(text_table.format_table(["site", "finding", *_LABELS], rows, 2))
    parts += [
        f"{fault.severity}: {fault.kind}: {fault.sentence}" + _example(fault) for fault in faults
    ]
    return "\n".join(parts)


def _example(fault: Fault) -> str:
    return f", such as {fault.images[0]}" if fault.images else ""


def _counts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Counts as text, by what is counted; the rarest values are summed up."""
    found = []
    for name in _COUNTED:
        values = about.get(name)
        if not values:
            continue
        shown = list(values.items())
        rest = shown[_MOST_VALUES:]
        texts = [f"{value} ({count})" for value, count in shown[:_MOST_VALUES]]
        if rest:
            texts.append(f"{len(rest)} others ({sum(count for _, count in rest)})")
        found.append((name.replace("_", " "), ", ".join(texts)))
    return found
