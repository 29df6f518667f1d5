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


def test_slices_of_a_case_are_put_together():
    found = case_overlap.case_scores(
        np.array(["b", "a", "b", "a"], object),
        truth=np.array([10, 4, 30, 0]),
        predicted=np.array([10, 0, 10, 8]),
        common=np.array([5, 0, 10, 0]),
        boxed=np.array([8, 0, 20, 0]),
    )
    assert found.cases.tolist() == ["a", "b"]
    # a: 0 of 4 pixels; b: 28 of 40 in boxes, Dice 2 * 15 / (40 + 20).
    assert found.overlap.tolist() == [0.0, 0.7]
    assert found.dice.tolist() == [0.0, 0.5]
    assert found.missed.tolist() == [True, False]


def test_dice_of_the_volume_is_not_the_mean_of_slices():
    found = case_overlap.case_scores(
        np.array(["a", "a"]), [1, 99], [1, 99], common=[1, 0], boxed=[1, 0]
    )
    assert found.dice.tolist() == [0.01]  # The mean would be 0.5.
    assert found.overlap.tolist() == [0.01]


def test_a_case_without_the_region():
    found = case_overlap.case_scores(np.array(["a", "b"]), [0, 0], [0, 3], [0, 0], [0, 0])
    assert np.isnan(found.overlap).all()  # Undefined: there is no organ.
    assert found.dice.tolist() == [1.0, 0.0]
    assert not found.missed.any()  # There was nothing to miss.


def test_one_pixel_in_common_is_not_missed():
    found = case_overlap.case_scores(np.array(["a"]), [100], [1], [1], [1])
    assert not found.missed.any()
    assert found.overlap.tolist() == [0.01]


def test_no_cases():
    assert case_overlap.case_scores(np.array([], object), [], [], [], []).cases.size == 0


@pytest.mark.parametrize(
    ("common", "boxed", "message"),
    [([3], [1], "larger one"), ([1], [5], "larger one"), ([1, 1], [1], "of 1 slices")],
)
def test_impossible_areas(common, boxed, message):
    with pytest.raises(ValueError, match=message):
        case_overlap.case_scores(np.array(["a"]), [4], [2], common, boxed)
