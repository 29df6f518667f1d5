"""Where the models look: heat maps of the baseline beside those of the federated model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib import axes as matplotlib_axes
from matplotlib import cm, lines
from matplotlib import figure as matplotlib_figure
import numpy as np

from tffcxr.report import run_cases, style
from tffcxr.report.figures import panels

# More rows than this are no longer looked at.
MAXIMUM_CASES = 8
_ANNOTATION_COLOUR = "#00E5FF"
_LUNGS_COLOUR = "#FFFFFF"
_COLOUR_MAP = "inferno"
_STRONGEST_OVERLAY = 0.65


def draw(cases: Sequence[run_cases.Explanation]) -> matplotlib_figure.Figure:
    """Draws one row per case: the image with its annotation, then each model's heat map.

    Where several models were trained in several ways, a case has a row per way.
    """
    cases = cases[:MAXIMUM_CASES]
    columns, ways = _layout({kind for case in cases for kind in case.heat})
    rows = [(case, way) for case in cases for way in ways]
    with panels.style():
        figure, grid = panels.panels(len(rows), 1 + len(columns), 2.7, 3.05)
        for cells, (case, way) in zip(grid, rows):
            _draw_image(cells[0], case)
            if way:
                cells[0].set_ylabel(style.training_name(way))
            for axes, name in zip(cells[1:], columns):
                _draw_heat(axes, case, f"{name} {way}".rstrip())
        for axes, title in zip(grid[0], ["Image", *map(style.training_name, columns)]):
            axes.set_title(title, loc="center")
        heat = figure.colorbar(
            cm.ScalarMappable(cmap=_COLOUR_MAP),
            ax=[axes for cells in grid for axes in cells],
            location="bottom",
            shrink=0.4,
            aspect=40,
            pad=0.01,
        )
        heat.set_ticks([0, 1], labels=["no influence", "strongest in the image"])
        heat.outline.set_visible(False)
        _legend(figure, cases)
    return figure


def _layout(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns what the columns are, and what the rows of a case: ways of training, or one ""."""
    ordered = sorted(names, key=style.training_order)
    parts = [style.split_training(name) for name in ordered]
    models = list(dict.fromkeys(model for model, _ in parts))
    ways = list(dict.fromkeys(way for _, way in parts))
    if len(models) == 1 or len(ways) == 1:
        return ordered, [""]
    # The federated model above those that it is compared with.
    return models, sorted(ways, key=style.training_order, reverse=True)


def _draw_image(axes: matplotlib_axes.Axes, case: run_cases.Explanation) -> None:
    """Draws the image and its annotation."""
    panels.blank(axes)
    axes.imshow(case.image, cmap="gray", vmin=0, vmax=255)
    _outline(axes, case)
    caption = f"case {case.case}"
    if case.annotation is not None:
        caption += f"\nannotated: {style.percent(float(case.annotation.mean()))} of the image"
    axes.set_xlabel(caption, fontsize=8)


def _draw_heat(axes: matplotlib_axes.Axes, case: run_cases.Explanation, training: str) -> None:
    """Draws a heat map over what the model was shown; more opaque where it is stronger."""
    panels.blank(axes)
    if training not in case.heat:
        axes.set_xlabel("no heat map", fontsize=8)
        return
    heat = np.clip(np.nan_to_num(case.heat[training].astype(float)), 0, 1)
    axes.imshow(case.seen.get(training, case.image), cmap="gray", vmin=0, vmax=255)
    axes.imshow(heat, cmap=_COLOUR_MAP, vmin=0, vmax=1, alpha=_STRONGEST_OVERLAY * heat**0.5)
    _outline(axes, case)
    shares = [
        f"{style.percent(share)} of heat in {region}"
        for share, region in (
            (case.in_lungs[training], "lungs"),
            (case.in_annotation[training], "annotation"),
        )
        if style.is_number(share)
    ]
    if not heat.any():
        shares = ["no heat: no region raised the score"]
    score = f"probability {style.number(case.scores[training], 2)}"
    axes.set_xlabel("\n".join([score, *shares]), fontsize=8)


def _outline(axes: matplotlib_axes.Axes, case: run_cases.Explanation) -> None:
    """Draws the outlines of annotation and lungs."""
    panels.outline(axes, case.lungs, color=_LUNGS_COLOUR, linewidth=0.8, linestyle="dashed")
    panels.outline(axes, case.annotation, color=_ANNOTATION_COLOUR, linewidth=1.4)


def _legend(figure: matplotlib_figure.Figure, cases: Sequence[run_cases.Explanation]) -> None:
    """Says what the outlines are, of those that are there."""
    entries = []
    if any(case.annotation is not None for case in cases):
        entries.append(lines.Line2D([], [], color=_ANNOTATION_COLOUR, label="annotated finding"))
    if any(case.lungs is not None for case in cases):
        entries.append(lines.Line2D([], [], color=_LUNGS_COLOUR, linestyle="--", label="lungs"))
    if entries:
        # White outlines need a dark background here too.
        figure.legend(
            handles=entries, loc="outside lower center", ncols=2, frameon=True,
            facecolor="#333333", labelcolor="white", edgecolor="none",
        )  # fmt: skip
