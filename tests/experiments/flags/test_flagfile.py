"""What `--flagfile` names: a file of the user's, otherwise a preset."""

import pathlib

import pytest

from experiments.flags import flagfile
from tffcxr.errors import InputError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_preset_is_named_from_any_folder():
    program, first, last = flagfile.resolved(["covid", "--flagfile=covid", "--rounds=3"])
    assert (program, last) == ("covid", "--rounds=3")
    assert first.startswith("--flagfile=/")
    assert "--image_size=224" in pathlib.Path(first.partition("=")[2]).read_text("utf-8")


def test_the_name_may_be_a_word_of_its_own():
    _, flag, file, _ = flagfile.resolved(["covid", "--flagfile", "covid", "covid"])
    assert flag == "--flagfile"
    assert pathlib.Path(file).name == "covid.flags"


def test_a_file_goes_before_a_preset_and_a_folder_does_not(tmp_path):
    (tmp_path / "covid").touch()
    (tmp_path / "tuberculosis").mkdir()
    _, own, preset = flagfile.resolved(["", "--flagfile=covid", "--flagfile=tuberculosis"])
    assert own == "--flagfile=covid"
    assert preset.endswith("presets/tuberculosis.flags")


def test_a_file_at_home_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").touch()
    assert flagfile.resolved(["", "-flagfile=~/mine"]) == ["", "-flagfile=~/mine"]


@pytest.mark.parametrize("words", [["--site=covid"], ["--", "--flagfile=nowhere"], ["--flagfile"]])
def test_other_words_stay(words):
    assert flagfile.resolved(["covid", *words]) == ["covid", *words]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("Covid", "found 'Covid' (did you mean covid?)"),
        ("experiments/presets/mine.flags", "found 'experiments/presets/mine.flags'"),
        ("", "found ''"),
    ],
)
def test_neither_a_file_nor_a_preset(name, end):
    with pytest.raises(InputError) as error:
        flagfile.resolved(["covid", f"--flagfile={name}"])
    text = str(error.value)
    assert text.startswith("--flagfile: expected a file or one of chexviz_densenet121, ")
    assert text.endswith(end)
