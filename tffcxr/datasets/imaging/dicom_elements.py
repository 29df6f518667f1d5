"""Parses DICOM (PS3.5) with pydicom, and returns header values of the type that is expected.

A damaged file may have anything instead of a number. pydicom converts an element when it is first
accessed, and raises exceptions of nearly every class on failure. So `parse` converts all elements
that will be accessed, and later accesses raise none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import io
import math
import struct
from typing import BinaryIO
import zlib

import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
import pydicom.errors
import pydicom.filereader
from pydicom.multival import MultiValue
import pydicom.tag

from tffcxr.datasets import limits
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.errors import one_line

# Exceptions that pydicom raises on damaged files, as seen in fuzzing.
PARSING_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pydicom.errors.BytesLengthException,
    pydicom.errors.InvalidDicomError,
    struct.error,
    zlib.error,
)
# Those of a file that ends within an element.
_ENDED_EARLY = (EOFError, pydicom.errors.BytesLengthException, struct.error)

_INFLATED_AT_ONCE = 1 << 20
# Numbers of a header. Activity in Bq/ml, the largest of them, has up to ten digits.
_LARGEST_NUMBER = 1e15


def parse(data: bytes, keywords: Iterable[str], others: bool = False) -> Dataset:
    """Parses a file and converts elements.

    Args:
      data: the whole file.
      keywords: the elements to convert.
      others: whether to keep the other elements, not converted, as well.

    Raises:
      ImageError: the file is damaged, or inflates to more than `limits.MAXIMUM_INFLATED_BYTES`.
        The message lacks the path.
    """
    tags = [pydicom.tag.Tag(keyword) for keyword in keywords]
    try:
        check_inflated(io.BytesIO(data))
        dataset = pydicom.dcmread(
            io.BytesIO(data), force=True, specific_tags=None if others else tags
        )
        for tag in tags:
            if tag in dataset and dataset[tag].VR == "SQ":
                for item in dataset[tag].value:
                    for _ in item.iterall():  # Converts what it yields.
                        pass
        for _ in dataset.file_meta:
            pass
    except ImageError:
        raise
    except _ENDED_EARLY as error:
        raise ImageError(
            f"expected a complete DICOM file, found it truncated or damaged: {_short(error)}"
        ) from None
    except PARSING_ERRORS as error:
        reason = _short(error) or type(error).__name__
        raise ImageError(f"expected a DICOM image that can be decoded, found: {reason}") from None
    return dataset


def check_inflated(file: BinaryIO) -> None:
    """Checks how large a file of the deflated transfer syntax is when it is inflated.

    pydicom inflates such a file as a whole, whatever its size. Other files pass.

    Args:
      file: open at its start, where it is left.

    Raises:
      ImageError: it is larger than `limits.MAXIMUM_INFLATED_BYTES`.
      one of `PARSING_ERRORS`: the file is damaged.
    """
    pydicom.filereader.read_preamble(file, force=True)
    meta = pydicom.filereader.read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag.group != 2,
    )
    if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        size, rest = 0, file.read()
        while rest and not inflating.eof:
            size += len(inflating.decompress(rest, _INFLATED_AT_ONCE))
            rest = inflating.unconsumed_tail
            if size > limits.MAXIMUM_INFLATED_BYTES:
                raise ImageError(
                    f"expected a file of at most {limits.MAXIMUM_INFLATED_BYTES} bytes when it is "
                    "inflated, found a larger one"
                )
    file.seek(0)


def whole(dataset: Dataset, keyword: str, low: int, high: int, missing: int | None = None) -> int:
    """Returns an element that is one whole number from `low` to `high`.

    Args:
      dataset: as of `parse`, with the element among its keywords.
      keyword: the element.
      low: the least value.
      high: the largest value.
      missing: the value where the element is absent or empty; None if it must not be.

    Raises:
      ImageError: it is something else.
    """
    value = dataset.get(keyword)
    if _is_empty(value) and missing is not None:
        return missing
    if not isinstance(value, (int, float)) or value != value // 1 or not low <= value <= high:
        raise ImageError(
            f"expected {_name(keyword)} to be a whole number from {low} to {high}, found "
            f"{describe(value)}"
        )
    return int(value)


def number(dataset: Dataset, keyword: str) -> float | None:
    """Returns the first number of an element, None where it is absent or empty.

    Raises:
      ImageError: it is no number, or one that no header needs: not finite or of 16 digits.
    """
    value = dataset.get(keyword)
    if isinstance(value, (list, tuple, MultiValue)):
        value = value[0] if value else None
    return None if _is_empty(value) else _float(value, keyword)


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Returns an element of so many numbers, None where it is absent or empty.

    Raises:
      ImageError: there are more or fewer, or one is none, see `number`.
    """
    value = dataset.get(keyword)
    if _is_empty(value):
        return None
    if not isinstance(value, (list, tuple, MultiValue)) or len(value) != count:
        raise ImageError(f"expected {count} numbers as {_name(keyword)}, found {describe(value)}")
    return tuple(_float(one, keyword) for one in value)


def spacing(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Returns the distances of pixels between rows and between columns, in mm; None without any.

    Raises:
      ImageError: they are not within `limits.SPACING_MM` and `limits.MAXIMUM_ASPECT`.
    """
    found = numbers(dataset, keyword, 2)
    if found is None:
        return None
    low, high = limits.SPACING_MM
    vertical, horizontal = found
    if not (low <= vertical <= high and low <= horizontal <= high):
        raise ImageError(
            f"expected {_name(keyword)} from {low:g} to {high:g} mm, found {vertical:g} and "
            f"{horizontal:g}"
        )
    check_aspect(vertical, horizontal, keyword)
    return vertical, horizontal


def check_aspect(vertical: float, horizontal: float, keyword: str) -> None:
    """Raises ImageError unless an element gives pixels that are nearly square."""
    longer, shorter = max(vertical, horizontal), min(vertical, horizontal)
    if shorter <= 0 or longer > limits.MAXIMUM_ASPECT * shorter:
        raise ImageError(
            f"expected {_name(keyword)} of pixels at most {limits.MAXIMUM_ASPECT:g} times as long "
            f"as wide, or as wide as long, found {vertical:g} and {horizontal:g}"
        )


def item(dataset: Dataset, keyword: str) -> Dataset | None:
    """Returns the first item of a sequence, None where it is absent or empty.

    Raises:
      ImageError: the element is no sequence.
    """
    value = dataset.get(keyword)
    if _is_empty(value):
        return None
    if not isinstance(value, Sequence) or not isinstance(value[0], Dataset):
        raise ImageError(f"expected {_name(keyword)} to be a sequence, found {describe(value)}")
    return value[0]


def describe(value: object) -> str:
    """Returns a value for a message, in one short line."""
    if isinstance(value, Sequence) and value and isinstance(value[0], Dataset):
        return "a sequence"
    return "none" if _is_empty(value) else f"{value!r:.60}"


def _float(value: object, keyword: str) -> float:
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # Of no number, a text, a number of 400 digits.
        found = math.nan
    if not abs(found) <= _LARGEST_NUMBER:
        raise ImageError(
            f"expected a number as {_name(keyword)}, finite and of at most 15 digits, found "
            f"{describe(value)}"
        )
    return found


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, (str, bytes, Sequence)) and not len(value))


def _name(keyword: str) -> str:
    return pydicom.datadict.dictionary_description(keyword)


def _short(error: Exception) -> str:
    return one_line(error)[:200]
