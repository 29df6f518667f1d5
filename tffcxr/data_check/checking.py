"""From sites to faults: load, look at every file, compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses

import pandas as pd

from tffcxr.clients import finding_sites
from tffcxr.clients.sites import Site
from tffcxr.data_check import across_images, fault, image_facts, shifts, single_images
from tffcxr.data_check.fault import WARNING, WRONG, Fault
from tffcxr.data_check.site_data import SiteData
from tffcxr.datasets import records
from tffcxr.errors import InputError
from tffcxr.report import style

_IN_FULL = 2  # Findings of which the reason is told, of those that cannot be used.


def load(sites: Sequence[Site], tolerated: float) -> tuple[list[SiteData], list[Fault]]:
    """Reads the tables of the sites, without their images.

    A table whose faults do not keep it from being read is read all the same, see `LoadOptions`.

    Args:
      sites: with different names.
      tolerated: maximum fraction of a table's images that may be missing.

    Returns:
      The sites that could be read, and the faults of their tables.
    """
    loaded, faults = [], []
    for site in sites:
        try:
            table, missing = _load(site)
        except InputError as error:
            faults.append(Fault("table with faults", WRONG, f"{site.name}: {error}"))
            lenient = dataclasses.replace(site.options, lenient=True)
            try:
                table, missing = _load(dataclasses.replace(site, options=lenient))
            except InputError:
                continue
        faults += [_missing(site, each, tolerated) for each in missing]
        loaded.append(SiteData(site, table, ()))
        faults += _unusable_findings(loaded[-1])
    return loaded, faults


def _load(site: Site) -> tuple[pd.DataFrame, list[records.Missing]]:
    with records.collected_missing() as missing:
        return site.load(), missing


def _unusable_findings(site: SiteData) -> Iterator[Fault]:
    """Findings of one class, or of too few patients for training, validation and test."""
    findings = site.findings
    reasons = {name: finding_sites.why_unusable(site.table, name) for name in findings}
    unusable = [name for name, reason in reasons.items() if reason]
    if unusable:
        told, others = unusable[:_IN_FULL], unusable[_IN_FULL:]
        texts = [reasons[name] for name in told]
        texts += [f"and too few images also for {', '.join(others)}"] if others else []
        has_others = len(unusable) < len(findings) or site.table["mask"].notna().any()
        outcome = "leaves out" if has_others else "does not start with"
        number = style.counted(len(unusable), "finding")
        yield Fault(
            "too few of a class",
            WARNING if has_others else WRONG,
            f"{site.name}: cheXviz {outcome} {number}: {'; '.join(texts)}",
        )


def _missing(site: Site, missing: records.Missing, tolerated: float) -> Fault:
    is_wrong = missing.missing > tolerated * missing.labelled
    return Fault(
        "missing file",
        WRONG if is_wrong else WARNING,
        f"{site.name}: {missing.missing} of {missing.labelled} images of the table are not in "
        f"{missing.folder}, {fault.against(tolerated, is_wrong)}",
        missing.names,
    )


def with_facts(site: SiteData) -> SiteData:
    """The site with what its files say."""
    facts = image_facts.measure_all(site.table["image"].tolist())
    return dataclasses.replace(site, facts=facts)


def find_faults(sites: Sequence[SiteData], tolerated: float) -> list[Fault]:
    """Everything that is wrong with sites whose files were read, the worst first.

    Args:
      sites: with different names.
      tolerated: maximum fraction of a site's files that may be unusable.
    """
    if not sites:
        return []
    found = [fault for site in sites for fault in single_images.faults(site, tolerated)]
    found += across_images.faults(sites)
    found += shifts.faults(sites)
    return sorted(found, key=lambda each: (each.severity == WARNING, each.kind))
