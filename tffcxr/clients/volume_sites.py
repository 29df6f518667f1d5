"""From `--site` flags of volumes to every node's records: cases, slices, splits by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import itertools
import logging
import pathlib

import pandas as pd

from tffcxr.clients import sites as sites_lib
from tffcxr.clients.shards import volume_slices
from tffcxr.clients.shards.volume_slices import SliceSpec
from tffcxr.clients.sites import Site
from tffcxr.datasets import splits
from tffcxr.datasets.volumes import case_loaders
from tffcxr.datasets.volumes.cases import Case
from tffcxr.errors import InputError

_OF_ONE_BODY = frozenset({"pet", "ct"})  # Loaders whose patients may be the same people.


def find_cases(
    sites: Sequence[Site], patients_per_stratum: int | None = None, seed: int = 0
) -> dict[str, list[Case]]:
    """Finds the cases of all sites.

    Args:
      sites: at least one, with different names, each a node.
      patients_per_stratum: how many patients of each stratum a site keeps, chosen by the seed; None
        for all patients.
      seed: of the choice.

    Returns:
      Site to its cases.

    Raises:
      InputError: see `case_loaders.load_cases`; two sites of one folder and loader; too few
        patients in a stratum.
    """
    sites_lib.check_names(sites)
    sources = [(site.loader, site.path.resolve()) for site in sites]
    if len(set(sources)) != len(sources):
        raise InputError(
            "--site: expected a loader or a folder of its own for each site, since patients would "
            f"otherwise be counted twice, found {', '.join(str(site.path) for site in sites)}"
        )
    found = {site.name: case_loaders.load_cases(site.loader, site.path) for site in sites}
    if patients_per_stratum is None:
        return found
    for site in sites:
        stratum_of = {case.patient: case.stratum for case in found[site.name]}
        strata = case_loaders.strata(site.loader)
        try:
            chosen = splits.choose_per_stratum(stratum_of, strata, patients_per_stratum, seed)
        except InputError as error:
            raise InputError(f"site {site.name}: {error}") from None
        found[site.name] = [case for case in found[site.name] if case.patient in set(chosen)]
    return found


def strata(found: Mapping[str, Sequence[Case]]) -> dict[str, str]:
    """The stratum of each patient where it is known, by "site/patient"."""
    return {
        f"{site}/{case.patient}": case.stratum
        for site, of_site in found.items()
        for case in of_site
        if case.stratum
    }


def files(found: Mapping[str, Sequence[Case]]) -> dict[str, tuple[pathlib.Path, ...]]:
    """The files and folders that each case is read from, by "site/patient"."""
    return {f"{site}/{case.patient}": case.paths for site, of in found.items() for case in of}


def load(
    sites: Sequence[Site],
    found: Mapping[str, Sequence[Case]],
    spec: SliceSpec,
    cache_dir: pathlib.Path,
    fractions: Mapping[str, float],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Loads the slices of all sites, and divides the patients among splits, by strata.

    Sites may have patients in common, such as the PET and the CT of one folder: then a patient is
    in the same split at all of them, so that no model trains on the CT of a patient whose PET is a
    test image. Patients with the same name in PET and CT count as the same, also in different
    folders, with a warning; those in MRI of brain and breast only in the same folder.

    Args:
      sites: as of `find_cases`.
      found: what that has found.
      spec: what a slice looks like.
      cache_dir: where slices are kept.
      fractions: of the patients, by split.
      seed: of the splits.

    Returns:
      Site to its records table with a "split" column.

    Raises:
      InputError: see `volume_slices.load_records`; too few patients.
    """
    tables = {
        name: volume_slices.load_records(of_site, name, spec, cache_dir)
        for name, of_site in found.items()
    }
    _warn_of_shared_names(sites, tables)
    divided: dict[str, pd.DataFrame] = {}
    groups = group_by_patients(sites, tables)
    for group in dict.fromkeys(groups.values()):
        members = [name for name in tables if groups[name] == group]
        together = pd.concat([tables[name] for name in members], ignore_index=True)
        stratum_of = {case.patient: case.stratum for name in members for case in found[name]}
        try:
            together = splits.split_strata(together, fractions, seed, stratum_of)
        except InputError as error:
            raise InputError(f"site {', '.join(members)}: {error}") from None
        for name in members:
            divided[name] = together[together["site"] == name].reset_index(drop=True)
    for name, table in divided.items():
        missing = [split for split in fractions if not (table["split"] == split).any()]
        if missing:
            raise InputError(
                f"site {name}: expected patients for {', '.join(fractions)}, found none for "
                f"{', '.join(missing)} among {table['patient'].nunique()}"
            )
    return divided


def group_by_patients(sites: Sequence[Site], tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The first of the sites that a site shares patients with, directly or through others.

    Args:
      sites: see `load`.
      tables: site to its records.

    Returns:
      Site to site, its own name where it shares none.
    """
    groups = {site.name: site.name for site in sites}
    order = list(groups)
    for one, other in itertools.combinations(sites, 2):
        if _shared_patients(one, other, tables):
            kept, joined = sorted((groups[one.name], groups[other.name]), key=order.index)
            groups = {name: kept if group == joined else group for name, group in groups.items()}
    return groups


def _shared_patients(one: Site, other: Site, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """The names that may be the same patients at two sites, sorted."""
    is_possible = one.path.resolve() == other.path.resolve() or (
        {one.loader, other.loader} <= _OF_ONE_BODY
    )
    names = set(tables[one.name]["patient"]) & set(tables[other.name]["patient"])
    return sorted(names) if is_possible else []


def _warn_of_shared_names(sites: Sequence[Site], tables: Mapping[str, pd.DataFrame]) -> None:
    """Warns of patients who count as the same although their folders differ."""
    for one, other in itertools.combinations(sites, 2):
        shared = _shared_patients(one, other, tables)
        if shared and one.path.resolve() != other.path.resolve():
            logging.warning(
                "sites %s and %s: %d patients have the same name, such as %s, and count as "
                "the same patients: they are in the same split",
                *(one.name, other.name, len(shared), shared[0]),
            )
