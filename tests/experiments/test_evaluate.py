"""`evaluate` refuses what it cannot measure, in one line."""

import pytest

from tests.data_check import planted
from tests.experiments import programs
from tests.models.files import exported_models
from tffcxr.models.files import export, metadata


@pytest.fixture(name="model")
def _model(tmp_path):
    path = tmp_path / "run" / "models" / "m.keras"
    export.save(path, exported_models.exported(metadata.FINDINGS))
    return path


def test_a_finding_by_another_name(tmp_path, model):
    planted.write_table(tmp_path / "data", planted.clean(tmp_path / "data"))
    out = tmp_path / "out"
    flags = f"--model={model}", f"--site=a=csv:{tmp_path / 'data'}", f"--output_dir={out}"
    line = programs.refusal(programs.run("evaluate", *flags))
    assert "site a: expected labels of Lung Opacity, Pneumothorax" in line
    ended = programs.run("evaluate", *flags, "--same=Pneumothorax=Pneumonia", "--bootstrap=20")
    assert ended.status == 0, ended.errors
    assert "Pneumothorax at a (standard model, external images)" in ended.output
    assert ended.output.endswith(f"report: {out / 'report.html'}\n")
    assert "Pneumothorax at a" in (out / "report.html").read_text("utf-8")
    line = programs.refusal(programs.run("evaluate", *flags, "--same=Hernia=Pneumonia"))
    assert line.startswith("evaluate: --same: expected MODEL=SITE with one of Lung Opacity, Pneumo")


def test_bad_flags(tmp_path, model):
    assert "--model: expected" in programs.refusal(programs.run("evaluate", "--site=a=nih:/x"))
    assert "--site: expected" in programs.refusal(programs.run("evaluate", f"--model={model}"))
    line = programs.refusal(programs.run("evaluate", f"--model={tmp_path}", "--site=a=nih:/x"))
    assert line.startswith("evaluate: --model: expected a complete run")
    flags = f"--model={model}", "--site=a=nih:/x", f"--output_dir={tmp_path / 'run'}"
    line = programs.refusal(programs.run("evaluate", *flags))
    assert line.startswith("evaluate: --output_dir: expected a new or an empty folder or that of")
