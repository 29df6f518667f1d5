"""Tests of report.precision_recall_figure: points by hand, and scikit-learn's average precision."""

import dataclasses

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tests.report import example_run
from tffcxr.report import run_reader
from tffcxr.report.figures import precision_recall_figure, roc_figure


@pytest.fixture(name="curves", scope="module")
def _curves(tmp_path_factory):
    run = run_reader.read(example_run.write(tmp_path_factory.mktemp("run"), 60, 1, 1))
    return roc_figure.curves(run)


def _curve(labels, scores):
    rate, sensitivity, _ = sklearn_metrics.roc_curve(labels, scores)
    return roc_figure.Curve("", {}, rate, sensitivity, float("nan"))


def test_points_of_four_images():
    # From the highest score: positive, negative, positive, negative.
    recall, precision = precision_recall_figure.points(_curve([1, 0, 1, 0], [4, 3, 2, 1]), 0.5)
    at = dict(zip(np.round(recall, 9), precision))
    assert precision[0] == 1.0
    assert at[0.5] == pytest.approx(1 / 2)  # Of recall 0.5 the last point: 2 images are called.
    assert at[1.0] == pytest.approx(1 / 2)
    # Half-way from (1 of 2 called) to (2 of 3), 1.5 of 2.5 images would be.
    assert at[0.75] == pytest.approx(1.5 / 2.5)


def test_at_every_score_precision_is_scikit_learns():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    scores = generator.normal(labels, 1.0)
    expected, recall, _ = sklearn_metrics.precision_recall_curve(labels, scores)
    mine = precision_recall_figure.points(_curve(labels, scores), labels.mean())
    drawn = np.column_stack(mine)
    for point in np.column_stack([recall, expected])[:-1]:  # The last is made up: 0, 1.
        assert np.abs(drawn - point).max(axis=1).min() < 0.01
    area = sklearn_metrics.auc(*mine)
    assert area == pytest.approx(sklearn_metrics.average_precision_score(labels, scores), abs=0.02)


def test_a_panel_has_the_prevalence_and_the_operating_point(curves):
    figure = precision_recall_figure.draw(curves)
    assert figure is not None
    axes = figure.axes[0]
    row = next(curve.row for curve in curves if curve.row["training"] == "federated")
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    low, high = row["aupr_low"], row["aupr_high"]
    assert f"Federated: {row['aupr']:.3f} ({low:.3f}–{high:.3f})" in labels
    assert labels[-1] == "Prevalence: 0.333"
    assert axes.get_lines()[0].get_ydata() == pytest.approx([1 / 3, 1 / 3])
    dots = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.get_lines()
        if line.get_marker() == "o"
    ]
    assert dots[-1] == pytest.approx((row["sensitivity"], row["ppv"]))


def test_curves_of_unknown_prevalence_are_left_out(curves):
    unknown = [dataclasses.replace(curve, row={**curve.row, "images": None}) for curve in curves]
    assert precision_recall_figure.draw(unknown) is None
    assert precision_recall_figure.draw([]) is None
