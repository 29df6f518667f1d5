"""Which rows of runs stand side by side, and how much they differ."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from tests.report.comparison import tiny_runs
from tffcxr import kept_names, run_tables
from tffcxr.evaluation import delong, metrics, paired
from tffcxr.report.comparison import compared_runs, compared_table

_PATIENTS = np.arange(20) // 2


def _table(*paths):
    return compared_table.make(compared_runs.read(paths), replicates=200)


def test_the_difference_of_a_finding_is_delongs_on_the_same_images_of_patients(tmp_path):
    first = tiny_runs.findings(tmp_path / "first")
    other = tiny_runs.findings(tmp_path / "other", tiny_runs.WORSE)
    table = _table(first, other)
    (line,) = table.lines
    (found,) = line.differences["auroc"]
    of_areas = delong.delong_difference(
        tiny_runs.LABELS, tiny_runs.WORSE, tiny_runs.SCORES, _PATIENTS
    )
    assert (found.value, found.p) == pytest.approx((of_areas.value, of_areas.p))
    assert found.value < 0
    assert found.value == pytest.approx(line.rows[1]["auroc"] - line.rows[0]["auroc"])
    assert table.tests == 1 and found.p_holm == found.p
    (loss,) = line.differences["loss"]
    assert loss.value == pytest.approx(line.rows[1]["loss"] - line.rows[0]["loss"])
    assert loss.low < loss.value < loss.high and math.isnan(loss.p)
    assert table.metrics[0].name == "auroc"


def test_p_values_are_adjusted_for_all_of_them(tmp_path):
    much_worse = np.clip(tiny_runs.SCORES + np.tile([0.6, -0.6, 0.0, 0.1], 5), 0.01, 0.99)
    paths = [
        tiny_runs.findings(tmp_path / name, scores)
        for name, scores in (("A", tiny_runs.SCORES), ("B", tiny_runs.WORSE), ("C", much_worse))
    ]
    table = _table(*paths)
    worse, much = table.lines[0].differences["auroc"]
    assert table.tests == 2 and much.p < worse.p
    assert much.p_holm == pytest.approx(2 * much.p)
    assert worse.p_holm == pytest.approx(max(worse.p, 2 * much.p))


def test_masks_classes_and_volumes_have_a_randomisation_test(tmp_path):
    a, b = np.linspace(0.5, 0.9, 12), np.linspace(0.5, 0.9, 12) - 0.1
    table = _table(tiny_runs.masks(tmp_path / "A", a), tiny_runs.masks(tmp_path / "B", b))
    (found,) = table.lines[0].differences["jaccard"]
    assert found.value == pytest.approx(-0.1)
    assert found.p == paired.randomisation_test(b, a, np.arange(12) // 2)
    volumes = [
        tiny_runs.volumes(tmp_path / f"volumes {name}", {"PET": dice, "CT": dice})
        for name, dice in (("A", a), ("B", b))
    ]
    table = _table(*volumes)
    assert table.tests == 3
    assert [line.differences["dice"][0].value for line in table.lines] == pytest.approx([-0.1] * 3)
    ill = np.repeat([0.2, 0.8], 6)
    of_classes = [
        tiny_runs.classes(tmp_path / name, np.where(np.arange(12) < wrong, 1 - ill, ill))
        for name, wrong in (("right", 0), ("wrong", 3))
    ]
    (line,) = _table(*of_classes).lines
    assert line.differences["accuracy"][0].value == pytest.approx(-3 / 12)
    assert line.differences["sensitivity: normal"][0].value == pytest.approx(-3 / 6)
    assert line.differences["sensitivity: ill"][0].value == 0


def _add_external(run, scores, left_out=0):
    """Adds the results at a site "far" that the run was not trained on."""
    results = json.loads((run / "metrics.json").read_text())
    labels, scores = tiny_runs.LABELS[left_out:], scores[left_out:]
    about = {"task": "Opacity at far", "split": "external", "client": "far"}
    measured = metrics.binary_metrics(labels, scores, 0.5)
    results["rows"].append({**results["rows"][0], **about, **measured})
    (run / "metrics.json").write_text(json.dumps(results))
    predictions = pd.read_csv(run / "predictions.csv")
    others = predictions[left_out:].assign(**about, label=labels, score=scores)
    others["row"] = range(len(others))
    run_tables.PREDICTIONS.write(run, pd.concat([predictions, others]))
    images = kept_names.read(run, run_tables.IMAGES)
    assert images is not None
    more = images[left_out:].assign(client="far", split="external", row=range(len(others)))
    kept_names.write(run, run_tables.IMAGES, pd.concat([images, more]))


def test_external_sites_are_compared_too(tmp_path):
    runs = [tiny_runs.findings(tmp_path / name) for name in ("first", "other", "fewer")]
    _add_external(runs[0], tiny_runs.SCORES)
    _add_external(runs[1], tiny_runs.WORSE)
    _add_external(runs[2], tiny_runs.WORSE, left_out=2)
    table = _table(*runs)
    own, far = table.lines
    assert own.key["split"] == "test" and far.key["split"] == "external"
    assert far.title == "Opacity at far (external images)"
    worse, fewer = far.differences["auroc"]
    of_areas = delong.delong_difference(
        tiny_runs.LABELS, tiny_runs.WORSE, tiny_runs.SCORES, _PATIENTS
    )
    assert (worse.value, worse.p) == pytest.approx((of_areas.value, of_areas.p))
    assert fewer.reason.startswith("other test images (18 of 20")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": [f"/data/{row}.dcm" for row in range(1, 21)]}, "other test images (19 of 20"),
        ({"labels": 1 - tiny_runs.LABELS}, "other labels of the same images"),
        ({"scores": tiny_runs.SCORES[4:16], "labels": tiny_runs.LABELS[4:16]}, "other test images"),
    ],
)
def test_other_images_or_labels_are_not_paired(tmp_path, change, reason):
    first = tiny_runs.findings(tmp_path / "first")
    other = tiny_runs.findings(tmp_path / "other", **change)
    table = _table(first, other)
    (found,) = table.lines[0].differences["auroc"]
    assert found.reason.startswith(reason) and math.isnan(found.p) and table.tests == 0


def test_rows_that_one_run_lacks_stand_alone_and_networks_do_not_matter_if_each_has_one(tmp_path):
    first, other = (tiny_runs.findings(tmp_path / name) for name in ("first", "other"))
    results = json.loads((other / "metrics.json").read_text())
    (row,) = results["rows"]
    results["rows"] = [{**row, "model": "resnet18"}, {**row, "training": "pooled"}]
    results["rows"][1]["model"] = "resnet18"
    results["rows"].append({**row, "model": "resnet18", "split": "train"})  # Is not compared.
    (other / "metrics.json").write_text(json.dumps(results))
    pooled, federated = _table(first, other).lines
    assert pooled.rows[0] is None and pooled.name == "All sites pooled"
    assert None not in federated.rows and federated.differences["auroc"][0].value == 0
    assert federated.title == "Opacity at north (test images)"
    # Two networks in a run are told apart.
    results["rows"][1].update(training="federated", model="standard")
    (other / "metrics.json").write_text(json.dumps(results))
    assert [line.key["model"] for line in _table(first, other).lines] == ["resnet18", "standard"]
