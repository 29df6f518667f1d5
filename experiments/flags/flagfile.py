"""Files of flags: `--flagfile` names one by its path, or a paper's preset by its name.

The presets are part of the package, so `--flagfile=covid` works wherever the package is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib

from tffcxr import errors

_PRESETS = pathlib.Path(__file__).parents[1] / "presets"
_FLAGS = ("--flagfile", "-flagfile")


def resolved(argv: Sequence[str]) -> list[str]:
    """Returns a command line whose `--flagfile`s name files; a file goes before a preset.

    Raises:
      InputError: one names neither a file nor a preset.
    """
    words = list(argv)
    flags = words[: words.index("--")] if "--" in words else words
    for index, word in enumerate(flags):
        flag, is_joined, value = word.partition("=")
        if flag not in _FLAGS:
            continue
        if is_joined:
            words[index] = f"{flag}={_file(value)}"
        elif index + 1 < len(flags):
            words[index + 1] = _file(flags[index + 1])
    return words


def _file(name: str) -> str:
    path = os.path.expanduser(name)
    if os.path.exists(path) and not os.path.isdir(path):
        return name
    presets = {preset.stem: preset for preset in sorted(_PRESETS.rglob("*.flags"))}
    if name not in presets:
        hint = errors.did_you_mean(name, presets)
        raise errors.InputError(
            f"--flagfile: expected a file or one of {', '.join(presets)}, found {name!r}{hint}"
        )
    return str(presets[name])
