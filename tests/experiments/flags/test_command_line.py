"""How programs end: one line, and a status that says whose fault it was."""

import errno
import os
import pathlib
import signal
import sys
import time
import warnings

import pytest

from experiments.flags import command_line
from tffcxr.errors import InputError, RunError


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("BUILD_WORKING_DIRECTORY", raising=False)
    monkeypatch.setattr(command_line.sys, "argv", ["/somewhere/covid.py"])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    # Of absl's flags there is one set per process; other tests may have parsed it.
    monkeypatch.setattr(command_line, "_parse", lambda argv, operands: list(argv))


def _end(capsys, error):
    def main(operands):
        raise error

    with pytest.raises(SystemExit) as end:
        command_line.run(main)
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error,status,text",
    [
        (InputError("expected a, found b"), 2, "covid: expected a, found b\n"),
        (RunError("every client failed"), 1, "covid: every client failed\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x.csv"),
            1,
            "covid: No space left on device: runs/x.csv; free some space and start again\n",
        ),
        (KeyboardInterrupt(), 130, "covid: interrupted\n"),
        (command_line.Terminated(), 143, "covid: terminated\n"),
        (KeyboardInterrupt("it can go on"), 130, "covid: interrupted; it can go on\n"),
    ],
)
def test_the_line_and_the_status(capsys, error, status, text):
    assert _end(capsys, error) == (status, text)


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), PermissionError(errno.EACCES, "Permission denied", "x")]
)
def test_what_is_nobodys_mistake_keeps_its_traceback(error):
    def main(operands):
        raise error

    with pytest.raises(type(error)):
        command_line.run(main)


def test_paths_are_relative_to_where_the_user_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(command_line.os.curdir)  # Put back afterwards.
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    command_line.run(lambda operands: None)
    assert command_line.os.getcwd() == str(tmp_path)


def test_sigterm_cleans_up_as_ctrl_c_does_and_says_what_is_next(capsys):
    cleaned = []

    def main(operands):
        try:
            with command_line.on_interruption(lambda: "the same command goes on"):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
        except KeyboardInterrupt:
            cleaned.append("as after Ctrl-C")
            raise

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        command_line.run(main)
    assert (end.value.code, cleaned) == (143, ["as after Ctrl-C"])
    assert capsys.readouterr().err == "covid: terminated; the same command goes on\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_programs_hide_no_packages(monkeypatch):
    folder = pathlib.Path(command_line.__file__).parents[1]
    monkeypatch.setattr(sys, "path", [str(folder), "/elsewhere"])
    command_line.run(lambda operands: None)
    assert sys.path == ["/elsewhere"]
