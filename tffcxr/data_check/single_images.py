"""Faults of single images: unreadable files, other kinds of images, text burned in."""

from __future__ import annotations

import collections
from collections.abc import Iterator
import re

import cv2
import numpy as np

from tffcxr.data_check import burned_in, fault
from tffcxr.data_check.fault import WARNING, WRONG, Fault
from tffcxr.data_check.site_data import SiteData
from tffcxr.datasets import views
from tffcxr.datasets.imaging import likeness
from tffcxr.prediction import image_checks
from tffcxr.report import style

_FEWEST = 20  # Images by which an unusual one is told.
# Robust standard deviations. Of 978 radiographs of three sources one is further away, and of the
# same radiographs rotated by 90 degrees or inverted, of noise and of photographs most are.
_AWAY = 4.5
_WEIGHT_OF_MIRROR = 2 / 3
_SMALLEST_SPREAD = 0.15
_MAD_TO_DEVIATION = 1.4826  # Of a normal distribution.


def faults(site: SiteData, tolerated: float) -> Iterator[Fault]:
    """Yields the faults of a site's images.

    Args:
      site: its files were read.
      tolerated: maximum fraction of files that may be unusable.
    """
    yield from _unreadable(site, tolerated)
    yield from _other_kinds(site)
    yield from _unusual(site)
    yield from _burned_in(site)


def _unreadable(site: SiteData, tolerated: float) -> Iterator[Fault]:
    by_reason: dict[str, list[int]] = collections.defaultdict(list)
    reasons: dict[str, str] = {}
    for place, facts in enumerate(site.facts):
        if not facts.is_readable:
            path = str(site.table["image"].iat[place])
            reason = facts.reason.replace(path, "").strip(": ")
            reasons.setdefault(_general(reason), reason)
            by_reason[_general(reason)].append(place)
    unusable, files = sum(map(len, by_reason.values())), len(site.facts)
    is_wrong = unusable > tolerated * files
    for general, places in by_reason.items():
        sentence = (
            f"{site.name}: {len(places)} of {files} files: {reasons[general]} (unusable in all: "
            f"{unusable / files:.1%}, {fault.against(tolerated, is_wrong)})"
        )
        severity = WRONG if is_wrong else WARNING
        yield Fault("unusable file", severity, sentence, site.paths(np.array(places)))


def _general(reason: str) -> str:
    """A reason without the numbers that differ between files."""
    return re.sub(r"\d+", "N", reason)


def _other_kinds(site: SiteData) -> Iterator[Fault]:
    refused: dict[str, list[int]] = collections.defaultdict(list)
    remarked: dict[str, list[int]] = collections.defaultdict(list)
    listed = site.table["view"].map(views.is_frontal).eq(False).to_numpy(bool)
    for place, facts in enumerate(site.facts):
        if facts.refusal:
            refused[facts.refusal].append(place)
        for remark in facts.remarks:
            if not (remark == image_checks.NOT_FRONTAL and listed[place]):
                remarked[remark].append(place)
    if listed.any():
        sentence = (
            f"{site.name}: {style.counted(int(listed.sum()), 'image')}, left out unless --views=all"
        )
        yield Fault("lateral view", WARNING, sentence, site.paths(listed))
    for reason, places in refused.items():
        sentence = f"{site.name}: {style.counted(len(places), 'image')}: {reason}"
        yield Fault("no chest radiograph", WRONG, sentence, site.paths(np.array(places)))
    for reason, places in remarked.items():
        is_lateral = reason == image_checks.NOT_FRONTAL
        kind = "lateral view" if is_lateral else "doubtful header"
        sentence = f"{site.name}: {style.counted(len(places), 'image')}: {reason}"
        severity = WRONG if is_lateral else WARNING
        yield Fault(kind, severity, sentence, site.paths(np.array(places)))


def _unusual(site: SiteData) -> Iterator[Fault]:
    """Images unlike the others of their site, where no header says what they are."""
    readable = np.flatnonzero(site.is_readable)
    if len(readable) < _FEWEST:
        return
    chosen = readable[unlike_others(site.thumbnails())]
    known = {place for place in chosen if site.facts[place].refusal or site.facts[place].remarks}
    places = np.array([place for place in chosen if place not in known], int)
    if len(places):
        sentence = (
            f"{site.name}: {style.counted(len(places), 'image')} unlike the others: perhaps a "
            "lateral view, another part of the body, rotated, inverted, or no radiograph"
        )
        yield Fault("unusual image", WARNING, sentence, site.paths(places))


def unlike_others(thumbnails: np.ndarray) -> np.ndarray:
    """Which images correlate far less with the typical one, or with their own mirror image.

    Args:
      thumbnails: uint8 [N, 64, 64].

    Returns:
      bool [N].
    """
    equalised = np.stack([cv2.equalizeHist(each) for each in thumbnails]).astype(np.float32)
    typical = np.median(equalised, axis=0)
    with_typical = _alike(equalised, np.broadcast_to(typical, equalised.shape))
    with_mirror = _alike(equalised, equalised[:, :, ::-1])
    away = _above(with_typical) + _WEIGHT_OF_MIRROR * np.minimum(_above(with_mirror), 0.0)
    return away < -_AWAY


def _alike(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Fisher's transform of the correlation of each pair of images [N, S, S]: float64 [N]."""
    return np.arctanh(np.clip(likeness.correlations(ones, others), -0.999, 0.999))


def _above(values: np.ndarray) -> np.ndarray:
    """Distances above the median in robust standard deviations, by the median deviation."""
    middle = np.median(values)
    spread = _MAD_TO_DEVIATION * np.median(np.abs(values - middle))
    return (values - middle) / max(spread, _SMALLEST_SPREAD)


def _burned_in(site: SiteData) -> Iterator[Fault]:
    places = np.flatnonzero([burned_in.is_text(facts.letters) for facts in site.facts])
    if len(places):
        sentence = (
            f"{site.name}: {style.counted(len(places), 'image')} with text burned in near the "
            "border: it may name patients, and a model may learn it"
        )
        yield Fault("burned-in text", WARNING, sentence, site.paths(places))
