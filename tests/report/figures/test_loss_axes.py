"""Tests of report.rounds_figure: when the axis of losses is logarithmic."""

import dataclasses

import pytest

from tests.report import example_classes
from tffcxr.report import run_reader
from tffcxr.report.figures import rounds_figure


@pytest.fixture(name="classes", scope="module")
def _classes(tmp_path_factory):
    return run_reader.read(example_classes.write(tmp_path_factory.mktemp("classes"), 3, 1))


def _draw(run):
    figure = rounds_figure.draw(run)
    assert figure is not None
    return figure


@pytest.mark.parametrize(("largest", "scale"), [(2.0, "linear"), (50.0, "log")])
def test_a_loss_that_dwarfs_all_others_makes_the_axis_logarithmic(classes, largest, scale):
    rounds = classes.rounds.copy()
    rounds[[name for name in rounds if name.endswith("loss")]] = 1.0
    rounds.loc[0, "resnet50 full/loss"] = largest
    axes = _draw(dataclasses.replace(classes, rounds=rounds)).axes[0]
    assert axes.get_yscale() == scale
    if scale == "log":
        axes.figure.draw_without_rendering()
        assert {"1", "10"} <= {tick.get_text() for tick in axes.get_yticklabels()}
    difference = dataclasses.replace(
        classes, rounds=rounds, config={"derived": {"loss": "A minus B"}}
    )
    assert _draw(difference).axes[0].get_yscale() == "linear"
