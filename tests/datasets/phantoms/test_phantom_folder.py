"""A folder appears whole or not at all."""

import fcntl
import json

import pytest

from tffcxr.datasets.phantoms import phantom_folder
from tffcxr.errors import InputError

SETTINGS = {"layout": "rsna", "seed": 1}


def _make(root, settings=SETTINGS):
    with phantom_folder.create(root, settings) as folder:
        if folder is None:
            return False
        (folder / "data").write_text("x")
        return True


def test_folder_appears_when_the_block_ends(tmp_path):
    root = tmp_path / "below" / "site"
    with phantom_folder.create(root, SETTINGS) as folder:
        assert folder is not None
        (folder / "data").write_text("x")
        assert not root.exists()
    assert (root / "data").read_text() == "x"
    assert [path.name for path in root.parent.iterdir()] == ["site"]


def test_same_settings_are_reused(tmp_path):
    assert _make(tmp_path / "site")
    assert not _make(tmp_path / "site")


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "site").mkdir()
    assert _make(tmp_path / "site")


def test_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), phantom_folder.create(tmp_path / "site", SETTINGS):
        raise RuntimeError
    assert not any(tmp_path.iterdir())


def test_full_disk_is_one_line(tmp_path):
    complaint = pytest.raises(InputError, match="No space left")
    with complaint, phantom_folder.create(tmp_path / "site", SETTINGS):
        raise OSError(28, "No space left on device")
    assert not any(tmp_path.iterdir())


def test_other_settings_are_refused_by_name(tmp_path):
    _make(tmp_path / "site")
    with pytest.raises(InputError, match="expected phantoms with seed=2, found seed=1"):
        _make(tmp_path / "site", {**SETTINGS, "seed": 2})


@pytest.mark.parametrize("content", ["not JSON", "[1]"])
def test_foreign_files_are_left_alone(tmp_path, content):
    (tmp_path / "phantom.json").write_text(content)
    with pytest.raises(InputError, match="found other files"):
        _make(tmp_path)
    assert (tmp_path / "phantom.json").read_text() == content


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "site").write_text("x")
    with pytest.raises(InputError, match="site"):
        _make(tmp_path / "site")


def test_a_parent_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="can be written"):
        _make(tmp_path / "file" / "site")


def test_what_a_killed_run_left_is_removed_but_not_a_living_ones(tmp_path):
    dead, alive = tmp_path / ".site.partial-dead", tmp_path / ".site.partial-alive"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "phantom.json").write_text(json.dumps(SETTINGS))
    with (alive / "phantom.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make(tmp_path / "site")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".site.partial-alive", "site"]


def test_the_first_of_two_writers_wins(tmp_path):
    root = tmp_path / "site"
    with phantom_folder.create(root, SETTINGS) as folder:
        assert folder is not None
        (folder / "data").write_text("second")
        _make(root)
    assert (root / "data").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
