"""A file is there whole under its name, or it is not there."""

import errno
import json
import threading

import pandas as pd
import pytest

from tffcxr import files


def _half(file):
    file.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "state.bin"
    files.write_atomically(path, lambda file: file.write(b"old"))
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(path, _half)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state.bin"]


def test_a_failed_first_write_leaves_no_file(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(tmp_path / "new" / "state.bin", _half)
    assert list((tmp_path / "new").iterdir()) == []


def test_the_name_appears_only_when_the_file_is_complete(tmp_path):
    path = tmp_path / "state.bin"

    def write(file):
        file.write(b"whole")
        file.flush()
        assert not path.exists()

    files.write_atomically(path, write)
    assert path.read_bytes() == b"whole"


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    leftover = tmp_path / ".state.bin.4711.tmp"
    leftover.write_bytes(b"half")
    for name in ("state.bin", ".lock", "notes.tmp"):
        (tmp_path / name).write_bytes(b"mine")
    files.remove_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "notes.tmp", "state.bin"]


def test_text_is_utf8_and_json_refuses_nan(tmp_path):
    files.write_text(tmp_path / "a.txt", "Lungenödem")
    assert (tmp_path / "a.txt").read_bytes() == "Lungenödem".encode()
    files.write_json(tmp_path / "a.json", {"b": 1, "a": [2.5]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"a": [2.5], "b": 1}
    assert text.index('"a"') < text.index('"b"')
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_a_table_has_its_columns_alone_and_its_unknowns_empty(tmp_path):
    table = pd.DataFrame({"a": [1.5, float("nan")], "b": ["x,y", None]}, index=[7, 8])
    files.write_table(tmp_path / "new" / "t.csv", table)
    assert (tmp_path / "new" / "t.csv").read_bytes() == b'a,b\n1.5,"x,y"\n,\n'


def test_a_lock_keeps_others_waiting_and_ends_with_its_block(tmp_path):
    order = []

    def wait():
        with files.locked(tmp_path / ".lock"):
            order.append("second")

    with files.locked(tmp_path / ".lock"):
        second = threading.Thread(target=wait)
        second.start()
        second.join(timeout=0.2)
        assert second.is_alive()
        order.append("first")
    second.join(timeout=10)
    assert order == ["first", "second"]
