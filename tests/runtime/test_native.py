"""The native worker ends with the program, is out of reach, and comes back when it dies."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.runtime.executors import run
from tests.runtime.programs import PATIENCE, increase, is_running, processes
from tffcxr import errors
from tffcxr.runtime import native, private_apis

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What a program does or suffers -> its exit status.
WAYS = {
    "normal end": 0,
    "exception": 1,
    "interrupt": -signal.SIGINT,
    "program killed": -signal.SIGKILL,
    "program killed while computing": -signal.SIGKILL,
    "worker and program killed": -signal.SIGKILL,
    "launcher and program killed": -signal.SIGKILL,
}


# How often each way is tried: TFFCXR_ENDINGS=10 takes minutes.
ENDINGS = int(os.environ.get("TFFCXR_ENDINGS", "1"))


@pytest.fixture(scope="module", params=range(ENDINGS), ids="try {}".format)
def endings(tmp_path_factory):
    """What was seen of one program per way; see programs.py."""
    folder = tmp_path_factory.mktemp("programs")
    temporary = pathlib.Path(tempfile.mkdtemp(dir="/tmp"))
    finished = subprocess.run(
        [sys.executable, "-m", "tests.runtime.programs", str(folder), *WAYS],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    seen = {line["way"]: line for line in map(json.loads, finished.stdout.splitlines())}
    yield temporary, folder, seen
    shutil.rmtree(temporary)


@pytest.mark.parametrize("way", WAYS)
def test_no_process_outlives_the_program(endings, way):
    _, _, seen = endings
    assert seen[way]["left"] == []
    assert seen[way]["seconds"] < PATIENCE
    assert seen[way]["status"] == WAYS[way]


def test_the_worker_does_not_print_over_the_program(endings):
    _, folder, seen = endings
    assert seen["normal end"]["output"].endswith("the program's own output\n")
    assert "isolation: " in (folder / "normal end.log").read_text()
    assert "ValueError: as planned" in seen["exception"]["output"]


@pytest.mark.parametrize("attempt", range(ENDINGS))
@pytest.mark.parametrize("victim", [0, 1], ids=["launcher", "worker"])
def test_a_worker_that_dies_is_replaced(victim, attempt, tmp_path):
    del attempt
    context = native.native_context(tmp_path / "worker.log")
    assert run(context, increase, 1) == 2
    before = processes(context)
    os.kill(before[victim], signal.SIGKILL)
    assert run(context, increase, 2) == 3
    after = processes(context)
    assert not set(after) & set(before)
    assert (tmp_path / "worker.log").read_text().count("isolation: ") == 2
    context.close()
    deadline = time.monotonic() + PATIENCE
    while any(map(is_running, (*before, *after))):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_is_left_in_the_temporary_folder(endings):
    # Where launcher and program are killed at once, nobody is left to tidy up.
    assert len(list(endings[0].glob("tffcxr-*"))) <= 1


def listening_addresses(process: int) -> set[str]:
    """Local addresses of the listening TCP sockets that `process` itself has open."""
    folder = pathlib.Path(f"/proc/{process}")
    own = {os.readlink(each) for each in (folder / "fd").iterdir() if each.is_symlink()}
    found = set()
    for name in ("tcp", "tcp6"):
        for line in (folder / "net" / name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                found.add(fields[1].split(":")[0])
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}


@pytest.mark.parametrize("isolation", ["namespace", "loopback"])
def test_no_other_machine_reaches_the_worker(isolation):
    context = native.native_context(isolation=isolation)
    try:
        assert run(context, increase, 1) == 2
    except errors.InputError as error:
        pytest.skip(f"not allowed here: {error}")
    launcher, worker = processes(context)
    addresses = listening_addresses(worker)
    assert addresses
    if isolation == "loopback":
        assert addresses <= LOOPBACK
    else:
        ours, theirs = (os.readlink(f"/proc/{pid}/ns/net") for pid in (os.getpid(), worker))
        assert ours != theirs
        devices = pathlib.Path(f"/proc/{worker}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    context.close()
    assert not pathlib.Path(f"/proc/{launcher}").exists()


def test_a_long_temporary_folder_leaves_room_for_the_socket(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    context = native.native_context()
    try:
        assert run(context, increase, 1) == 2
    finally:
        context.close()


def test_nothing_starts_where_isolation_is_impossible(monkeypatch, tmp_path):
    """A launcher that may neither make a namespace nor install a filter."""
    forbidding = (
        "from tffcxr.runtime import native_bind_filter, native_launcher\n"
        "def refuse(*_): raise OSError(1, 'Operation not permitted')\n"
        "native_launcher._enter_namespace = refuse\n"
        "native_bind_filter.install = refuse\n"
    )
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{forbidding}"
    monkeypatch.setattr(native, "_START", program + "sys.exit(native_launcher.main())")
    log_file = tmp_path / "worker.log"
    with pytest.raises(errors.InputError, match="every network interface"):
        run(native.native_context(log_file), increase, 1)
    assert "Operation not permitted" in log_file.read_text()


def test_a_worker_that_keeps_dying_is_given_up(monkeypatch):
    monkeypatch.setattr(native, "_MAX_RESTARTS", 1)

    context = native.native_context()
    workers = []

    original = private_apis.WorkerStub.create_call

    def killing(self, request):
        workers.append(processes(context)[1])
        os.kill(workers[-1], signal.SIGKILL)
        return original(self, request)

    monkeypatch.setattr(private_apis.WorkerStub, "create_call", killing)
    with pytest.raises(RuntimeError, match="2 times in a row"):
        run(context, increase, 1)
    assert len(set(workers)) == 2
    context.close()


def test_a_computation_that_fails_is_not_repeated():
    @tff.tensorflow.computation(np.int32)
    def fails(x):
        with tf.control_dependencies([tf.debugging.assert_less(x, 0, "as planned")]):
            return tf.identity(x)

    context = native.native_context()
    with pytest.raises(Exception, match="as planned"):
        run(context, fails, 1)
    before = processes(context)
    assert run(context, increase, 1) == 2
    assert processes(context) == before
    context.close()


def test_unknown_isolation():
    with pytest.raises(errors.InputError, match="'firewall'"):
        native.native_context(isolation="firewall")


def test_a_closed_context_starts_again():
    context = native.native_context()
    assert run(context, increase, 1) == 2
    context.close()
    assert run(context, increase, 2) == 3
    context.close()
