"""Tests of report.rounds_figure: what is drawn from rounds.csv and clients.csv."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest

from tests.report import example_run
from tffcxr.report import figures, rounds_figure, run_directory


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return run_directory.read(example_run.write(tmp_path_factory.mktemp("run"), 40, 8))


def _draw(what):
    figure = rounds_figure.draw(what)
    assert figure is not None
    return figure


def _entries(axes):
    return axes.get_legend_handles_labels()[1]


def test_three_panels(run):
    figure = _draw(run)
    losses, auroc, clients = figure.axes
    assert _entries(losses) == [
        "training, all sites", "validation, Lung Opacity", "validation, Pneumothorax",
    ]  # fmt: skip
    np.testing.assert_array_equal(
        auroc.get_lines()[0].get_ydata(), run.rounds["Lung Opacity/auroc"]
    )
    assert _entries(clients) == ["opacity", "pneumothorax", "a client failed"]
    np.testing.assert_array_equal(clients.get_lines()[2].get_xdata(), [5])


def test_stage_change_is_marked_between_the_rounds(run):
    axes = _draw(run).axes[0]
    assert [text.get_text() for text in axes.texts] == ["head", "fine-tuning"]
    vertical = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in vertical] == [4.5]
    one_stage = dataclasses.replace(run, rounds=run.rounds.assign(stage="all"))
    assert not _draw(one_stage).axes[0].texts


def test_a_task_may_contain_a_slash():
    rounds = pd.DataFrame(columns=["round", "No Lung Opacity / Not Normal/auroc", "A/loss"])
    assert rounds_figure.metric_columns(rounds, "auroc") == {
        "No Lung Opacity / Not Normal": "No Lung Opacity / Not Normal/auroc"
    }


def test_failures_are_all_that_is_not_ok():
    clients = pd.DataFrame({"status": ["ok", "OK", "", "loss is not finite"]})
    assert rounds_figure.failures(clients).index.tolist() == [3]


def test_many_clients_have_a_median(run):
    clients = pd.DataFrame(
        [(r, f"c{i}", 10, float(i), "ok") for r in (1, 2) for i in range(21)],
        columns=["round", "client", "images", "train_loss", "status"],
    )
    axes = _draw(dataclasses.replace(run, clients=clients)).axes[-1]
    assert _entries(axes) == ["median of 21 clients"]
    assert axes.get_lines()[21].get_ydata().tolist() == [10, 10]


@pytest.mark.parametrize("columns", [["round"], ["round", "train_loss"]])
def test_partial_tables_are_drawn(run, columns):
    rounds = pd.DataFrame({"round": [1.0], "train_loss": [0.7]})[columns].assign(stage="")
    partial = dataclasses.replace(run, rounds=rounds, clients=run.clients.head(0))
    figure = _draw(partial)
    assert len(figure.axes) == 1
    assert figures.png(figure).startswith(b"\x89PNG")


def test_no_rounds_no_figure(run):
    assert rounds_figure.draw(dataclasses.replace(run, rounds=run.rounds.head(0))) is None


def test_undefined_auroc_is_a_gap(run):
    rounds = run.rounds.assign(**{"Lung Opacity/auroc": np.nan, "Pneumothorax/auroc": np.nan})
    figure = _draw(dataclasses.replace(run, rounds=rounds))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.png(figure)
    assert figure.axes[1].get_xlim() == (0.5, 8.5)
