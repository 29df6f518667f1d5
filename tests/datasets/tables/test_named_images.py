"""Files that a table names in one way or another."""

from __future__ import annotations

import pytest

from tffcxr.datasets.tables import named_images
from tffcxr.errors import InputError


def _make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return named_images.ImageFiles(root)


def _find(files, *written):
    return files.find(written, "csv")


@pytest.mark.parametrize(
    "written",
    [
        "images/a.dcm",
        "./images/a.dcm",
        r"images\a.dcm",
        "a.dcm",
        "A.DCM",
        "a",
        "images/a",
        r"C:\export\images\a.dcm",
        r"\\server\pacs\images\a",
        "/mnt/elsewhere/images/a.dcm",
        "a.png",  # Converted since.
    ],
)
def test_ways_to_write_a_file(tmp_path, written):
    files = _make(tmp_path, "images/a.dcm", "images/b.dcm", "a.pdf")
    assert _find(files, written) == [str(tmp_path / "images/a.dcm")]


def test_absolute_path(tmp_path):
    files = _make(tmp_path / "here", "b.png")
    _make(tmp_path / "there", "a.png")
    assert _find(files, str(tmp_path / "there/a.png")) == [str(tmp_path / "there/a.png")]


def test_dots_of_a_uid_are_no_suffix(tmp_path):
    files = _make(tmp_path, "1.2.840.1", "1.2.840.2.dcm", "1.2.840.dcm")
    expected = [str(tmp_path / name) for name in ("1.2.840.1", "1.2.840.2.dcm", "1.2.840.dcm")]
    assert _find(files, "1.2.840.1", "1.2.840.2", "1.2.840") == expected


def test_what_is_not_there(tmp_path):
    files = _make(tmp_path, "a.png", ".hidden/b.png")
    assert _find(files, "c.png", "b.png", "..", "/", "a.png/x") == [None] * 5


def test_two_files_of_one_name_are_ambiguous(tmp_path):
    files = _make(tmp_path, "1/a.png", "2/a.png", "b.png", "b.dcm")
    with pytest.raises(InputError, match=r"one file for 'a.png', found .*1/a.png and .*2/a.png$"):
        _find(files, "a.png")
    with pytest.raises(InputError, match="one file for 'b'"):
        _find(files, "b")
    assert _find(files, "2/a.png", "b.dcm") == [str(tmp_path / n) for n in ("2/a.png", "b.dcm")]


def test_the_file_of_another_folder_is_not_taken_for_a_missing_one(tmp_path):
    files = _make(tmp_path, "2/front.png", "3/front.png")
    written = ["1/front.png", "2/front.png", "3/front.png"]
    assert _find(files, *written) == [None, *(str(tmp_path / name) for name in written[1:])]
    files = _make(tmp_path / "less", "2/front.png")
    assert _find(files, "1/front.png", "2/front.png") == [
        None,
        str(tmp_path / "less/2/front.png"),
    ]


def test_a_name_written_once_is_found_in_another_folder_with_a_warning(tmp_path, caplog):
    files = _make(tmp_path, "copies/a.png", "b.png")
    assert _find(files, r"D:\old\a.png", "b.png") == [
        str(tmp_path / "copies/a.png"),
        str(tmp_path / "b.png"),
    ]
    assert "1 of 2 files are known by their names alone, such as" in caplog.text
    caplog.clear()
    _find(files, "a.png")
    assert not caplog.text


def test_all_images(tmp_path):
    files = _make(tmp_path, "1/a.png", "b.DCM", "c.jpeg", "notes.txt", "README", ".x.png")
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    names = ["1/a.png", "IM0001", "b.DCM", "c.jpeg"]
    assert files.all_images() == [str(tmp_path / name) for name in names]
