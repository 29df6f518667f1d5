"""Boxes, run lengths and mask files against regions drawn by hand."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from tests import real_data
from tffcxr import options
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import source_files
from tffcxr.errors import InputError


def _rows(region):
    return ["".join(".#"[pixel] for pixel in row) for row in region.astype(int)]


def test_box_covers_rows_and_columns_from_its_upper_left_corner():
    assert _rows(areas.Boxes(((1, 0, 2, 3),), 4, 5).to_array()) == [
        ".##..",
        ".##..",
        ".##..",
        ".....",
    ]


def test_boxes_are_united():
    region = areas.Boxes(((0, 0, 2, 1), (1, 0, 1, 2)), 2, 3).to_array()
    assert _rows(region) == ["##.", ".#."]


def test_box_up_to_the_edge_and_parts_of_pixels():
    assert areas.Boxes(((0, 0, 3, 2),), 2, 3).to_array().all()
    # The centres 1.5 and 2.5 lie in 0.6 to 2.6, and 0.5 does not.
    assert _rows(areas.Boxes(((0.6, 0, 2.0, 1),), 1, 4).to_array()) == [".##."]


def test_no_boxes_is_a_known_empty_annotation():
    empty = areas.Boxes((), 2, 2)
    assert empty.empty
    assert not empty.to_array().any()
    assert not areas.Boxes(((0, 0, 1, 1),), 2, 2).empty


@pytest.mark.parametrize(
    "box", [(-1, 0, 2, 2), (0, 0, 4, 1), (0, 2, 1, 2), (0, 0, 0, 1), (0, 0, 1, float("nan"))]
)
def test_impossible_box_is_refused(box):
    with pytest.raises(InputError, match="expected a box"):
        areas.Boxes((box,), 3, 3)


def test_runs_are_relative_and_go_down_the_columns():
    # Skip 1, mark 2; skip 2 more, mark 1; skip 0, mark 1: pixels 1, 2, 5, 6 of columns of 4.
    region = areas.RunLengths("1 2 2 1 0 1", 4, 3).to_array()
    assert region.shape == (4, 3)
    assert _rows(region) == ["...", "##.", "##.", "..."]


def test_last_pixel_can_be_marked():
    assert _rows(areas.RunLengths("5 1", 2, 3).to_array()) == ["...", "..#"]


def test_several_codes_are_united():
    region = areas.RunLengths(("0 2", "1 2"), 2, 2).to_array()
    assert _rows(region) == ["##", "#."]


@pytest.mark.parametrize("runs", ["", "-1", (), ("-1",), " -1 "])
def test_known_empty_runs(runs):
    empty = areas.RunLengths(runs, 3, 2)
    assert empty.empty
    assert not empty.to_array().any()


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ("1 2 3", "found 3 numbers"),
        ("1 x", "whole numbers, found '1 x'"),
        ("1.5 2", "whole numbers"),
        ("3 -1", "0 or more, found -1"),
        ("5 2", "add up to 7"),
        ("6 1", "add up to 7"),
        ("9223372036854775807 9223372036854775807", "found one beyond"),
        ("99999999999999999999 1", "whole numbers"),
    ],
)
def test_damaged_runs_are_refused(runs, reason):
    with pytest.raises(InputError, match=reason):
        areas.RunLengths(runs, 2, 3)


@pytest.mark.parametrize("seed", range(20))
def test_encoding_is_the_inverse_of_decoding(seed):
    rng = np.random.default_rng(seed)
    region = rng.random((rng.integers(1, 9), rng.integers(1, 9))) < rng.random()
    code = areas.encode_runs(region)
    np.testing.assert_array_equal(areas.RunLengths(code, *region.shape).to_array(), region)


def test_encoding_by_hand():
    region = np.array([[0, 1], [1, 1], [1, 0]], bool)
    assert areas.encode_runs(region) == "1 4"  # The runs of both columns touch.
    assert areas.encode_runs(np.zeros((2, 2), bool)) == "-1"
    assert areas.encode_runs(np.array([[1, 0, 1]], bool)) == "0 1 1 1"


def test_every_published_code_marks_as_many_pixels_as_its_lengths_add_up_to():
    path = real_data.real_data("siim") / "train-rle.csv"
    table = source_files.read_csv(
        path, ["ImageId", "EncodedPixels"], "siim", long=["EncodedPixels"]
    )
    assert len(table) == 12954
    empty = 0
    atlas = np.zeros((16, 16))
    for index, code in enumerate(table["EncodedPixels"]):
        annotation = areas.RunLengths(code, 1024, 1024)  # Checks the code.
        empty += annotation.empty
        if not annotation.empty and index % 5 == 0:
            region = annotation.to_array()
            assert np.count_nonzero(region) == sum(map(int, code.split()[1::2]))
            atlas += region[32::64, 32::64]
    assert empty == 9378
    # Pneumothoraces are as often on the left as on the right, and mostly at the top of the lungs:
    # were the pixels counted along the rows, it would be the other way round.
    mirrored = np.corrcoef(atlas.ravel(), atlas[:, ::-1].ravel())[0, 1]
    upside_down = np.corrcoef(atlas.ravel(), atlas[::-1].ravel())[0, 1]
    assert mirrored > 0.7
    assert mirrored > upside_down + 0.3
    assert atlas[:8].sum() > atlas[8:].sum()


@pytest.mark.parametrize("values", [(0, 1), (0, 255)])
def test_mask_file_of_zero_and_one_or_255(tmp_path, values):
    path = tmp_path / "m.png"
    region = np.array([[0, 1, 1], [0, 0, 1]], bool)
    PIL.Image.fromarray(np.where(region, *values[::-1]).astype(np.uint8)).save(path)
    np.testing.assert_array_equal(areas.MaskFile(str(path)).to_array(), region)


def test_mask_file_of_other_values_is_refused(tmp_path):
    PIL.Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="m.png: .* found values such as 1, 2 in 2 pixels"):
        areas.MaskFile(str(tmp_path / "m.png")).to_array()


@pytest.mark.parametrize("values", [[0, 128, 255], [0, 254], [1, 255], [0, 1, 255], [0, 64]])
def test_png_mask_of_grey_values_is_refused(tmp_path, values):
    path = tmp_path / "grey.png"
    PIL.Image.fromarray(np.array([values], np.uint8)).save(path)
    with pytest.raises(InputError, match="grey.png: expected a mask of 0 and 1, or of 0 and 255"):
        areas.MaskFile(str(path)).to_array()


@pytest.mark.parametrize("value", [0, 1, 255])
def test_mask_of_one_value(tmp_path, value):
    PIL.Image.fromarray(np.full((2, 3), value, np.uint8)).save(tmp_path / "m.png")
    region = areas.MaskFile(str(tmp_path / "m.png")).to_array()
    np.testing.assert_array_equal(region, np.full((2, 3), value > 0))


def test_colour_and_one_bit_masks(tmp_path):
    region = np.array([[0, 1, 1], [0, 0, 1]], bool)
    PIL.Image.fromarray(region).save(tmp_path / "bits.png")
    colours = np.repeat(region[..., None], 3, 2).astype(np.uint8) * 255
    PIL.Image.fromarray(colours).save(tmp_path / "white.png")
    for name in ("bits.png", "white.png"):
        np.testing.assert_array_equal(areas.MaskFile(str(tmp_path / name)).to_array(), region)
    colours[..., 1:] = 0  # Red.
    PIL.Image.fromarray(colours).save(tmp_path / "red.png")
    with pytest.raises(InputError, match="red.png: .* found values such as 76 in 3 pixels"):
        areas.MaskFile(str(tmp_path / "red.png")).to_array()


@pytest.mark.parametrize("quality", [50, 95])
def test_jpeg_mask_may_be_blurred_by_its_compression(tmp_path, quality):
    y, x = np.mgrid[:256, :256]
    region = ((x - 80) / 40) ** 2 + ((y - 128) / 90) ** 2 < 1
    path = tmp_path / "m.jpg"
    PIL.Image.fromarray(region.astype(np.uint8) * 255).save(path, quality=quality)
    assert len(np.unique(PIL.Image.open(path))) > 2
    assert (areas.MaskFile(str(path)).to_array() != region).mean() < 0.002


def test_jpeg_radiograph_is_no_mask(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    PIL.Image.fromarray(ramp).save(tmp_path / "ramp.jpg")
    with pytest.raises(InputError, match="ramp.jpg: expected a mask"):
        areas.MaskFile(str(tmp_path / "ramp.jpg")).to_array()
    PIL.Image.fromarray(ramp // 4).save(tmp_path / "dark.jpg")
    with pytest.raises(InputError, match="dark.jpg: expected a mask"):
        areas.MaskFile(str(tmp_path / "dark.jpg")).to_array()


def _save(path, rows):
    PIL.Image.fromarray(np.array(rows, np.uint8) * 255).save(path)
    return str(path)


def test_joined_masks_are_their_union(tmp_path):
    left = _save(tmp_path / "left.png", [[0, 0, 1], [0, 0, 0]])
    right = _save(tmp_path / "right.png", [[1, 0, 1], [0, 0, 0]])
    joined = areas.JoinedMasks((left, right))
    np.testing.assert_array_equal(joined.to_array(), [[True, False, True], [False] * 3])
    assert joined.files == (left, right)
    assert joined == areas.JoinedMasks((left, right))
    np.testing.assert_array_equal(
        areas.JoinedMasks((left,)).to_array(), areas.MaskFile(left).to_array()
    )


def test_joined_masks_that_do_not_fit(tmp_path):
    left = _save(tmp_path / "left.png", [[0, 1]])
    right = _save(tmp_path / "right.png", [[0], [1]])
    with pytest.raises(InputError, match="right.png: .* 2x1 pixels like .*left.png, found 1x2"):
        areas.JoinedMasks((left, right)).to_array()
    PIL.Image.fromarray(np.array([[0, 9]], np.uint8)).save(tmp_path / "right.png")
    with pytest.raises(InputError, match="right.png: expected a mask of 0 and 1"):
        areas.JoinedMasks((left, right)).to_array()
    with pytest.raises(InputError, match="at least one mask file"):
        areas.JoinedMasks(())


def test_coarse_mask_takes_the_nearest_pixel(tmp_path):
    path = _save(tmp_path / "m.png", [[0, 1], [1, 0]])
    enlarged = areas.CoarseMask(path, 3, 4, 2, 2).to_array()
    # Row 1 has its centre at 1.5 of 3, on the border of both rows of the mask: the lower one.
    expected = [[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    np.testing.assert_array_equal(enlarged, np.array(expected, bool))
    assert areas.CoarseMask(path, 3, 4, 2, 2).files == (path,)


def test_coarse_mask_of_another_size(tmp_path):
    path = _save(tmp_path / "m.png", [[0, 1], [1, 0]])
    with pytest.raises(InputError, match="m.png: expected a mask of 3x2 pixels, found 2x2"):
        areas.CoarseMask(path, 4, 4, 2, 3).to_array()
    with pytest.raises(InputError, match="at least one pixel, found 4x0"):
        areas.CoarseMask(path, 0, 4, 2, 2)


def test_annotations_compare_and_hash_by_value():
    assert areas.RunLengths("1 2", 2, 3) == areas.RunLengths("1 2", 2, 3)
    assert len({areas.Boxes((), 1, 1), areas.Boxes((), 1, 1), areas.Boxes((), 1, 2)}) == 2


@pytest.mark.parametrize("fit", options.FITS)
@pytest.mark.parametrize("shape", [(400, 300), (300, 400), (90, 200), (129, 64), (300, 300)])
def test_mask_of_the_square_comes_back_to_the_square(tmp_path, fit, shape):
    size = 64
    place = images.place_in_square(shape, size, fit)
    rows, columns = np.mgrid[:size, :size]
    disc = (rows - 30) ** 2 + (columns - 33) ** 2 < 20**2
    content = np.zeros_like(disc)
    content[place] = True
    PIL.Image.fromarray(np.where(disc, 255, 0).astype(np.uint8)).save(tmp_path / "m.png")
    mask = areas.FittedMask(str(tmp_path / "m.png"), shape[0], shape[1], fit)
    region = mask.to_array()
    assert region.shape == shape
    assert region.dtype == bool
    again = images.fit_to_square(region, size, fit, is_mask=True)
    expected = disc & content  # what lies in the padding is no part of the image
    assert (again & expected).sum() / (again | expected).sum() >= 0.97
    assert mask.files == (str(tmp_path / "m.png"),)


@pytest.mark.parametrize("fit", options.FITS)
@pytest.mark.parametrize("shape", [(400, 300), (120, 333)])
def test_mask_of_the_square_lies_on_what_was_seen_there(tmp_path, fit, shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside = (abs(rows / shape[0] - 0.6) < 0.2) & (abs(columns / shape[1] - 0.3) < 0.15)
    seen = images.fit_to_square(np.where(inside, 255, 0).astype(np.uint8), 96, fit) > 127
    PIL.Image.fromarray(seen).save(tmp_path / "m.png")
    region = areas.FittedMask(str(tmp_path / "m.png"), shape[0], shape[1], fit).to_array()
    assert (region & inside).sum() / (region | inside).sum() >= 0.93  # a pixel of the square


def test_mask_of_the_square_by_hand(tmp_path):
    square = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], np.uint8)
    PIL.Image.fromarray(square * 255).save(tmp_path / "m.png")
    # A wide image fills the two rows in the middle; stretched, it fills all.
    padded = areas.FittedMask(str(tmp_path / "m.png"), 2, 4, "pad")
    assert _rows(padded.to_array()) == ["#...", "...#"]
    stretched = areas.FittedMask(str(tmp_path / "m.png"), 4, 8, "stretch")
    assert _rows(stretched.to_array()) == ["########", "##......", "......##", "########"]


def test_mask_of_the_square_must_be_square(tmp_path):
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="m.png: expected a square mask, found 5x4"):
        areas.FittedMask(str(tmp_path / "m.png"), 8, 8, "pad").to_array()
    with pytest.raises(InputError, match="expected fit to be one of pad, stretch, found 'crop'"):
        areas.FittedMask("m.png", 8, 8, "crop")
    with pytest.raises(InputError, match="at least one pixel, found 8x0"):
        areas.FittedMask("m.png", 0, 8, "pad")
