"""A contact sheet of predicted lungs: the outlines to look at before a result is believed.

`lungs.csv` in a run's folder has a row per image; `lungs_examples.npz` beside it has the pixels of
those that the sheet shows.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
import textwrap

from matplotlib import axes as matplotlib_axes
from matplotlib import figure as matplotlib_figure
import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.report import run_files, style
from tffcxr.report.figures import panels

EXAMPLES = "lungs_examples.npz"

IMPLAUSIBLE = "implausible"
SMALLEST = "smallest"
LARGEST = "largest"
SAMPLE = "sample"

_COLUMNS = 6
_OUTLINE_COLOUR = "#00E5FF"
_IMPLAUSIBLE_COLOUR = "#FF9E1B"
_CAPTION_WIDTH = 26  # Characters below a cell.


@dataclasses.dataclass(frozen=True)
class Example:
    """One image of the sheet.

    Attributes:
      kind: why it is shown: `IMPLAUSIBLE`, `SMALLEST`, `LARGEST` or `SAMPLE`.
      name: its client and the number of its row.
      image: uint8 [S, S].
      lungs: the predicted mask, bool [S, S].
      area: the mask's share of the image, 0..1.
      reason: why the mask is implausible, None if it is not.
    """

    kind: str
    name: str
    image: np.ndarray
    lungs: np.ndarray
    area: float
    reason: str | None


def choose(
    reasons: Sequence[str | None], areas: Sequence[float], most: int = 24
) -> list[tuple[int, str]]:
    """Chooses the images to show; the same arguments give the same ones.

    Half of the places are for implausible masks, spread evenly over them. Of the others a quarter
    each is for the smallest and the largest masks, and the rest spread evenly over the areas
    between. Places that are not needed go to the next kind.

    Args:
      reasons: why each image's mask is implausible, None where it is not.
      areas: each mask's share of its image; NaN where there is no mask, and then it is not shown.
      most: how many images to choose at most.

    Returns:
      (position, kind) of each image, implausible ones first, the others by area.
    """
    known = [i for i, area in enumerate(areas) if np.isfinite(area)]
    bad = [i for i in known if reasons[i] is not None]
    good = sorted((i for i in known if reasons[i] is None), key=lambda i: (areas[i], i))
    shown_bad = _spread(bad, max(most // 2, most - len(good)))
    places = min(most - len(shown_bad), len(good))
    ends = places // 4
    middle = _spread(good[ends : len(good) - ends], places - 2 * ends)
    return [
        *((i, IMPLAUSIBLE) for i in shown_bad),
        *((i, SMALLEST) for i in good[:ends]),
        *((i, SAMPLE) for i in middle),
        *((i, LARGEST) for i in good[len(good) - ends :]),
    ]


def read(directory: pathlib.Path) -> tuple[pd.DataFrame, list[Example]]:
    """Reads a run's table of lungs, and the examples of its sheet.

    Returns:
      The rows of `lungs.csv`, and the examples in the order in which they are drawn.

    Raises:
      OSError, KeyError, ValueError: the examples are not those of a run with predicted lungs.
      errors.InputError: the table is not.
    """
    table = run_files.read_table(directory, run_tables.LUNGS)
    with np.load(directory / EXAMPLES, allow_pickle=False) as arrays:
        pixels, lungs = arrays["images"], arrays["lungs"]
        positions, kinds = arrays["positions"].tolist(), arrays["kinds"].tolist()
    examples = []
    for place, (position, kind) in enumerate(zip(positions, kinds)):
        row = table.iloc[position]
        examples.append(
            Example(
                kind=kind,
                name=f"{row['client']} {row['row']}",
                image=pixels[place],
                lungs=lungs[place],
                area=float(row["area"]),
                reason=row["reason"] or None,
            )
        )
    return table, examples


def draw(examples: Sequence[Example]) -> matplotlib_figure.Figure:
    """Draws the images in a grid with the outline of their lungs, at least one."""
    rows = -(-len(examples) // _COLUMNS)
    columns = min(len(examples), _COLUMNS)
    with panels.style():
        figure, grid = panels.panels(rows, columns, 1.75, 2.35)
        cells = [axes for row in grid for axes in row]
        for axes, example in zip(cells, examples):
            _draw_example(axes, example)
        for axes in cells[len(examples) :]:
            axes.set_axis_off()
    return figure


def _draw_example(axes: matplotlib_axes.Axes, example: Example) -> None:
    panels.blank(axes)
    colour = _OUTLINE_COLOUR if example.reason is None else _IMPLAUSIBLE_COLOUR
    for spine in axes.spines.values():
        spine.set(visible=example.reason is not None, edgecolor=colour, linewidth=2)
    axes.imshow(example.image, cmap="gray", vmin=0, vmax=255)
    panels.outline(axes, example.lungs, color=colour, linewidth=1.0)
    axes.set_title(example.kind, loc="center", fontsize=8)
    if example.reason is None:
        caption = f"lungs: {style.percent(example.area)} of the image"
    else:
        caption = example.reason
    lines = textwrap.wrap(example.name, _CAPTION_WIDTH) + textwrap.wrap(caption, _CAPTION_WIDTH)
    axes.set_xlabel("\n".join(lines), fontsize=7)


def _spread(positions: Sequence[int], most: int) -> list[int]:
    """Returns at most so many of the positions, spread evenly over them, in their order."""
    if len(positions) <= most:
        return list(positions)
    return [positions[(2 * i + 1) * len(positions) // (2 * most)] for i in range(most)]
