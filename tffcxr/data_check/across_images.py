"""Faults between images: duplicates, patients on two sides, labels that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import itertools

import numpy as np
import pandas as pd

from tffcxr.clients.sites import have_same_patients
from tffcxr.data_check import duplicates
from tffcxr.data_check.fault import WARNING, WRONG, Fault
from tffcxr.data_check.site_data import SiteData
from tffcxr.datasets import records
from tffcxr.report import style

_LONGEST = 30.0  # Years of a patient's radiographs; few digital archives are as old.
NORMAL = ("No Finding", "Normal", "no_finding", "normal")  # Labels that exclude all others.


def faults(sites: Sequence[SiteData]) -> Iterator[Fault]:
    """Yields the faults between the images of all sites."""
    table = pd.concat([site.table.assign(site=site.name) for site in sites], ignore_index=True)
    facts = [each for site in sites for each in site.facts]
    yield from _duplicates(table, duplicates.find(facts))
    for site in sites:
        yield from _patients_across_splits(site)
        yield from _contradictions(site)
        yield from _other_people(site)
    yield from _patients_at_two_sites(table, sites)


def _duplicates(table: pd.DataFrame, pairs: Sequence[duplicates.Pair]) -> Iterator[Fault]:
    """Sorts the pairs by what they would do to a training."""
    if not pairs:
        return
    first = table.iloc[[pair.first for pair in pairs]].reset_index(drop=True)
    second = table.iloc[[pair.second for pair in pairs]].reset_index(drop=True)
    how = np.array([pair.how for pair in pairs])
    texts = np.array([f"{a} = {b}" for a, b in zip(first["image"], second["image"])])
    findings = records.findings(table)
    labels = [frame[findings].to_numpy(float) for frame in (first, second)]
    differs = (np.isfinite(labels[0]) & np.isfinite(labels[1]) & (labels[0] != labels[1])).any(1)
    split = records.SPLIT
    is_leak = np.zeros(len(pairs), bool)
    if split in table:
        both = first[split].notna() & second[split].notna()
        is_leak = (both & (first[split] != second[split])).to_numpy()
    other_site = (first["site"] != second["site"]).to_numpy()
    other_patient = (first["patient"] != second["patient"]).to_numpy()
    cases = (
        (differs, "duplicate with other labels", WRONG, "with labels that contradict each other"),
        (is_leak & ~differs, "duplicate across splits", WRONG, "on two sides of a split"),
        (
            other_site & ~differs & ~is_leak,
            "duplicate at two sites",
            WRONG,
            "at two sites, so that a patient may be trained on at one and tested at the other",
        ),
        (
            other_patient & ~differs & ~is_leak & ~other_site,
            "duplicate of two patients",
            WRONG,
            "under two patients, which a split may separate",
        ),
        (
            ~(differs | is_leak | other_site | other_patient),
            "duplicate image",
            WARNING,
            "of the same patient, which counts twice",
        ),
    )
    for chosen, kind, severity, words in cases:
        for name in (duplicates.EXACT, duplicates.NEAR):
            places = np.flatnonzero(chosen & (how == name))
            if len(places):
                sentence = f"{style.counted(len(places), 'pair')} of images ({name}) {words}"
                yield Fault(kind, severity, sentence, texts[places].tolist())


def _patients_across_splits(site: SiteData) -> Iterator[Fault]:
    if records.SPLIT not in site.table:
        return
    splits = site.table.groupby("patient")[records.SPLIT].nunique()
    patients = set(splits.index[splits > 1])
    if patients:
        chosen = site.table["patient"].isin(patients).to_numpy()
        number = style.counted(len(patients), "patient")
        sentence = f"{site.name}: {number} on both sides of the source's split"
        yield Fault("patient across splits", WRONG, sentence, site.paths(chosen))


def _patients_at_two_sites(table: pd.DataFrame, sites: Sequence[SiteData]) -> Iterator[Fault]:
    """Patients whom a training keeps at one site each, or because of whom it does not start.

    Equal ids of unrelated folders, such as 1 to 30 at two hospitals, say nothing.
    """
    for site, other in itertools.combinations(sites, 2):
        common = set(site.table["patient"]) & set(other.table["patient"])
        if not common or not have_same_patients(site.site, other.site):
            continue
        chosen = table["patient"].isin(common) & table["site"].isin((site.name, other.name))
        yield Fault(
            "patient at two sites",
            WARNING,
            f"{style.counted(len(common), 'patient')} at both {site.name} and {other.name}: "
            "cheXviz keeps each at one of the sites that label a finding, and the other recipes "
            "do not start",
            [str(path) for path in table["image"][chosen]],
        )


def _contradictions(site: SiteData) -> Iterator[Fault]:
    """Images that are normal and have a finding."""
    findings = site.findings
    normal = [name for name in findings if name in NORMAL]
    others = [name for name in findings if name not in NORMAL]
    if not normal or not others:
        return
    is_normal = (site.table[normal] == 1).any(axis=1)
    has_finding = (site.table[others] == 1).any(axis=1)
    chosen = (is_normal & has_finding).to_numpy()
    if chosen.any():
        number = style.counted(int(chosen.sum()), "image")
        sentence = f"{site.name}: {number} with {normal[0]!r} and a finding"
        yield Fault("contradicting labels", WRONG, sentence, site.paths(chosen))


def _other_people(site: SiteData) -> Iterator[Fault]:
    """Patients of both sexes, or of ages too far apart: one id for several people."""
    of_patient = site.table.groupby("patient")
    ages = of_patient["age"].agg(["min", "max"])
    for what, is_contradicting in (
        ("sexes", of_patient["sex"].nunique() > 1),
        ("ages", ages["max"] - ages["min"] > _LONGEST),
    ):
        patients = is_contradicting.index[is_contradicting]
        if len(patients):
            number = style.counted(len(patients), "patient")
            sentence = f"{site.name}: {number} with contradicting {what}"
            if what == "ages":
                sentence += f", more than {_LONGEST:g} years apart"
            chosen = site.table["patient"].isin(patients).to_numpy()
            yield Fault(
                "patient with contradicting sex or age", WRONG, sentence, site.paths(chosen)
            )
