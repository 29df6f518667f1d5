"""Settings and commands without the paths in them, which may name a patient, a ward or a person.

A path is replaced by a digest: two runs on the same folder still have the same setting, and a run
is only resumed with it. To read it back one has to guess the whole path, at 0.05 s a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
import hashlib
import pathlib
import re
from typing import Any

from tffcxr import options

# Flags that name a hospital, its loader, a path and perhaps a finding; that name what a file is
# for; and whose whole value is a path.
_SITES = frozenset({"site", "external_site"})
_NAMED = frozenset({"columns", "weights"})
_PATHS = frozenset(
    {
        "cache_dir", "configurations", "kit", "mlflow", "output_dir", "phantom_dir", "proposal",
        "segmentation_model",
    }
)  # fmt: skip
_OF_RUNS = frozenset({"grid", "set"})  # NAME=VALUE, a flag of the runs of a sweep.
_SITE = re.compile(r"([\w.-]+=\w+:)(.+)", re.DOTALL)
_NAME = re.compile(r"([\w.-]+=)?(.*)", re.DOTALL)
_FLAG = re.compile(r"--?(\w+)(?:=(.*))?", re.DOTALL)
_PROGRAM = re.compile(r"//experiments:\w+")
_ABSOLUTE = re.compile(r"[/~\\]|\.{1,2}[/\\]|\w:\\")
_IN_TEXT = re.compile(r"(?:(?<![\w.<])~?/(?=[^\s/])|\b[A-Za-z]:\\)[^:;,\n]*")
_RELATIVE = re.compile(r"(?<!\S)[\w.-]+[/\\]\S*\.\w{2,5}(?!\w)")
_IS_CONCEALED = re.compile(r"\[path( [0-9a-f]{16})?\](:[^/\\]*)?")
# The cost of a guess; the salt only keeps digests of other programs from being used here.
_COST, _BLOCK, _SALT = 2**14, 8, b"tffcxr path"


def config(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a `config.json` with its settings and its command concealed."""
    result = dict(found)
    if isinstance(result.get("settings"), Mapping):
        result["settings"] = settings(result["settings"])
    if isinstance(result.get("command"), list):
        result["command"] = command([str(word) for word in result["command"]])
    return result


def settings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings with digests in the place of paths; those that have them stay as they are.

    Args:
      found: JSON values by the names of flags. Of a sweep, such a name follows that of the run.
    """
    return {name: _value(name.rpartition("--")[2], value) for name, value in found.items()}


def command(words: Sequence[str]) -> list[str]:
    """Returns the words of a command line with "[path]" in the place of each path."""
    told: list[str] = []
    flag_before = ""
    for word in words:
        found = _FLAG.fullmatch(word)
        if _PROGRAM.fullmatch(word):
            told.append(word)
        elif found is None:
            told.append(_text(flag_before, word, _no_digest))
            flag_before = ""
        else:
            name, value = found.groups()
            told.append(word if value is None else f"--{name}={_text(name, value, _no_digest)}")
            flag_before = name if value is None else ""
    return told


def text(message: str) -> str:
    """Returns a message with "[path]" in the place of what looks like the path of a file or folder.

    An absolute path ends where the next clause begins, since it may have spaces; of others, a word
    with a slash and the ending of a file is one.
    """
    return _RELATIVE.sub("[path]", _IN_TEXT.sub("[path]", message))


def is_concealed(text: str) -> bool:
    """Whether a text is what stands in the place of a path."""
    return _IS_CONCEALED.fullmatch(text) is not None


def _value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return _text(name, value, _with_digest)
    if isinstance(value, list):
        return [_value(name, each) for each in value]
    return value


def _text(name: str, text: str, conceal: Any) -> str:
    if name in _OF_RUNS:
        inner, equals, value = text.partition("=")
        return f"{inner}{equals}{_text(inner, value, conceal)}"
    if name in _SITES:
        found = _SITE.fullmatch(text)
        return found[1] + _path_and_finding(found[2], conceal) if found else conceal(text)
    if name in _NAMED:
        return ",".join(_named(part, conceal) for part in text.split(","))
    is_path = name in _PATHS or _ABSOLUTE.match(text) is not None
    # Presets and networks have names, other files of flags and models have paths.
    is_path |= name in ("flagfile", "model") and re.search(r"[^\w,-]", text) is not None
    return conceal(text) if text and is_path else text


def _path_and_finding(text: str, conceal: Any) -> str:
    """Conceals the path of a site; see `sites.Site.parse`."""
    if _IS_CONCEALED.fullmatch(text):
        return text
    if ":" not in text or pathlib.Path(text).exists():
        return conceal(text)
    path, _, finding = text.rpartition(":")
    # Of Windows, "C:" is no path with a finding.
    return conceal(text) if re.search(r"[/\\]", finding) else f"{conceal(path)}:{finding}"


def _named(text: str, conceal: Any) -> str:
    found = _NAME.fullmatch(text)
    assert found is not None  # It takes every text.
    name, path = found[1] or "", found[2]
    return text if path in ("", *options.WEIGHTS_WITHOUT_FILE) else name + conceal(path)


def _no_digest(path: str) -> str:
    return path if _IS_CONCEALED.fullmatch(path) else "[path]"


def _with_digest(path: str) -> str:
    return path if _IS_CONCEALED.fullmatch(path) else f"[path {_digest(path)}]"


@functools.lru_cache(maxsize=1000)
def _digest(path: str) -> str:
    """16 hexadecimal digits that are slow to compute, so that paths are slow to guess."""
    content = path.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(content, salt=_SALT, n=_COST, r=_BLOCK, p=1, dklen=8).hex()
