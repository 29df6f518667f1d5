"""Annotations of a finding: boxes, run lengths and mask files, in the original image's pixels.

`None` in a records table means that nobody annotated the image; an image known to be free of the
finding has an annotation without boxes or runs.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tffcxr import options
from tffcxr.datasets.imaging import bitmap, images
from tffcxr.errors import InputError

# Compression to JPEG leaves a mask's values within _NEAR of 0 or 255, but for a band at its edge.
_NEAR = 32
_MOST_BETWEEN = 0.05  # Of the pixels.


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Rectangles, as in the RSNA Pneumonia Detection Challenge.

    Attributes:
      boxes: (x, y, width, height) of each, in pixels; (x, y) is the upper left corner, counted from
        the upper left of the image. Empty when the image is known to have none.
      height: rows of the image.
      width: columns of the image.
    """

    boxes: tuple[tuple[float, float, float, float], ...]
    height: int
    width: int

    def __post_init__(self):
        _check_size(self.height, self.width)
        for x, y, width, height in self.boxes:
            if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
                raise InputError(
                    "expected a box with finite x, y and a width and height above 0, found "
                    f"x={x:g} y={y:g} width={width:g} height={height:g}"
                )
            if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
                raise InputError(
                    f"expected a box inside the {self.width}x{self.height} image, found "
                    f"x={x:g} y={y:g} width={width:g} height={height:g}"
                )

    @property
    def empty(self) -> bool:
        """Whether the image is known to be free of the finding."""
        return not self.boxes

    def to_array(self) -> np.ndarray:
        """Returns the union of the boxes, bool [height, width].

        A pixel belongs to a box when its centre does.
        """
        region = np.zeros((self.height, self.width), bool)
        for x, y, width, height in self.boxes:
            # Pixel i has its centre at i + 1/2.
            rows = slice(math.ceil(y - 0.5), math.ceil(y + height - 0.5))
            columns = slice(math.ceil(x - 0.5), math.ceil(x + width - 0.5))
            region[rows, columns] = True
        return region


@dataclasses.dataclass(frozen=True)
class RunLengths:
    """Run-length encoding as in the SIIM-ACR Pneumothorax challenge.

    Pixels are counted down the columns, left column first. Pairs of numbers are (offset, length):
    skip `offset` pixels from the end of the previous run (from the first pixel at the start), then
    mark `length` pixels.

    Attributes:
      runs: the pairs as text, or several texts whose union is meant. `()`, `""` and `"-1"` are an
        image known to be free of the finding.
      height: rows of the image.
      width: columns of the image.
    """

    runs: str | tuple[str, ...]
    height: int
    width: int

    def __post_init__(self):
        _check_size(self.height, self.width)
        for text in self._texts():
            _parse_runs(text, self.height * self.width)

    @property
    def empty(self) -> bool:
        """Whether the image is known to be free of the finding."""
        return not self._texts()

    def to_array(self) -> np.ndarray:
        """Returns the union of the runs, bool [height, width]."""
        pixels = self.height * self.width
        columns_first = np.zeros(pixels, bool)
        for text in self._texts():
            # Unmarked and marked stretches take turns; the last one is unmarked.
            stretches = _parse_runs(text, pixels)
            stretches = np.append(stretches, pixels - stretches.sum())
            columns_first |= np.repeat(np.arange(stretches.size) % 2 == 1, stretches)
        return np.ascontiguousarray(columns_first.reshape(self.width, self.height).T)

    def _texts(self) -> tuple[str, ...]:
        texts = (self.runs,) if isinstance(self.runs, str) else self.runs
        return tuple(text for text in texts if text.strip() not in ("", "-1"))


def encode_runs(region: np.ndarray) -> str:
    """Returns the SIIM run-length encoding of a region, the inverse of `RunLengths.to_array`.

    Args:
      region: bool [H, W].

    Returns:
      Pairs of (offset, length) as text, "-1" for an empty region.
    """
    columns_first = np.asarray(region, bool).T.ravel()
    edges = np.flatnonzero(np.diff(columns_first, prepend=False, append=False))
    if not edges.size:
        return "-1"
    starts, stops = edges[0::2], edges[1::2]
    offsets = starts - np.concatenate([[0], stops[:-1]])
    pairs = np.stack([offsets, stops - starts], axis=1)  # [runs, 2]
    return " ".join(map(str, pairs.ravel()))


@dataclasses.dataclass(frozen=True)
class MaskFile:
    """A mask as an image file of 0 and 1, or of 0 and 255.

    Attributes:
      path: a PNG, or a JPEG whose compression blurred the 0 and 255.
    """

    path: str

    @property
    def files(self) -> tuple[str, ...]:
        """What `to_array` reads."""
        return (self.path,)

    def to_array(self) -> np.ndarray:
        """Returns bool [H, W].

        Raises:
          ImageError: the file cannot be read.
          InputError: its values are neither 0 and 1 nor 0 and 255, or it is a JPEG with values
            that are near neither 0 nor 255 where there is no edge.
        """
        values = images.read_image(self.path)[:, :, 0]
        highest = 255 if values.max() > 1 else 1
        others = values[(values != 0) & (values != highest)]
        if others.size and not self._is_blurred(values):
            raise InputError(
                f"{self.path}: expected a mask of 0 and 1, or of 0 and 255, found values such as "
                f"{', '.join(map(str, np.unique(others)[:3]))} in {others.size} pixels"
            )
        return values > highest // 2

    def _is_blurred(self, values: np.ndarray) -> bool:
        """Whether the file is a JPEG that was a mask of 0 and 255."""
        with open(self.path, "rb") as file:
            if not bitmap.is_jpeg(file.read(16)):
                return False
        between = (values >= _NEAR) & (values <= 255 - _NEAR)
        return values.max() > 127 and between.sum() <= _MOST_BETWEEN * values.size


@dataclasses.dataclass(frozen=True)
class JoinedMasks:
    """A mask in several files, such as one for each lung: their union.

    Attributes:
      paths: files as of `MaskFile`, all of the image's size.
    """

    paths: tuple[str, ...]

    def __post_init__(self):
        if not self.paths:
            raise InputError("expected at least one mask file to join, found none")

    @property
    def files(self) -> tuple[str, ...]:
        """What `to_array` reads."""
        return self.paths

    def to_array(self) -> np.ndarray:
        """Returns the union, bool [H, W].

        Raises:
          InputError: as of `MaskFile`, or the sizes differ.
        """
        union = MaskFile(self.paths[0]).to_array()
        for path in self.paths[1:]:
            mask = MaskFile(path).to_array()
            if mask.shape != union.shape:
                raise InputError(
                    f"{path}: expected a mask of {union.shape[1]}x{union.shape[0]} pixels like "
                    f"{self.paths[0]}, found {mask.shape[1]}x{mask.shape[0]}"
                )
            union |= mask
        return union


@dataclasses.dataclass(frozen=True)
class CoarseMask:
    """A mask drawn on a copy of the image of another size, for sources that say so.

    Each pixel of the image gets the value of the mask under its centre.

    Attributes:
      path: a file as of `MaskFile`, of `mask_height` x `mask_width`.
      height: rows of the image.
      width: columns of the image.
      mask_height: rows of the mask.
      mask_width: columns of the mask.
    """

    path: str
    height: int
    width: int
    mask_height: int
    mask_width: int

    def __post_init__(self):
        _check_size(self.height, self.width)
        _check_size(self.mask_height, self.mask_width)

    @property
    def files(self) -> tuple[str, ...]:
        """What `to_array` reads."""
        return (self.path,)

    def to_array(self) -> np.ndarray:
        """Returns bool [height, width].

        Raises:
          InputError: as of `MaskFile`, or the file has another size than it should.
        """
        mask = MaskFile(self.path).to_array()
        if mask.shape != (self.mask_height, self.mask_width):
            raise InputError(
                f"{self.path}: expected a mask of {self.mask_width}x{self.mask_height} pixels, "
                f"found {mask.shape[1]}x{mask.shape[0]}"
            )
        return images.take_nearest(mask, self.height, self.width)


@dataclasses.dataclass(frozen=True)
class FittedMask:
    """A mask of the square that a model was given, such as the one that it predicted.

    `to_array` is the inverse of `images.fit_to_square`: what lies in the padding is cut off, and
    each pixel of the image gets the value of the mask at its centre.

    Attributes:
      path: a file as of `MaskFile`, square.
      height: rows of the image.
      width: columns of the image.
      fit: how the image was fitted to the square, "pad" or "stretch".
    """

    path: str
    height: int
    width: int
    fit: str

    def __post_init__(self):
        _check_size(self.height, self.width)
        if self.fit not in options.FITS:
            raise InputError(
                f"expected fit to be one of {', '.join(options.FITS)}, found {self.fit!r}"
            )

    @property
    def files(self) -> tuple[str, ...]:
        """What `to_array` reads."""
        return (self.path,)

    def to_array(self) -> np.ndarray:
        """Returns bool [height, width].

        Raises:
          InputError: as of `MaskFile`, or the mask is not square.
        """
        mask = MaskFile(self.path).to_array()
        if mask.shape[0] != mask.shape[1]:
            raise InputError(
                f"{self.path}: expected a square mask, found {mask.shape[1]}x{mask.shape[0]}"
            )
        place = images.place_in_square((self.height, self.width), mask.shape[0], self.fit)
        return images.take_nearest(mask[place], self.height, self.width)


def _parse_runs(text: str, pixels: int) -> np.ndarray:
    """Returns offsets and lengths by turns, int64 [2 * runs]."""
    try:
        numbers = np.array([int(word) for word in text.split()], np.int64)
    except (ValueError, OverflowError):
        raise InputError(
            f"expected run lengths as pairs of whole numbers, found {text[:40]!r}"
        ) from None
    if numbers.size % 2:
        raise InputError(
            f"expected run lengths as pairs of offset and length, found {numbers.size} numbers in "
            f"{text[:40]!r}"
        )
    if (numbers < 0).any():
        raise InputError(f"expected run lengths of 0 or more, found {numbers.min()}")
    total = sum(numbers.tolist())  # Python's integers do not overflow.
    if total > pixels:
        raise InputError(
            f"expected runs within the image's {pixels} pixels, found one beyond: offsets and "
            f"lengths add up to {total}"
        )
    return numbers


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise InputError(f"expected an image of at least one pixel, found {width}x{height}")
