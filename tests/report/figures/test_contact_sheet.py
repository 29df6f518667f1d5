"""The contact sheet shows what may be wrong first, and the same images every time."""

import numpy as np
import pytest

from tffcxr.report.figures import contact_sheet, panels

NAN = float("nan")


def _example(kind=contact_sheet.SAMPLE, reason=None, lungs=None, area=0.31):
    if lungs is None:
        lungs = np.zeros((20, 20), bool)
        lungs[5:15, 3:17] = True
    return contact_sheet.Example(
        kind, "north 7", np.full((20, 20), 90, np.uint8), lungs, area, reason
    )


def test_everything_is_shown_while_there_is_room():
    chosen = contact_sheet.choose([None, "empty", None, "ragged"], [0.3, 0.0, 0.2, 0.1], most=4)
    assert chosen == [(1, "implausible"), (3, "implausible"), (2, "sample"), (0, "sample")]


def test_half_of_the_places_are_for_implausible_masks():
    reasons = ["empty"] * 100 + [None] * 100
    areas = [0.1] * 100 + [0.5 - 0.001 * i for i in range(100)]
    chosen = contact_sheet.choose(reasons, areas, most=16)
    kinds = [kind for _, kind in chosen]
    assert kinds == ["implausible"] * 8 + ["smallest"] * 2 + ["sample"] * 4 + ["largest"] * 2
    positions = [position for position, _ in chosen]
    assert positions[:8] == [6, 18, 31, 43, 56, 68, 81, 93]  # spread evenly
    assert positions[8:10] == [199, 198]
    assert positions[-2:] == [101, 100]
    shown = [areas[position] for position in positions[8:]]
    assert shown == sorted(shown)
    assert len(set(positions)) == 16


@pytest.mark.parametrize(("bad", "good"), [(0, 40), (3, 40), (40, 3), (40, 0), (1, 1), (0, 0)])
def test_places_that_are_not_needed_go_to_others(bad, good):
    reasons = ["empty"] * bad + [None] * good
    chosen = contact_sheet.choose(reasons, [0.2] * (bad + good), most=12)
    assert len(chosen) == min(12, bad + good)
    assert len({position for position, _ in chosen}) == len(chosen)
    assert all((kind == "implausible") == (position < bad) for position, kind in chosen)


def test_an_image_without_mask_is_not_shown():
    chosen = contact_sheet.choose(["unreadable", None], [NAN, 0.3])
    assert chosen == [(1, "sample")]


def test_captions_say_the_area_or_what_is_wrong():
    figure = contact_sheet.draw(
        [
            _example(contact_sheet.IMPLAUSIBLE, "100 % on the left, expected 20 % to 80 %"),
            _example(),
        ]
    )
    first, second = figure.axes
    assert first.get_title(loc="center") == "implausible"
    assert first.get_xlabel().replace("\n", " ") == (
        "north 7 100 % on the left, expected 20 % to 80 %"
    )
    assert second.get_xlabel() == "north 7\nlungs: 31 % of the image"
    assert first.spines["left"].get_visible()
    assert not second.spines["left"].get_visible()
    assert len(first.collections) == len(second.collections) == 1  # the outlines
    assert not np.array_equal(
        first.collections[0].get_edgecolor(), second.collections[0].get_edgecolor()
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("lungs", [np.zeros((20, 20), bool), np.ones((20, 20), bool)])
def test_an_empty_or_full_mask_has_no_outline_and_nothing_warns(lungs):
    figure = contact_sheet.draw([_example(contact_sheet.IMPLAUSIBLE, "empty", lungs, 0.0)])
    assert not figure.axes[0].collections
    assert panels.png(figure).startswith(b"\x89PNG")


def test_a_grid_with_empty_cells():
    figure = contact_sheet.draw([_example()] * 8)
    assert len(figure.axes) == 12
    assert sum(axes.axison for axes in figure.axes) == 8
