"""What a records table may hold."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.errors import InputError


def _table(**columns):
    rows = [{"image": f"{index}.png", "patient": f"p{index}", "Mass": 1.0} for index in range(3)]
    table = records.build(rows, ["Mass"], "made")
    return table.assign(**columns)


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("062Y", 62.0),
        ("62", 62.0),
        ("018M", 1.5),
        ("052W", 364 / 365.25),
        ("010D", 10 / 365.25),
        ("62.5", 62.5),
        (" 062y\0", 62.0),
        ("000Y", 0.0),
    ],
)
def test_age(text, years):
    assert records.parse_age(text) == pytest.approx(years)


@pytest.mark.parametrize("text", ["", " ", "414", "148Y"])
def test_unknown_and_impossible_ages(text):
    assert math.isnan(records.parse_age(text))


@pytest.mark.parametrize("text", ["abc", "Y", "-3", "62X", "6 2"])
def test_age_that_is_none(text):
    with pytest.raises(ValueError, match="expected an age"):
        records.parse_age(text)


def test_findings_are_all_other_columns():
    table = _table(**{"Lung Opacity": 0.0, "split": "train"})
    assert records.findings(table) == ["Mass", "Lung Opacity"]


def test_what_can_be_trained_on():
    with_mask: dict[str, object] = {"image": "a", "patient": "p", "mask": areas.MaskFile("m")}
    without: dict[str, object] = {"image": "b", "patient": "q"}
    table = records.build([with_mask, without], [], "made")
    assert records.findings(table) == []
    assert table["mask"].tolist() == [areas.MaskFile("m"), None]
    assert records.has_labels(table)
    assert records.has_labels(_table())
    assert not records.has_labels(records.build([without], [], "made"))


def test_what_a_row_does_not_say_is_unknown():
    table = records.build([{"image": "a", "patient": "p"}], ["Mass"], "made")
    row = table.iloc[0]
    assert row["site"] == "made"
    assert row["view"] is None
    assert row["sex"] is None
    assert row["scanner"] is None
    assert row["mask"] is None
    assert np.isnan(row["age"])
    assert np.isnan(row["Mass"])


def test_types_after_rows_were_mixed():
    table = pd.concat([_table(), _table(image=["a", "b", "c"], Mass=[0, None, True])])
    table.loc[table["image"] == "a", "view"] = np.nan
    found = records.validate(table)
    assert found.index.tolist() == list(range(6))
    assert found["Mass"].dtype == float
    assert np.isnan(found["Mass"][4])
    assert found["view"][3] is None


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": "same.png"}, "several for same.png"),
        ({"patient": ["a", None, "b"]}, "a patient, found none in row 1"),
        ({"patient": ["a", "b", " "]}, "a patient, found none in row 2"),
        ({"sex": "X"}, r"F, M or unknown, found \['X'\]"),
        ({"age": -1.0}, "0 to 120 years, found -1"),
        ({"age": "old"}, "numbers in the column age"),
        ({"Mass": 0.5}, r"0, 1 or unknown, found \[0.5\]"),
        ({"Mass": "yes"}, "numbers in the column Mass"),
        ({"Mass": math.inf}, "infinity"),
        ({"mask": "1 2"}, "annotations or None, found '1 2'"),
        ({"split": "dev"}, r"train, validation, test, found \['dev'\]"),
        ({"split": ["train", None, "test"]}, "found rows without one"),
    ],
)
def test_what_cannot_be_is_refused(columns, reason):
    with pytest.raises(InputError, match=reason):
        records.validate(_table(**columns))


def test_missing_columns_and_no_rows():
    with pytest.raises(InputError, match="missing: patient, age"):
        records.validate(_table().drop(columns=["patient", "age"]))
    with pytest.raises(InputError, match="at least one image, found none"):
        records.validate(_table().iloc[:0])


def test_annotations_survive():
    box = areas.Boxes((), 2, 2)
    assert records.validate(_table(mask=[box, None, box]))["mask"].tolist() == [box, None, box]


def test_missing_images_are_dropped_and_counted(caplog):
    table = _table()
    paths = pd.Series(["x.png", None, None], dtype=object)
    found = records.drop_missing_images(table, paths, "made", "folder")
    assert found["image"].tolist() == ["x.png"]
    assert "2 of 3 labelled images are not in folder" in caplog.text
    with pytest.raises(InputError, match="images in folder, found none of the 3"):
        records.drop_missing_images(table, paths[[1, 2]].reindex(table.index), "made", "folder")


@pytest.mark.parametrize(
    ("column", "longest"),
    [("image", 4096), ("patient", 256), ("site", 256), ("view", 256), ("scanner", 256)],
)
def test_texts_have_a_longest_length(column, longest):
    fits = [f"{number}{'x' * (longest - 1)}" for number in range(3)]
    assert records.validate(_table(**{column: fits}))[column].tolist() == fits
    with pytest.raises(
        InputError, match=f"at most {longest} characters as {column}, found 5000 in row 1: y{{40}}"
    ) as error:
        records.validate(_table(**{column: ["a", "y" * 5000, "b"]}))
    assert len(str(error.value)) < 200
