"""A hospital's own table, read into records."""

from __future__ import annotations

import datetime
import math
import shutil

import numpy as np
import openpyxl
import PIL.Image
import pydicom
import pytest

from tests.datasets import source_folders
from tffcxr.datasets import loaders, records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.tables.columns import Columns
from tffcxr.errors import InputError


def _load(root, site="north", columns=None, **options):
    given = LoadOptions(columns=columns or Columns(), **options)
    return loaders.load_records("csv", root, site, given)


def _write(folder, *lines, images="abcdef", suffix=".png"):
    """Writes files of images, which loading does not read, and a table."""
    for name in images:
        (folder / f"{name}{suffix}").write_bytes(b"")
    (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _labels(table, name):
    return [None if math.isnan(value) else value for value in table[name]]


def _png(path, height=3, width=4, value=0):
    PIL.Image.fromarray(np.full((height, width), value, np.uint8)).save(path)


def test_a_german_table():
    table = _load(source_folders.TESTDATA / "csv")
    # The second image is lateral.
    assert [path[-7:] for path in table["image"]] == [f"IM{n}.png" for n in (0, 2, 3, 4, 5)]
    assert table["patient"].tolist() == ["1", "2", "3", "3", "4"]
    assert table["view"].tolist() == ["PA", "AP", "PA", "PA", None]
    assert table["age"].tolist()[:4] == [62.5, 41.0, 7.0, 7.0]
    assert math.isnan(table["age"][4])
    assert table["sex"].tolist() == ["F", "M", "M", "M", None]
    assert records.findings(table) == ["Effusion", "Lung Opacity"]
    assert _labels(table, "Effusion") == [1, None, 0, 0, 1]
    assert _labels(table, "Lung Opacity") == [0, 0, 1, 0, None]


@pytest.mark.parametrize(("uncertain", "value"), [("positive", 1.0), ("negative", 0.0)])
def test_uncertain_labels(uncertain, value):
    table = _load(source_folders.TESTDATA / "csv", uncertain=uncertain)
    assert _labels(table, "Effusion") == [1, value, 0, 0, 1]


def test_all_views():
    assert len(_load(source_folders.TESTDATA / "csv", views="all")) == 6


def _copy_dicom_files(folder):
    files = sorted((source_folders.TESTDATA / "rsna/stage_2_train_images").iterdir())[:4]
    for number, file in enumerate(files):
        shutil.copy(file, folder / f"IM{number}.dcm")
    return [file.stem for file in files]  # The patients.


def test_an_excel_table_beside_dicom_files(tmp_path, caplog):
    """Headers tell what the table does not: age, sex and view."""
    _copy_dicom_files(tmp_path)
    book = openpyxl.Workbook()
    book.active.append(["File name", "Patient ID", "Pneumonia", "Physician", "Empty"])
    for number, patient in enumerate(["007", 7, "x", 8.0]):
        book.active.append([f"IM{number}", patient, number % 2 == 0, "Dr. A", None])
    book.create_sheet("Notes").append(["nothing"])
    book.save(tmp_path / "t.xlsx")
    table = _load(tmp_path)
    assert table["patient"].tolist() == ["7", "7", "x", "8"]
    assert table["age"].tolist() == [30, 34, 38, 42]
    assert table["sex"].tolist() == ["F", "M", "F", "F"]
    assert table["view"].tolist() == ["PA", "AP", "PA", "AP"]
    assert table["Pneumonia"].tolist() == [1, 0, 1, 0]
    assert "the findings are Pneumonia; not used: 'Physician', 'Empty'" in caplog.text


def test_scanners_of_the_table_and_of_headers(tmp_path):
    _copy_dicom_files(tmp_path)
    made = pydicom.dcmread(tmp_path / "IM0.dcm")
    made.Manufacturer, made.ManufacturerModelName = "Acme", "Ray 9"
    made.save_as(tmp_path / "IM0.dcm")
    rows = ["IM0,,1", "IM1,Acme Ray 8,0", "IM2,,1"]
    table = _load(_write(tmp_path, "File,Scanner,Mass", *rows, images=""))
    assert table["scanner"].tolist() == ["Acme Ray 9", "Acme Ray 8", None]
    assert records.findings(table) == ["Mass"]


def test_patients_of_dicom_headers(tmp_path):
    patients = _copy_dicom_files(tmp_path)
    rows = [f"IM{number},{number % 2}" for number in range(4)]
    table = _load(_write(tmp_path, "File,Mass", *rows, images=""))
    assert table["patient"].tolist() == patients
    rows = [f"IM0,{patients[0]},1", "IM1,,0"]
    table = _load(_write(tmp_path, "File,Patient,Mass", *rows, images=""))
    assert table["patient"].tolist() == patients[:2]


def test_patients_of_headers_do_not_fill_a_table_of_other_names(tmp_path):
    """IM1 may be of the patient that the table calls x."""
    _copy_dicom_files(tmp_path)
    _write(tmp_path, "File,Patient,Mass", "IM0,x,1", "IM1,,0", images="")
    with pytest.raises(InputError, match="a patient in every row, .*row 2., found none in row 3"):
        _load(tmp_path)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("A,Mass", "a,1"), r"column with the images, .* found the columns 'A', 'Mass'"),
        (("File,Patient,X", "a,1,two"), "column of labels .*columns 'File', 'Patient', 'X'"),
        (("File,Patient,Mass", "a,1,1", "b,2,maybe"), "Mass: row 3: .*found 'maybe'; if it is no"),
        (("File,Patient,Own", "a,1,1", "b,2,0", "c,3,2"), "Own: row 4: expected 1 or 0"),
        (("File,Mass", "a,1", "b,0"), "whose each image is, .*2 images without .*first in row 2"),
        (("File,Patient,Mass", "a,1,1", "b,,0"), "found 1 images without .the first in row 3"),
        (("File,Patient,Mass", "a,1.2E+11,1"), "Patient: row 2: .*a spreadsheet has rounded"),
        (("File,Patient,Mass", "a,1,1", "a.png,2,0"), "one row per image, found rows 2 and 3 for"),
        (("File,Patient,Mass", ",1,1", "b,1,0"), "File: expected an image in every row, .*row 2"),
        (("File,Patient,Mass", "x,1,1"), "none of the 1 that are labelled, such as 'x'"),
        (("File,Patient,Sex,Mass", "a,1,7,1"), "Sex: row 2: expected F or M, .* found '7'"),
        (("File,Patient,Age,Mass", "a,1,old,1"), "Age: row 2: expected an age such as"),
        (("File,Patient,Age,Mass", "a,1,430,1"), "Age: row 2: expected an age of 0 to 120 years"),
        (("File,Patient,Mass", "a,1,there", "b,2,not"), "Mass: row 2: .*found 'there'; if it is"),
        (("File,Patient,Split,Mass", "a,1,x,1"), "Split: row 2: expected train, validation"),
        (("File,Patient,Split,Mass", "a,1,train,1", "b,2,,0"), "test in every row, .*in row 3"),
        (
            ("File,Patient,Split,Mass", "a,01,train,1", "b,1,test,0"),
            "in one split, found rows 2 and 3 of one patient in train and test",
        ),
        (("File,Patient,Effusion,Pleural effusion", "a,1,1,0"), "one column for 'Effusion', found"),
        (("File,Patient,Class", "a,1,1", "b,2,0"), "Class: expected names of classes, found lab"),
        (("File,Patient,Class", "a,1,x", "b,2,x"), "Class: expected 2 to 20 classes, found 1"),
    ],
)
def test_what_is_wrong_in_a_table(tmp_path, lines, reason):
    with pytest.raises(InputError, match=reason):
        _load(_write(tmp_path, *lines))


def test_a_patient_that_excel_made_a_date(tmp_path):
    _write(tmp_path, "x")
    (tmp_path / "t.csv").unlink()
    book = openpyxl.Workbook()
    book.active.append(["File", "Patient", "Mass"])
    book.active.append(["a", datetime.date(2023, 3, 2), 1])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="Patient: row 2: expected a patient, found the date 2023"):
        _load(tmp_path)


def test_every_image_of_another_patient_if_the_user_says_so(tmp_path, caplog):
    _write(tmp_path, "File,Mass", "a,1", "b,0")
    own = Columns(path="c.toml", every_image_another_patient=True)
    assert _load(tmp_path, columns=own)["patient"].nunique() == 2
    assert "2 images without a patient count as one patient each, as c.toml says" in caplog.text


def test_a_column_of_mostly_other_values_is_not_used(tmp_path, caplog):
    table = _load(_write(tmp_path, "File,Patient,Mass,N", "a,1,1,1", "b,2,0,7", "c,3,,9"))
    assert records.findings(table) == ["Mass"]
    assert "not used: 'N'" in caplog.text


def test_columns_that_the_user_names(tmp_path):
    _write(tmp_path, "Bild,Fall,Erguss,ICU,Mass", "a,x,1,1,1", "b,y,0,1,0")
    own = Columns(roles=(("image", "Bild"), ("patient", "Fall")), ignore=("ICU",))
    assert records.findings(_load(tmp_path, columns=own)) == ["Erguss", "Mass"]
    own = Columns(roles=own.roles, findings=(("Erguss", "Effusion"),))
    assert records.findings(_load(tmp_path, columns=own)) == ["Effusion"]


def test_images_in_another_folder(tmp_path):
    table_folder = _write(tmp_path, "File,Patient,Mass", "a,1,1", "b,2,0", images="")
    files = tmp_path / "files"
    files.mkdir()
    for name in "ab":
        (files / f"{name}.png").write_bytes(b"")
    found = _load(table_folder / "t.csv", columns=Columns(images=str(files)))
    assert found["image"].tolist() == [str(files / "a.png"), str(files / "b.png")]


def test_missing_images_are_left_out_and_counted(tmp_path, caplog):
    _write(tmp_path, "File,Patient,Mass", "a,1,1", "x,2,0", "b,3,0")
    assert len(_load(tmp_path)) == 2
    assert "1 of 3 labelled images are not in" in caplog.text
    assert "such as 'x'" in caplog.text


def test_rows_of_a_site(tmp_path, caplog):
    _write(tmp_path, "File,Patient,Site,Mass", "a,1,North,1", "b,2,south,0", "c,3,north,0")
    assert _load(tmp_path, "north")["patient"].tolist() == ["1", "3"]
    assert "2 of 3 rows of" in caplog.text
    caplog.clear()
    assert _load(tmp_path, "a")["site"].tolist() == ["a", "a", "a"]
    assert "has rows of 'North', 'north', 'south', all of which are taken" in caplog.text


def test_two_tables_in_a_folder(tmp_path):
    _write(tmp_path, "File,Patient,Mass", "a,1,1", "b,2,0")
    shutil.copy(tmp_path / "t.csv", tmp_path / "u.csv")
    with pytest.raises(InputError, match="one table in .*, found t.csv, u.csv; give the path of"):
        _load(tmp_path)
    assert len(_load(tmp_path / "u.csv")) == 2


def test_splits(tmp_path):
    lines = ["a,1,Training,1", "b,2,val,0", "c,3,TEST,0"]
    table = _load(_write(tmp_path, "File,Patient,Split,Mass", *lines))
    assert table["split"].tolist() == ["train", "validation", "test"]


def test_classes(tmp_path):
    lines = ["a,1,NORMAL", "b,2,pneumonia", "c,3,covid19", "d,4,"]
    table = _load(_write(tmp_path, "File,Patient,Class", *lines))
    assert set(records.findings(table)) == {"Normal", "Pneumonia", "COVID-19"}
    assert _labels(table, "Normal") == [1, 0, 0, None]
    assert _labels(table, "COVID-19") == [0, 0, 1, None]


def test_findings_as_lists_in_one_column(tmp_path, caplog):
    lines = ["a,1,Effusion|Mass,1", "b,2,No Finding,0", "c,3,,1", "d,4,Mass,0"]
    folder = _write(tmp_path, "File,Patient,Labels,ICU", *lines)
    table = _load(folder, columns=Columns(roles=(("labels", "Labels"),)))
    assert records.findings(table) == ["Effusion", "Mass"]
    assert _labels(table, "Mass") == [1, 0, None, 1]
    assert "the findings are Effusion, Mass; not used: 'ICU'" in caplog.text
    lines = [line.rsplit(",", 1)[0] for line in lines]
    folder = _write(tmp_path, "File,Patient,Labels", *lines)
    with pytest.raises(InputError, match='lists the findings .*, write labels = "…" in a file for'):
        _load(folder)


def test_spreadsheets_that_are_not_read(tmp_path):
    _write(tmp_path, "x")
    (tmp_path / "t.csv").rename(tmp_path / "t.ods")
    with pytest.raises(InputError, match=r"t.ods: expected a table .*; save it as .xlsx or .csv$"):
        _load(tmp_path)
    _write(tmp_path, "File,Patient,Mass", "a,1,1", "b,2,0")
    assert len(_load(tmp_path)) == 2  # Beside a table that is read, it may be anything.


def test_masks_of_a_finding(tmp_path):
    """An image that is free of the finding has an empty mask; one that is unknown has none."""
    _write(tmp_path, "File,Patient,Mass,Mask", "a,1,1,m", "b,2,0,", "c,3,1,", "d,4,,", images="")
    for name in "abcdm":
        _png(tmp_path / f"{name}.png", value=255 * (name == "m"))
    table = _load(tmp_path)
    assert table["mask"].tolist() == [
        areas.MaskFile(str(tmp_path / "m.png")),
        areas.Boxes((), 3, 4),
        None,
        None,
    ]
    assert table["mask"][0].to_array().all()
    assert table["lungs"].isna().all()


def test_a_mask_where_the_finding_is_absent(tmp_path):
    _write(tmp_path, "File,Patient,Mass,Mask", "a,1,0,blank", "b,2,1,m", images="")
    for name in ("a", "b", "m", "blank"):
        _png(tmp_path / f"{name}.png", value=255 * (name == "m"))
    assert not _load(tmp_path)["mask"][0].to_array().any()
    _png(tmp_path / "blank.png", value=255)
    with pytest.raises(InputError, match="Mask: expected no outline where Mass is absent, .*row 2"):
        _load(tmp_path)


def test_masks_of_several_findings_are_ambiguous(tmp_path):
    _write(tmp_path, "File,Patient,Mass,Nodule,Mask", "a,1,1,0,m", images="")
    for name in "am":
        _png(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="masks of one finding, found the findings Mass, Nodule;"):
        _load(tmp_path)
    assert _load(tmp_path, columns=Columns(findings=(("Mass", ""),)))["mask"].notna().all()
    assert _load(tmp_path, columns=Columns(ignore=("Mask",)))["mask"].isna().all()


def test_masks_without_findings_are_those_of_the_lungs(tmp_path, caplog):
    _write(tmp_path, "File,Patient,Mask", "a,1,m", "b,2,", images="")
    for name in "abm":
        _png(tmp_path / f"{name}.png")
    table = _load(tmp_path)
    assert table["lungs"].tolist() == [areas.MaskFile(str(tmp_path / "m.png")), None]
    assert "taken as those of the lungs" in caplog.text


def test_masks_that_do_not_fit(tmp_path):
    _write(tmp_path, "File,Patient,Mass,Mask", "a,1,1,m", images="")
    _png(tmp_path / "a.png")
    with pytest.raises(InputError, match="Mask: expected a file on disk, found 'm' in row 2"):
        _load(tmp_path)
    _png(tmp_path / "m.png", 4, 4)
    with pytest.raises(InputError, match="a mask of 4x3 pixels like"):
        _load(tmp_path)


def test_a_folder_without_a_table_has_no_labels(tmp_path):
    folder = source_folders.TESTDATA / "rsna/stage_2_train_images"
    table = _load(folder, unlabelled=True)
    assert records.findings(table) == []
    assert table["patient"].tolist() == [path.stem for path in sorted(folder.iterdir())]
    assert table["age"][0] == 30
    with pytest.raises(InputError, match="a finding or a mask to train on, found 12 images in"):
        _load(folder)
    with pytest.raises(InputError, match="expected a table .* or images in .*, found neither"):
        _load(tmp_path, unlabelled=True)
    with pytest.raises(InputError, match="c.toml: expected a table that it describes, found none"):
        _load(folder, columns=Columns(path="c.toml"))
