"""A child ends with its parent, however that ends, and is found where the parent is.

So do children that are forks of a server process, which itself survives what happens to them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tffcxr import child_process
from tffcxr.sweeps import fork_server

SLEEPER = "tests.sleeper"
# How a program starts a child.
FRESH = "child_process.start"
FORKED = "fork_server.Server().start"


def _wait_for(path, seconds=30):
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.02)
    return path.read_text()


@pytest.fixture(name="server")
def _server():
    """A server that imports nothing; the process is the latest one's."""
    server = fork_server.Server()
    yield server
    server.close()


@pytest.fixture(name="start", params=[FRESH, FORKED])
def _start(request, server):
    return child_process.start if request.param == FRESH else server.start


@pytest.mark.parametrize("start_in_parent", [FRESH, FORKED])
def test_child_dies_with_a_parent_that_is_killed(tmp_path, start_in_parent):
    code = (
        "import sys, time; from tffcxr import child_process; "
        "from tffcxr.sweeps import fork_server; "
        f"{start_in_parent}({SLEEPER!r}, [sys.argv[1]], open(sys.argv[2], 'wb')); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "id"), str(tmp_path / "log")],
        env=child_process.environment(),
    )
    child = psutil.Process(int(_wait_for(tmp_path / "id")))
    family = [child, *(each for each in child.parents() if each.pid not in _own_parents())]
    assert len(family) == (2 if start_in_parent == FRESH else 3)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def _own_parents():
    return {os.getpid(), *(each.pid for each in psutil.Process().parents())}


def test_child_of_a_parent_that_is_gone_does_not_start(tmp_path):
    for code in (child_process._START, fork_server._START):
        ended = subprocess.run(
            [sys.executable, "-c", code, "1", SLEEPER, str(tmp_path / "id")],
            env=child_process.environment(),
            timeout=30,
            check=False,
        )
        assert ended.returncode == 1
        assert not (tmp_path / "id").exists()


def test_stop_interrupts_first_and_kills_what_does_not_listen(tmp_path, start):
    for name, expected in (("polite", 130), ("deaf", -signal.SIGKILL)):
        with (tmp_path / f"{name}.log").open("wb") as log:
            process = start(SLEEPER, [str(tmp_path / name), name], log)
            assert int(_wait_for(tmp_path / name)) == process.pid == os.getsid(process.pid)
            child_process.stop(process, 60.0 if name == "polite" else 0.3)
        assert process.wait() == expected


def test_output_comes_in_order(tmp_path, monkeypatch, start):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with (tmp_path / "log").open("wb") as log:
        process = start(SLEEPER, [str(tmp_path / "id"), "polite"], log)
        _wait_for(tmp_path / "id")
        child_process.stop(process, 5.0)
    assert (tmp_path / "log").read_text().splitlines() == ["out", "err", "interrupted"]


def test_wait_has_a_limit(tmp_path, start):
    with (tmp_path / "log").open("wb") as log:
        process = start(SLEEPER, [str(tmp_path / "id")], log)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        child_process.kill_session(process)
    assert process.wait(0.0) == -signal.SIGKILL


def test_nothing_is_left_of_a_session(tmp_path, start):
    with (tmp_path / "log").open("wb") as log:
        process = start(SLEEPER, [str(tmp_path / "id"), "leave"], log)
        left = int(_wait_for(tmp_path / "id"))
        assert process.wait() == 3
        child_process.kill_session(process)
    with contextlib.suppress(psutil.NoSuchProcess):  # It may be gone before anybody asks.
        psutil.Process(left).wait(timeout=10)


def test_server_survives_its_forks_and_is_replaced_when_it_dies(tmp_path, server):
    def start(name):
        with (tmp_path / f"{name}.log").open("wb") as log:
            process = server.start(SLEEPER, [str(tmp_path / name)], log)
        _wait_for(tmp_path / name)
        return process, psutil.Process(process.pid).parent()

    first, parent = start("first")
    os.kill(first.pid, signal.SIGKILL)  # As the kernel does when memory runs out.
    assert first.wait() == -signal.SIGKILL
    second, same = start("second")
    assert same == parent
    parent.kill()
    assert second.wait() == -signal.SIGKILL
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(second.pid).status() == psutil.STATUS_ZOMBIE
    third, fresh = start("third")  # Of this process, since there is no server at the moment.
    assert fresh.pid == os.getpid()
    child_process.kill_session(third)
    fourth, other = start("fourth")
    assert other not in (parent, psutil.Process())
    child_process.kill_session(fourth)
    server.close()
    assert not psutil.wait_procs([other], timeout=10)[1]


def test_server_that_cannot_import_is_told_in_the_log(tmp_path):
    server = fork_server.Server(["tests.no_such_module"])
    with (tmp_path / "log").open("wb") as log:
        process = server.start(SLEEPER, [str(tmp_path / "id")], log)
        _wait_for(tmp_path / "id")
        child_process.kill_session(process)
    server.close()
    assert "no_such_module" in (tmp_path / "log").read_text()
