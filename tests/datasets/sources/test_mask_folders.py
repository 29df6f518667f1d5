"""Pairs of image and mask files."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import mask_folders
from tffcxr.errors import InputError


def test_files_by_stem_keeps_images_and_takes_the_ending_off(tmp_path):
    for name in ("a_mask.png", "b_mask.JPG", "c.png", "d_mask.txt", "._e_mask.png", "f_mask.jpeg"):
        (tmp_path / name).touch()
    found = mask_folders.files_by_stem(tmp_path, "made", ending="_mask")
    assert found == {
        "a": f"{tmp_path}/a_mask.png",
        "b": f"{tmp_path}/b_mask.JPG",
        "f": f"{tmp_path}/f_mask.jpeg",
    }
    assert list(mask_folders.files_by_stem(tmp_path, "made"))[2] == "c"


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_size_is_that_of_the_image_read(tmp_path, suffix, orientation):
    path = tmp_path / f"i.{suffix}"
    exif = PIL.Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    PIL.Image.fromarray(np.zeros((4, 7), np.uint8)).save(path, exif=exif)
    expected = images.read_image(path).shape[:2]
    assert expected == ((7, 4) if orientation in (6, 8) else (4, 7))
    assert mask_folders.size(str(path)) == expected


def test_a_file_without_a_readable_size_is_left_to_the_decoder(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    PIL.Image.fromarray(np.zeros((4, 7), np.uint8)).save(tmp_path / "good.png")
    bad, good = str(tmp_path / "bad.png"), str(tmp_path / "good.png")
    assert mask_folders.size(bad) is None
    assert mask_folders.size(str(tmp_path / "absent.png")) is None
    mask_folders.check_sizes(bad, [good], "made")
    mask_folders.check_sizes(good, [bad], "made")


def test_tuberculosis_is_the_last_digit():
    assert mask_folders.tuberculosis("MCUCXR_0104_1", "MCUCXR", "p", "made") == ("0104", 1.0)
    assert mask_folders.tuberculosis("MCUCXR_0001_0", "MCUCXR", "p", "made") == ("0001", 0.0)
    for stem in ("MCUCXR_0001_2", "CHNCXR_0001_0", "MCUCXR_0001_0_mask", "xMCUCXR_0001_0"):
        with pytest.raises(InputError, match="made: expected a name such as MCUCXR_0001_0.png"):
            mask_folders.tuberculosis(stem, "MCUCXR", "p", "made")
