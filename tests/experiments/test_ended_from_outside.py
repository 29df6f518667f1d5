"""What a run says when it is ended from outside, or when its folder is."""

import shutil
import time

import pytest

from experiments.flags import command_line
from tests.experiments import programs
from tffcxr.errors import RunError
from tffcxr.training.run_directory import RunDirectory


def _last_line(program):
    ended = program.wait()
    return ended.status, ended.errors.strip().splitlines()[-1]


def _wait_for(path, text):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"no {text!r} in {path}")


def test_sigterm_before_the_first_round_promises_nothing(tmp_path):
    folder = tmp_path / "run"
    program = programs.Program("tiny_recipe", [f"--output_dir={folder}", "--pause=60"])
    _wait_for(folder / "rounds.csv", "round")
    program.terminate()
    status, line = _last_line(program)
    assert status == 143
    assert line.endswith("terminated; no round was finished; the same command starts again")


def test_a_folder_that_vanishes_is_told_in_one_line(tmp_path):
    folder = tmp_path / "run"
    program = programs.Program(
        "tiny_recipe", [f"--output_dir={folder}", "--pause=0.2", "--rounds=300"]
    )
    _wait_for(folder / "rounds.csv", "\n1,")
    shutil.rmtree(folder)
    status, line = _last_line(program)
    assert status == 1
    assert f"--output_dir: {folder} was removed or moved while this run was using it" in line
    assert not folder.exists()


def test_what_ends_a_run_from_outside_says_whether_it_goes_on(tmp_path):
    directory = RunDirectory.open(tmp_path / "run", "tiny", {}, {})
    checkpoint = directory.path / "checkpoints" / "federated" / "round_000001.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    expected = pytest.raises(KeyboardInterrupt, match="resumes from the last finished round")
    with expected, command_line.guarded(directory):
        raise KeyboardInterrupt


def test_other_errors_of_a_run_stay_what_they_are(tmp_path):
    directory = RunDirectory.open(tmp_path / "run", "tiny", {}, {})
    with pytest.raises(ZeroDivisionError), command_line.guarded(directory):
        raise ZeroDivisionError
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunError, match="was removed"), command_line.guarded(directory):
        raise ZeroDivisionError
