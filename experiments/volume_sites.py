"""From `--site` flags of volumes to every node's records: cases, slices, splits by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib

import pandas as pd

from experiments import sites as sites_lib
from experiments.sites import Site
from tffcxr.clients import volume_slices
from tffcxr.clients.volume_slices import SliceSpec
from tffcxr.datasets import case_loaders, splits
from tffcxr.errors import InputError


def load(
    sites: Sequence[Site],
    spec: SliceSpec,
    cache_dir: pathlib.Path,
    fractions: Mapping[str, float],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Loads the slices of all sites, and deals the patients out to splits.

    Sites may have one folder, such as the PET and the CT of the same patients: then a patient is in
    the same split at all of them, so that nobody's CT is trained on who is in the test of the PET.

    Args:
      sites: at least one, with different names, each a node.
      spec: what a slice looks like.
      cache_dir: where slices are kept.
      fractions: of the patients, by split.
      seed: of the splits.

    Returns:
      Site to its records table with a "split" column.

    Raises:
      InputError: see `case_loaders.load_cases` and `volume_slices.load_records`; two sites of one
        folder and loader; too few patients.
    """
    sites_lib.check_names(sites)
    sources = [(site.loader, site.path.resolve()) for site in sites]
    if len(set(sources)) != len(sources):
        raise InputError(
            "--site: expected a loader or a folder of its own for each site, whose patients would "
            f"be counted twice else, found {', '.join(str(site.path) for site in sites)}"
        )
    found = {site.name: case_loaders.load_cases(site.loader, site.path) for site in sites}
    tables = {
        name: volume_slices.load_records(of_site, name, spec, cache_dir)
        for name, of_site in found.items()
    }
    divided: dict[str, pd.DataFrame] = {}
    for folder in dict.fromkeys(path for _, path in sources):
        members = [site.name for site in sites if site.path.resolve() == folder]
        together = pd.concat([tables[name] for name in members], ignore_index=True)
        try:
            together = splits.split_patients(together, fractions, seed, None)
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
