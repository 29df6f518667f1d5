"""Programs that use the native worker and end in every way there is; started by test_native.py.

    python -m tests.runtime.programs FOLDER WAY…

Each program runs in a process group of its own, with a pipe as its output. What is seen of it is
printed as a line of JSON. Programs that are to be killed are forks of this process, made before
TensorFlow starts; the others, whose interpreter must shut down as any does, are started anew.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import native

# Seconds for all of a program's processes to be gone.
PATIENCE = 20.0


@tff.tensorflow.computation(np.int32)
def increase(x):
    return x + 1


@tff.tensorflow.computation(np.int64)
def count_for_ever(x):
    return tf.while_loop(lambda i: i < np.int64(10) ** 12, lambda i: [i + 1], [x])[0]


def children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def program(way: str, report: int, log_file: pathlib.Path) -> None:
    """Computes something, reports both processes of the worker, and goes on in the way given."""
    context = native.native_context(log_file)
    tff.framework.get_context_stack().set_default_context(context)
    assert increase(1) == 2
    print("the program's own output", flush=True)
    os.write(report, json.dumps(processes(context)).encode() + b"\n")
    if way == "exception":
        raise ValueError("as planned")
    if way in ("interrupt", "program killed while computing"):
        count_for_ever(0)
    if way in ("program killed", "launcher and program killed", "worker and program killed"):
        time.sleep(60)


def processes(context: native.NativeContext) -> list[int]:
    assert context.worker is not None
    launcher = context.worker.launcher_pid
    found = subprocess.run(["pgrep", "-P", str(launcher)], capture_output=True, text=True)
    return [launcher, *map(int, found.stdout.split())]


def observe(way: str, child: int, output: int, report: int) -> dict:
    """Ends a program where its way says so; tells what was left of it and its worker."""
    with os.fdopen(report) as reports:
        started = json.loads(reports.readline())
        if way == "interrupt":
            time.sleep(0.5)
            os.killpg(child, signal.SIGINT)
        victims = {"program": child, "launcher": started[0], "worker": started[1]}
        if way.partition(" killed")[0].endswith("program"):
            for name, process in victims.items():
                if name in way:
                    os.kill(process, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        begin = time.monotonic()
        with os.fdopen(output) as printed:
            text = printed.read()  # Returns when nobody holds the other end any more.
    while any(is_running(process) for process in started):
        if time.monotonic() - begin > PATIENCE:
            break
        time.sleep(0.01)
    return {
        "status": status,
        "output": text,
        "seconds": time.monotonic() - begin,
        "left": [process for process in started if is_running(process)],
    }


def is_running(process: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def start(way: str, folder: pathlib.Path) -> tuple[int, int, int]:
    """Starts a program; returns its process id and the ends of the pipes of output and report."""
    output, to_output = os.pipe()
    report, to_report = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.dup2(to_output, 1)
        os.dup2(to_output, 2)
        for end in (output, to_output, report):
            os.close(end)
        if "killed" not in way:
            os.set_inheritable(to_report, True)
            arguments = ["-m", "tests.runtime.programs", "--run", way, str(to_report), str(folder)]
            os.execv(sys.executable, [sys.executable, *arguments])
        program(way, to_report, folder / f"{way}.log")
        os._exit(0)
    os.close(to_output)
    os.close(to_report)
    return child, output, report


def main(folder: pathlib.Path, ways: list[str]) -> None:
    started = {way: start(way, folder) for way in ways if "killed" not in way}
    for way in ways:
        seen = observe(way, *(started[way] if way in started else start(way, folder)))
        print(json.dumps({"way": way, **seen}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        program(sys.argv[2], int(sys.argv[3]), pathlib.Path(sys.argv[4]) / f"{sys.argv[2]}.log")
    else:
        main(pathlib.Path(sys.argv[1]), sys.argv[2:])
