"""Tests of report.jaccard_figure: every image is drawn, in order."""

import numpy as np
import pandas as pd

from tffcxr.evaluation import registry
from tffcxr.report.figures import jaccard_figure


def _draw(what):
    figure = jaccard_figure.draw(what)
    assert figure is not None
    return figure


def _table(**values):
    return pd.concat(
        [
            pd.DataFrame({"task": "Lungs", "training": training, "jaccard": of_training})
            for training, of_training in values.items()
        ]
    )


def test_images_are_sorted_and_counted():
    figure = _draw(_table(federated=[0.9, 0.4, np.nan, 0.8], pooled=[0.95]))
    (axes,) = figure.axes
    pooled, federated, _ = axes.get_lines()
    np.testing.assert_array_equal(federated.get_ydata(), [0.4, 0.8, 0.9])
    np.testing.assert_allclose(federated.get_xdata(), [100 / 6, 50, 500 / 6])
    assert axes.get_legend_handles_labels()[1] == [
        "All sites pooled (n = 1): median 0.950, 0 below 0.5",
        "Federated (n = 3): median 0.800, 1 below 0.5",
    ]
    assert pooled.get_xdata().tolist() == [50]


def test_a_panel_per_task():
    other = _table(federated=[0.5]).assign(task="Heart")
    figure = _draw(pd.concat([_table(federated=[0.9]), other]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Lungs: Jaccard of each image", "Heart: Jaccard of each image",
    ]  # fmt: skip


def test_cases_by_another_metric():
    table = _table(federated=[0.5, 0.2]).rename(columns={"jaccard": "dice"})
    figure = jaccard_figure.draw(table, registry.DICE, "case")
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "Lungs: Dice of each case"
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("Dice", "Cases, worst to best (%)")
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), [0.2, 0.5])


def test_nothing_known_no_figure():
    assert jaccard_figure.draw(_table(federated=[np.nan])) is None
