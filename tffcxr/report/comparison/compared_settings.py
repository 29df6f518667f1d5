"""What differs between the settings and the data of several runs, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tffcxr.report import settings_table
from tffcxr.report.comparison.compared_runs import ComparedRun

NOT_SET = "–"
# Changes with the paths of the files; whether the images are the same is asked of these.
_OF_PATHS = "data_fingerprint"
# What is a setting's name, and a text for each run.
Setting = tuple[str, Sequence[str]]


def divided(runs: Sequence[ComparedRun]) -> tuple[list[Setting], list[tuple[str, str]]]:
    """Returns the settings that differ, a text per run, and those that all runs share."""
    found = [_texts(one.run.config) for one in runs]
    names = dict.fromkeys(name for of_run in found for name in of_run)
    by_name = {name: [of_run.get(name, NOT_SET) for of_run in found] for name in names}
    differing: list[Setting] = [
        (name, texts) for name, texts in by_name.items() if len(set(texts)) > 1
    ]
    shared = [(name, texts[0]) for name, texts in by_name.items() if len(set(texts)) == 1]
    return differing, shared


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns every setting and every property of a site as a text, the recipe first."""
    sites = config.get("sites")
    of_sites: dict[str, str] = {}
    for site in sites if isinstance(sites, list) else ():
        if isinstance(site, Mapping):
            name = site.get("client", site.get("site", "site"))
            of_sites.update(settings_table.of(site, f"{name}: "))
    recipe = {"recipe": str(config["recipe"])} if "recipe" in config else {}
    settings = dict(settings_table.of(config))
    settings.pop(_OF_PATHS, None)
    return {**recipe, **settings, **of_sites}
