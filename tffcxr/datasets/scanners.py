"""Which scanner made a radiograph: its manufacturer and model, never which one of a hospital's.

Serial numbers, names of stations and of institutions are read from no header. A hospital's own
table may have anything as its scanner, so a word with five digits in a row, as serial numbers have
them, is left out, and models of few patients are pooled before anything is written of them.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
import re

import numpy as np

OTHER, UNKNOWN = "other", "unknown"
# A model of fewer patients is one of the others; so are all beyond so many models.
LEAST_PATIENTS = 10
MOST_MODELS = 8

_LONGEST = 64  # Characters; DICOM allows as many.
_SERIAL = re.compile(r"\d{5}")


def name(manufacturer: str | None, model: str | None = None) -> str | None:
    """Returns a scanner's name, None where nothing is known.

    Args:
      manufacturer: Manufacturer of DICOM, or what a table has.
      model: Manufacturer's Model Name of DICOM, which may begin with the manufacturer.
    """
    maker, kind = (_plain(text or "") for text in (manufacturer, model))
    if kind.casefold().startswith(maker.casefold()):
        maker = ""
    return " ".join(part for part in (maker, kind) if part)[:_LONGEST].strip() or None


def pooled(
    scanners: Sequence[str | None], patients: Sequence[object]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Divides images by scanner, with the rare ones together.

    Names that differ in capitals alone are one.

    Args:
      scanners: [N], of `name`.
      patients: [N], of the images.

    Returns:
      The group of each image, object [N]: a scanner, `OTHER` or `UNKNOWN`; and the scanners by
      patients, the most frequent one first, then `OTHER`.
    """
    keys = [None if scanner is None else scanner.casefold() for scanner in scanners]
    patients_of: dict[str, set[object]] = {}
    spellings: dict[str, collections.Counter[str]] = {}
    for key, scanner, patient in zip(keys, scanners, patients):
        if key is not None and scanner is not None:
            patients_of.setdefault(key, set()).add(patient)
            spellings.setdefault(key, collections.Counter())[scanner] += 1
    named = [
        key
        for key, mine in sorted(patients_of.items(), key=lambda item: (-len(item[1]), item[0]))
        if len(mine) >= LEAST_PATIENTS and key not in (OTHER, UNKNOWN)
    ][:MOST_MODELS]
    shown = {key: spellings[key].most_common(1)[0][0] for key in named}
    groups = [UNKNOWN if key is None else shown.get(key, OTHER) for key in keys]
    return np.array(groups, dtype=object), (*shown.values(), OTHER)


def _plain(text: str) -> str:
    """The words of a name without those that look like a serial number."""
    return " ".join(word for word in text.split() if not _SERIAL.search(word))
