"""Differences between sites that a model may learn instead of a disease."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from tffcxr.data_check.fault import WARNING, Fault
from tffcxr.data_check.site_data import SiteData

_SIGNIFICANT = 0.001
_LABELS = 0.2  # Difference of a finding's share that is worth a warning.
_GREY = 1.0  # Difference of mean grey levels in standard deviations, likewise.


def faults(sites: Sequence[SiteData]) -> Iterator[Fault]:
    """Yields a warning for each pair of sites and each shift."""
    for place, site in enumerate(sites):
        for other in sites[place + 1 :]:
            yield from _labels(site, other)
            yield from _grey(site, other)


def _labels(site: SiteData, other: SiteData) -> Iterator[Fault]:
    """Shares of findings; Fisher's exact test."""
    for finding in site.findings:
        if finding not in other.findings:
            continue
        counts = []
        for each in (site, other):
            known = each.table[finding].dropna()
            counts.append((int((known == 1).sum()), int((known == 0).sum())))
        totals = [sum(pair) for pair in counts]
        if not all(totals):
            continue
        shares = [pair[0] / total for pair, total in zip(counts, totals)]
        p_value = stats.fisher_exact(counts)[1]
        if abs(shares[0] - shares[1]) >= _LABELS and p_value < _SIGNIFICANT:
            yield Fault(
                "label shift",
                WARNING,
                f"{finding}: {shares[0]:.0%} of {totals[0]} images at {site.name}, "
                f"{shares[1]:.0%} of {totals[1]} at {other.name}",
            )


def _grey(site: SiteData, other: SiteData) -> Iterator[Fault]:
    """Standardised difference of the 5 %, 50 % and 95 % quantiles of images' grey values."""
    values = [
        np.array([facts.quantiles for facts in each.facts if facts.is_readable])
        for each in (site, other)
    ]
    if min(len(part) for part in values) < 2:
        return
    means = [part.mean(axis=0) for part in values]
    spread = np.sqrt(np.mean([part.var(axis=0, ddof=1) for part in values], axis=0))
    away = np.abs(means[0] - means[1]) / np.maximum(spread, 0.02)
    if away.max() >= _GREY:
        which = int(away.argmax())
        name = ("dark", "middle", "bright")[which]
        yield Fault(
            "intensity shift",
            WARNING,
            f"{name} grey values differ between {site.name} and {other.name} by {away[which]:.1f} "
            f"standard deviations (means {means[0][which]:.2f} and {means[1][which]:.2f} of 1)",
        )
