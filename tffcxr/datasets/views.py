"""Frontal and lateral radiographs, by what data sets and scanners write as the view."""

from __future__ import annotations

import logging
import re

import pandas as pd

from tffcxr.errors import InputError

_FRONTAL = ("PA", "AP", "FRONTAL", "POSTEROANTERIOR", "ANTEROPOSTERIOR", "POSTERO", "ANTERO")
_NOT_FRONTAL = (
    *("L", "LL", "RL", "LAT", "LATERAL", "LEFTLATERAL", "RIGHTLATERAL", "SWIMMERS", "COSTAL"),
    *("OBLIQUE", "LAO", "RAO", "LPO", "RPO", "LLO", "RLO"),
)


def is_frontal(view: str | None) -> bool | None:
    """Whether a view is frontal, None if it is unknown.

    A radiograph of a patient who lies on one side ("AP LLD") is frontal.
    """
    words = re.split(r"[\s_/\-]+", (view or "").upper().replace(".", "").strip())
    if any(word in _NOT_FRONTAL for word in words):
        return False
    return True if words[0] in _FRONTAL else None


def keep_frontal(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Leaves out images whose view is known not to be frontal, and says how many.

    Args:
      table: a records table.
      source: the data set's name.

    Raises:
      InputError: no image is left.
    """
    known = table["view"].map(is_frontal)
    lateral = known.eq(False)
    if lateral.all():
        raise InputError(
            f"{source}: expected frontal radiographs, found {len(table)} of the views "
            f"{_names(table['view'])}; --views=all reads them"
        )
    logger = logging.getLogger(__name__)
    if lateral.any():
        logger.warning(
            "%s: %d of %d images are lateral or oblique (%s) and are left out; --views=all keeps "
            "them",
            *(source, int(lateral.sum()), len(table), _names(table["view"][lateral])),
        )
    unclear = table["view"].notna() & known.isna()
    if unclear.any():
        logger.warning(
            "%s: %d images have a view that may not be frontal (%s) and are kept",
            *(source, int(unclear.sum()), _names(table["view"][unclear])),
        )
    return table[~lateral]


def _names(views: pd.Series) -> str:
    names = sorted(set(views))
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
