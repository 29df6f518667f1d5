"""The vocabulary of findings: one name for each, whatever a dataset or a user writes.

The fourteen findings of NIH ChestX-ray14 (Wang et al., CVPR 2017), the classes of the RSNA
Pneumonia Detection Challenge 2018, those of COVIDx (Wang, Lin & Wong, Scientific Reports 2020),
those of Kermany's radiographs of children (Cell 2018), and the findings of CheXpert (Irvin et al.,
AAAI 2019) and VinDr-CXR (Nguyen et al., Scientific Data 2022). Classes are mutually exclusive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
NO_FINDING = "No Finding"
CHEXPERT = (
    NO_FINDING,
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
VINDR = (
    "Aortic Enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle Fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",  # The pulmonary artery.
    "ILD",  # Interstitial lung disease.
    "Infiltration",
    "Lung Opacity",
    "Lung Cavity",
    "Lung Cyst",
    "Mediastinal Shift",
    "Nodule/Mass",
    "Effusion",
    "Pleural Thickening",
    "Pneumothorax",
    "Fibrosis",
    "Rib Fracture",
    "Other Lesion",
    "COPD",
    "Lung Tumor",
    "Pneumonia",
    "Tuberculosis",
    "Other Disease",
    NO_FINDING,
)
NAMES = tuple(dict.fromkeys((*NIH, *RSNA, *COVID, *KERMANY, *CHEXPERT, *VINDR)))

_ALIASES = {
    "Opacity": "Lung Opacity",
    "Airspace Opacity": "Lung Opacity",
    "Pleural Effusion": "Effusion",
    "Oedema": "Edema",
    "Pulmonary Edema": "Edema",
    "Pulmonary Fibrosis": "Fibrosis",
    "Infiltrate": "Infiltration",
    "Infiltrates": "Infiltration",
    "PT": "Pleural Thickening",
    "PTX": "Pneumothorax",
    "Not Normal": "No Lung Opacity / Not Normal",
    "COVID": "COVID-19",
    "COVID19": "COVID-19",
}

_LONG = 8  # Letters, from which on a name may have two typing errors.


def canonical(name: str) -> str:
    """Returns the vocabulary's name of a finding.

    Case, spaces, hyphens and underscores do not matter.

    Raises:
      InputError: the vocabulary has no such finding; the message names one that may be misspelt.
    """
    return find(name, NAMES, "the vocabulary")


def find(name: str, available: Sequence[str], where: str = "the records") -> str:
    """Returns the finding among `available` that a name refers to.

    Args:
      name: as a user or a file writes it.
      available: the findings that there are, such as `records.findings(df)`.
      where: the source of the findings, for the error message.

    Raises:
      InputError: none is meant; the message lists them and names one that may be misspelt.
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
    known = {**{_key(finding): finding for finding in NAMES}, **by_alias, **keys}
    suggestion = _misspelt(key, known)
    hint = f"; did you mean {suggestion!r}?" if suggestion in available else ""
    raise InputError(
        f"expected a finding of {where} ({', '.join(available)}), found {name!r}{hint}"
    )


def find_several(
    names: str, available: Sequence[str], where: str = "the records"
) -> tuple[str, ...]:
    """Returns the findings among `available` that names joined by "+" refer to, in their order.

    Args:
      names: as a user writes them; a finding whose own name has a "+" can stand alone.
      available: see `find`.
      where: see `find`.

    Raises:
      InputError: see `find`; a finding is named twice.
    """
    if "+" not in names or names in available:
        return (find(names, available, where),)
    found = tuple(find(name.strip().strip('"'), available, where) for name in names.split("+"))
    if len(set(found)) < len(found):
        raise InputError(f"expected each finding of {where} once, found {names!r}")
    return found


def _misspelt(key: str, known: Mapping[str, str]) -> str | None:
    """Returns the finding that a name with a typing error or two means, None if it means none.

    A known name means itself: "Pneumonia" is no "Pneumothorax", though most letters are the same.

    Args:
      key: the name, as `_key` gives it.
      known: all findings by key, whether they are available or not.
    """
    if key in known:
        return None
    errors = {other: _typing_errors(key, other) for other in known}
    nearest = min(errors, key=lambda other: errors[other])
    return known[nearest] if errors[nearest] <= (1 if len(key) < _LONG else 2) else None


def _typing_errors(one: str, other: str) -> int:
    """How many letters are missing, added, replaced, or exchanged with their neighbour.

    The optimal string alignment distance: Damerau (Communications of the ACM 7(3), 1964).
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _key(name: str) -> str:
    return " ".join(re.split(r"[\s_/\-]+", name.strip().casefold())).strip()
