"""A child ends with its parent, however that ends, and is found where the parent is."""

import signal
import subprocess
import sys
import time

import psutil

from tffcxr import child_process

SLEEPER = "tests.sleeper"


def _wait_for(path, seconds=30):
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.02)
    return path.read_text()


def test_child_dies_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import sys, time; from tffcxr import child_process; "
        f"child_process.start({SLEEPER!r}, [sys.argv[1]], open(sys.argv[2], 'wb')); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "id"), str(tmp_path / "log")],
        env=child_process.environment(),
    )
    child = psutil.Process(int(_wait_for(tmp_path / "id")))
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not alive


def test_child_of_a_parent_that_is_gone_does_not_start(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", child_process._START, "1", SLEEPER, str(tmp_path / "id")],
        env=child_process.environment(),
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert not (tmp_path / "id").exists()


def test_stop_interrupts_first_and_kills_what_does_not_listen(tmp_path):
    for name, expected in (("polite", 130), ("deaf", -signal.SIGKILL)):
        with (tmp_path / f"{name}.log").open("wb") as log:
            process = child_process.start(SLEEPER, [str(tmp_path / name), name], log)
            _wait_for(tmp_path / name)
            child_process.stop(process, 5.0 if name == "polite" else 0.3)
        assert process.returncode == expected


def test_output_comes_in_order(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with (tmp_path / "log").open("wb") as log:
        process = child_process.start(SLEEPER, [str(tmp_path / "id"), "polite"], log)
        _wait_for(tmp_path / "id")
        child_process.stop(process, 5.0)
    assert (tmp_path / "log").read_text().splitlines() == ["out", "err", "interrupted"]
