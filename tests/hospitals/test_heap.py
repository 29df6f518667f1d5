"""Threads share the arenas of malloc, in a process of their own, whose heap is new."""

import os
import platform
import subprocess
import sys

import pytest

# Every thread allocates, all at once; then malloc tells of its arenas.
PROGRAM = """
import ctypes, sys, threading
from tffcxr.hospitals import heap
if sys.argv[1] == "shared":
    heap.share_arenas()
together = threading.Barrier(8)
def allocate():
    together.wait()
    kept = bytearray(100_000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are of glibc's malloc")
@pytest.mark.parametrize("which", ["shared", "as usual"])
def test_threads_share_two_arenas(which):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, which],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
    )
    arenas = done.stdout.count("<heap nr=")
    assert 1 <= arenas <= 2 if which == "shared" else arenas > 2
