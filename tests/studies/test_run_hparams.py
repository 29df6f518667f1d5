"""What the record of a single run is made of."""

import json
import math
import pathlib
from typing import Any

import pytest

from tffcxr.studies import run_hparams

ROW = {"task": "A", "model": "unet", "training": "federated", "split": "test", "client": "a"}


def test_results_are_named_by_task_and_training():
    rows: list[dict[str, Any]] = [
        {**ROW, "loss": 0.25, "auroc": None, "images": 7, "auroc_low": 0.5},
        {**ROW, "training": "site", "loss": 0.5},
    ]
    found = run_hparams.results(rows)
    assert found.pop("final/A/federated/auroc") is not None
    assert found == {"final/A/federated/loss": 0.25, "final/A/site/loss": 0.5}
    assert math.isnan(run_hparams.results(rows)["final/A/federated/auroc"])


def test_names_say_more_where_rows_would_have_the_same():
    rows: list[dict[str, Any]] = [
        {**ROW, "loss": 0.25},
        {**ROW, "model": "unetplusplus", "sensitivity_by_class": {"COVID-19": 0.75, "x": None}},
    ]
    found = run_hparams.results(rows)
    assert found["final/A/unet/federated/loss"] == 0.25
    assert found["final/A/unetplusplus/federated/sensitivity_by_class/COVID-19"] == 0.75


def test_settings_with_a_value_and_what_was_derived(tmp_path, monkeypatch):
    from tffcxr.training import hparams

    settings = {"rate": None, "limit": None, "baseline": ["site", "pooled"], "site": ["a=b:/c"]}
    config = {"recipe": "tiny", "settings": settings, "derived": {"rate": 0.5, "of": {"x": 1}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": []}))
    written = {}
    monkeypatch.setattr(hparams, "write", lambda folder, trials: written.update({folder: trials}))
    assert not run_hparams.is_written(tmp_path)
    run_hparams.write(tmp_path)
    (trial,) = written[tmp_path / "tensorboard"]
    assert trial.hparams == {"recipe": "tiny", "rate": "0.5", "baseline": "site,pooled"}
    assert trial.title == tmp_path.name


@pytest.mark.parametrize("is_there", [False, True])
def test_a_complete_run_gets_the_record_that_it_lacks(tmp_path, monkeypatch, is_there):
    from types import SimpleNamespace

    from experiments.flags import (
        export_flag,
        federation_flags,
        mlflow_flag,
        recipe,
        training_flags,
    )  # fmt: skip
    from tffcxr.training.run_directory import RunDirectory

    class Complete(recipe.Recipe):
        def apply_defaults(self):
            pass

        def check(self):
            pass

        def make_study(self, run_folder):
            pytest.fail("it trains")

    flags = SimpleNamespace(
        output_dir=str(tmp_path), precision="float32", engine="local", export=[]
    )
    for module in (recipe, federation_flags, export_flag):
        monkeypatch.setattr(module, "FLAGS", flags)
    monkeypatch.setattr(training_flags, "facts", dict)
    monkeypatch.setattr(training_flags, "recorded_settings", dict)
    RunDirectory.open(tmp_path, "tiny", {}, {}).close()
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": [], "complete": True}))
    (tmp_path / "report.html").touch()
    monkeypatch.setattr(run_hparams, "is_written", lambda path: is_there)
    logged: list[tuple[pathlib.Path, str]] = []
    monkeypatch.setattr(mlflow_flag, "store", lambda: "a store")
    monkeypatch.setattr(mlflow_flag, "log", lambda path, store: logged.append((path, store)))
    written: list[pathlib.Path] = []
    monkeypatch.setattr(run_hparams, "write", written.append)
    Complete("tiny", "a paper").main([])
    assert written == ([] if is_there else [tmp_path])
    assert logged == [(tmp_path, "a store")]
