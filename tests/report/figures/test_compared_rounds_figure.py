"""The curves of several runs over one another."""

import numpy as np
import pandas as pd

from tests.report.comparison import tiny_runs
from tffcxr.report.comparison import compared_runs
from tffcxr.report.figures import compared_rounds_figure


def _runs(tmp_path, *tables, pooled=None):
    paths = [tiny_runs.findings(tmp_path / str(number)) for number in range(len(tables))]
    for path, table in zip(paths, tables):
        pd.DataFrame({"round": [1, 2], **table}).to_csv(path / "rounds.csv", index=False)
    if pooled is not None:
        pd.DataFrame({"round": [1, 2], **pooled}).to_csv(
            paths[0] / "rounds_pooled.csv", index=False
        )
    return compared_runs.read(paths)


def _curves(figure):
    return {
        axes.get_title("left"): [list(line.get_ydata()) for line in axes.get_lines()]
        for axes in figure.axes
    }


def test_a_panel_per_metric_and_task(tmp_path):
    runs = _runs(
        tmp_path,
        {"a/loss": [3, 2], "b/loss": [5, 4], "a/auroc": [0.5, 0.6]},
        {"a/loss": [2, 1], "a/auroc": [0.7, 0.8]},
        pooled={"a/loss": [9, 8]},
    )
    figure = compared_rounds_figure.draw(runs)
    assert figure is not None
    assert _curves(figure) == {
        "Loss: a": [[3, 2], [9, 8], [2, 1]],
        "AUROC: a": [[0.5, 0.6], [0.7, 0.8]],
    }
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["A: 0", "B: 1", "all sites pooled"]
    assert compared_rounds_figure.averaged(runs) == []


def test_many_tasks_are_their_mean_over_those_that_all_runs_have(tmp_path):
    first = {f"{name}/auroc": [0.5, value] for name, value in zip("abcde", (0.2, 0.4, 0.6, 0.8, 1))}
    other = {f"{name}/auroc": [0.5, 1.0] for name in "abcd"}
    # The loss of another task, too: the caption names those whose means stand in the figure.
    losses = {f"{name}/loss": [2.0, 1.0] for name in "abcd"}
    runs = _runs(tmp_path, {**first, **losses}, {**other, **losses})
    curves = _curves(compared_rounds_figure.draw(runs))
    assert curves.keys() == {"Loss, mean of 4 tasks", "AUROC, mean of 4 tasks"}
    np.testing.assert_allclose(curves["AUROC, mean of 4 tasks"], [[0.5, 0.5], [0.5, 1.0]])
    assert compared_rounds_figure.averaged(runs) == list("abcd")


def test_networks_of_one_task_share_a_panel_and_without_rounds_there_is_none(tmp_path):
    runs = _runs(tmp_path, {"resnet18/loss": [2, 1]}, {"resnet50/loss": [3, 2]})
    assert _curves(compared_rounds_figure.draw(runs)) == {"Loss": [[2, 1], [3, 2]]}
    assert compared_rounds_figure.draw(_runs(tmp_path / "empty", {}, {})) is None
