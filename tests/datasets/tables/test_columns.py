"""What the columns of a table are."""

from __future__ import annotations

import pandas as pd
import pytest

from tffcxr.datasets.tables import columns, table_files
from tffcxr.datasets.tables.columns import Columns
from tffcxr.errors import InputError


def _table(*names):
    return table_files.Table("t.csv", pd.DataFrame([["x"] * len(names)], [2], list(names)))


def _write(tmp_path, text):
    path = tmp_path / "columns.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *(("Path", "image"), ("File name", "image"), ("Image Index", "image"), ("FILE", "image")),
        *(("filename", "image"), ("DICOM", "image"), ("Dateiname", "image"), ("img", "image")),
    ],
)
def test_usual_names_of_images(name, role):
    assert columns.find_roles(_table(name), Columns()) == {role: name}
    assert columns.header(Columns()).fits([name, "x"])
    assert not columns.header(Columns()).fits([name, ""])  # A title.


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *(("Patient ID", "patient"), ("patientid", "patient"), ("subject_id", "patient")),
        *(("Patient-ID", "patient"), ("View Position", "view"), ("Projection", "view")),
        *(("Patient Age", "age"), ("Age (years)", "age"), ("Gender", "sex"), ("SEX", "sex")),
        *(("Site", "site"), ("split", "split"), ("Class", "class"), ("mask", "mask")),
        *(("lung_mask", "lungs"), ("Scanner", "scanner"), ("ManufacturerModelName", "scanner")),
        ("Manufacturer's Model Name", "scanner"),
    ],
)
def test_other_usual_names(name, role):
    table = _table("path", name, "Pneumonia", "Age of the film")
    assert columns.find_roles(table, Columns()) == {"image": "path", role: name}


def test_no_image_and_two_images():
    with pytest.raises(InputError, match="column with the images, .*columns 'A', 'B'; write image"):
        columns.find_roles(_table("A", "B"), Columns())
    with pytest.raises(
        InputError, match="one column as image, found 'Path', 'File'; write image ="
    ):
        columns.find_roles(_table("Path", "File"), Columns())
    given = Columns(roles=(("image", "File"),))
    assert columns.find_roles(_table("Path", "File"), given) == {"image": "File"}


def test_the_file(tmp_path):
    text = 'image = "Bild"\nimages = "files"\nsheet = "2"\nheader_row = 3\n'
    text += "every_image_another_patient = true\n"
    text += 'ignore = ["ICU"]\n[findings]\n"Erguss" = "Effusion"\n'
    assert columns.read(_write(tmp_path, text)) == Columns(
        path=str(tmp_path / "columns.toml"),
        roles=(("image", "Bild"),),
        findings=(("Erguss", "Effusion"),),
        ignore=("ICU",),
        images=str(tmp_path / "files"),
        sheet="2",
        header_row=3,
        every_image_another_patient=True,
    )
    plain = columns.read(_write(tmp_path, 'findings = ["A", "B"]'))
    assert plain.findings == (("A", ""), ("B", ""))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('pateint = "x"', "the keys image, patient, .*found pateint .did you mean patient"),
        ("image = 3", "image: expected a text in quotes, found 3"),
        ('findings = "A"', "findings: expected a list of names"),
        ("findings = []", "at least one column"),
        ("ignore = [1]", "ignore: expected a text"),
        ('header_row = "4"', "header_row: expected the number of a row, found '4'"),
        ("header_row = 0", "header_row: expected the number of a row, found 0"),
        ("every_image_another_patient = 1", "expected true or false, found 1"),
        ("image", "expected TOML in UTF-8"),
    ],
)
def test_a_bad_file(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason):
        columns.read(_write(tmp_path, text))


@pytest.mark.parametrize(
    "text", ['patient = "Pathient"', 'findings = ["Pathient"]', 'ignore = ["Pathient"]']
)
def test_a_column_that_is_not_there(tmp_path, text):
    given = columns.read(_write(tmp_path, text))
    with pytest.raises(
        InputError, match="a column of t.csv, found 'Pathient'.*did you mean Patient"
    ):
        columns.find_roles(_table("path", "Patient"), given)


def test_a_usual_name_that_the_user_gives_to_something_else():
    given = Columns(roles=(("patient", "Subject"),), findings=(("Class", "Mass"),))
    table = _table("path", "patient_nr", "Subject", "Class")
    assert columns.find_roles(table, given) == {"image": "path", "patient": "Subject"}


def test_findings_of_lists_are_no_columns():
    given = Columns(roles=(("labels", "Labels"),), findings=(("Erguss", "Effusion"),))
    assert columns.find_roles(_table("path", "Labels"), given) == {
        "image": "path",
        "labels": "Labels",
    }
    # Nobody else's column of this name is a list.
    assert columns.find_roles(_table("path", "Labels"), Columns()) == {"image": "path"}


def test_the_row_that_looks_like_the_header():
    table = table_files.Table("t.csv", pd.DataFrame([["x"]], [2], ["Export"]), likelier_header=4)
    with pytest.raises(InputError, match="if the header is row 4, write header_row = 4 in a file"):
        columns.find_roles(table, Columns())
