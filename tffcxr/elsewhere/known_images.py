"""Which images a run has trained or chosen its models on, also where another folder has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from tffcxr import files, kept_names, run_tables
from tffcxr.clients import sites as sites_lib
from tffcxr.clients.shards import fingerprint
from tffcxr.clients.sites import Site
from tffcxr.data_check import duplicates, image_facts
from tffcxr.datasets import records
from tffcxr.errors import InputError
from tffcxr.report import run_files

_SEEN = ("train", "validation")


def read(run: pathlib.Path) -> pd.DataFrame | None:
    """The images that a run has trained on or chosen by: `client`, `image` and `patient`.

    None where the run's cache, which stays at the hospital, does not have their names.

    Raises:
      InputError: the table of names, or `config.json`, is damaged, or the names were sealed with
        another key.
    """
    table = kept_names.read(run, run_tables.IMAGES)
    if table is None:
        return None
    derived = _config(run).get("derived")
    measured = derived.get("measured_split") if isinstance(derived, dict) else None
    return seen(table, str(measured or "validation"))


def patients(run: pathlib.Path, seen_by_run: pd.DataFrame, site: Site) -> set[str]:
    """The patients of a run whose ids mean the same patients as those of a site.

    Args:
      run: its folder; `config.json` says which sites its clients were cut from.
      seen_by_run: see `read`.
      site: the other one.

    Raises:
      InputError: `config.json` is damaged.
    """
    config = _config(run)
    # In `config.json` of an earlier version, paths are not concealed.
    described, settings = config.get("sites"), config.get("settings")
    settings = kept_names.read_settings(run).get("settings", settings)
    flags = settings.get("site") if isinstance(settings, Mapping) else None
    named = {str(text).partition("=")[0]: str(text) for text in flags or ()}
    same = [
        str(client.get("client"))
        for client in (described if isinstance(described, list) else ())
        if isinstance(client, Mapping)
        and _have_same_patients(site, str(client.get("source")), named.get(str(client.get("site"))))
    ]
    return set(seen_by_run["patient"][seen_by_run["client"].isin(same)])


def _have_same_patients(site: Site, source: str, flag: str | None) -> bool:
    """Whether a site has the patients of another one, of which the loader and the flag are known.

    Phantoms, and sites that were read at another hospital, have no flag.
    """
    if flag is not None:
        return sites_lib.have_same_patients(site, Site.parse(flag))
    return sites_lib.name_patients_alike(site.loader, source)


def _config(run: pathlib.Path) -> dict[str, Any]:
    path = run / "config.json"
    return run_files.read_json(path) if path.exists() else {}


def seen(table: pd.DataFrame, measured_split: str) -> pd.DataFrame:
    """The images of a table with splits that models are trained on or chosen by.

    Args:
      table: has a column `split`.
      measured_split: the images that models are measured on after a round.
    """
    return table[table[records.SPLIT].isin([*_SEEN, measured_split])].reset_index(drop=True)


class KnownImages:
    """The images that a run has seen, all of which are read once.

    Args:
      seen: paths.
      cache: a folder for what was found, so that a program that is started again need not read
        them again; or None.

    Attributes:
      missing: the paths of files that are not there any more, which cannot be compared.
    """

    def __init__(self, seen: Sequence[str], cache: pathlib.Path | None = None):
        states = [fingerprint.file_state(path) for path in seen]
        self._paths = [path for path, state in zip(seen, states) if state is not None]
        self._cache = cache
        self.missing = tuple(path for path, state in zip(seen, states) if state is None)

    @property
    def unreadable(self) -> list[str]:
        """The paths of files that are there and cannot be compared, since they cannot be read."""
        return [path for path, facts in zip(self._paths, self._facts) if not facts.is_readable]

    def among(self, images: Sequence[str]) -> np.ndarray:
        """Which of some images are known: the same file, or the same picture in another one.

        All files are read. See `duplicates` for what counts as the same picture.

        Args:
          images: paths.

        Returns:
          bool [N].
        """
        found = np.isin(np.array(images, object), np.array(self._paths, object))
        found[self._same_pictures(images)] = True
        return found

    def _same_pictures(self, images: Sequence[str]) -> list[int]:
        if self._cache is None:
            return self._compared(images)
        path = self._cache / f"{_digest(self._paths, images)}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        found = self._compared(images)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, found)
        return found

    def _compared(self, images: Sequence[str]) -> list[int]:
        return duplicates.find_between(self._facts, image_facts.measure_all(images))

    @functools.cached_property
    def _facts(self) -> list[image_facts.Facts]:
        return image_facts.measure_all(self._paths)


def _digest(*paths: Sequence[str]) -> str:
    """Changes with the files, and with the code that compares them."""
    digest = hashlib.sha256()
    for module in (duplicates, image_facts):
        assert module.__file__ is not None
        digest.update(pathlib.Path(module.__file__).read_bytes())
    for some in paths:
        states = [(os.path.abspath(path), fingerprint.file_state(path)) for path in some]
        digest.update(repr(states).encode())
    return digest.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Kept:
    """The images of a site that a run has not seen.

    Attributes:
      table: their records.
      left_out: how many others there were.
      remark: a line on those, or "".
    """

    table: pd.DataFrame
    left_out: int
    remark: str


def leave_out(
    site: str, table: pd.DataFrame, known: KnownImages, patients: Collection[str] = ()
) -> Kept:
    """Leaves out the images that a run has seen, and all others of their patients.

    Args:
      site: its name.
      table: its records.
      known: the images of the run.
      patients: of the run, by ids that mean the same patients as the site's.

    Raises:
      InputError: none is left.
    """
    is_known = known.among(table["image"].tolist())
    is_of_patient = table["patient"].isin([*patients, *table["patient"][is_known]]).to_numpy()
    if is_of_patient.all():
        raise InputError(
            f"site {site}: expected images of patients that the run was not trained on, found "
            f"{len(table)} of patients that it was"
        )
    left_out, same = int(is_of_patient.sum()), int(is_known.sum())
    remark = ""
    if left_out:
        remark = (
            f"{site}: {left_out} of {len(table)} images are left out, since the run was trained on "
        )
        of_them = "them" if same == left_out else f"{same} of them, or on others of their patients"
        remark += of_them if same else "others of their patients"
    if 2 * left_out > len(table):
        remark += (
            f". WARNING: more than half of its images: {site} is not independent of what the run "
            "was trained on, and results on the others say little of another hospital"
        )
    return Kept(table[~is_of_patient].reset_index(drop=True), left_out, remark)
