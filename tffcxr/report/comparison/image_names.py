"""What the test images of a run are, so that they are known again in another run.

An image is known by its file. Runs without patients' data draw phantoms into a folder of their own:
these are known by their place in it and their content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
import hashlib
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from tffcxr import errors, kept_names, run_tables
from tffcxr.report import remarks, run_reader

_PHANTOMS, _MADE_BY = "phantoms", "phantom.json"  # In the run's folder, and in each of its folders.


class NotPairedError(Exception):
    """Why the results of two runs cannot be compared case by case."""


class ImageNames:
    """The images of a run by their rows in the clients' tables.

    Args:
      run: has them in its cache, if it is where it ran.
    """

    def __init__(self, run: run_reader.Run):
        self._run = run
        sites = run.config.get("sites")
        described = [dict(each) for each in sites or () if isinstance(each, Mapping)]
        self._sites = {str(each.get("client")): each for each in described}

    @functools.cached_property
    def _table(self) -> pd.DataFrame:
        try:
            table = kept_names.read(self._run.path, run_tables.IMAGES)
        except errors.InputError as error:
            # Without its words, which have paths: the reason stands on a page.
            raise NotPairedError(
                "the names of its test images cannot be read, or were sealed with another key"
            ) from error
        if table is None:
            path = kept_names.path_of(pathlib.Path(), run_tables.IMAGES)
            raise NotPairedError(f"its test images are not known without {path}")
        sites = [str(self._sites.get(each, {}).get("site", each)) for each in table["client"]]
        return table.assign(person=[f"{s}/{p}" for s, p in zip(sites, table["patient"])])

    def of_rows(self, clients: Sequence[str], rows: Sequence[str]) -> pd.DataFrame:
        """Returns `name` and `person`, the patient at a site, of every image.

        Args:
          clients: [N].
          rows: [N], positions in the clients' tables.

        Raises:
          NotPairedError: the run does not name its images, or not these.
        """
        known = self._table.set_index(["client", "row"])
        wanted = pd.MultiIndex.from_arrays([list(clients), list(rows)])
        if known.index.has_duplicates or not wanted.isin(known.index).all():
            raise NotPairedError("its tables do not name its test images one by one")
        found = known.loc[wanted]
        names = [self._name(image) for image in found["image"]]
        return pd.DataFrame({"name": names, "person": found["person"].to_numpy()})

    def of_cases(self, task: str | None) -> pd.DataFrame:
        """Returns `name` and `person` of the test cases of volumes, in the order of `cases.csv`.

        A volume is known by its patient and by where that is from. Sites may have patients in
        common, so a `person` is the same at all of them.

        Args:
          task: whose nodes have the cases; None for all.

        Raises:
          NotPairedError: the run does not name its images.
        """
        clients = {
            client for client, about in self._sites.items() if task in (None, about.get("task"))
        }
        mine = self._table[self._table["client"].isin(clients) & (self._table["split"] == "test")]
        cases = mine.drop_duplicates("person").sort_values("person", kind="stable")
        names = [
            f"{self._origin(client)}: {person}"
            for client, person in zip(cases["client"], cases["person"])
        ]
        return pd.DataFrame({"name": names, "person": cases["patient"].to_numpy()})

    def _origin(self, client: str) -> str:
        """Where the volumes of a node are from."""
        config = self._run.config
        settings: Mapping[str, Any] = config.get("settings", {})
        if remarks.is_synthetic(config):
            seed = settings.get("split_seed")
            seed = settings.get("seed") if seed is None else seed
            place = f"{_PHANTOMS}/{settings.get('phantom_patients')}_patients_seed_{seed}"
            made_by = sorted((self._run.path / place).glob(f"*/{_MADE_BY}"))
            return " ".join([place, *(str(_digest(path)) for path in made_by)])
        site = str(self._sites.get(client, {}).get("site", client))
        flags = [
            str(text) for text in settings.get("site") or () if str(text).startswith(f"{site}=")
        ]
        return flags[0] if flags else site

    def _name(self, image: str) -> str:
        """The name of an image that may be `archive.npz#array/index`."""
        parts = pathlib.PurePath(image).parts
        if _PHANTOMS in parts:
            place = pathlib.PurePath(*parts[parts.index(_PHANTOMS) :])
            digest = _digest(self._run.path / str(place).split("#", maxsplit=1)[0])
            if digest is not None:
                return f"{place} {digest}"
        return os.path.abspath(image)


@functools.lru_cache(maxsize=100_000)
def _digest(path: pathlib.Path) -> str | None:
    """A digest of a file's content, None if there is no such file."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return None


def order_of(names: Sequence[str]) -> np.ndarray:
    """Returns the positions [N] of the names in sorted order.

    Raises:
      NotPairedError: a name is there twice.
    """
    if len(set(names)) < len(names):
        raise NotPairedError("it has an image twice among its test images")
    return np.argsort(np.array(names, dtype=str), kind="stable")
