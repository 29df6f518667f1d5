"""Radiographs as grey arrays, whatever the file, and fitted to the square that a model takes.

DICOM, PNG, JPEG, one image of an array in an `.npz` file, or one slice of a volume in an `.npy`
file. What a file is, is read from its content, not from its name.
"""

from __future__ import annotations

import functools
import os

import cv2
import numpy as np

from tffcxr import options
from tffcxr.datasets import limits, npz_files
from tffcxr.datasets.imaging import bitmap, dicom
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.errors import InputError

__all__ = [
    "ImageError",
    "fit_to_square",
    "place_in_square",
    "read_image",
    "read_with_shape",
    "take_nearest",
]

# Pixels that differ less from a square than this, in proportion, are taken as square.
_ASPECT_TOLERANCE = 0.01


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads one radiograph.

    DICOM goes through its modality and VOI transformations, see `grey.to_grey`. Where the pixels of
    a DICOM image are not square, the coarser axis is resampled to the finer one, so that anatomy
    keeps its proportions; in all other cases the array has the pixels of the file.

    Args:
      path: a DICOM, PNG or JPEG file, "file.npz#array/index", or "file.npy#index" for a slice.

    Returns:
      uint8 [H, W, 1], from 0 (black) to 255 (white); white is dense. A slice, [H, W, C], has the
      channels of its file.

    Raises:
      ImageError: there is no such file, it is damaged or truncated, or it is not a plain
        radiograph. The message is one line that starts with the path.
    """
    return read_with_shape(path)[0]


def read_with_shape(path: str | os.PathLike[str]) -> tuple[np.ndarray, tuple[int, int]]:
    """Reads one radiograph as `read_image`; also returns the rows and columns of the file.

    They are those of the array, unless the pixels of a DICOM image are not square.
    """
    path = os.fspath(path)
    file, is_npz, place = path.rpartition(".npz#")
    volume, is_npy, index = path.rpartition(".npy#")
    try:
        if is_npz:
            picture = _read_npz(file + ".npz", place)[:, :, np.newaxis]
        elif is_npy:
            picture = _read_slice(volume + ".npy", index)
        else:
            plane, shape = _decode(_read_bytes(path))
            return plane[:, :, np.newaxis], shape
        return picture, picture.shape[:2]
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except OSError as error:
        raise ImageError(f"{path}: expected an image file, found: {error.strerror}") from None


def _read_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(limits.MAXIMUM_BYTES + 1)
    if len(data) > limits.MAXIMUM_BYTES:
        raise ImageError(f"expected a file of at most {limits.MAXIMUM_BYTES} bytes, found more")
    return data


def fit_to_square(
    array: np.ndarray, size: int, fit: str = "pad", is_mask: bool = False
) -> np.ndarray:
    """Fits an image, or a mask of it in the same way, to a square.

    Images are averaged over the area of each new pixel when they shrink (no aliasing) and
    interpolated linearly when they grow. Masks keep their values: the nearest one is taken.

    Args:
      array: [H, W] or [H, W, C], uint8 or float for images, any type for masks.
      size: side of the square in pixels.
      fit: "pad" keeps proportions and centres the image on black; "stretch" fills the square.
      is_mask: whether the array is a mask.

    Returns:
      The same type, [size, size] or [size, size, C].

    Raises:
      InputError: the array is not an image, `size` is below 1 or `fit` is neither.
    """
    if array.ndim not in (2, 3) or not array.size:
        raise InputError(f"expected an array [H, W] or [H, W, C], found shape {array.shape}")
    if not is_mask and array.dtype not in (np.uint8, np.float32, np.float64):
        raise InputError(f"expected an image of uint8 or float, found {array.dtype}")
    # [H, W] where there is one channel; OpenCV returns it like this in any case.
    plane = array.reshape(array.shape[:2]) if array.shape[2:] in ((), (1,)) else array
    rows, columns = place_in_square(array.shape, size, fit)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    resized = take_nearest(plane, height, width) if is_mask else _resample(plane, height, width)
    square = np.zeros((size, size, *plane.shape[2:]), array.dtype)
    square[rows, columns] = resized
    return square.reshape(size, size, *array.shape[2:])


def place_in_square(shape: tuple[int, ...], size: int, fit: str = "pad") -> tuple[slice, slice]:
    """Returns the rows and the columns of the square that an image fills.

    Args:
      shape: height and width of the image, each at least 1; what follows does not matter.
      size: side of the square in pixels.
      fit: "pad" or "stretch", as in `fit_to_square`.

    Raises:
      InputError: `size` is below 1 or `fit` is neither.
    """
    if fit not in options.FITS:
        raise InputError(f"expected fit to be one of {', '.join(options.FITS)}, found {fit!r}")
    if size < 1:
        raise InputError(f"expected an image size of at least 1, found {size}")
    if fit == "pad":
        longest = max(shape[:2])
        height, width = (max(1, round(side * size / longest)) for side in shape[:2])
    else:
        height, width = size, size
    top, left = (size - height) // 2, (size - width) // 2
    return slice(top, top + height), slice(left, left + width)


def take_nearest(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes by the nearest value: that under the centre of each new pixel.

    Args:
      plane: [H, W] or [H, W, C] of any type.
      height: rows of the result, at least 1.
      width: columns of the result, at least 1.

    Returns:
      The same type, [height, width] or [height, width, C].
    """
    rows = (2 * np.arange(height) + 1) * plane.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * plane.shape[1] // (2 * width)
    return plane[rows[:, np.newaxis], columns]


def _resample(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    # One axis may shrink while the other grows; OpenCV averages areas only if none grows.
    shrunk = (min(height, plane.shape[0]), min(width, plane.shape[1]))
    if shrunk != plane.shape[:2]:
        plane = cv2.resize(plane, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != (height, width):
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    return plane


def _decode(data: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns uint8 [H, W] with square pixels, and the rows and columns of the file."""
    if bitmap.is_png(data) or bitmap.is_jpeg(data):
        plane = bitmap.decode(data)
        return plane, plane.shape
    if not dicom.is_dicom(data):
        raise ImageError(f"expected a DICOM, PNG or JPEG file, found {_describe(data)}")
    plane, aspect = dicom.decode(data)
    stored = plane.shape
    if abs(aspect - 1.0) <= _ASPECT_TOLERANCE:
        return plane, stored
    height, width = stored
    height, width = round(height * max(aspect, 1.0)), round(width * max(1.0 / aspect, 1.0))
    limits.check_pixels(height, width)
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR), stored


def _describe(data: bytes) -> str:
    """Describes the apparent type of a file that is not an image."""
    if not data:
        return "an empty file"
    start = data[:64]
    if all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in start):
        text = " ".join(start.decode("utf-8", "replace").split())
        return f"a text file that starts with {text[:40]!r}"
    return f"a file that starts with the bytes {start[:8].hex(' ')}"


def _read_slice(path: str, index: str) -> np.ndarray:
    """Returns one of the slices uint8 [N, H, W, C] of a file, of which no other one is read."""
    try:
        slices = np.load(path, mmap_mode="r", allow_pickle=False)
    except npz_files.READING_ERRORS as error:
        raise ImageError(f"expected an intact .npy file, found: {error}") from None
    if slices.ndim != 4 or slices.dtype != np.uint8:
        raise ImageError(
            f"expected slices uint8 [N, H, W, C], found {slices.dtype} {list(slices.shape)}"
        )
    if not index.isdecimal() or int(index) >= len(slices):
        raise ImageError(f"expected an index from 0 to {len(slices) - 1}, found {index!r}")
    limits.check_pixels(*slices.shape[1:3])
    return np.array(slices[int(index)])


def _read_npz(path: str, place: str) -> np.ndarray:
    name, _, index = place.rpartition("/")
    images = _npz_array(path, name, os.stat(path).st_mtime_ns)
    if not index.isdecimal() or int(index) >= len(images):
        raise ImageError(
            f"expected an index from 0 to {len(images) - 1} after {name}/, found {index!r}"
        )
    return images[int(index)]


@functools.lru_cache(maxsize=4)
def _npz_array(path: str, name: str, modified: int) -> np.ndarray:
    """Returns the array uint8 [N, H, W]; kept, because every access unpacks the whole array."""
    del modified  # Only makes a changed file a different one.
    found = npz_files.names(path)
    if name not in found:
        raise ImageError(f"expected an array named {name!r}, found {', '.join(found)}")
    array = npz_files.read(path, name)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[:, :, :, 0]
    if array.ndim != 3 or array.dtype != np.uint8:
        raise ImageError(
            f"expected {name!r} to be grey images uint8 [N, H, W], found {array.dtype} "
            f"{list(array.shape)}"
        )
    limits.check_pixels(*array.shape[1:])
    array.setflags(write=False)
    return array
