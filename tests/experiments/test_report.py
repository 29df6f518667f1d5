"""The report's program: a report again, a copy to be shown, and one line for what is wrong."""

import json
import shutil

import pytest

from experiments.flags import sweep_flags
from tests.experiments import programs
from tests.report import example_run
from tffcxr.report import shared_copy


@pytest.fixture(name="example", scope="module")
def _example(tmp_path_factory):
    return example_run.write(tmp_path_factory.mktemp("example"), images=40, rounds=2, cases=1)


@pytest.fixture(name="run_dir")
def _run_dir(example, tmp_path):
    return shutil.copytree(example, tmp_path / "run")


def test_the_report_is_made_again(run_dir):
    ended = programs.run("report", f"--run={run_dir}")
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output == f"report: {run_dir / 'report.html'}\n"
    html = (run_dir / "report.html").read_text()
    assert "//experiments:predict -- --model=RUN IMAGE.dcm" in html and str(run_dir) not in html


def test_several_runs_are_compared(run_dir, example, tmp_path):
    target = tmp_path / "comparison"
    ended = programs.run("report", f"--run={run_dir}", f"--run={example}", f"--output_dir={target}")
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output == f"comparison: {target / 'comparison.html'}\n"
    assert (target / "comparison.csv").is_file()
    assert not (run_dir / "report.html").exists()


@pytest.mark.parametrize("recipe", sorted(sweep_flags.RECIPES))
def test_no_setting_of_a_recipe_is_taken_for_a_path(recipe):
    settings = programs.checked_flags(recipe).settings[0]
    shared = {name: shared_copy.setting(name, value) for name, value in settings.items()}
    assert shared == settings


def _refusal(*arguments):
    return programs.refusal(programs.run("report", *arguments))


def test_what_cannot_be_is_refused_in_one_line(run_dir, tmp_path):
    assert "--run: expected the folder of a run" in _refusal()
    assert "found no folder" in _refusal(f"--run={tmp_path / 'vanished'}")
    both = _refusal(f"--run={run_dir}", "--with_file_names", f"--share={tmp_path / 'new'}")
    assert "--with_file_names: expected no --share with it" in both
    assert "expected --share with it" in _refusal(f"--run={run_dir}", "--share_models")
    assert "new or an empty folder" in _refusal(f"--run={run_dir}", f"--share={tmp_path}")
    two = f"--run={run_dir}", f"--run={tmp_path / 'vanished'}"
    assert "found no folder" in _refusal(*two, f"--output_dir={tmp_path / 'new'}")
    assert "--share: expected a single --run" in _refusal(*two, f"--share={tmp_path / 'new'}")
    assert "--output_dir: expected several --run" in _refusal(two[0], "--output_dir=new")
    (run_dir / "sweep.json").write_text("{}")
    assert "found a sweep" in _refusal(f"--run={run_dir}")


@pytest.mark.parametrize(
    "file,content",
    [
        ("config.json", None),
        ("config.json", "[]"),
        ("config.json", "\xff"),
        ("metrics.json", "{"),
        ("metrics.json", json.dumps({"rows": [{"task": "A"}]})),
        ("rounds.csv", ""),
        ("rounds.csv", "round\nfirst\n"),
        ("clients.csv", "a,b\n1,2,3\n"),
        ("predictions.csv", "\0"),
        ("explanations/lung-opacity_0.npz", None),
        ("explanations/lung-opacity_0.npz", "PK"),
    ],
)
def test_a_damaged_run_is_one_line(run_dir, file, content):
    (run_dir / file).unlink()
    if content is not None:
        (run_dir / file).write_text(content, encoding="latin-1")
    told = _refusal(f"--run={run_dir}")
    assert file in told
    assert not (run_dir / "report.html").exists()


def test_a_folder_that_cannot_be_written_is_one_line(run_dir):
    (run_dir / "report.html").mkdir()
    assert "found Is a directory" in _refusal(f"--run={run_dir}")
