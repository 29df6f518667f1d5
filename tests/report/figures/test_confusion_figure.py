"""Tests of report.confusion_figure: counts, shares and names."""

import pytest

from tffcxr.report.figures import confusion_figure, panels

_ROW = {
    "split": "test",
    "name": "ResNet50, full", "classes": ["Normal", "Ill", "Rare"], "accuracy": 0.7,
    "confusion": [[6, 2, 0], [1, 1, 0], [0, 0, 0]],
}  # fmt: skip


def _draw(rows):
    figure = confusion_figure.draw(rows)
    assert figure is not None
    return figure


def test_counts_and_their_share_of_the_true_class():
    (axes,) = _draw([_ROW]).axes
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[(0, 0)] == "6\n75 %"
    assert cells[(1, 0)] == "2\n25 %"  # of 8 normal images 2 were called ill
    assert cells[(0, 1)] == "1\n50 %"
    assert cells[(2, 2)] == "0\n–"  # without an image there is no share
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "Normal\n(n = 8)", "Ill\n(n = 2)", "Rare\n(n = 0)",
    ]  # fmt: skip
    assert axes.get_title(loc="left") == "ResNet50, full\ntest images, accuracy 0.700"


@pytest.mark.parametrize(("models", "visible"), [(1, 1), (3, 3), (4, 4)])
def test_a_matrix_per_model(models, visible):
    figure = _draw([_ROW] * models)
    assert sum(axes.get_visible() for axes in figure.axes) == visible
    assert panels.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("models", "columns"), [(1, 1), (8, 2), (16, 4)])
def test_many_matrices_do_not_make_a_strip(models, columns):
    axes = _draw([_ROW] * models).axes
    assert len({round(cell.get_subplotspec().colspan.start) for cell in axes}) == columns


def test_no_matrix_no_figure():
    assert confusion_figure.draw([{"name": "Federated"}]) is None
