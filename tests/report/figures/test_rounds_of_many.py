"""Tests of report.rounds_figure: of so many findings that a line for each would not be read."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.report import example_run
from tffcxr.report import run_reader, style
from tffcxr.report.figures import rounds_figure


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return run_reader.read(example_run.write(tmp_path_factory.mktemp("run"), 40, 8))


def _panels(run):
    figure = rounds_figure.draw(run)
    assert figure is not None
    return figure.axes


def _entries(axes):
    return axes.get_legend_handles_labels()[1]


def test_of_many_findings_the_mean_is_named_and_each_is_thin(run):
    columns = {f"{n}/auroc": [0.5 + n / 20, 0.6] for n in range(9)}
    rounds = pd.DataFrame({"round": [1.0, 2.0], "stage": "", **columns})
    row = {"model": "standard", "client": "a", "round": 2, "training": "federated"}
    rows = [{**row, "task": str(n)} for n in range(9)]
    axes = _panels(dataclasses.replace(run, rounds=rounds, rows=rows))[1]
    assert _entries(axes)[0] == "Federated, mean of 9 (thin: each)"
    assert len(_entries(axes)) == 2  # The mean, and the round of the table.
    mean = axes.get_legend_handles_labels()[0][0]
    np.testing.assert_allclose(mean.get_ydata(), [0.7, 0.6])  # 0.5 + (0 + … + 8) / 9 / 20
    thin = [
        line for line in axes.get_lines() if line.get_linewidth() < 1 and len(line.get_xdata()) > 1
    ]
    assert len([line for line in thin if line.get_color() == mean.get_color()]) == 9


def test_many_findings_of_several_networks_have_a_mean_each(run):
    networks = {"standard": 0.6, "densenet121": 0.7}
    columns = {f"{network}/train_loss": value for network, value in networks.items()}
    for network, value in networks.items():
        for number in range(8):
            columns[f"{network} F{number}/loss"] = columns[f"{network} F{number}/auroc"] = value
    rounds = pd.DataFrame({"round": [1.0, 2.0], "stage": "", **columns})
    losses, auroc, _ = _panels(dataclasses.replace(run, rounds=rounds, rows=[]))
    assert not any("None" in entry for entry in _entries(losses))
    for axes in (losses, auroc):
        lines = dict(zip(_entries(axes), axes.get_legend_handles_labels()[0]))
        for place, (name, value) in enumerate((("standard", 0.6), ("DenseNet121", 0.7))):
            line = lines[f"{name}, Federated, mean of 8 (thin: each)"]
            assert line.get_color() == style.SERIES_COLOURS[place]
            np.testing.assert_allclose(line.get_ydata(), value)


def test_trainings_beside_many_tasks_have_their_names(run):
    trainings = ("federated", "federated_private_norm", "federated_private_output")
    tasks = [f"Kidneys in {place}{private}" for place in ("CT", "PET", "MRI")
             for private in ("", ", private norm")]  # fmt: skip
    columns = {f"{name}/loss": 0.5 for name in tasks}
    columns |= {f"{name}/train_loss": 0.5 for name in trainings}
    rounds = pd.DataFrame({"round": [1, 2], "stage": "all", **columns})
    losses = _panels(dataclasses.replace(run, rows=[], rounds=rounds))[0]
    told = [f"{style.training_name(name)}, training images" for name in trainings]
    assert _entries(losses) == [*told, *tasks]
