"""CSV files as people save them."""

from __future__ import annotations

import pytest

from tffcxr.datasets.sources import source_files
from tffcxr.errors import InputError


def _read(tmp_path, data, columns=("a", "b")):
    path = tmp_path / "t.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return source_files.read_csv(path, columns, "made")


@pytest.mark.parametrize(
    "data",
    [
        "a,b\n1,x\n2,\n",
        "a, b\n1, x\n2, \n",
        "\ufeffa,b\r\n1,x\r\n2,\r\n",
        'a,b\n"1","x"\n2\n',
        "a,b,\n1,x,\n2,,\n",
        "a,b\n1,x,\n2,,\n",
    ],
)
def test_spellings_of_one_table(tmp_path, data):
    table = _read(tmp_path, data)
    assert table["a"].tolist() == ["1", "2"]
    assert table["b"].tolist() == ["x", ""]


def test_values_stay_text(tmp_path):
    table = _read(tmp_path, "a,b\n001,NA\n1.0,None\n")
    assert table["a"].tolist() == ["001", "1.0"]
    assert table["b"].tolist() == ["NA", "None"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "expected a CSV file, found: No columns"),
        ("a,b\n", "at least one row, found none"),
        ("a,b\n1,x,extra\n2,,\n", "rows as long as the header, found longer ones"),
        ("a,b\n1,x\n2,y,extra\n", "expected a CSV file, found"),
        ("a,c\n1,2\n", "expected the column 'b', found 'a', 'c'"),
        (b"\xff\xfe\x00a", "expected a CSV file, found"),
        ('a,b\n"1,2\n', "expected a CSV file, found"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, data, reason):
    with pytest.raises(InputError, match=reason) as error:
        _read(tmp_path, data)
    assert "\n" not in str(error.value)
    assert "t.csv" in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="absent.csv: expected a CSV file, found: no such file"):
        source_files.read_csv(tmp_path / "absent.csv", ["a"], "made")


def test_files_are_found_at_any_depth_and_by_suffix(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    for name in ("a.PNG", "x/b.png", "x/y/c.jpg", "x/y/d.txt", "x/._e.png"):
        (tmp_path / name).touch()
    found = source_files.find_files([tmp_path], [".png", ".jpg"])
    assert found == {
        "a.PNG": f"{tmp_path}/a.PNG",
        "b.png": f"{tmp_path}/x/b.png",
        "c.jpg": f"{tmp_path}/x/y/c.jpg",
    }


def test_two_files_of_one_name(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    with pytest.raises(InputError, match="one file named a.png, found"):
        source_files.find_files([tmp_path], [".png"])


def test_long_values_only_where_they_are_expected(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"id,code,other\n1,{'3 4 ' * 1000},{'x' * 5000}\n")
    table = source_files.read_csv(path, ["id", "code"], "made", long=["code"])
    assert len(table["code"][0]) == 3999
    with pytest.raises(InputError, match="at most 256 characters as code, found in line 2: id=1"):
        source_files.read_csv(path, ["id", "code"], "made")
