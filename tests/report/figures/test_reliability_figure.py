"""Reliability diagrams from the predictions of a run and the scaling in its rows."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import special

from tests.report import example_classes, example_run
from tffcxr.report import run_reader
from tffcxr.report.figures import panels, reliability_figure


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return run_reader.read(example_run.write(folder, images=60, rounds=1, cases=1))


def _lines(figure):
    """Of the first diagram: the labels of its legend, and what is drawn after scaling."""
    axes = figure.axes[len(figure.axes) // 2]
    _, before, after = axes.get_lines()
    return [before.get_label(), after.get_label()], np.transpose(after.get_data())


def test_a_run_without_predictions_has_none(run):
    nothing = dataclasses.replace(run, predictions=run.predictions.head(0))
    assert reliability_figure.draw(nothing) is None


def test_scores_that_were_not_scaled_are_drawn_as_they_are_with_counts(run):
    figure = reliability_figure.draw(run)
    assert figure is not None
    counts, axes = figure.axes[0], figure.axes[2]  # Both diagrams stand below both counts.
    _, line = axes.get_lines()
    row = next(row for row in run.rows if row["training"] == "federated")
    assert line.get_label() == f"{row['ece']:.3f}"
    table = run.predictions
    mine = table[(table["task"] == row["task"]) & (table["training"] == "federated")]
    edges = np.linspace(0, 1, 16)
    assert [bar.get_height() for bar in counts.patches] == np.histogram(mine["score"], edges)[
        0
    ].tolist()
    assert counts.get_title(loc="left").startswith(row["task"])


def test_before_and_after_of_every_federated_model(run):
    scaling = {"calibration": "platt", "temperature": 2.0, "calibration_bias": 0.5}
    rows = [{**row, **scaling} for row in run.rows]
    figure = reliability_figure.draw(dataclasses.replace(run, rows=rows))
    assert figure is not None
    assert len(figure.axes) == 4  # Two per finding, of the federated model alone.
    labels, _ = _lines(figure)
    task = next(row for row in rows if row["training"] == "federated")["task"]
    table = run.predictions
    mine = table[
        (table["task"] == task) & (table["training"] == "federated") & (table["split"] == "test")
    ]
    logits = (special.logit(mine["score"]) - 0.5) * 2.0
    error = _error(mine["label"], special.expit(logits))
    assert labels[0] == f"before scaling: {error:.3f}"
    assert labels[1] == f"after scaling: {_error(mine['label'], mine['score']):.3f}"
    assert panels.png(figure).startswith(b"\x89PNG")


def _error(labels, scores):
    """The calibration error by the definition, bin after bin."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    total = 0.0
    for number in range(15):
        inside = (scores > number / 15) & (scores <= (number + 1) / 15)
        if inside.any():
            total += abs(labels[inside].mean() - scores[inside].mean()) * inside.sum()
    return total / len(scores)


def test_of_classes_the_predicted_one(tmp_path):
    path = example_classes.write(tmp_path, 1, 1, example_classes.VARIANTS[:1])
    run = run_reader.read(path)
    row = {**run.rows[0], "training": "federated", "temperature": 2.0}
    names = row["classes"]
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]])
    table = pd.DataFrame(
        {
            "model": row["model"], "images_kind": row["images_kind"], "training": "federated",
            "class": [names[0], names[1]],
            **{f"probability: {name}": probabilities[:, i] for i, name in enumerate(names)},
        }
    )  # fmt: skip
    figure = reliability_figure.draw(dataclasses.replace(run, rows=[row], class_predictions=table))
    _, after = _lines(figure)
    assert after == pytest.approx(np.array([[0.6, 0.0], [0.8, 1.0]]))
