"""What is sealed is read with the same key alone, and is nowhere in plain text."""

import os

import pandas as pd
import pytest

from tffcxr import errors, kept_names, run_tables, sealed_files

NAME = b"quintrell"


@pytest.fixture(name="key")
def _key(tmp_path, monkeypatch):
    path = tmp_path / "user" / "names.key"
    monkeypatch.setenv(sealed_files.KEY_VARIABLE, str(path))
    return path


def test_the_key_s_owner_reads_what_was_sealed(key, tmp_path):
    path = tmp_path / "a.sealed"
    sealed_files.write(path, 9 * NAME)
    assert sealed_files.read(path) == 9 * NAME
    assert NAME not in path.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    drawn = key.read_bytes()
    sealed_files.write(path, b"other")
    assert key.read_bytes() == drawn
    assert os.listdir(key.parent) == [key.name]


def test_another_key_reads_nothing(key, tmp_path, monkeypatch):
    path = tmp_path / "a.sealed"
    sealed_files.write(path, NAME)
    monkeypatch.setenv(sealed_files.KEY_VARIABLE, str(tmp_path / "other.key"))
    with pytest.raises(errors.InputError, match="those of another user .* TFFCXR_NAMES_KEY=FILE"):
        sealed_files.read(path)
    monkeypatch.setenv(sealed_files.KEY_VARIABLE, str(key))
    assert sealed_files.read(path) == NAME
    path.write_bytes(path.read_bytes()[:-9] + b"AAAAAAAA\n")
    with pytest.raises(errors.InputError, match="expected names that were sealed"):
        sealed_files.read(path)
    key.write_text("no key")
    with pytest.raises(errors.InputError, match="expected a key of names of files, found"):
        sealed_files.read(path)


def test_the_key_lies_in_the_user_s_configuration(tmp_path, monkeypatch):
    monkeypatch.delenv(sealed_files.KEY_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert sealed_files.key_file() == tmp_path / "tffcxr" / "names.key"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert sealed_files.key_file() == tmp_path / "home" / ".config" / "tffcxr" / "names.key"


def test_without_a_place_for_the_key_no_names_are_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(sealed_files.KEY_VARIABLE, str(tmp_path / "file" / "names.key"))
    with pytest.warns(match="names of files are not kept: .*TFFCXR_NAMES_KEY=FILE"):
        kept_names.write_settings(tmp_path, {"site": ["a=csv:/x"]}, None)
    assert kept_names.read_settings(tmp_path) == {}
    assert not (tmp_path / "cache").exists()


def test_tables_and_settings_come_back_as_they_were(key, tmp_path):
    rows = pd.DataFrame(
        [("a", "0", "train", "/ü/001.png", "007"), ("a", "1", "test", "NA", "")],
        columns=list(run_tables.IMAGES.columns),
    )
    assert kept_names.read(tmp_path, run_tables.IMAGES) is None
    kept_names.write(tmp_path, run_tables.IMAGES, rows)
    pd.testing.assert_frame_equal(kept_names.read(tmp_path, run_tables.IMAGES), rows)
    with pytest.raises(ValueError, match=r"images.csv: expected columns"):
        kept_names.write(tmp_path, run_tables.IMAGES, rows[["row"]])
    kept_names.write_settings(tmp_path, {"site": ["a=csv:/x"]}, ["tffcxr"])
    found = kept_names.read_settings(tmp_path)
    assert found == {"settings": {"site": ["a=csv:/x"]}, "command": ["tffcxr"]}
    assert key.exists()
