"""The vocabulary of findings: one name for each, whatever a dataset or a user writes.

The fourteen findings of NIH ChestX-ray14 (Wang et al., CVPR 2017), the classes of the RSNA
Pneumonia Detection Challenge 2018, those of COVIDx (Wang, Lin & Wong, Scientific Reports 2020), and
those of Kermany's radiographs of children (Cell 2018). Classes are mutually exclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
import difflib
import re

from tffcxr.errors import InputError

NIH = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural Thickening",
    "Pneumonia",
    "Pneumothorax",
)
RSNA = ("Lung Opacity", "No Lung Opacity / Not Normal", "Normal")
COVID = ("Normal", "Pneumonia", "COVID-19")  # Pneumonia is any that is not COVID-19.
KERMANY = ("Normal", "Pneumonia")
NAMES = tuple(dict.fromkeys((*NIH, *RSNA, *COVID, *KERMANY)))

_ALIASES = {
    "Opacity": "Lung Opacity",
    "Airspace Opacity": "Lung Opacity",
    "Pleural Effusion": "Effusion",
    "Oedema": "Edema",
    "Pulmonary Edema": "Edema",
    "Pulmonary Fibrosis": "Fibrosis",
    "Infiltrate": "Infiltration",
    "PT": "Pleural Thickening",
    "PTX": "Pneumothorax",
    "Not Normal": "No Lung Opacity / Not Normal",
    "COVID": "COVID-19",
    "COVID19": "COVID-19",
}


def canonical(name: str) -> str:
    """Returns the vocabulary's name of a finding.

    Case, spaces, hyphens and underscores do not matter.

    Raises:
      InputError: the vocabulary has no such finding; the message names similar ones.
    """
    return find(name, NAMES, "the vocabulary")


def find(name: str, available: Sequence[str], where: str = "the records") -> str:
    """Returns the finding among `available` that a name refers to.

    Args:
      name: as a user or a file writes it.
      available: the findings that there are, such as `records.findings(df)`.
      where: the source of the findings, for the error message.

    Raises:
      InputError: none is meant; the message lists them and names similar ones.
    """
    keys = {_key(finding): finding for finding in available}
    key = _key(name)
    if key in keys:
        return keys[key]
    by_alias = {_key(alias): finding for alias, finding in _ALIASES.items()}
    # Either side may be an alias: "Opacity" for "Lung Opacity", or the reverse.
    meant = by_alias.get(key, name)
    for finding in available:
        if _key(by_alias.get(_key(finding), finding)) == _key(meant):
            return finding
    similar = difflib.get_close_matches(key, [*keys, *by_alias], n=1, cutoff=0.6)
    hint = ""
    if similar:
        suggestion = keys.get(similar[0]) or by_alias[similar[0]]
        if suggestion in available:
            hint = f"; did you mean {suggestion!r}?"
    raise InputError(
        f"expected a finding of {where} ({', '.join(available)}), found {name!r}{hint}"
    )


def _key(name: str) -> str:
    return " ".join(re.split(r"[\s_/\-]+", name.strip().casefold())).strip()
