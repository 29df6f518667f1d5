"""What can be said of a kit and of a hospital's images on the spot; nothing is changed or sent."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib

import pandas as pd

from tffcxr.clients import sites
from tffcxr.datasets import findings as finding_names
from tffcxr.datasets import records
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError
from tffcxr.hospitals import authority, kits, policy
from tffcxr.hospitals.kits import CoordinatorKit, Kit

_TRIED = 20


def describe_kit(kit: Kit) -> list[str]:
    """Lines about a kit that `kits.read` has checked, and about the policy of a hospital.

    Raises:
      InputError: the policy cannot be used.
    """
    end = authority.expires(kit.credentials().certificate)
    days = (end - datetime.datetime.now(datetime.timezone.utc)).days
    lines = [
        f"study: {kit.study}",
        f"{kit.role}: {kit.site}" if kit.role == kits.SITE else f"role: {kit.role}",
        f"address of the coordinator: {kit.address}",
        f"certificate: valid until {end:%Y-%m-%d}, {days} days left",
    ]
    if isinstance(kit, CoordinatorKit):
        return [
            *lines,
            f"sites: {', '.join(map(str, kit.sites))}",
            f"revoked certificates: {len(kit.revoked())}",
        ]
    allowed = dataclasses.asdict(policy.read(kit.folder / kits.POLICY))
    return [*lines, *(f"policy: {key} = {_text(value)}" for key, value in allowed.items())]


def describe_data(kit: Kit, site: sites.Site) -> list[str]:
    """Lines about the images of a hospital, some of which are read.

    Args:
      kit: the hospital's.
      site: its name, loader, folder, and the findings that it labels, if it names some.

    Raises:
      InputError: the kit is another's, the data cannot be used, or one of the images that are tried
        cannot be read.
    """
    if site.name != kit.site or kit.role != kits.SITE:
        raise InputError(f"--site: expected {kit.site}, whose kit this is, found {site.name}")
    options = dataclasses.replace(site.options, unlabelled=True)
    table = dataclasses.replace(site, options=options).load()
    asked: tuple[str, ...] = ()
    if site.finding:
        known = records.findings(table)
        asked = finding_names.find_several(site.finding, known, f"site {site.name}")
    lines = [
        f"data: {site.path}, read as {site.loader}",
        f"images: {len(table)} of {table['patient'].nunique()} patients",
    ]
    if records.SPLIT in table:
        counts = table[records.SPLIT].value_counts()
        lines.append("splits: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items())))
    for column, what in (("mask", "outlines of findings"), ("lungs", "outlines of lungs")):
        if table[column].notna().any():
            lines.append(f"{what}: of {int(table[column].notna().sum())} images")
    for name in records.findings(table):
        lines.append(_finding_line(table, name, name in asked))
    if not records.has_labels(table):
        lines.append("labels: none, so that nothing can be trained or tested here")
    lines.append(_read_some(table))
    fewest = policy.read(kit.folder / kits.POLICY).fewest_images
    if len(table) < fewest:
        lines.append(f"no update would leave: the policy wants at least {fewest} training images")
    return lines


def _finding_line(table: pd.DataFrame, name: str, is_asked: bool) -> str:
    present, absent = int((table[name] == 1).sum()), int((table[name] == 0).sum())
    if is_asked and not (present and absent):
        raise InputError(
            f"--site: expected images with and without {name!r}, found {present} with and {absent} "
            "without"
        )
    unknown = len(table) - present - absent
    mark = ", a finding of this site" if is_asked else ""
    return f"{name}: {present} present, {absent} absent, {unknown} unknown{mark}"


def _read_some(table: pd.DataFrame) -> str:
    """Reads images from all over the table.

    Raises:
      InputError: one cannot be read.
    """
    count = min(_TRIED, len(table))
    for number in range(count):
        images.read_image(pathlib.Path(table["image"].iloc[number * len(table) // count]))
    return f"readable: all of {count} images that were tried"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, tuple) else str(value)
