"""Runs pytest on one file inside a Bazel test and hands Bazel the result of every test case."""

from __future__ import annotations

import os
import sys

import psutil
import pytest


def main(arguments: list[str]) -> int:
    """Runs the test file named first among the arguments; the others go to pytest.

    Bazel tells a test by environment variables where to write, which cases to run
    (`--test_filter`) and where their results belong: see its "Test encyclopedia".

    Returns:
      The exit status of pytest; a file in which no test was found is a failure.
    """
    test_file, *options = arguments
    scratch = os.environ.get("TEST_TMPDIR")
    if scratch:
        # Nothing is read from or left in the user's home, such as downloaded weights.
        os.environ["HOME"] = scratch
        options.append(f"--basetemp={scratch}/pytest")
    if "XML_OUTPUT_FILE" in os.environ:
        options.append(f"--junitxml={os.environ['XML_OUTPUT_FILE']}")
    if os.environ.get("TESTBRIDGE_TEST_ONLY"):
        options.append(f"-k={os.environ['TESTBRIDGE_TEST_ONLY']}")
    return int(pytest.main(["-c", "pyproject.toml", *options, test_file]))


def end_children() -> None:
    """Ends processes that a test left behind: Bazel waits for all that hold its pipes open."""
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    status = main(sys.argv[1:])
    end_children()
    sys.exit(status)
