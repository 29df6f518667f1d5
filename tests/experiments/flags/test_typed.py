"""The command line that a run records, with Bazel and without."""

import pytest

from experiments.flags import typed

DOC = "Runs.\n\n  ./bazelw run //experiments:covid -- --site=a \\\n      --flagfile=covid\n"


@pytest.mark.parametrize("program", ["experiments.covid", "/lib/experiments/covid.py"])
def test_without_bazel(monkeypatch, program):
    monkeypatch.delenv("BUILD_WORKING_DIRECTORY", raising=False)
    words = typed.CommandLine(program, ("--rounds=3",)).words
    assert words == ["tffcxr", "covid", "--rounds=3"]
    assert typed.as_started(DOC) == "Runs.\n\n  tffcxr covid --site=a \\\n      --flagfile=covid\n"


def test_with_bazel(monkeypatch):
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", "/home/user")
    assert typed.CommandLine("/run/covid.py", ("-v",)).words == ["//experiments:covid", "-v"]
    assert typed.as_started(DOC) == DOC
