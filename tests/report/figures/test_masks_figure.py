"""Tests of report.masks_figure: order, colours and titles."""

import dataclasses

from matplotlib import colors
import numpy as np
import pytest

from tffcxr.report import run_cases
from tffcxr.report.figures import masks_figure, panels

NAN = float("nan")


@pytest.fixture(name="case")
def _case():
    truth = np.zeros((20, 20), bool)
    truth[5:15, 5:15] = True
    mask = np.roll(truth, 5, axis=1)  # half is right, half missed, half too much
    return run_cases.Segmentation(
        task="Lungs",
        case="7",
        kind="worst",
        image=np.full((20, 20), 90, np.uint8),
        truth=truth,
        masks={"federated": mask, "pooled": truth},
        jaccard={"federated": 1 / 3, "pooled": 1.0},
        dice={"federated": 0.5, "pooled": 1.0},
    )


def test_each_model_stands_beside_the_truth(case):
    axes = masks_figure.draw([case]).axes
    assert [cell.get_title(loc="center") for cell in axes] == [
        "worst: case 7", "All sites pooled: Jaccard 1.00", "Federated: Jaccard 0.33",
    ]  # fmt: skip
    assert [cell.get_xlabel() for cell in axes] == [
        "truth: 25 % of the image", "Dice 1.00", "Dice 0.50",
    ]  # fmt: skip


def test_long_names_take_two_lines(case):
    name = "federated_private_norm"
    renamed = dataclasses.replace(
        case, masks={name: case.truth}, jaccard={name: 1.0}, dice={name: 1.0}
    )
    title = masks_figure.draw([renamed]).axes[1].get_title(loc="center")
    assert title.replace("\n", " ") == "Federated, private batch norm: Jaccard 1.00"
    assert max(map(len, title.splitlines())) <= 34


def test_boxes_around_what_is_marked(case):
    boxed = dataclasses.replace(case, boxes=case.masks, overlap={"federated": 0.5, "pooled": 1.0})
    figure = masks_figure.draw([boxed])
    assert [cell.get_title(loc="center") for cell in figure.axes[1:]] == [
        "All sites pooled: overlap 1.00", "Federated: overlap 0.50",
    ]  # fmt: skip
    (legend,) = figure.legends
    assert "boxes around the mask" in [text.get_text() for text in legend.get_texts()]
    (plain,) = masks_figure.draw([case]).legends
    assert "boxes around the mask" not in [text.get_text() for text in plain.get_texts()]
    # An outline for the truth, and one more for the boxes.
    assert len(figure.axes[2].get_lines()) + len(figure.axes[2].collections) > len(
        figure.axes[0].get_lines()
    ) + len(figure.axes[0].collections)


def test_right_missed_and_too_much_have_the_colours_of_the_legend(case):
    figure = masks_figure.draw([case])
    _, overlay = figure.axes[2].images
    seen = {
        name: colors.to_hex(overlay.get_array()[10, column][:3])
        for name, column in (("missed", 7), ("found", 12), ("too much", 17))
    }
    (legend,) = figure.legends
    entries = {
        text.get_text(): colors.to_hex(patch.get_facecolor())
        for text, patch in zip(legend.get_texts()[1:], legend.get_patches())
    }
    assert seen == entries
    assert len(set(seen.values())) == 3
    assert overlay.get_array()[0, 0, 3] == 0  # neither truth nor mask: nothing is drawn


def test_worst_mask_of_the_federated_model_comes_first(case):
    cases = [
        dataclasses.replace(
            case, case=str(value), jaccard={"federated": value, "pooled": 1 - value}
        )
        for value in (0.9, 0.2, NAN, 0.5)
    ]
    ordered = [case.case for case in masks_figure.worst_first(cases)]
    assert ordered == ["nan", "0.2", "0.5", "0.9"]


def test_only_so_many_cases_are_drawn(case):
    assert len(masks_figure.draw([case] * 20).axes) == 3 * masks_figure.MAXIMUM_CASES


def test_empty_masks_are_said_to_be_empty(case):
    nothing = np.zeros((20, 20), bool)
    empty = dataclasses.replace(
        case, truth=nothing, masks={"federated": nothing}, jaccard={"federated": 1.0},
        dice={"federated": 1.0},
    )  # fmt: skip
    figure = masks_figure.draw([empty, case])
    labels = [cell.get_xlabel() for cell in figure.axes]
    assert "truth: 0 % of the image (empty)" in labels
    assert "Dice 1.00, the mask is empty" in labels
    assert "All sites pooled: no mask" in [cell.get_title(loc="center") for cell in figure.axes]
    assert panels.png(figure).startswith(b"\x89PNG")
