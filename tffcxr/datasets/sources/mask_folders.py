"""Pairs images with mask files in separate folders, such as lung segmentations."""

from __future__ import annotations

from collections.abc import Iterable
import logging
import os
import pathlib
import re

from tffcxr.datasets.imaging import bitmap
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.sources import source_files
from tffcxr.errors import InputError

_SUFFIXES = (".png", ".jpg", ".jpeg")
TUBERCULOSIS = "Tuberculosis"
_ON_THEIR_SIDE = (5, 6, 7, 8)  # The EXIF orientations that swap rows and columns.


def files_by_stem(folder: pathlib.Path, source: str, ending: str = "") -> dict[str, str]:
    """Returns the PNG and JPEG files directly in a folder, by name without the suffix.

    Args:
      folder: where they are.
      source: the dataset's name, for error messages.
      ending: what each stem ends with, taken off the keys; files of other stems are passed over.

    Raises:
      InputError: there is no such folder, it holds no such file, or two differ in suffix alone.
    """
    source_files.require_folder(folder, source)
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if name.startswith(".") or suffix.lower() not in _SUFFIXES or not stem.endswith(ending):
            continue
        stem = stem[: len(stem) - len(ending)]
        if stem in found:
            raise InputError(
                f"{source}: expected one file {stem}{ending} in {folder}, found "
                f"{os.path.basename(found[stem])} and {name}"
            )
        found[stem] = str(folder / name)
    if not found:
        raise InputError(
            f"{source}: expected *{ending}.png or *{ending}.jpg in {folder}, found none"
        )
    return found


def check_pairs(
    image_files: dict[str, str], masks: Iterable[str], source: str, folder: object
) -> None:
    """Checks that every image has a mask, and logs how many masks have no image.

    Args:
      image_files: the images, by stem.
      masks: the stems of the masks.
      source: the dataset's name.
      folder: where the masks are.

    Raises:
      InputError: an image has none.
    """
    stems = set(masks)
    without = [stem for stem in image_files if stem not in stems]
    if without:
        raise InputError(
            f"{source}: expected a mask in {folder} for every image, found none for "
            f"{image_files[without[0]]} ({len(without)} of {len(image_files)} images)"
        )
    report_masks_without_image(image_files, stems, source)


def report_masks_without_image(
    image_files: dict[str, str], masks: Iterable[str], source: str
) -> None:
    """Logs how many masks have no image."""
    lone = sorted(set(masks) - set(image_files))
    if lone:
        logging.getLogger(__name__).warning(
            "%s: %d masks have no image and are left out, such as %s", source, len(lone), lone[0]
        )


def check_sizes(image: str, masks: Iterable[str], source: str) -> None:
    """Checks by the files' headers that masks have the size of their image.

    A file whose header cannot be read passes; decoding rejects it with a reason.

    Raises:
      InputError: a mask has another size.
    """
    expected = size(image)
    for mask in masks:
        found = size(mask)
        if expected is not None and found is not None and found != expected:
            raise InputError(
                f"{source}: {mask}: expected a mask of {expected[1]}x{expected[0]} pixels like "
                f"its image {image}, found {found[1]}x{found[0]}"
            )


def size(path: str) -> tuple[int, int] | None:
    """Returns the height and width that `images.read_image` gives, None if they cannot be read."""
    try:
        with bitmap.open_image(path) as image:
            width, height = image.size
            # Without the condition, EXIF would be looked for behind the pixels of a PNG file.
            turned = "exif" in image.info and bitmap.orientation(image) in _ON_THEIR_SIDE
    except ImageError:
        return None
    return (width, height) if turned else (height, width)


def tuberculosis(stem: str, prefix: str, path: str, source: str) -> tuple[str, float]:
    """Returns the patient's number and 1.0 for tuberculosis, from names such as MCUCXR_0104_1.

    Args:
      stem: the name without its suffix.
      prefix: what it starts with.
      path: the file, for the error message.
      source: the dataset's name.

    Raises:
      InputError: the name is none such.
    """
    match = re.fullmatch(rf"{prefix}_(\d+)_([01])", stem)
    if match is None:
        raise InputError(f"{source}: expected a name such as {prefix}_0001_0.png, found {path}")
    return match[1], float(match[2])
