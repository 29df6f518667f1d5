"""What the models outlined: the truth, and where each model's mask differs from it."""

from __future__ import annotations

from collections.abc import Sequence
import textwrap

from matplotlib import axes as matplotlib_axes
from matplotlib import colors, lines, patches
from matplotlib import figure as matplotlib_figure
import numpy as np

from tffcxr.report import run_cases, style
from tffcxr.report.figures import panels

# More rows than this are no longer looked at.
MAXIMUM_CASES = 8
# Blue, yellow and vermilion of Okabe & Ito: apart in hue for all colour vision, and in lightness.
_RIGHT, _MISSED, _TOO_MUCH = "#56B4E9", "#F0E442", "#D55E00"
_OPACITY = {_RIGHT: 0.45, _MISSED: 0.75, _TOO_MUCH: 0.75}
_TRUTH_COLOUR = "#FFFFFF"
_BOX_COLOUR = "#00E676"
_PANEL_WIDTH, _PANEL_HEIGHT = 2.9, 3.1
_TITLE_WIDTH = 34  # Characters above a panel.


def worst_first(cases: Sequence[run_cases.Segmentation]) -> list[run_cases.Segmentation]:
    """Orders the cases by the Jaccard of the model that matters: the last in `training_order`."""

    def jaccard(case: run_cases.Segmentation) -> float:
        training = max(case.jaccard, key=style.training_order)
        value = case.jaccard[training]
        return value if style.is_number(value) else -1.0  # The undefined is looked at first.

    return sorted(cases, key=jaccard)


def draw(cases: Sequence[run_cases.Segmentation]) -> matplotlib_figure.Figure:
    """Draws one row per case, worst first: the image with the true outline, then each mask."""
    cases = worst_first(cases)[:MAXIMUM_CASES]
    trainings = sorted({kind for case in cases for kind in case.masks}, key=style.training_order)
    with panels.style():
        figure, grid = panels.panels(len(cases), 1 + len(trainings), _PANEL_WIDTH, _PANEL_HEIGHT)
        for cells, case in zip(grid, cases):
            _draw_truth(cells[0], case)
            for axes, training in zip(cells[1:], trainings):
                _draw_mask(axes, case, training)
        _legend(figure, any(case.boxes for case in cases))
    return figure


def _draw_truth(axes: matplotlib_axes.Axes, case: run_cases.Segmentation) -> None:
    """Draws the image and the true outline."""
    _draw_image(axes, case)
    name = f"case {case.case}"
    axes.set_title(f"{case.kind}: {name}" if case.kind else name, loc="center")
    empty = "" if case.truth.any() else " (empty)"
    axes.set_xlabel(f"truth: {style.percent(float(case.truth.mean()))} of the image{empty}")


def _draw_mask(axes: matplotlib_axes.Axes, case: run_cases.Segmentation, training: str) -> None:
    """Draws where a mask is right, what it missed, and what is too much."""
    _draw_image(axes, case)
    name = style.training_name(training)
    if training not in case.masks:
        axes.set_title(f"{name}: no mask", loc="center")
        return
    mask = case.masks[training]
    overlay = np.zeros((*mask.shape, 4), np.float32)  # [S, S, RGBA]
    for colour, region in (
        (_RIGHT, mask & case.truth), (_MISSED, case.truth & ~mask), (_TOO_MUCH, mask & ~case.truth),
    ):  # fmt: skip
        overlay[region] = colors.to_rgba(colour, _OPACITY[colour])
    axes.imshow(overlay, interpolation="nearest")
    jaccard, dice = style.number(case.jaccard[training], 2), style.number(case.dice[training], 2)
    empty = "" if mask.any() else ", the mask is empty"
    if training in case.boxes:
        panels.outline(axes, case.boxes[training], color=_BOX_COLOUR, linewidth=1.2)
        overlap = style.number(case.overlap.get(training), 2)
        title = f"{name}: overlap {overlap}"
    else:
        title = f"{name}: Jaccard {jaccard}"
    axes.set_title("\n".join(textwrap.wrap(title, _TITLE_WIDTH)), loc="center")
    axes.set_xlabel(f"Dice {dice}{empty}")


def _draw_image(axes: matplotlib_axes.Axes, case: run_cases.Segmentation) -> None:
    """Draws the image and the true outline, and nothing around them."""
    panels.blank(axes)
    axes.xaxis.label.set_size(8)
    axes.title.set_size(9)
    axes.imshow(case.image, cmap="gray", vmin=0, vmax=255)
    panels.outline(axes, case.truth, color=_TRUTH_COLOUR, linewidth=0.9)


def _legend(figure: matplotlib_figure.Figure, with_boxes: bool) -> None:
    """Says what the colours are."""
    box = [lines.Line2D([], [], color=_BOX_COLOUR, label="boxes around the mask")]
    figure.legend(
        handles=[
            lines.Line2D([], [], color=_TRUTH_COLOUR, label="true outline"),
            *(box if with_boxes else []),
            *(
                patches.Patch(color=colour, alpha=_OPACITY[colour], label=label)
                for colour, label in (
                    (_RIGHT, "found"), (_MISSED, "missed"), (_TOO_MUCH, "too much"),
                )
            ),
        ],
        loc="outside lower center", ncols=2, frameon=True, facecolor="#333333",
        labelcolor="white", edgecolor="none",
    )  # fmt: skip
