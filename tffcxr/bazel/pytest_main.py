"""Runs pytest on files inside a Bazel test and hands Bazel the result of every test case."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
import gc
import os
import pathlib
import sys

import psutil
import pytest


def main(test_files: Sequence[str]) -> int:
    """Runs the test files, or those of them that belong to this shard.

    Bazel tells a test by environment variables where to write, which cases to run
    (`--test_filter`), which shard it is, and where its results belong: see its "Test encyclopedia".

    Returns:
      The exit status of pytest; files in which no test was found are a failure.
    """
    options = []
    scratch = os.environ.get("TEST_TMPDIR")
    if scratch:
        # Nothing is read from or left in the user's home, such as downloaded weights.
        os.environ["HOME"] = scratch
        options.append(f"--basetemp={scratch}/pytest")
    if "XML_OUTPUT_FILE" in os.environ:
        options.append(f"--junitxml={os.environ['XML_OUTPUT_FILE']}")
    if os.environ.get("TESTBRIDGE_TEST_ONLY"):
        options.append(f"-k={os.environ['TESTBRIDGE_TEST_ONLY']}")
    if "TEST_SHARD_STATUS_FILE" in os.environ:  # Tells Bazel that shards are known here.
        pathlib.Path(os.environ["TEST_SHARD_STATUS_FILE"]).touch()
    mine = shard(test_files, os.environ)
    # Building graphs makes many objects and little garbage: a tenth of the time goes into looking
    # for it as often as usual.
    gc.set_threshold(50_000, 20, 20)
    return int(pytest.main(["-c", "pyproject.toml", *options, *mine]))


def shard(test_files: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The files that belong to a shard: every n-th of them; all without shards."""
    count = int(environment.get("TEST_TOTAL_SHARDS", "1"))
    return list(test_files[int(environment.get("TEST_SHARD_INDEX", "0")) :: count])


def end_children() -> None:
    """Ends processes that a test left behind: Bazel waits for all that hold its pipes open."""
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    status = main(sys.argv[1:])
    atexit._run_exitfuncs()
    end_children()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # Freeing every graph one by one takes the interpreter seconds.
