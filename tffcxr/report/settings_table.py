"""The settings of a run, each as a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tffcxr.report import sites_table

# A page has these above the table.
_SHOWN_ELSEWHERE = ("command", "paper", "published", "sites", "recipe")


def of(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns (name, text) of every setting; those of a nested object as "object.name".

    Args:
      config: of a `config.json`, or an object in it.
      prefix: of the names.
    """
    result = []
    for key, value in config.items():
        if not prefix and key in _SHOWN_ELSEWHERE:
            continue
        if isinstance(value, Mapping) and value:
            # The flags need no prefix.
            result += of(value, "" if key == "settings" else f"{prefix}{key}.")
        else:
            result.append((f"{prefix}{key}", sites_table.as_text(value)))
    return result
