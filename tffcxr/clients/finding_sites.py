"""The clients of sites that label findings, each its own: one, some, or all that its source labels.

Sites may be cut from one folder. A patient of several sites is in the same split at all of them.
Where such sites label the same finding, each patient is at one of them only, since an image would
count twice; where their findings differ, each site has all of its images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import logging
from typing import TypeVar

import pandas as pd

from tffcxr.clients import separation
from tffcxr.clients.sites import (
    ClientRecords,
    Division,
    Site,
    are_of_one_folder,
    check_names,
    cut,
    have_same_patients,
)
from tffcxr.datasets import findings as finding_names
from tffcxr.datasets import records as records_lib
from tffcxr.datasets import splits
from tffcxr.errors import InputError

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}

_Item = TypeVar("_Item")
_Tables = dict[str, pd.DataFrame]
_Findings = dict[str, tuple[str, ...]]


def load_clients(
    sites: Sequence[Site],
    *,
    seed: int,
    division: Division,
    among: Sequence[str] | None = None,
) -> ClientRecords:
    """Loads all sites and divides their images among clients.

    Patients never cross a split. A site that names no finding has all that its source labels, but
    those without an image of each class in every split, which are left out with a warning.

    Args:
      sites: at least one, with different names.
      seed: of splits and partitions.
      division: of each site.
      among: the findings that sites may have; None for any.

    Raises:
      InputError: see `Site.parse` and the loaders; a named finding that is not known or cannot be
        used; a site without any that can.
    """
    check_names(sites)
    tables: _Tables = {}
    findings_of: _Findings = {}
    for site in sites:
        table = site.load()
        findings_of[site.name] = _findings_of(table, site, among)
        tables[site.name] = _labelled(table, findings_of[site.name])
    tables = _separate(sites, tables, findings_of, seed)
    left_out = _leave_out(sites, tables, findings_of, _has_few_patients)
    tables = _split(sites, tables, findings_of, seed)
    for name, of_site in _leave_out(sites, tables, findings_of, _lacks_a_class).items():
        left_out.setdefault(name, {}).update(of_site)
    _warn(left_out)
    union = list(dict.fromkeys(name for findings in findings_of.values() for name in findings))
    clients, site_of = {}, {}
    for site in sites:
        findings = findings_of[site.name]
        table = tables[site.name].assign(
            **{name: float("nan") for name in union if name not in findings}
        )
        for client, part in cut(table, site.name, findings, division, seed).items():
            clients[client] = part.reset_index(drop=True)
            site_of[client] = site.name
    sources = {site.name: site.loader for site in sites}
    return ClientRecords(clients, site_of, findings_of, sources, left_out)


def unrelated(findings_of: Mapping[str, Sequence[str]]) -> int:
    """Into how many groups sites fall, none of which labels a finding of another group."""
    return len(_groups(list(findings_of), lambda a, b: _overlap(findings_of[a], findings_of[b])))


def why_unusable(table: pd.DataFrame, finding: str) -> str:
    """Why a finding of a source's table cannot be trained and tested; empty if it can.

    Args:
      table: records, with a column `split` where the source has splits of its own.
      finding: a column of it.
    """
    few = _has_few_patients(table, finding)
    return few or (_lacks_a_class(table, finding) if records_lib.SPLIT in table else "")


def _findings_of(table: pd.DataFrame, site: Site, among: Sequence[str] | None) -> tuple[str, ...]:
    """The findings that are asked of a site.

    Raises:
      InputError: a named one is not known or has one class only; there is none.
    """
    available = records_lib.findings(table)
    if not site.finding:
        found = tuple(name for name in available if among is None or name in among)
        if not found:
            raise InputError(
                f"site {site.name}: expected some of the findings "
                f"{', '.join(among or ()) or 'of a data set'}, found "
                f"{', '.join(available) or 'none'} from the loader {site.loader}"
            )
        return found
    found = finding_names.find_several(site.finding, available, f"site {site.name}")
    for finding in found:
        if among is not None and finding not in among:
            raise InputError(
                f"site {site.name}: expected findings that the study has for this hospital, "
                f"{', '.join(among)}, found {finding!r}"
            )
        with_it, without = (int((table[finding] == value).sum()) for value in (1.0, 0.0))
        if not (with_it and without):
            raise InputError(
                f"site {site.name}: expected images with and without {finding!r}, found {with_it} "
                f"with and {without} without in {site.path}"
            )
    return found


def _labelled(table: pd.DataFrame, findings: Sequence[str]) -> pd.DataFrame:
    """The images with a known label of these findings, and no other findings."""
    others = [name for name in records_lib.findings(table) if name not in findings]
    table = table.drop(columns=others)
    return table[table[list(findings)].notna().any(axis=1)].reset_index(drop=True)


def _separate(sites: Sequence[Site], tables: _Tables, findings_of: _Findings, seed: int) -> _Tables:
    """Assigns each patient of several sites that label the same finding to one of them."""
    separated = dict(tables)
    for related in _groups(list(sites), lambda a, b: _related(a, b, tables)):
        for group in _groups(
            [site.name for site in related], lambda a, b: _overlap(findings_of[a], findings_of[b])
        ):
            if len(group) > 1:
                logging.info("%s have patients in common, each kept at one site", ", ".join(group))
                separated.update(
                    separation.separate_sites(
                        {name: tables[name] for name in group},
                        {name: findings_of[name] for name in group},
                        seed,
                    )
                )
    return separated


def _leave_out(
    sites: Sequence[Site],
    tables: _Tables,
    findings_of: _Findings,
    why: Callable[[pd.DataFrame, str], str],
) -> dict[str, dict[str, tuple[int, int]]]:
    """Takes the findings that cannot be used off sites that named none; returns their patients.

    Raises:
      InputError: a site named one of them, or has no other.
    """
    left_out: dict[str, dict[str, tuple[int, int]]] = {}
    for site in sites:
        table, findings = tables[site.name], findings_of[site.name]
        reasons = {name: why(table, name) for name in findings}
        unusable = [name for name, reason in reasons.items() if reason]
        if not unusable:
            continue
        kept = tuple(name for name in findings if name not in unusable)
        if site.finding or not kept:
            raise InputError(f"site {site.name}: {reasons[unusable[0]]} in {site.path}")
        left_out[site.name] = {name: _patients(table, name) for name in unusable}
        findings_of[site.name], tables[site.name] = kept, _labelled(table, kept)
    return left_out


def _warn(left_out: Mapping[str, Mapping[str, tuple[int, int]]]) -> None:
    for site, findings in left_out.items():
        named = [
            f"{name} ({with_it} patients with it, {without} without)"
            for name, (with_it, without) in findings.items()
        ]
        logging.warning(
            "site %s: left out %s, since training, validation and test need images of both kinds",
            site,
            ", ".join(named),
        )


def _split(sites: Sequence[Site], tables: _Tables, findings_of: _Findings, seed: int) -> _Tables:
    """Divides the images of all sites into splits; a patient of several is in one split."""
    patients = {name: set(table["patient"]) for name, table in tables.items()}

    def share_patients(one: Site, other: Site) -> bool:
        is_related = _related(one, other, tables)
        return is_related and not patients[one.name].isdisjoint(patients[other.name])

    found: _Tables = {}
    for group in _groups(list(sites), share_patients):
        names = [site.name for site in group]
        if len(names) == 1:
            found[names[0]] = _split_table(tables[names[0]], findings_of[names[0]], seed)
            continue
        parts: list[pd.DataFrame] = []
        labels: list[str] = []
        for name in names:
            own = {finding: f"{finding} at {name}" for finding in findings_of[name]}
            needed = [key for key in tables[name] if key not in records_lib.COLUMNS]
            parts.append(tables[name][["image", "patient", *needed]].rename(columns=own))
            labels += own.values()
        together = _split_table(pd.concat(parts, ignore_index=True), labels, seed)
        split_of = dict(zip(together["image"], together[records_lib.SPLIT]))
        for name in names:
            images = tables[name]["image"]
            found[name] = tables[name].assign(**{records_lib.SPLIT: images.map(split_of)})
    return {site.name: found[site.name] for site in sites}


def _split_table(table: pd.DataFrame, findings: Sequence[str], seed: int) -> pd.DataFrame:
    """Keeps the source's own splits; takes missing splits from its training images."""
    if "split" not in table:
        return splits.split_patients(table, FRACTIONS, seed, findings)
    official = set(table["split"])
    if official == set(FRACTIONS):
        return table
    # Without a test split, the source's validation images are what results are reported on.
    table = table.assign(split=table["split"].replace({"validation": "test"}))
    train = table[table["split"] == "train"].drop(columns="split")
    carved = splits.split_patients(train, {"train": 0.9, "validation": 0.1}, seed, findings)
    return pd.concat([carved, table[table["split"] == "test"]], ignore_index=True)


def _has_few_patients(table: pd.DataFrame, finding: str) -> str:
    """Why the patients do not go round the splits; empty if they do."""
    needed = 1 if records_lib.SPLIT in table else len(FRACTIONS)
    with_it, without = _patients(table, finding)
    if min(with_it, without) >= needed:
        return ""
    return (
        f"expected at least {needed} patients with and {needed} without {finding!r}, found "
        f"{with_it} with and {without} without"
    )


def _lacks_a_class(table: pd.DataFrame, finding: str) -> str:
    """Why a finding cannot be trained and tested with these splits; empty if it can."""
    for split, images in table.groupby(records_lib.SPLIT):
        with_it, without = (int((images[finding] == value).sum()) for value in (1.0, 0.0))
        if not (with_it and without):
            return (
                f"expected {split} images with and without {finding!r}, found {with_it} with and "
                f"{without} without"
            )
    return ""


def _patients(table: pd.DataFrame, finding: str) -> tuple[int, int]:
    """How many patients have an image with a finding, and how many one without it."""
    with_it, without = (
        int(table["patient"][table[finding] == value].nunique()) for value in (1.0, 0.0)
    )
    return with_it, without


def _related(one: Site, other: Site, tables: Mapping[str, pd.DataFrame]) -> bool:
    """Whether two sites have patients in common, or are cut from one folder."""
    if not have_same_patients(one, other):
        return False
    meet = not set(tables[one.name]["patient"]).isdisjoint(tables[other.name]["patient"])
    return meet or are_of_one_folder(one, other)


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    return not set(one).isdisjoint(other)


def _groups(
    items: Sequence[_Item], are_joined: Callable[[_Item, _Item], bool]
) -> list[list[_Item]]:
    """Puts items that are joined, also by way of others, into groups in the items' order."""
    groups: list[list[_Item]] = []
    for item in items:
        joined = [group for group in groups if any(are_joined(item, other) for other in group)]
        merged = [*(other for group in joined for other in group), item]
        groups = [group for group in groups if group not in joined] + [merged]
    return groups
