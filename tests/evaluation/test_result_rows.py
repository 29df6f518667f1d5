"""Tests of evaluation.result_rows: the row's columns, and a file that is never half written."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tffcxr import errors
from tffcxr.evaluation import metrics, recalibration, result_rows

NAN = float("nan")


def _row(seed=0, baseline_scores=None, **more):
    generator = np.random.default_rng(seed)
    labels = np.repeat([0.0, 1.0], 20)
    scores = np.clip(generator.normal(0.3 + 0.4 * labels, 0.2), 0, 1)
    baseline = np.clip(generator.normal(0.3 + 0.3 * labels, 0.2), 0, 1)
    return result_rows.result_row(
        "Pneumothorax", "standard", "federated", "test", labels, scores, 0.5,
        baseline_scores=baseline if baseline_scores is None else baseline_scores, replicates=100,
        **more,
    )  # fmt: skip


def test_row_has_the_published_names_and_counts():
    labels = np.array([NAN] + [0.0] * 12 + [1.0] * 6)
    scores = np.linspace(0, 0.9, 19)
    patients = np.array(["x"] + [f"p{index // 2}" for index in range(18)])
    row = result_rows.result_row(
        "Lung Opacity", "standard", "site", "test", labels, scores, 0.5,
        groups=patients, replicates=50, client="opacity",
    )  # fmt: skip
    assert (row["images"], row["positives"], row["patients"]) == (18, 6, 9)
    assert row["client"] == "opacity"
    assert row["threshold"] == 0.5
    assert row["operating_point"] == "Youden index, chosen on validation images"
    assert row["interval"] == "95 % percentile interval, 50 bootstrap replicates of patients"
    assert row["proportion_interval"].startswith("95 % percentile interval, 50 bootstrap")
    assert np.isnan([row["p_ttest"], row["p_delong"], row["auroc_low"]]).all()
    fixed = {"task", "model", "training", "split", "images", "loss", "accuracy", "sensitivity"}
    fixed |= {"specificity", "aupr", "auroc", "auroc_low", "auroc_high", "p_ttest", "p_delong"}
    assert fixed <= row.keys()


def test_row_compares_with_the_baseline():
    row = _row()
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    assert row["baseline"] == "site"
    assert 0 < row["p_delong"] < 1
    assert 0 <= row["p_ttest"] < row["p_delong"]


def test_every_metric_has_an_interval():
    row = _row()
    names = (*metrics.BINARY_NAMES, recalibration.SLOPE, recalibration.INTERCEPT)
    assert {f"{name}{end}" for name in names for end in ("", "_low", "_high")} <= row.keys()
    assert row["proportion_interval"] == "95 % Wilson interval"
    assert row["sensitivity_low"] < row["sensitivity"] < row["sensitivity_high"]
    # A patient of several images whose labels are all but one unknown has one image.
    labels = np.repeat([0.0, 1.0, NAN], 20)
    patients = np.concatenate([np.arange(40), np.zeros(20, int)])
    row = result_rows.result_row("A", "m", "site", "test", labels, np.linspace(0, 1, 60), 0.5,
                                 groups=patients, replicates=20)  # fmt: skip
    assert row["proportion_interval"] == "95 % Wilson interval"


def test_row_compares_with_further_baselines():
    generator = np.random.default_rng(7)
    other = np.clip(generator.normal(0.3, 0.2, 40), 0, 1)
    row, plain = _row(further_baselines={"pooled": other}), _row()
    assert {key: row[key] for key in plain} == plain
    swapped = _row(baseline_scores=other)
    for test in ("p_delong", "p_ttest"):
        assert row[f"{test}_pooled"] == swapped[test] != row[test]


def test_a_further_column_cannot_replace_a_metric():
    with pytest.raises(ValueError, match="auroc"):
        _row(auroc=0.99)


def test_file_is_sorted_and_nan_is_null(tmp_path):
    rows = [
        {"task": "B", "model": "m", "training": "site", "split": "test", "auroc": NAN},
        {"task": "A", "model": "m", "training": "site", "split": "test", "auroc": np.float32(0.5)},
        {
            "task": "A",
            "model": "m",
            "training": "federated",
            "split": "test",
            "images": np.int64(3),
        },
    ]
    path = result_rows.write_metrics(tmp_path, "cheXviz", "findings", rows)
    table = json.loads(path.read_text())
    assert (table["recipe"], table["kind"]) == ("cheXviz", "findings")
    assert table["complete"] is True
    assert [(row["task"], row["training"]) for row in table["rows"]] == [
        ("A", "federated"), ("A", "site"), ("B", "site"),
    ]  # fmt: skip
    assert table["rows"][0]["images"] == 3
    assert table["rows"][2]["auroc"] is None
    text = path.read_bytes()
    result_rows.write_metrics(tmp_path, "cheXviz", "findings", reversed(rows))
    assert path.read_bytes() == text
    assert np.isnan(result_rows.read_metrics(tmp_path)["rows"][2]["auroc"])


def test_round_trip_of_a_real_row(tmp_path):
    row = _row()
    result_rows.write_metrics(tmp_path, "cheXviz", "findings", [row], complete=False)
    table = result_rows.read_metrics(tmp_path)
    assert table["complete"] is False
    assert table["rows"] == [row]


def test_failed_write_leaves_the_old_file_and_no_debris(tmp_path, monkeypatch):
    result_rows.write_metrics(tmp_path, "cheXviz", "findings", [{"task": "A"}])

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        result_rows.write_metrics(tmp_path, "cheXviz", "findings", [{"task": "B"}])
    assert result_rows.read_metrics(tmp_path)["rows"] == [{"task": "A"}]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    "text", ["", '{"rows": [', "[]", '{"rows": {"task": "A"}}', '{"rows": [1]}']
)
def test_damaged_file_is_one_line(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(errors.InputError, match="metrics.json") as caught:
        result_rows.read_metrics(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(errors.InputError, match="metrics.json, found No such file"):
        result_rows.read_metrics(tmp_path)


def test_evaluation_needs_no_tensorflow():
    program = (
        "import sys\nfrom tffcxr.evaluation import result_rows\n"
        "sys.exit(any(name.startswith('tensorflow') for name in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
