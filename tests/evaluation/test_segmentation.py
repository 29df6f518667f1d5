"""Jaccard and Dice against values worked out by hand."""

import numpy as np
import pytest

from tffcxr.evaluation import segmentation


def _mask(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


# predicted, true, Jaccard, Dice
_CASES = [
    (_mask("##.", "##."), _mask(".##", ".##"), 2 / 6, 4 / 8),
    (_mask("##.", "..."), _mask("###", "##."), 2 / 5, 4 / 7),
    (_mask("#..", "..#"), _mask("#..", "..#"), 1.0, 1.0),
    (_mask("#..", "..."), _mask("...", "..#"), 0.0, 0.0),
    (_mask("...", "..."), _mask("...", "..#"), 0.0, 0.0),
    (_mask("#..", "..."), _mask("...", "..."), 0.0, 0.0),
    (_mask("...", "..."), _mask("...", "..."), 1.0, 1.0),
]


@pytest.mark.parametrize("predicted,truth,jaccard,dice", _CASES)
def test_by_hand(predicted, truth, jaccard, dice):
    assert segmentation.jaccard(predicted, truth) == pytest.approx(jaccard)
    assert segmentation.dice(predicted, truth) == pytest.approx(dice)
    assert segmentation.jaccard(truth, predicted) == pytest.approx(jaccard)


def test_dice_follows_from_jaccard():
    generator = np.random.default_rng(0)
    for _ in range(20):
        predicted, truth = generator.random((2, 6, 5)) < generator.random()
        share = segmentation.jaccard(predicted, truth)
        assert segmentation.dice(predicted, truth) == pytest.approx(2 * share / (1 + share))


@pytest.mark.parametrize("metric", [segmentation.jaccard, segmentation.dice])
def test_what_is_no_mask_is_refused(metric):
    mask = np.ones((2, 3), bool)
    with pytest.raises(
        ValueError, match=r"predicted mask of bool \[H, W\], found float32 \[2, 3\]"
    ):
        metric(mask.astype(np.float32), mask)
    with pytest.raises(ValueError, match=r"true mask of bool \[H, W\], found bool \[2, 3, 1\]"):
        metric(mask, mask[..., None])
    with pytest.raises(ValueError, match=r"found \[2, 3\] predicted and \[3, 2\] true"):
        metric(mask, mask.T)
