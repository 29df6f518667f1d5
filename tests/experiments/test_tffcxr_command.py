"""The command `tffcxr`: its list of programs, what it makes of a name, and how it starts one."""

import importlib
import os
import re
import subprocess
import sys

import pytest

from experiments import tffcxr_command
from tests.experiments import programs

# As the script that an installer makes of `[project.scripts]`.
_SCRIPT = """
import atexit, sys
atexit.register(lambda: print("slow:", sorted({"absl", "pandas", "tensorflow"} & set(sys.modules))))
from experiments.tffcxr_command import main
main()
"""


def _in_a_real_process(folder, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(programs.REPOSITORY)},
        text=True,
        timeout=300,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


@pytest.fixture(name="call")
def _call(monkeypatch):
    """Calls the command; what it would start is returned instead."""
    started: list[tuple[str, list[str]]] = []

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["/environment/bin/tffcxr", *arguments])
        tffcxr_command.main()
        return started.pop() if started else None

    run = lambda module, arguments: started.append((module, arguments))  # noqa: E731
    monkeypatch.setattr(tffcxr_command.child_process, "run_program", run)
    monkeypatch.setattr(tffcxr_command.signal, "signal", lambda *_: None)
    return call


def test_every_program_of_the_folder_and_nothing_else():
    folder = programs.REPOSITORY / "experiments"
    no_programs = {"__init__", "recipes", "tffcxr_command"}
    listed = tffcxr_command.programs()
    assert set(listed) == {path.stem for path in folder.glob("*.py")} - no_programs
    for name, text in listed.items():
        assert re.fullmatch(r"[A-Z][^\n]{20,100}\.", text), name


def test_help_is_the_list_and_imports_nothing_slow(tmp_path):
    ended = _in_a_real_process(tmp_path, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("slow: []\n")
    in_one_line = " ".join(ended.stdout.split())  # A longer description is broken into lines.
    for name, text in tffcxr_command.programs().items():
        assert f" {name} {text} " in in_one_line


def test_help_by_other_names(call, capsys):
    texts = []
    for arguments in ((), ("--help",), ("-h",), ("help",)):
        assert call(*arguments) is None
        texts.append(capsys.readouterr().out)
    assert "cheXviz" in texts[0] and len(set(texts)) == 1


def test_help_whose_reader_has_gone_says_nothing(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)  # As `head` does when it has its lines.
    with open(writing, "wb") as output:
        assert _in_a_real_process(tmp_path, "--help", stdout=output).stderr == ""


@pytest.mark.parametrize("name", ["cheXviz", "chexviz", "CHEXVIZ"])
def test_a_name_in_any_case(call, name):
    assert call(name, "--rounds=1", "x") == ("experiments.cheXviz", ["--rounds=1", "x"])


@pytest.mark.parametrize(
    "name", ["cxr_fl_segmentation", "cxr-fl-segmentation", "CXR-FL_Segmentation"]
)
def test_a_name_with_either_dash(call, name):
    assert call(name) == ("experiments.cxr_fl_segmentation", [])


def test_help_on_a_program(call):
    assert call("help", "sweep") == ("experiments.sweep", ["--help"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("chexvis", "found 'chexvis' (did you mean cheXviz?)"),
        ("Cross-Domains", "found 'Cross-Domains' (did you mean cross_domain?)"),
        ("recipes", "found 'recipes'"),
        ("--rounds=1", "found '--rounds=1'"),
    ],
)
def test_no_such_program(call, capsys, name, hint):
    with pytest.raises(SystemExit) as ended:
        call(name, "--rounds=1")
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tffcxr: expected one of cheXviz, covid, ") and line.endswith(hint)


def test_version_is_that_of_the_installed_package(call, capsys, tmp_path, monkeypatch):
    about = tmp_path / "tffcxr-9.8.7.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tffcxr\nVersion: 9.8.7\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert call("--version") is None
    assert capsys.readouterr().out == "tffcxr 9.8.7\n"


def test_a_program_starts_far_from_the_repository(tmp_path):
    ended = _in_a_real_process(tmp_path, "Covid", "--flagfile=covid", "--rounds=0")
    assert ended.returncode == 2
    assert ended.stderr == "covid: --rounds: expected at least 1, found 0\n"


def test_help_of_a_program_shows_commands_as_they_are_typed(tmp_path, monkeypatch):
    monkeypatch.delenv("BUILD_WORKING_DIRECTORY", raising=False)
    ended = _in_a_real_process(tmp_path, "report", "--help")
    assert ended.returncode == 0
    assert "\n  tffcxr report --run=RUN_DIR\n" in ended.stdout
    assert "bazel" not in ended.stdout


def test_the_package_installs_this_command():
    pyproject = (programs.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (script,) = re.findall(r'^\[project\.scripts\]\ntffcxr = "(.*)"\n$', pyproject, re.MULTILINE)
    module, _, function = script.partition(":")
    assert getattr(importlib.import_module(module), function) is tffcxr_command.main
