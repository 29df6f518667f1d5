"""The rows of `metrics.json` of masks, volumes and classes: every metric has an interval."""

import functools
import types
from typing import Any

import numpy as np
import pytest

from tffcxr.evaluation import mean_interval, recalibration
from tffcxr.evaluation.proportion_interval import proportion_interval
from tffcxr.studies.classes import class_results
from tffcxr.studies.masks.mask_study import MaskStudy
from tffcxr.studies.volumes.volume_study import VolumeStudy
from tffcxr.training.evaluators.mask_validation import MaskScores
from tffcxr.training.evaluators.validation import Scores

_SETTINGS = types.SimpleNamespace(replicates=50, seed=3)
_IMAGES = 24


def _study(kind, methods, **more) -> Any:
    study = types.SimpleNamespace(settings=_SETTINGS, interval="95 %", **more)
    for name in methods:
        setattr(study, name, functools.partial(getattr(kind, name), study))
    return study


def _scores(**more) -> MaskScores:
    generator = np.random.default_rng(0)
    values: dict[str, Any] = {
        name: generator.uniform(0.1, 0.9, _IMAGES) for name in ("loss", "jaccard", "dice")
    }
    values.update(rows=np.arange(_IMAGES), clients=np.full(_IMAGES, "a", object))
    names = MaskScores.__dataclass_fields__
    for name in names:
        values.setdefault(name, np.full(_IMAGES, 0.25))
    values.update(more)
    return MaskScores(**{name: values[name] for name in names})


def _mask_row(scores, may_be_absent=True):
    patients = np.arange(_IMAGES) // 2
    study = _study(
        MaskStudy, ("_measured",), region="Lungs", may_be_absent=may_be_absent,
        patients=lambda scores: patients,
    )  # fmt: skip
    result: Any = types.SimpleNamespace(scores=scores, training="federated", rounds={}, last=scores)
    return MaskStudy._row(study, "unet", result), patients


def test_masks():
    truth = np.where(np.arange(_IMAGES) % 3 == 0, 0.0, 0.25)
    marked = np.where(np.arange(_IMAGES) % 5 == 0, 0.0, 0.25)
    jaccard = np.where(truth > 0, np.linspace(0.2, 0.8, _IMAGES), np.nan)
    row, patients = _mask_row(_scores(truth_area=truth, predicted_area=marked, jaccard=jaccard))
    for name in ("loss", "jaccard", "dice", "last_jaccard", "sensitivity", "specificity"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    expected = mean_interval.mean_interval(jaccard, patients, 50, seed=3)
    assert (row["jaccard"], row["jaccard_low"]) == expected[:2]
    has = truth > 0
    found = proportion_interval(marked[has] > 0, patients[has], 50, seed=3)
    assert (row["sensitivity"], row["sensitivity_low"], row["sensitivity_high"]) == found
    assert row["positives"] == has.sum()
    assert row["proportion_interval"].startswith("95 % percentile interval, 50 bootstrap")
    assert "sensitivity" not in _mask_row(_scores(), may_be_absent=False)[0]


def test_a_loss_that_is_not_finite_has_no_interval():
    loss = np.full(_IMAGES, 0.5)
    loss[3] = np.nan
    row, _ = _mask_row(_scores(loss=loss))
    assert np.isnan([row["loss"], row["loss_low"], row["loss_high"]]).all()


def test_volumes():
    cases: Any = types.SimpleNamespace(
        cases=np.array([f"pet/{number}" for number in range(12)], object),
        overlap=np.array([np.nan, *np.linspace(0, 1, 11)]),
        boundary_overlap=np.linspace(0, 1, 12),
        dice=np.linspace(0, 0.9, 12),
        missed=np.arange(12) == 1,
    )
    study = _study(
        VolumeStudy, ("_missed", "people"), stratum_of={}, group_of={"pet": "petct"},
        spec=types.SimpleNamespace(network="unet"),
        patients=lambda scores: np.array([f"pet/{row // 2}" for row in scores.rows], object),
    )  # fmt: skip
    row = VolumeStudy._row(study, "Kidneys", "federated", _scores(), cases, cases)
    for name in ("loss", "dice", "overlap", "boundary_overlap"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    share = proportion_interval(np.arange(11) == 0)
    assert row["missed"] == 1
    assert row["missed_low"] == pytest.approx(11 * share.low)
    assert row["missed_high"] == pytest.approx(11 * share.high)
    assert row["dice_difference"] == row["dice_difference_low"] == 0.0


def test_classes():
    generator = np.random.default_rng(1)
    truth = np.arange(_IMAGES) % 3
    logits = generator.normal(0, 1, (_IMAGES, 3)) + np.eye(3)[truth]
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    scores = Scores(
        np.arange(_IMAGES), np.full(_IMAGES, "a", object), np.eye(3)[truth], log_probabilities
    )
    study: Any = types.SimpleNamespace(task="T", classes=("x", "y", "z"), settings=_SETTINGS)
    variant = types.SimpleNamespace(model="standard", images="full")
    result: Any = types.SimpleNamespace(variant=variant, training="federated")
    patients = np.array([f"p{row}" for row in scores.rows], object)
    row = class_results._measured(study, result, "test", scores, patients)
    for name in ("loss", "accuracy", "f1", "kappa", "brier", "ece"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    assert row["proportion_interval"] == "95 % Wilson interval"
    hits = log_probabilities.argmax(axis=1)[truth == 1] == 1
    found = proportion_interval(hits)
    of_y = recalibration.recalibration(truth == 1, np.exp(log_probabilities[:, 1]))
    for name in ("calibration_slope", "calibration_intercept"):
        for end in ("", "_low", "_high"):
            assert row[f"{name}_by_class{end}"]["y"] == pytest.approx(of_y[f"{name}{end}"])
        assert set(row[f"{name}_by_class"]) == {"x", "y", "z"}
    assert row["sensitivity_by_class"]["y"] == found.mean
    assert row["sensitivity_by_class_low"]["y"] == found.low
