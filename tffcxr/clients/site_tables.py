"""Selects the rows of a site's records table that a recipe uses: images with a known answer."""

from __future__ import annotations

from collections.abc import Sequence
import logging

import pandas as pd

from tffcxr.clients.sites import Site
from tffcxr.datasets import records as records_lib
from tffcxr.errors import InputError

LUNGS = "Lungs"  # A region that is no finding.


def keep_lungs(table: pd.DataFrame, site: Site) -> pd.DataFrame:
    """The images with lung masks; the lungs become the region to segment.

    Raises:
      InputError: there is none.
    """
    known = table["lungs"].notna()
    if not known.any():
        raise InputError(
            f"site {site.name}: expected images with masks of the lungs in {site.path}, found "
            f"{len(table)} images without"
        )
    if not known.all():
        logging.warning(
            "site %s: %d of %d images have no mask of the lungs and are left out",
            site.name,
            int((~known).sum()),
            len(table),
        )
    table = table[known].drop(columns=records_lib.findings(table))
    return table.assign(mask=table["lungs"]).reset_index(drop=True)


def keep_region(table: pd.DataFrame, site: Site, finding: str) -> pd.DataFrame:
    """The images with the finding outlined, or known to be free of it.

    Returns:
      The table with no other finding; the mask of an image without the finding is empty.

    Raises:
      InputError: the site does not label the finding, or no image with it is outlined.
    """
    known = records_lib.findings(table)
    if finding not in known:
        raise InputError(
            f"site {site.name}: expected the finding {finding!r}, found "
            f"{', '.join(known) or 'none'} from the loader {site.loader}"
        )
    is_known = table[finding].notna() & table["mask"].notna()
    if not (table[finding][is_known] == 1).any():
        raise InputError(
            f"site {site.name}: expected images with {finding!r} outlined in {site.path}, found "
            f"none among {len(table)}"
        )
    if not is_known.all():
        logging.warning(
            "site %s: %d of %d images are not outlined and are left out",
            site.name,
            int((~is_known).sum()),
            len(table),
        )
    others = [name for name in known if name != finding]
    return table[is_known].drop(columns=others).reset_index(drop=True)


def with_all_classes(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The table with classes that its source does not know, which exclude those that it does.

    A table that knows none of the classes stays as it is.
    """
    known = [name for name in classes if name in records_lib.findings(table)]
    if not known:
        return table
    is_in_one = (table[known] == 1).any(axis=1)
    excluded = is_in_one.map({True: 0.0, False: float("nan")})
    return table.assign(**{name: excluded for name in classes if name not in known})


def keep_classes(table: pd.DataFrame, site: Site, classes: Sequence[str]) -> pd.DataFrame:
    """The images in exactly one of some mutually exclusive classes.

    Raises:
      InputError: the site does not have the classes, or an image is in several of them.
    """
    known = records_lib.findings(table)
    missing = [name for name in classes if name not in known]
    if missing:
        raise InputError(
            f"site {site.name}: expected the classes {', '.join(classes)}, found "
            f"{', '.join(known) or 'none'} from the loader {site.loader}"
        )
    found = (table[list(classes)] == 1).sum(axis=1)
    if (found > 1).any():
        raise InputError(
            f"site {site.name}: expected each image in one class, found "
            f"{table['image'][found > 1].iloc[0]} in {int(found.max())} of them"
        )
    others = [name for name in known if name not in classes]
    kept = table[found == 1].drop(columns=others)
    if kept.empty:
        raise InputError(f"site {site.name}: expected images of known class, found none")
    if len(kept) < len(table):
        logging.warning(
            "site %s: %d of %d images are in none of the classes %s and are left out",
            *(site.name, len(table) - len(kept), len(table), ", ".join(classes)),
        )
    return kept.reset_index(drop=True)
