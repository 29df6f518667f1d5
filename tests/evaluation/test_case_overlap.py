"""Overlap of boxes, Dice of volumes and missed lesions, against values computed by hand."""

import numpy as np
import pytest

from tffcxr.evaluation import case_overlap


def _mask(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


def test_a_box_around_each_connected_part():
    mask = _mask(
        "##...",
        "..#..",
        ".....",
        "...##",
    )
    # The corner at (0, 1) and (1, 2) connects; the bar below is a part of its own.
    assert case_overlap.bounding_boxes(mask) == [
        (slice(0, 2), slice(0, 3)),
        (slice(3, 4), slice(3, 5)),
    ]
    assert case_overlap.bounding_boxes(np.zeros((3, 3), bool)) == []


class TestBoxedPixels:
    organ = _mask(
        ".####.",
        ".####.",
        ".####.",
    )

    def test_a_cross_has_a_box_that_holds_its_corners(self):
        cross = _mask("..#...", ".###..", "..#...")
        # The box is 3 x 3 at columns 1 to 3: 9 of the 12 pixels of the organ.
        assert case_overlap.boxed_pixels(cross, self.organ) == 9

    def test_two_boxes_are_not_joined(self):
        two = _mask(".#..#.", ".#..#.", "......")
        assert case_overlap.boxed_pixels(two, self.organ) == 4

    def test_a_box_may_be_larger(self):
        assert case_overlap.boxed_pixels(np.ones((3, 6), bool), self.organ) == 12

    def test_beside_and_nothing(self):
        assert case_overlap.boxed_pixels(_mask("#.....", "......", "......"), self.organ) == 0
        assert case_overlap.boxed_pixels(np.zeros((3, 6), bool), self.organ) == 0

    def test_wrong_masks(self):
        with pytest.raises(ValueError, match="of one size"):
            case_overlap.boxed_pixels(np.ones((2, 6), bool), self.organ)
        with pytest.raises(ValueError, match="bool"):
            case_overlap.boxed_pixels(np.ones((3, 6)), self.organ)


class TestBoundary:
    def test_outermost_pixels(self):
        organ = _mask("#####", "#####", "#####", ".###.")
        # Inside is what has the organ on all four sides; diagonals do not count.
        expected = _mask("#####", "#...#", "#...#", ".###.")
        np.testing.assert_array_equal(case_overlap.boundary(organ), expected)
        assert not case_overlap.boundary(np.zeros((3, 3), bool)).any()

    def test_one_box_around_all_that_is_marked(self):
        organ = _mask("######", "######", "######", "######")
        two = _mask("......", ".#....", "...#..", "......")
        # The box holds rows 1 and 2 of columns 1 to 3, all inside.
        assert case_overlap.boxed_boundary(two, organ) == (0, 16)
        # Rows 0 to 2 of columns 0 to 3: 4 pixels above and 2 more to the left.
        two[0, 0] = True
        assert case_overlap.boxed_boundary(two, organ) == (6, 16)
        assert case_overlap.boxed_boundary(organ, organ) == (16, 16)

    def test_nothing(self):
        nothing = np.zeros((2, 3), bool)
        assert case_overlap.boxed_boundary(nothing, ~nothing) == (0, 6)
        assert case_overlap.boxed_boundary(~nothing, nothing) == (0, 0)
        with pytest.raises(ValueError, match="bool and of one size"):
            case_overlap.boxed_boundary(nothing.astype(int), nothing)


def _case_scores(cases, truth, predicted, common, boxed, boundary=None, boxed_boundary=None):
    """Takes the areas for boundaries where these do not matter."""
    return case_overlap.case_scores(
        cases,
        truth,
        predicted,
        common,
        boxed,
        truth if boundary is None else boundary,
        boxed if boxed_boundary is None else boxed_boundary,
    )


def test_slices_of_a_case_are_put_together():
    found = _case_scores(
        np.array(["b", "a", "b", "a"], object),
        truth=np.array([10, 4, 30, 0]),
        predicted=np.array([10, 0, 10, 8]),
        common=np.array([5, 0, 10, 0]),
        boxed=np.array([8, 0, 20, 0]),
        boundary=np.array([6, 4, 14, 0]),
        boxed_boundary=np.array([6, 1, 10, 0]),
    )
    assert found.cases.tolist() == ["a", "b"]
    # a: 0 of 4 pixels; b: 28 of 40 in boxes, Dice 2 * 15 / (40 + 20).
    assert found.overlap.tolist() == [0.0, 0.7]
    # a: 1 of 4 pixels of the boundary; b: 16 of 20.
    assert found.boundary_overlap.tolist() == [0.25, 0.8]
    assert found.dice.tolist() == [0.0, 0.5]
    assert found.missed.tolist() == [True, False]


def test_dice_of_the_volume_is_not_the_mean_of_slices():
    found = _case_scores(np.array(["a", "a"]), [1, 99], [1, 99], common=[1, 0], boxed=[1, 0])
    assert found.dice.tolist() == [0.01]  # The mean would be 0.5.
    assert found.overlap.tolist() == [0.01]


def test_a_case_without_the_region():
    found = _case_scores(np.array(["a", "b"]), [0, 0], [0, 3], [0, 0], [0, 0])
    # Undefined: there is no organ.
    assert np.isnan(found.overlap).all() and np.isnan(found.boundary_overlap).all()
    assert found.dice.tolist() == [1.0, 0.0]
    assert not found.missed.any()  # There was nothing to miss.


def test_one_pixel_in_common_is_not_missed():
    found = _case_scores(np.array(["a"]), [100], [1], [1], [1])
    assert not found.missed.any()
    assert found.overlap.tolist() == [0.01]


def test_no_cases():
    assert _case_scores(np.array([], object), [], [], [], []).cases.size == 0


@pytest.mark.parametrize(
    ("common", "boxed", "edge", "message"),
    [
        ([3], [1], [1], "larger one"),
        ([1], [5], [1], "larger one"),
        ([1], [1], [5], "larger one"),
        ([1, 1], [1], [1], "of 1 slices"),
    ],
)
def test_impossible_areas(common, boxed, edge, message):
    with pytest.raises(ValueError, match=message):
        _case_scores(np.array(["a"]), [4], [2], common, boxed, [4], edge)
