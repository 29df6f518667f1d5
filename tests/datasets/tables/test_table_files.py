"""Tables of all kinds of files, cell by cell."""

from __future__ import annotations

import datetime
import gzip

import openpyxl
import pandas as pd
import pytest

from tffcxr.datasets.tables import table_files
from tffcxr.errors import InputError


def _read(path, sheet="", row=None):
    header = table_files.Header(lambda names: "File" in names, row)
    return table_files.read(path, header, sheet)


def _workbook(path, **sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"File,Name,Age\r\na.png,J\xc3\xb6rg,62\r\n"),
        ("t.csv", b"\xef\xbb\xbfFile,Name,Age\na.png,J\xc3\xb6rg,62\n"),
        ("t.csv", b"File;Name;Age\na.png;J\xf6rg;62\n"),
        ("t.csv", b'"File";"Name";"Age"\r\n"a.png";"J\xf6rg";"62"'),
        ("t.csv", "File,Name,Age\na.png,Jörg,62\n".encode("utf-16")),
        ("t.csv", b"sep=;\r\nFile;Name;Age\r\na.png;J\xf6rg;62\r\n"),
        ("t.tsv", b"File\tName\tAge\na.png\tJ\xc3\xb6rg\t62\n\n"),
        ("t.txt", b"File|Name|Age\n a.png | J\xf6rg |62\n"),
        ("t.csv.gz", gzip.compress(b"File,Name,Age\na.png,J\xc3\xb6rg,62\n")),
        ("t.csv", b"File,Name,Age,,\na.png,J\xc3\xb6rg,62,,\n,,,,\n,,,,\n"),
    ],
)
def test_every_csv_gives_the_same_cells(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    table = _read(path)
    assert table.cells.to_dict("records") == [{"File": "a.png", "Name": "Jörg", "Age": "62"}]
    assert table.where == str(path)


def test_a_header_with_commas_is_divided_by_its_semicolons(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("File;Age, in years, or so\na.png;62,5\n")
    assert _read(path).cells["Age, in years, or so"].tolist() == ["62,5"]


def test_rows_have_the_numbers_of_an_editor(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('sep=,\nFile,Text\na.png,"two\nlines"\n\nb.png,x\n')
    assert _read(path).cells.index.tolist() == [3, 6]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("File,A\na.png,1,2\n", "2 fields, found '2' beyond in row 2"),
        ('File,A\na.png,1\nb.png,"1\n', "in line 3: unexpected end of data"),
        ("File,A,A\na.png,1,2\n", "each column once, found several named 'A'"),
        ("File,A\n", "at least one row below it, found nothing below row 1$"),
        ("", "at least one row below it, found no row with a value"),
        ("a\0b", "NUL|at least one row"),
    ],
)
def test_damaged_csv(tmp_path, content, reason):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=reason):
        _read(path)


def test_cells_of_a_workbook(tmp_path):
    day = datetime.datetime(2023, 3, 2)
    rows = [["File", "Id", "F", "B", "D"], ["a", 123, 1.0, True, day], [None] * 5, ["b", 0.5]]
    cells = _read(_workbook(tmp_path / "t.xlsx", One=rows)).cells
    assert cells.to_dict("list") == {
        "File": ["a", "b"],
        "Id": ["123", "0.5"],
        "F": ["1", ""],
        "B": ["true", ""],
        "D": ["2023-03-02T00:00:00", ""],
    }
    assert cells.index.tolist() == [2, 4]
    assert isinstance(cells["D"][2], table_files.Date)
    assert not isinstance(cells["File"][2], table_files.Date)


def test_the_sheet_with_the_images_is_read(tmp_path):
    path = _workbook(
        tmp_path / "t.xlsx", Notes=[["x"], ["y"]], Empty=[], Images=[["File", "A"], ["a", 1]]
    )
    assert _read(path).where == f"{path}, sheet 'Images'"
    assert list(_read(path, "Notes").cells.columns) == ["x"]
    with pytest.raises(InputError, match="a sheet named 'No' with a table"):
        _read(path, "No")


def test_two_sheets_with_images_are_ambiguous(tmp_path):
    rows = [["File", "A"], ["a", 1]]
    path = _workbook(tmp_path / "t.xlsx", One=rows, Two=rows)
    with pytest.raises(InputError, match="one sheet with a column of images, found One, Two"):
        _read(path)
    assert len(_read(path, "Two").cells) == 1


def test_parquet_has_the_cells_of_csv(tmp_path):
    path = tmp_path / "t.parquet"
    df = pd.DataFrame({"File": ["a", "b"], "N": [1, 2], "X": [1.0, None], "B": [True, False]})
    df.assign(D=pd.to_datetime(["2023-03-02", None])).to_parquet(path)
    cells = _read(path).cells
    assert cells.to_numpy().tolist() == [
        ["a", "1", "1", "true", "2023-03-02T00:00:00"],
        ["b", "2", "", "false", ""],
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("t.xlsx", "a workbook of Excel, found"),
        ("t.parquet", "a Parquet file, found"),
        ("t.csv.gz", "a compressed table, found"),
        ("t.xls", r"\.parquet; save it as .xlsx or .csv$"),
        ("t.ods", r"\.parquet; save it as .xlsx or .csv$"),
        ("t.pdf", r"ends with .csv, .*\.parquet$"),
    ],
)
def test_what_is_no_table(tmp_path, name, reason):
    path = tmp_path / name
    path.write_bytes(b"\xff\xfd nothing")
    with pytest.raises(InputError, match=reason):
        _read(path)


def test_a_file_that_excel_has_open_is_no_table(tmp_path):
    assert table_files.is_table(tmp_path / "A.CSV")
    assert not table_files.is_table(tmp_path / "~$A.xlsx")
    assert not table_files.is_table(tmp_path / "a.png")


_TITLED: list[list[object]] = [
    ["Export of 2023"],
    [],
    ["Ward 7", "secret"],
    ["File", "A", "B"],
    ["a", "x", 1],
]


@pytest.mark.parametrize("name", ["t.xlsx", "t.csv", "t.txt"])
def test_titles_above_the_header_are_left_out_with_a_warning(tmp_path, caplog, name):
    if name == "t.xlsx":
        path = _workbook(tmp_path / name, Notes=[["a"], ["b"]], Images=_TITLED)
    else:
        path = tmp_path / name
        lines = (";".join(map(str, row)) for row in _TITLED)
        path.write_text("\n".join(lines) + "\n")
    cells = _read(path).cells
    assert cells.to_dict("records") == [{"File": "a", "A": "x", "B": "1"}]
    assert cells.index.tolist() == [5]
    assert "the header is row 4; what stands above it is left out" in caplog.text


def test_a_header_of_other_names_is_named_by_its_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Export\n2023,7,x,y\nBild,A,B,C\na,1,x,y\n")
    with pytest.raises(InputError, match="in row 2; if the header is row 3, write header_row = 3"):
        _read(path)  # Row 2 has numbers, so it is no header.
    assert list(_read(path, row=3).cells.columns) == ["Bild", "A", "B", "C"]
    with pytest.raises(InputError, match="expected the header in row 9, found it empty"):
        _read(path, row=9)
    with pytest.raises(InputError, match="at least one row below it, found nothing"):
        _read(path, row=4)


def test_values_with_the_name_of_a_column_are_no_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Bild,Patient,Format,Mass\na,1,File,1\nb,2,File,0\n")
    assert list(_read(path).cells.columns) == ["Bild", "Patient", "Format", "Mass"]


def test_parquet_has_no_row_of_the_header(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"File": ["a"]}).to_parquet(path)
    with pytest.raises(InputError, match="no header_row for Parquet"):
        _read(path, row=2)
