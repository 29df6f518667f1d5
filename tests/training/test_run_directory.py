"""Whose a folder is, and what happens when it is somebody else's."""

import errno
import gc
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tffcxr import kept_names
from tffcxr.errors import InputError
from tffcxr.training import run_directory
from tffcxr.training.run_directory import RunDirectory

SETTINGS = {"rounds": 3, "site": ["a=rsna:x:Opacity"], "seed": 0}


def _open(path, recipe="cheXviz", **settings):
    return RunDirectory.open(path, recipe, {**SETTINGS, **settings}, {"versions": {"x": "1"}})


def _config(path):
    return json.loads((path / "config.json").read_text())


@pytest.fixture
def run(tmp_path):
    """The folder of a run that has prepared its images and stopped."""
    directory = _open(tmp_path / "run")
    directory.record_data("abc", [{"client": "a"}])
    directory.close()
    return directory.path


def test_a_fact_that_changes_no_result_may_be_another_when_a_run_is_resumed(run):
    directory = _open(run)
    before = _config(run)
    assert directory.record_fact("published", ["table"])
    assert not directory.record_fact("published", ["table"])
    assert _config(run) == {**before, "published": ["table"]}


def test_a_new_folder_is_made_and_says_whose_it_is(tmp_path):
    directory = _open(tmp_path / "deep" / "run")
    found = _config(directory.path)
    (site,) = found["settings"].pop("site")
    assert re.fullmatch(r"a=rsna:\[path [0-9a-f]{16}\]:Opacity", site)
    assert found == {
        "recipe": "cheXviz",
        "settings": {"rounds": 3, "seed": 0},
        "versions": {"x": "1"},
    }
    assert not directory.is_complete
    assert kept_names.read_settings(directory.path) == {}  # As long as there is nothing to know.
    directory.record_data("abc", [])
    assert kept_names.read_settings(directory.path) == {"settings": SETTINGS, "command": None}


def test_a_run_of_an_earlier_version_with_plain_paths_resumes(run):
    config = _config(run)
    assert config["settings"] != SETTINGS
    (run / "config.json").write_text(json.dumps({**config, "settings": SETTINGS}))
    _open(run).close()
    with pytest.raises(InputError, match="holds a run with site=.*, found site="):
        _open(run, site=["a=rsna:y:Opacity"])


def test_a_run_resumes_where_the_user_has_another_key(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TFFCXR_NAMES_KEY", str(tmp_path / "other.key"))
    with pytest.raises(InputError, match="sealed with the key"):
        kept_names.read_settings(run)
    _open(run).record_data("abc", [])
    assert kept_names.read_settings(run)["settings"] == SETTINGS


def test_the_same_settings_resume(run):
    before = _config(run)
    _open(run).record_data("abc", [{"client": "a"}])
    assert _config(run) == before


def test_other_settings_are_refused_and_the_difference_named(run):
    before = (run / "config.json").read_bytes()
    with pytest.raises(InputError, match=r"rounds=3, found rounds=4; use the same settings"):
        _open(run, rounds=4)
    with pytest.raises(InputError, match=r"with alpha=None, found alpha=0.5"):
        _open(run, alpha=0.5)
    assert (run / "config.json").read_bytes() == before


def test_a_run_without_results_takes_new_settings(tmp_path):
    _open(tmp_path).close()
    _open(tmp_path, rounds=4)
    assert _config(tmp_path)["settings"]["rounds"] == 4


def test_another_recipes_run_is_refused(tmp_path):
    _open(tmp_path).close()
    with pytest.raises(InputError, match="holds a run of cheXviz, expected one of covid"):
        _open(tmp_path, recipe="covid")


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="found 'thesis.tex'"):
        _open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_kill_during_the_very_first_write(tmp_path):
    (tmp_path / ".lock").write_text("")
    (tmp_path / ".config.json.99.tmp").write_text('{"recipe": ')
    assert _config(_open(tmp_path).path)["recipe"] == "cheXviz"
    assert not (tmp_path / ".config.json.99.tmp").exists()


def test_a_damaged_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"recipe": ')
    with pytest.raises(InputError, match=r"config\.json: expected the settings of a run"):
        _open(tmp_path)


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="expected a folder that can be written.*File exists"):
        _open(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        _open(tmp_path)


def test_a_read_only_place():
    with pytest.raises(InputError, match="expected a folder that can be written, found /proc"):
        _open(run_directory.pathlib.Path("/proc/run"))


def test_an_almost_full_disk_is_said_at_the_start(tmp_path, monkeypatch):
    usage = run_directory.shutil.disk_usage(tmp_path)._replace(free=5 << 20)
    monkeypatch.setattr(run_directory.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="at least 200 MiB free, found 5 MiB"):
        _open(tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_another_process_that_is_using_the_folder(tmp_path):
    program = (
        "import fcntl, os, sys\n"
        f"lock = os.open({str(tmp_path / '.lock')!r}, os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="is in use by another run"):
            _open(tmp_path)
        other.kill()  # However it ends, the folder is free again.
    _open(tmp_path)


def test_a_fork_that_outlives_the_program_keeps_the_folder(tmp_path):
    directory = _open(tmp_path)
    waits, ends = os.pipe()
    child = os.fork()
    if not child:
        os.read(waits, 1)
        os._exit(0)
    directory.close()  # As if the program were killed.
    try:
        with pytest.raises(InputError, match="is in use by another run"):
            _open(tmp_path)
    finally:
        os.write(ends, b".")
        os.waitpid(child, 0)
    _open(tmp_path)


def test_a_folder_is_locked_though_nobody_refers_to_it(tmp_path):
    _open(tmp_path)
    gc.collect()
    with pytest.raises(InputError, match="is in use by another run"):
        _open(tmp_path)


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(descriptor, blocking):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_directory.filelock, "lock_descriptor", refuse)
    with pytest.raises(InputError, match="on a file system with locks, found .*: No locks"):
        _open(tmp_path)


def test_changed_images_are_refused(run):
    with pytest.raises(InputError, match="fingerprint abc, found xyz"):
        _open(run).record_data("xyz", [])
    assert _config(run)["data_fingerprint"] == "abc"


@pytest.mark.parametrize(
    "text,complete",
    [
        ('{"complete": true}', True),
        ('{"complete": false}', False),
        ('{"complete": tr', False),
        ("{}", False),
        ("[]", False),
    ],
)
def test_a_run_is_complete_when_its_results_say_so(run, text, complete):
    (run / "metrics.json").write_text(text)
    (run / "report.html").touch()
    assert _open(run).is_complete is complete


def test_a_run_whose_report_is_still_missing_is_not_complete(run):
    (run / "metrics.json").write_text('{"complete": true}')
    assert not _open(run).is_complete


def test_finished_rounds_are_those_with_a_checkpoint(tmp_path):
    directory = _open(tmp_path)
    (tmp_path / "checkpoints" / "federated").mkdir(parents=True)
    (tmp_path / "checkpoints" / "federated" / ".round_000001.npz.7.tmp").touch()
    assert not directory.has_finished_rounds
    (tmp_path / "checkpoints" / "federated" / "round_000001.npz").touch()
    assert directory.has_finished_rounds


def test_a_folder_that_was_removed_is_gone_also_when_there_is_a_new_one(tmp_path):
    directory = _open(tmp_path / "run")
    assert not directory.is_gone
    shutil.rmtree(tmp_path / "run")
    assert directory.is_gone
    _open(tmp_path / "run")
    assert directory.is_gone


def test_a_run_of_an_earlier_version_gets_its_kind_when_it_is_resumed(tmp_path):
    directory = RunDirectory.open(tmp_path / "run", "tiny", {}, {})
    directory.record_data("abc", [])
    config = tmp_path / "run" / "config.json"
    assert "kind" not in json.loads(config.read_text())
    directory.record_data("abc", [], kind="masks")
    assert json.loads(config.read_text())["kind"] == "masks"
    directory.close()
