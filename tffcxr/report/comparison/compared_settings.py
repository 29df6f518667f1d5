"""What differs between the settings and the data of several runs, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from tffcxr.report import settings_table
from tffcxr.report.comparison.compared_runs import ComparedRun

NOT_SET = "–"
# Changes with the paths of the files; whether the images are the same is asked of these.
_OF_PATHS = "data_fingerprint"
# Before the names of what nobody has set.
_DERIVED, _OF_SITE = "derived.", "client "
# What is a setting's name, and a text for each run.
Setting = tuple[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of several runs.

    Attributes:
      differing: those that were set and differ, with a text per run.
      derived: what differs of what the programs derived from settings and data, and of the sites.
      shared: those that all runs share, derived ones too.
    """

    differing: list[Setting]
    derived: list[Setting]
    shared: list[tuple[str, str]]


def of(runs: Sequence[ComparedRun]) -> Settings:
    """Returns what differs between runs, and what does not."""
    found = [_texts(one.run.config) for one in runs]
    names = dict.fromkeys(name for of_run in found for name in of_run)
    by_name = {name: [of_run.get(name, NOT_SET) for of_run in found] for name in names}
    differing: list[Setting] = [item for item in by_name.items() if len(set(item[1])) > 1]
    return Settings(
        [item for item in differing if not item[0].startswith((_DERIVED, _OF_SITE))],
        [item for item in differing if item[0].startswith((_DERIVED, _OF_SITE))],
        [(name, texts[0]) for name, texts in by_name.items() if len(set(texts)) == 1],
    )


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns every setting and every property of a site as a text, the recipe first."""
    sites = config.get("sites")
    of_sites: dict[str, str] = {}
    for site in sites if isinstance(sites, list) else ():
        if isinstance(site, Mapping):
            name = site.get("client", site.get("site", ""))
            of_sites.update(settings_table.of(site, f"{_OF_SITE}{name}, "))
    recipe = {"recipe": str(config["recipe"])} if "recipe" in config else {}
    settings = dict(settings_table.of(config))
    settings.pop(_OF_PATHS, None)
    return {**recipe, **settings, **of_sites}
