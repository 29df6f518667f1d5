"""Findings that stand as a list in one column."""

import math

import pandas as pd
import pytest

from tffcxr.datasets.tables import finding_columns, listed_findings, table_files
from tffcxr.datasets.tables.columns import Columns
from tffcxr.errors import InputError

_NOTHING = Columns()


def _read(*texts, own=_NOTHING):
    cells = pd.DataFrame({"L": texts}, index=range(2, len(texts) + 2), dtype=object)
    table = table_files.Table("t.csv", cells)
    found = listed_findings.read(table, "L", own, finding_columns.canonical)
    return {
        name: [None if math.isnan(value) else value for value in values]
        for name, values in found.items()
    }


@pytest.mark.parametrize("separator", ["|", " | ", ";", "; ", ",", ", "])
def test_what_a_list_does_not_name_is_absent(separator):
    texts = (f"Pneumonia{separator}pleural effusion", "No Finding", "", "pneumonia", "normal")
    assert _read(*texts) == {"Effusion": [1, 0, None, 0, 0], "Pneumonia": [1, 0, None, 1, 0]}


def test_bars_divide_before_semicolons_and_commas():
    assert set(_read("Odd; left, basal|Mass", "Odd; left, basal")) == {"Odd; left, basal", "Mass"}
    assert set(_read("Odd, left; Mass", "Odd, left")) == {"Odd, left", "Mass"}


def test_own_names_keep_their_first_spelling():
    assert _read("ICU line", "icu LINE|icu line") == {"ICU line": [1, 1]}


def test_the_user_chooses_and_renames(caplog):
    own = Columns(path="c.toml", findings=(("Erguss", "Effusion"), ("Mass", "")))
    texts = ("Erguss|Mass", "Mass|Other", "kein Befund")
    assert _read(*texts, own=own) == {"Effusion": [1, 0, 0], "Mass": [1, 1, 0]}
    own = Columns(path="c.toml", findings=(("Ergus", "Effusion"),))
    assert _read(*texts, own=own) == {"Effusion": [0, 0, 0]}
    assert (
        "c.toml: findings: no image of t.csv has 'Ergus' in L (did you mean Erguss" in caplog.text
    )


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("1", "0"), "L: expected lists of findings, found labels such as '1'"),
        (("Mass", "No Finding|Mass"), "findings or No Finding, not both, found .* in row 3"),
        (("Mass", "None"), "or an empty cell where it is unknown, found 'None' in row 3"),
        (("Mass", "The heart is normal in size and there is no effusion at all today"), "in row 3"),
        (("", "No Finding"), "1 to 60 different findings, found 0: none"),
        (tuple(f"f{number}" for number in range(61)), "found 61: 'f0'"),
    ],
)
def test_what_is_no_list(texts, reason):
    with pytest.raises(InputError, match=reason):
        _read(*texts)
