"""From sites to faults: load, look at every file, compare."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from tffcxr.clients.sites import Site
from tffcxr.data_check import across_images, image_facts, shifts, single_images
from tffcxr.data_check.fault import WARNING, WRONG, Fault
from tffcxr.data_check.site_data import SiteData
from tffcxr.errors import InputError


def load(sites: Sequence[Site]) -> tuple[list[SiteData], list[Fault]]:
    """Reads the tables of the sites, without their images.

    A table whose faults do not keep it from being read is read all the same, see `LoadOptions`.

    Returns:
      The sites that could be read, and the faults of their tables.
    """
    loaded, faults = [], []
    for site in sites:
        try:
            table = site.load()
        except InputError as error:
            faults.append(Fault("table with faults", WRONG, f"{site.name}: {error}"))
            lenient = dataclasses.replace(site.options, lenient=True)
            try:
                table = dataclasses.replace(site, options=lenient).load()
            except InputError:
                continue
        loaded.append(SiteData(site, table, ()))
    return loaded, faults


def with_facts(site: SiteData) -> SiteData:
    """The site with what its files say."""
    facts = image_facts.measure_all(site.table["image"].tolist())
    return dataclasses.replace(site, facts=facts)


def find_faults(sites: Sequence[SiteData]) -> list[Fault]:
    """Everything that is wrong with sites whose files were read, the worst first."""
    if not sites:
        return []
    found = [fault for site in sites for fault in single_images.faults(site)]
    found += across_images.faults(sites)
    found += shifts.faults(sites)
    return sorted(found, key=lambda fault: (fault.severity == WARNING, fault.kind))
