"""Reads PNG and JPEG files as grey images."""

from __future__ import annotations

from collections.abc import Callable
import io
import os
import struct
from typing import BinaryIO, TypeVar
import warnings
import zlib

import numpy as np
import PIL.Image
import simplejpeg

from tffcxr.datasets import limits
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.errors import one_line

_ORIENTATION = 0x0112  # The EXIF tag.
# How to turn an image, [H, W], for each EXIF orientation.
_TURN: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).T,
    8: np.rot90,
}
# Exceptions that Pillow raises on damaged files, as seen in fuzzing.
_PILLOW_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    PIL.Image.DecompressionBombError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_Result = TypeVar("_Result")


def is_png(data: bytes) -> bool:
    """Whether the bytes are a PNG file."""
    return data.startswith(b"\x89PNG\r\n\x1a\n")


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes are a JPEG file."""
    return data.startswith(b"\xff\xd8\xff")


def decode(data: bytes) -> np.ndarray:
    """Decodes a PNG or JPEG file, turned upright as its EXIF orientation says.

    Colours become their luma (ITU-R 601), transparency becomes black. Grey of 16 bits is stretched
    from its minimum to its maximum, like a DICOM image without a window.

    Args:
      data: the whole file, for which `is_png` or `is_jpeg` holds.

    Returns:
      uint8 [H, W], 0 to 255.

    Raises:
      ImageError: the file is damaged or of an unusual kind. The message lacks the path.
    """
    image = _decode_png(data) if is_png(data) else _decode_jpeg(data)
    turn = _TURN.get(_orientation(data))
    return np.ascontiguousarray(image if turn is None else turn(image))


def open_image(
    file: BinaryIO | str | os.PathLike[str], kind: str = "PNG or JPEG"
) -> PIL.Image.Image:
    """Opens an image without decoding it.

    Args:
      file: a path, or an open file that the image then reads from.
      kind: what the file is, for messages.

    Raises:
      ImageError: it is no image that Pillow knows, or too large a one, see `limits.check_pixels`.
        The message lacks the path.
    """
    with warnings.catch_warnings():
        # Pillow's limit differs from ours.
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        image = _of_pillow(lambda: PIL.Image.open(file), kind)
    try:
        limits.check_pixels(image.height, image.width)
    except ImageError:
        image.close()
        raise
    return image


def _of_pillow(call: Callable[[], _Result], kind: str = "PNG") -> _Result:
    """Makes one call of Pillow, which raises nearly any exception on damaged files."""
    try:
        return call()
    except _PILLOW_ERRORS as error:
        reason = one_line(error)
        raise ImageError(f"expected an intact {kind} file, found: {reason:.200}") from None


def _orientation(data: bytes) -> int:
    if b"Exif" not in data[: 1 << 17] and b"eXIf" not in data:
        return 1
    with open_image(io.BytesIO(data), "JPEG" if is_jpeg(data) else "PNG") as image:
        return orientation(image)


def orientation(image: PIL.Image.Image) -> int:
    """Returns the EXIF orientation of an open image, 1 (upright) where it has none.

    Raises:
      ImageError: its EXIF data are damaged.
    """
    kind = image.format or "PNG or JPEG"
    value = _of_pillow(lambda: image.getexif().get(_ORIENTATION, 1), kind)
    return value if isinstance(value, int) else 1


def _decode_jpeg(data: bytes) -> np.ndarray:
    try:
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(data)
        if colourspace not in ("Gray", "YCbCr", "RGB"):
            raise ImageError(f"expected a grey or colour JPEG file, found {colourspace}")
        limits.check_pixels(height, width)
        # Strict: libjpeg fills what is missing with grey and only warns.
        return simplejpeg.decode_jpeg(data, "GRAY")[:, :, 0]
    except ImageError:
        raise
    except ValueError as error:
        raise ImageError(f"expected an intact JPEG file, found: {one_line(error)}") from None


def _decode_png(data: bytes) -> np.ndarray:
    with open_image(io.BytesIO(data), "PNG") as image:
        _of_pillow(image.verify)  # The checksum of every chunk, which loading does not look at.
    with open_image(io.BytesIO(data), "PNG") as image:
        frames = _of_pillow(lambda: getattr(image, "n_frames", 1))
        if frames != 1:
            raise ImageError(f"expected one image, found an animation of {frames} frames")
        _of_pillow(image.load)
        if image.mode.startswith("I"):
            return stretch(np.asarray(image))
        if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
            upright = _of_pillow(lambda: image.convert("RGBA"))
            opaque = PIL.Image.new("RGBA", image.size, (0, 0, 0, 255))
            return np.asarray(PIL.Image.alpha_composite(opaque, upright).convert("L"))
        return np.asarray(_of_pillow(lambda: image.convert("L")))


def stretch(values: np.ndarray) -> np.ndarray:
    """Maps values of more than 8 bits to grey, the smallest to 0 and the largest to 255: uint8.

    Raises:
      ImageError: all values are the same.
    """
    low, high = int(values.min()), int(values.max())
    if low == high:
        raise ImageError(f"expected an image of several values, found {low} in every pixel")
    return np.rint((values.astype(np.float64) - low) * (255.0 / (high - low))).astype(np.uint8)
