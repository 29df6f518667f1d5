"""Searches pictures for radiographs that they were made of, however small, changed or drawn upon.

A radiograph is looked for at every size and place, whole and without its border, by the correlation
of its edges, of either sign: they stay where it is inverted, brightened, compressed, or under a
heat map, which is smooth. First with the mean of all sources, since radiographs of one kind
resemble one another; then, at the places where that correlates most, with each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses
import io
import pathlib

import cv2
import numpy as np
from PIL import Image
import pydicom

from tests.privacy import pieces

# Pixels of a side at which radiographs are compared; a smaller one in a picture shows nobody.
SIDE = 32
_SMALLEST = 20
_STEP = 1.1
_SIGMA = 2.0  # Of what is smooth, in these pixels.
_FAINT = 0.1  # Of the contrast of the whole picture: what is fainter is no edge.
_CANDIDATES = 6  # Places at each size that are compared with each source.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
# Shares of a side that are taken off at each edge of a source.
_CROPS = (0.0, 0.1)
# Figures of a report stay below 0.58, changed sources above 0.66: see the tests.
THRESHOLD = 0.62


@dataclasses.dataclass(frozen=True)
class Resemblance:
    """A place of a picture that resembles a source.

    Attributes:
      place: which picture.
      source: the number of the source.
      correlation: -1 to 1.
      box: left, top and side in pixels of the picture.
    """

    place: str
    source: int
    correlation: float
    box: tuple[int, int, int]


class Sources:
    """Radiographs that no picture may resemble.

    Args:
      images: grey, [H, W] each.
    """

    def __init__(self, images: Sequence[np.ndarray]):
        means, each = [], []
        for share in _CROPS:
            standard = [_standard(_without_border(image, share)) for image in images]
            means.append(_edges(np.mean(standard, axis=0)))
            each.append([_unit(_edges(square)).ravel() for square in standard])
        self._means = means
        self._each = np.array(each, np.float32)  # [crops, N, SIDE * SIDE]

    def closest(self, place: str, picture: np.ndarray) -> Resemblance:
        """Returns where a picture resembles a source most.

        Args:
          place: for the answer.
          picture: uint8 [H, W, 3].
        """
        best = Resemblance(place, -1, 0.0, (0, 0, 0))
        smaller = min(picture.shape[:2])
        for channel in _channels(picture):
            side = float(smaller)
            while side >= _SMALLEST:
                for crop in range(len(_CROPS)):
                    found = self._at(place, channel, side, crop)
                    best = max(best, found, key=lambda each: abs(each.correlation))
                side /= _STEP
        return best

    def _at(self, place: str, channel: np.ndarray, side: float, crop: int) -> Resemblance:
        """The same for radiographs of one size, in pixels of the picture, and one crop."""
        height, width = (max(SIDE, round(n * SIDE / side)) for n in channel.shape)
        shrunk = cv2.resize(channel, (width, height), interpolation=cv2.INTER_AREA)
        edges = _edges(shrunk)
        found = np.abs(cv2.matchTemplate(edges, self._means[crop], cv2.TM_CCOEFF_NORMED))
        found[~np.isfinite(found)] = 0.0  # Of an even area.
        best = Resemblance(place, -1, 0.0, (0, 0, 0))
        for _ in range(_CANDIDATES):
            top, left = np.unravel_index(int(found.argmax()), found.shape)
            part = _unit(_edges(shrunk[top : top + SIDE, left : left + SIDE])).ravel()
            correlations = self._each[crop] @ part
            source = int(np.abs(correlations).argmax())
            if abs(correlations[source]) > abs(best.correlation):
                scale = side / SIDE
                box = (round(left * scale), round(top * scale), round(side))
                best = Resemblance(place, source, float(correlations[source]), box)
            # What is next to a place is the same place.
            found[max(0, top - 3) : top + 4, max(0, left - 3) : left + 4] = 0.0
        return best


def pictures_in(folder: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields every picture of a folder, uint8 [H, W, 3], each once: also those inside of others.

    Arrays of at least `_SMALLEST` rows and columns count as pictures, too.
    """
    seen = set()
    for piece in pieces.of_folder(folder):
        for name, picture in _pictures(piece.content):
            key = (picture.shape, picture.tobytes())
            if min(picture.shape[:2]) >= _SMALLEST and key not in seen:
                seen.add(key)
                yield f"{piece.place}{name}", picture


def _pictures(content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    if content[128:132] == b"DICM":
        yield from _slices(pydicom.dcmread(io.BytesIO(content)).pixel_array)
    elif content.startswith(b"\x93NUMPY"):
        yield from _slices(np.load(io.BytesIO(content), allow_pickle=False))
    elif content.startswith(_PICTURES):
        with Image.open(io.BytesIO(content)) as image:
            yield "", np.asarray(image.convert("RGB"))


def _slices(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The pictures of an array: of its two longest neighbouring axes, all that it stacks."""
    if array.ndim < 2 or array.dtype.kind not in "buif":
        return
    channels_last = array.ndim > 2 and array.shape[-1] < _SMALLEST <= min(array.shape[-3:-1])
    planes = np.moveaxis(array, -1, 0) if channels_last else array
    for number, plane in enumerate(planes.reshape(-1, *planes.shape[-2:])):
        low, high = float(plane.min()), float(plane.max())
        grey = (plane.astype(np.float32) - low) * (255 / (high - low) if high > low else 0)
        yield f" [{number}]", np.repeat(grey.astype(np.uint8)[..., np.newaxis], 3, axis=2)


def _without_border(image: np.ndarray, share: float) -> np.ndarray:
    height, width = image.shape
    top, left = round(share * height), round(share * width)
    return image[top : height - top, left : width - left]


def _standard(image: np.ndarray) -> np.ndarray:
    """A square of `SIDE` pixels with a mean of 0 and a deviation of 1."""
    square = cv2.resize(image.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return (square - square.mean()) / (square.std() + 1e-6)


def _channels(picture: np.ndarray) -> list[np.ndarray]:
    """Its brightness, and its colours if it has any: a heat map leaves some of them more alone."""
    grey = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    if (picture[..., :1] == picture).all():
        return [grey]
    return [grey, *(picture[..., number].astype(np.float32) for number in range(3))]


def _edges(image: np.ndarray) -> np.ndarray:
    """Edges, all as strong as those around them: a single line must not outweigh all others."""
    edges = image - _blurred(image)
    strength = np.sqrt(_blurred(edges**2))
    return edges / (strength + _FAINT * float(image.std()) + 1e-6)


def _blurred(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT)


def _unit(image: np.ndarray) -> np.ndarray:
    centred = image - image.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)
