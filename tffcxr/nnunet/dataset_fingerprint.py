"""nnU-Net's fingerprint of a data set, taken across clients that send sums and counts only.

F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein, "nnU-Net: a self-configuring
method for deep learning-based biomedical image segmentation", Nature Methods 18, 2021; the fields
are those of the package nnunetv2.

    client: training images, masks → Summary (whole numbers)     server: Σ Summary → Fingerprint

A summary is nothing but counts, and the sum of the clients' counts is what one place with all
images would count: the federated fingerprint equals the central one to the bit, however the images
are spread, and the sum can be taken by secure aggregation. Medians of sizes and spacings are exact.
Intensities are of 8-bit images, so that a histogram of 256 cells loses nothing. Every image with a
foreground weighs the same, as in nnunetv2, which draws as many foreground pixels from each (with
replacement, 10^8 in all) and is this up to its sampling error. The relative size after the crop
is counted in steps of 1/1024, rounded down.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from tffcxr.errors import InputError

_LEVELS = 256
_SIZE_STEPS = 1024
# What one image adds to the histogram of intensities in all. Fractions of it are rounded to whole
# numbers, whose sum does not depend on the order, and 2^23 images fit into 64 bits.
_CASE = 1 << 40
_MOST_CASES = 1 << 23


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a client sends: counts over its training images.

    Attributes:
      cases: images.
      rows: (size after the crop in pixels, spacing) -> images, along the first axis.
      columns: the same along the second axis.
      relative_sizes: the share of the image that the crop leaves, in 1/1024 -> images.
      foreground_cases: images whose mask is not empty.
      foreground: int64 [256], how much of each intensity is in the foregrounds; each image has
        2^40 in all.
    """

    cases: int
    rows: Mapping[tuple[int, float], int]
    columns: Mapping[tuple[int, float], int]
    relative_sizes: Mapping[int, int]
    foreground_cases: int
    foreground: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """The message as JSON values."""
        return {
            "cases": self.cases,
            "rows": [[*key, n] for key, n in sorted(self.rows.items())],
            "columns": [[*key, n] for key, n in sorted(self.columns.items())],
            "relative_sizes": [[key, n] for key, n in sorted(self.relative_sizes.items())],
            "foreground_cases": self.foreground_cases,
            "foreground": self.foreground.tolist(),
        }

    @classmethod
    def from_json(cls, value: Any) -> Summary:
        """The summary that `to_json` has had.

        Raises:
          InputError: these are other values.
        """
        try:
            foreground = np.array(value["foreground"], np.int64)
            if foreground.shape != (_LEVELS,):
                raise ValueError(f"a histogram of {foreground.shape}")
            return cls(
                int(value["cases"]),
                {(int(size), float(step)): int(n) for size, step, n in value["rows"]},
                {(int(size), float(step)): int(n) for size, step, n in value["columns"]},
                {int(size): int(n) for size, n in value["relative_sizes"]},
                int(value["foreground_cases"]),
                foreground,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"expected a summary of images, found other values: {error}") from None


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What a plan is made from; see `tffcxr.nnunet.planning.Fingerprint`."""

    cases: int
    spacing: tuple[float, float]
    shape_after_crop: tuple[float, float]
    shape_at_spacing: tuple[float, float]
    median_relative_size_after_cropping: float
    foreground_intensities: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The fingerprint as JSON values, medians in place of nnunetv2's lists of all images."""
        return {
            "cases": self.cases,
            "median_spacing": list(self.spacing),
            "median_shape_after_crop": list(self.shape_after_crop),
            "median_shape_at_median_spacing": list(self.shape_at_spacing),
            "median_relative_size_after_cropping": self.median_relative_size_after_cropping,
            "foreground_intensity_properties_per_channel": {"0": dict(self.foreground_intensities)},
        }


def summarise(
    images: Iterable[tuple[np.ndarray, np.ndarray]], spacing: tuple[float, float] = (1.0, 1.0)
) -> Summary:
    """Counts what a client's training images are like.

    Args:
      images: pairs of an image, uint8 [H, W], and its mask, bool [H, W].
      spacing: distance of their pixels along each axis. Radiographs are projections and have no
        spacing in the body; nnU-Net takes 1 for such images.

    Raises:
      ValueError: another type or shape than said.
    """
    extents = collections.Counter[tuple[int, float]](), collections.Counter[tuple[int, float]]()
    relative_sizes = collections.Counter[int]()
    foreground = np.zeros(_LEVELS, np.int64)
    cases = foreground_cases = 0
    for image, mask in images:
        _check(image, mask)
        place = nonzero_box(image)
        cropped = image[place]
        for counts, size, step in zip(extents, cropped.shape, spacing):
            counts[size, float(step)] += 1
        relative_sizes[cropped.size * _SIZE_STEPS // image.size] += 1
        pixels = cropped[mask[place]]
        if pixels.size:
            histogram = np.bincount(pixels, minlength=_LEVELS)
            foreground += np.rint(histogram * (_CASE / pixels.size)).astype(np.int64)
            foreground_cases += 1
        cases += 1
    rows, columns = extents
    return Summary(cases, rows, columns, relative_sizes, foreground_cases, foreground)


def nonzero_box(image: np.ndarray) -> tuple[slice, slice]:
    """The smallest rectangle with all pixels of an image [H, W] that are not 0.

    Of an image of zeros it is the whole.
    """
    found = [np.flatnonzero((image != 0).any(axis=axis)) for axis in (1, 0)]
    if not found[0].size:
        return slice(0, image.shape[0]), slice(0, image.shape[1])
    rows, columns = (slice(int(where[0]), int(where[-1]) + 1) for where in found)
    return rows, columns


def merge(summaries: Iterable[Summary]) -> Summary:
    """The sum of what clients sent; the order does not matter.

    Raises:
      InputError: more images than the counts can hold.
    """
    parts = list(summaries)
    cases = sum(part.cases for part in parts)
    if cases > _MOST_CASES:
        raise InputError(f"expected at most {_MOST_CASES} images for a fingerprint, found {cases}")
    return Summary(
        cases,
        _sum([part.rows for part in parts]),
        _sum([part.columns for part in parts]),
        _sum([part.relative_sizes for part in parts]),
        sum(part.foreground_cases for part in parts),
        sum((part.foreground for part in parts), np.zeros(_LEVELS, np.int64)),
    )


def fingerprint(summary: Summary) -> Fingerprint:
    """What the server concludes from the sum of all clients.

    Raises:
      InputError: no image, or none with a foreground.
    """
    if not summary.cases:
        raise InputError("expected training images for a fingerprint, found none")
    if not summary.foreground_cases:
        raise InputError(
            f"expected a region in at least one of {summary.cases} training images, found none: "
            "nnU-Net cannot be planned for data without a foreground"
        )
    axes = summary.rows, summary.columns
    spacing = [_median(_marginal(axis, 1)) for axis in axes]
    resampled = [
        _median(_sum([{int(round(step / target * size)): n} for (size, step), n in axis.items()]))
        for axis, target in zip(axes, spacing)
    ]
    after_crop = [_median(_marginal(axis, 0)) for axis in axes]
    return Fingerprint(
        cases=summary.cases,
        spacing=(spacing[0], spacing[1]),
        shape_after_crop=(after_crop[0], after_crop[1]),
        shape_at_spacing=(resampled[0], resampled[1]),
        median_relative_size_after_cropping=_median(summary.relative_sizes) / _SIZE_STEPS,
        foreground_intensities=_statistics(summary.foreground),
    )


def _statistics(histogram: np.ndarray) -> dict[str, float]:
    """nnunetv2's statistics of intensities, from how much there is of each."""
    levels = np.arange(_LEVELS, dtype=np.float64)
    shares = histogram / histogram.sum()
    mean = float(shares @ levels)
    cumulated = np.cumsum(histogram)

    def percentile(percent: float) -> float:
        return float(np.searchsorted(cumulated, percent / 100 * cumulated[-1]))

    present = np.flatnonzero(histogram)
    return {
        "mean": mean,
        "median": percentile(50.0),
        "std": float(np.sqrt(shares @ (levels - mean) ** 2)),
        "min": float(present[0]),
        "max": float(present[-1]),
        "percentile_99_5": percentile(99.5),
        "percentile_00_5": percentile(0.5),
    }


def _median(counts: Mapping[Any, int]) -> float:
    """The median of counted values: of an even number, the mean of the two in the middle."""
    values = sorted(value for value, n in counts.items() if n)
    ends = np.cumsum([counts[value] for value in values])
    middle = [(ends[-1] - 1) // 2, ends[-1] // 2]
    low, high = (values[int(np.searchsorted(ends, place, side="right"))] for place in middle)
    return (float(low) + float(high)) / 2


def _marginal(axis: Mapping[tuple[int, float], int], part: int) -> dict[Any, int]:
    return _sum([{key[part]: n} for key, n in axis.items()])


def _sum(counts: Sequence[Mapping[Any, int]]) -> dict[Any, int]:
    total: collections.Counter[Any] = collections.Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _check(image: np.ndarray, mask: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 2:
        raise ValueError(f"expected an image of uint8 [H, W], found {image.dtype} {image.shape}")
    if mask.dtype != np.bool_ or mask.shape != image.shape:
        raise ValueError(
            f"expected a mask of bool {list(image.shape)}, found {mask.dtype} {list(mask.shape)}"
        )
