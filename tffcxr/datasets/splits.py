"""Divides patients into train, validation and test.

All images of a patient go to one split. Patients are dealt in the order of a hash of the seed and
the patient, so the division does not depend on the order of the rows or on the platform.

Several findings are stratified as in K. Sechidis, G. Tsoumakas and I. Vlahavas, "On the
Stratification of Multi-Label Data", ECML PKDD 2011, with patients in place of images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib
import logging
import math

import numpy as np
import pandas as pd

from tffcxr.datasets import records
from tffcxr.errors import InputError


def split_patients(
    df: pd.DataFrame,
    fractions: Mapping[str, float],
    seed: int,
    stratify: str | Sequence[str] | None,
) -> pd.DataFrame:
    """Adds the column `split`, replacing one that is there.

    Args:
      df: a records table.
      fractions: the share of the patients in "train", "validation" and "test", adding up to 1. A
        split that is absent or 0 gets none.
      seed: another seed deals other patients.
      stratify: a finding. Patients with it, with and without it (in different images), without it
        and of unknown status are dealt separately in these proportions, and each split gets at
        least one image with and one without it. Of several findings, the rarest kind of patients
        (with one of them, or without) is dealt first, in these proportions, then the rarest among
        those that are left; a split may lack a rare finding. None deals all patients together.

    Returns:
      The table with `split`, in the same row order.

    Raises:
      InputError: the fractions are not as above, or there are too few patients.
    """
    names = _check_fractions(fractions)
    findings = [stratify] if isinstance(stratify, str) else list(stratify or ())
    for finding in findings:
        if finding not in records.findings(df):
            raise InputError(
                f"expected to stratify by one of {', '.join(records.findings(df))}, found "
                f"{finding!r}"
            )
    if records.SPLIT in df.columns:
        logging.getLogger(__name__).info("the published division into splits is replaced")
    shares = [fractions[name] for name in names]
    patients = _in_dealing_order(df["patient"].unique().tolist(), seed)
    if len(findings) == 1:
        dealt = _deal_strata(df, patients, names, shares, findings[0])
    else:
        if len(patients) < len(names):
            raise _too_few_patients(names, len(patients))
        if findings:
            dealt = _deal_by_rarity(df, patients, shares, findings)
        else:
            dealt = _deal(patients, _apportion(len(patients), shares))
    split_of = {patient: names[index] for patient, index in dealt.items()}
    return df.assign(**{records.SPLIT: df["patient"].map(split_of)})


def split_strata(
    df: pd.DataFrame, fractions: Mapping[str, float], seed: int, stratum_of: Mapping[str, str]
) -> pd.DataFrame:
    """Adds the column `split` as `split_patients` without a finding, but by strata of patients.

    The splits have the sizes that they have without strata; each stratum is dealt in proportion to
    the room that earlier ones have left.

    Args:
      df: a records table.
      fractions: see `split_patients`.
      seed: another seed deals other patients.
      stratum_of: patient to stratum; others are in one of their own.

    Raises:
      InputError: see `split_patients`.
    """
    names = _check_fractions(fractions)
    patients = _in_dealing_order(df["patient"].unique().tolist(), seed)
    if len(patients) < len(names):
        raise _too_few_patients(names, len(patients))
    strata: dict[str, list[str]] = {}
    for patient in patients:
        strata.setdefault(stratum_of.get(patient, ""), []).append(patient)
    room = _apportion(len(patients), [fractions[name] for name in names])
    dealt: dict[str, int] = {}
    for stratum in sorted(strata):
        counts = _apportion_within(len(strata[stratum]), room)
        dealt.update(_deal(strata[stratum], counts))
        room = room - counts
    split_of = {patient: names[index] for patient, index in dealt.items()}
    return df.assign(**{records.SPLIT: df["patient"].map(split_of)})


def choose_per_stratum(
    stratum_of: Mapping[str, str], strata: Sequence[str], count: int, seed: int
) -> list[str]:
    """Chooses so many patients of each stratum.

    Args:
      stratum_of: patient to stratum.
      strata: all of them; patients of others are not chosen.
      count: of each.
      seed: another seed chooses others.

    Raises:
      InputError: a stratum has fewer.
    """
    patients = _in_dealing_order(list(stratum_of), seed)
    members = {name: [p for p in patients if stratum_of[p] == name] for name in strata}
    if not strata or min(map(len, members.values())) < count:
        found = ", ".join(f"{len(members[name])} {name}" for name in strata) or "no strata"
        raise InputError(f"expected {count} patients of each stratum, found {found}")
    return [patient for name in strata for patient in members[name][:count]]


def split_with_test_counts(
    df: pd.DataFrame,
    test_images: Mapping[str, int],
    validation: float,
    seed: int,
    stratify: str | None,
) -> pd.DataFrame:
    """Adds the column `split` with a test set of so many images of each class.

    The test patients are taken in an order that the seed gives, each if all of its images still
    fit, so that the counts are exact although no patient is in two splits.

    Args:
      df: a records table.
      test_images: class, a finding of the table, to its test images.
      validation: the share of all other patients that is dealt to "validation"; 0 for none.
      seed: another seed takes other patients.
      stratify: see `split_patients`, which deals the other patients.

    Returns:
      The table with `split`, in the same row order.

    Raises:
      InputError: there are too few images of a class, or the patients that are left have too many
        each, or see `split_patients`.
    """
    is_test = df["patient"].isin(_patients_of_counts(df, test_images, seed))
    shares = {"train": 1.0 - validation, "validation": validation}
    dealt = split_patients(df[~is_test], shares, seed, stratify)[records.SPLIT]
    return df.assign(**{records.SPLIT: dealt.reindex(df.index, fill_value="test")})


def _patients_of_counts(df: pd.DataFrame, counts: Mapping[str, int], seed: int) -> list[str]:
    """Chooses patients whose images are as many of each class as wanted."""
    names = list(counts)
    unknown = set(names) - set(records.findings(df))
    if unknown:
        raise InputError(
            f"expected classes among {', '.join(records.findings(df))}, found "
            f"{', '.join(sorted(unknown))}"
        )
    by_patient = (df[names] == 1.0).astype(int).groupby(df["patient"]).sum()
    for name, total in by_patient.sum().items():
        if total <= counts[name]:
            raise InputError(
                f"expected more than {counts[name]} images of {name!r}, so that some are left "
                f"besides the test images, found {total}"
            )
    left = np.array([counts[name] for name in names])
    images = dict(zip(by_patient.index, by_patient.to_numpy()))
    chosen = []
    for patient in _in_dealing_order(list(images), seed):
        if images[patient].any() and (images[patient] <= left).all():
            chosen.append(patient)
            left = left - images[patient]
    if left.any():
        missing = ", ".join(f"{count} of {name!r}" for name, count in zip(names, left) if count)
        raise InputError(
            f"expected patients with few enough images to make up the test images, found none for "
            f"{missing}"
        )
    return chosen


def _too_few_patients(names: Sequence[str], count: int) -> InputError:
    return InputError(
        f"expected at least {len(names)} patients to split into {', '.join(names)}, found {count}"
    )


def _check_fractions(fractions: Mapping[str, float]) -> list[str]:
    """Returns the splits that get patients."""
    unknown = set(fractions) - set(records.SPLITS)
    values = list(fractions.values())
    if (
        unknown
        or not all(math.isfinite(value) and value >= 0 for value in values)
        or not math.isclose(sum(values), 1.0, abs_tol=1e-6)
    ):
        raise InputError(
            f"expected fractions of {', '.join(records.SPLITS)} that are 0 or more and add up to "
            f"1, found {dict(fractions)}"
        )
    return [name for name in records.SPLITS if fractions.get(name, 0.0) > 0.0]


def _in_dealing_order(patients: Sequence[str], seed: int) -> list[str]:
    def key(patient: str) -> tuple[bytes, str]:
        return hashlib.blake2b(f"{seed}/{patient}".encode()).digest(), patient

    return sorted(patients, key=key)


def _deal_strata(
    df: pd.DataFrame, patients: list[str], names: list[str], shares: list[float], finding: str
) -> dict[str, int]:
    """Deals patients by status, at least one image with and one without the finding per split."""
    with_it = set(df["patient"][df[finding] == 1.0])
    without = set(df["patient"][df[finding] == 0.0])
    mixed = [patient for patient in patients if patient in with_it and patient in without]
    positive = [patient for patient in patients if patient in with_it and patient not in without]
    negative = [patient for patient in patients if patient in without and patient not in with_it]
    known = with_it | without
    unknown = [patient for patient in patients if patient not in known]
    needed = len(names)
    if len(with_it) < needed or len(without) < needed:
        raise InputError(
            f"expected at least {needed} patients with and {needed} without {finding!r}, one for "
            f"each of {', '.join(names)}; found {len(with_it)} with and {len(without)} without"
        )
    negatives = _apportion(len(negative), shares)
    # Where the patients without the finding do not go round, a mixed one stands in.
    stand_ins = (negatives == 0).astype(int)
    positives = _apportion(len(mixed) + len(positive), shares)
    further = _apportion_within(len(mixed) - stand_ins.sum(), positives - stand_ins)
    mixed_counts = stand_ins + further
    return {
        **_deal(mixed, mixed_counts),
        **_deal(positive, positives - mixed_counts),
        **_deal(negative, negatives),
        **_deal(unknown, _apportion(len(unknown), shares)),
    }


def _deal_by_rarity(
    df: pd.DataFrame, patients: list[str], shares: list[float], findings: Sequence[str]
) -> dict[str, int]:
    """Deals patients by several findings, the rarest kind that is left first.

    A kind is the patients with an image that has a finding, or with one that has it not.
    """
    by_patient = df.groupby("patient")[list(findings)]
    with_it, without = by_patient.max() == 1.0, by_patient.min() == 0.0
    is_of = np.hstack([with_it.loc[patients], without.loc[patients]])  # [patients, kinds]
    room = np.array([_apportion(count, shares) for count in is_of.sum(axis=0)])  # [kinds, splits]
    of_split = _apportion(len(patients), shares)
    dealt = np.full(len(patients), -1)
    left = is_of.sum(axis=0)
    while left.any():
        kind = int(np.argmin(np.where(left > 0, left, len(patients) + 1)))
        for patient in np.flatnonzero(is_of[:, kind] & (dealt < 0)):
            # The split that lacks most of this kind; of several, that which lacks most patients.
            split = max(range(len(shares)), key=lambda i: (room[kind, i], of_split[i]))
            dealt[patient] = split
            room[is_of[patient], split] -= 1
            of_split[split] -= 1
            left -= is_of[patient]
    for patient in np.flatnonzero(dealt < 0):  # Without any known label.
        dealt[patient] = int(np.argmax(of_split))
        of_split[dealt[patient]] -= 1
    return dict(zip(patients, dealt.tolist()))


def _apportion(count: int, shares: Sequence[float]) -> np.ndarray:
    """Returns how many of `count` each split gets, int [splits].

    Largest remainders; but no split goes empty while another has two, and when there are fewer than
    splits, those with the largest shares get one each.
    """
    quotas = count * np.asarray(shares, float) / sum(shares)
    counts = np.floor(quotas + 1e-9).astype(int)
    for index in np.argsort(counts - quotas, kind="stable")[: count - counts.sum()]:
        counts[index] += 1
    while count and counts.min() == 0 and counts.max() > 1:
        empty = np.flatnonzero(counts == 0)
        counts[empty[np.argmax(np.asarray(shares)[empty])]] += 1
        counts[np.argmax(counts)] -= 1
    return counts


def _apportion_within(count: int, room: np.ndarray) -> np.ndarray:
    """Returns how many of `count` each split gets, in proportion to its room and not above it."""
    if count == 0:
        return np.zeros_like(room)
    quotas = count * room / room.sum()
    counts = np.floor(quotas + 1e-9).astype(int)
    for index in np.argsort(counts - quotas, kind="stable")[: count - counts.sum()]:
        counts[index] += 1
    return counts


def _deal(patients: list[str], counts: np.ndarray) -> dict[str, int]:
    """Returns the index of the split of each patient."""
    indices = np.repeat(np.arange(len(counts)), counts)
    return dict(zip(patients, indices.tolist()))
