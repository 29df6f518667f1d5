"""Sites with patients in common that label one finding: each patient is kept at one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses

import numpy as np
import pandas as pd

from tffcxr.clients import partition
from tffcxr.errors import InputError


def separate_sites(
    records_of_site: Mapping[str, pd.DataFrame],
    findings_of_site: Mapping[str, Sequence[str]],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Keeps every patient at one site only, for sites that come from the same source.

    The sites end with numbers of patients as even as the input allows. A patient with a finding
    of a site goes to a site where it is a positive, those with a choice to the site with the
    fewest, until positives are half of that site's fair share of patients (or their own
    prevalence where that is higher), so that a rare finding loses no positive and a frequent one
    does not crowd out the negatives. A patient with several findings counts as one with the rarest
    of them, and the rarest are dealt first.

    Args:
      records_of_site: a records table per site. The same patient id is the same patient, so ids
        of unrelated sources must differ.
      findings_of_site: the findings that each site labels, columns of its table.
      seed: any integer.

    Returns:
      {site: records}, patient-disjoint, in the order of the input sites.

    Raises:
      InputError: a finding is not a column, or a site would be left without a patient.
    """
    sites = sorted(records_of_site)
    labels: dict[str, pd.DataFrame] = {}  # [patients, findings] of 1, 0 and NaN
    for site in sites:
        table, findings = records_of_site[site], list(findings_of_site[site])
        for finding in findings:
            if finding not in table.columns:
                raise InputError(f"site {site}: expected a finding of its table, found {finding!r}")
        labels[site] = table.groupby("patient")[findings].max()
    known = {site: table.max(axis=1).to_dict() for site, table in labels.items()}
    homes: dict[str, list[str]] = {}
    for site in sites:
        for patient in known[site]:
            homes.setdefault(patient, []).append(site)
    home_of = _deal_to_sites(
        homes, known, _Rarest.of(labels), partition.generator(seed, "separate sites")
    )
    empty = sorted(set(sites) - set(home_of.values()))
    if empty:
        raise InputError(
            f"site {empty[0]}: expected a patient of its own, found that other sites need all "
            f"{len(known[empty[0]])}"
        )
    return {
        site: partition.in_order(table[table["patient"].map(home_of) == site])
        for site, table in records_of_site.items()
    }


@dataclasses.dataclass(frozen=True)
class _Rarest:
    """The rarest finding of each patient of several sites.

    Attributes:
      place: patient to the place of that finding among all, the rarest being 0; only of patients
        with one.
      sites: patient to the sites that know of it, in order; only of patients with one.
    """

    place: Mapping[str, int]
    sites: Mapping[str, list[str]]

    @classmethod
    def of(cls, labels: Mapping[str, pd.DataFrame]) -> _Rarest:
        """From the labels of each site: [patients, findings] of 1, 0 and NaN."""
        having: dict[str, set[str]] = {}  # finding -> patients
        for table in labels.values():
            for finding in table:
                having.setdefault(finding, set()).update(table.index[table[finding] == 1])
        place: dict[str, int] = {}
        sites: dict[str, list[str]] = {}
        ordered = partition.rarest_first(
            {finding: len(patients) for finding, patients in having.items()}
        )
        for number, finding in enumerate(ordered):
            of_sites = {
                site: set(table.index[table[finding] == 1])
                for site, table in labels.items()
                if finding in table
            }
            for patient in having[finding] - place.keys():
                place[patient] = number
                sites[patient] = [site for site in of_sites if patient in of_sites[site]]
        return cls(place, sites)


def _deal_to_sites(
    homes: dict[str, list[str]],
    known: dict[str, dict[str, float]],
    rarest: _Rarest,
    rng: np.random.Generator,
) -> dict[str, str]:
    """Returns {patient: site} for patients that each have one or several possible homes."""
    home_of = {patient: sites[0] for patient, sites in homes.items() if len(sites) == 1}
    shared = sorted(set(homes) - set(home_of))
    rng.shuffle(shared)
    patients = dict.fromkeys(known, 0)
    positives = dict.fromkeys(known, 0)
    of_finding: dict[tuple[str, int | None], int] = {}  # of patients by their rarest

    def settle(patient: str, site: str) -> None:
        home_of[patient] = site
        patients[site] += 1
        positives[site] += known[site][patient] == 1
        key = site, rarest.place.get(patient)
        of_finding[key] = of_finding.get(key, 0) + 1

    for patient, site in list(home_of.items()):
        settle(patient, site)
    level = _water_level(list(patients.values()), len(shared))
    most_positives = {
        site: level * max(0.5, float(np.mean([label == 1 for label in labels.values()])))
        for site, labels in known.items()
    }
    positive = [patient for patient in shared if patient in rarest.place]
    # The rarest first, and among them those with one choice before those with several.
    for patient in sorted(positive, key=lambda p: (rarest.place[p], len(rarest.sites[p]))):
        open_sites = [
            site
            for site in rarest.sites[patient]
            if positives[site] < most_positives[site] and patients[site] < level
        ]
        if open_sites:
            place = rarest.place[patient]
            settle(
                patient,
                min(
                    open_sites,
                    key=lambda s: (of_finding.get((s, place), 0), positives[s], patients[s]),
                ),
            )
    for patient in sorted(shared, key=lambda patient: patient not in rarest.place):
        if patient not in home_of:
            # Where there is room, where the label is known, where it is a negative, most room.
            settle(
                patient,
                min(
                    homes[patient],
                    key=lambda site: (
                        patients[site] >= level,
                        np.isnan(known[site][patient]),
                        known[site][patient] == 1,
                        patients[site],
                    ),
                ),
            )
    return home_of


def _water_level(heights: list[int], water: int) -> float:
    """How high `water` patients stand when poured over sites that already hold `heights`."""
    level = float("inf")
    filled = 0
    for sites, height in enumerate(sorted(heights), start=1):
        if level <= height:
            break
        filled += height
        level = (filled + water) / sites
    return level
