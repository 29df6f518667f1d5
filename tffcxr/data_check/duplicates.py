"""The same image twice: also stored in another format, resized, or cropped by some per cent.

Chest radiographs resemble each other, so candidates come from thumbnails and are then aligned: a
pair counts if the middle of one image is found in the other, at one of several scales and
proportions. What is compared is detail of a few pixels of the thumbnail, which two exposures of one
patient do not share. On 667 images of NIH ChestX-ray14, two exposures of a patient correlate by at
most 0.81 (477 pairs, two of them duplicates), and an image with itself, cropped by up to 6 % at
each edge, resized and compressed, by at least 0.83.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
import dataclasses
import itertools

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from tffcxr.data_check import image_facts
from tffcxr.data_check.image_facts import Facts

EXACT, NEAR = "identical pixels", "the same image, re-encoded, resized or cropped"
_SAME = 0.83  # Correlation of the middle after alignment.
_WORTH = 0.55  # The same with the coarse scales, below which no finer one helps.
_MIDDLE = 0.75  # Part of the side that is looked for in the other image.
_COARSE = (0.92, 1.0, 1.08)
_FINE = (0.9, 0.95, 1.0, 1.05, 1.1)
_NEIGHBOURS = 2  # Candidates of each image.
_CROPPED = 0.07  # Of the side at each edge, in the second description of each image.
_HASH_BITS = 4  # Of 64 that may differ between perceptual hashes of candidates.
_BLOCK = 1024
_SIDE = 32  # Pixels of the images that candidates are found by.
_DETAIL = {image_facts.THUMBNAIL: 2.0, _SIDE: 4.0}  # Standard deviation of what is removed.


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two images that are one.

    Attributes:
      first: place of one image.
      second: place of the other, larger.
      how: `EXACT` or `NEAR`.
    """

    first: int
    second: int
    how: str


def find(facts: Sequence[Facts]) -> list[Pair]:
    """Finds what is there several times: each image with the first one that it equals.

    Args:
      facts: of images, of which those that cannot be read equal none.
    """
    places = [place for place, each in enumerate(facts) if each.is_readable]
    readable = [facts[place] for place in places]
    if len(readable) < 2:
        return []
    thumbnails = image_facts.thumbnails(readable)
    edges = set(_exact(readable))
    for one, other in _candidates(thumbnails, readable):
        if (one, other) not in edges and is_same(thumbnails[one], thumbnails[other]):
            edges.add((one, other))
    pairs = []
    for other, first in enumerate(_first_of_group(len(readable), edges)):
        if first != other:
            how = EXACT if _key(readable[first]) == _key(readable[other]) else NEAR
            pairs.append(Pair(places[first], places[other], how))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def find_between(known: Sequence[Facts], others: Sequence[Facts]) -> list[int]:
    """The places of those among other images that equal a known one."""
    start = len(known)  # The first of a group is known if any is.
    return [
        pair.second - start for pair in find([*known, *others]) if pair.first < start <= pair.second
    ]


def is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two thumbnails uint8 [64, 64] show one image, one of them possibly cropped."""
    details = _detail(one), _detail(other)
    pairs = (details, details[::-1])
    if max(_aligned(a, b, _COARSE) for a, b in pairs) < _WORTH:
        return False
    return any(_aligned(a, b, _FINE) >= _SAME for a, b in pairs)


def _aligned(one: np.ndarray, other: np.ndarray, scales: Sequence[float]) -> float:
    """The best correlation of the middle of one image [S, S] with a place in the other."""
    side = len(one)
    inner = round(side * _MIDDLE)
    start = (side - inner) // 2
    middle = one[start : start + inner, start : start + inner]
    best = -1.0
    for size in itertools.product([min(side, round(inner * scale)) for scale in scales], repeat=2):
        scaled = cv2.resize(middle, size, interpolation=cv2.INTER_LINEAR)
        found = cv2.matchTemplate(other, scaled, cv2.TM_CCOEFF_NORMED)
        best = max(best, float(np.nan_to_num(found, nan=-1.0, posinf=-1.0).max()))
    return best


def _detail(image: np.ndarray) -> np.ndarray:
    """An image [S, S] without its coarse brightness, float32."""
    grey = image.astype(np.float32)
    return grey - cv2.GaussianBlur(grey, (0, 0), _DETAIL[len(image)])


def _first_of_group(images: int, edges: Collection[tuple[int, int]]) -> list[int]:
    """The first image that each one is connected with, perhaps itself."""
    ends = np.array(sorted(edges), np.int64).reshape(-1, 2).T
    graph = sparse.coo_array((np.ones(len(edges)), tuple(ends)), shape=(images, images))
    _, groups = csgraph.connected_components(graph, directed=False)
    _, first = np.unique(groups, return_index=True)
    return first[groups].tolist()


def _exact(facts: Sequence[Facts]) -> Iterator[tuple[int, int]]:
    """Yields each image with the first one of the same pixels."""
    first: dict[tuple[bytes, int, int], int] = {}
    for place, each in enumerate(facts):
        before = first.setdefault(_key(each), place)
        if before != place:
            yield before, place


def _key(facts: Facts) -> tuple[bytes, int, int]:
    return facts.digest, facts.height, facts.width


def _candidates(thumbnails: np.ndarray, facts: Sequence[Facts]) -> list[tuple[int, int]]:
    """Pairs of images that are alike: nearest neighbours, and those of nearly equal hashes."""
    whole = _vectors(thumbnails)
    edge = round(image_facts.THUMBNAIL * _CROPPED)
    middle = _vectors(thumbnails[:, edge:-edge, edge:-edge])
    hashes = np.array([each.hashed for each in facts], np.uint64)
    found = set()
    for start in range(0, len(whole), _BLOCK):
        rows = slice(start, start + _BLOCK)
        alike = np.maximum(whole[rows] @ whole.T, whole[rows] @ middle.T)
        alike = np.maximum(alike, middle[rows] @ whole.T)
        for row, of_row in enumerate(alike, start=start):
            of_row[row] = -1.0
            nearest = np.argpartition(-of_row, min(_NEIGHBOURS, len(of_row)) - 1)[:_NEIGHBOURS]
            equal = np.flatnonzero(_bits(hashes ^ hashes[row]) <= _HASH_BITS)
            others = {int(place) for place in (*nearest, *equal) if place != row}
            found |= {(min(row, other), max(row, other)) for other in others}
    return sorted(found)


def _vectors(squares: np.ndarray) -> np.ndarray:
    """What images [N, S, S] are compared by: float32 [N, D] of length 1."""
    small = [cv2.resize(each, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for each in squares]
    vectors = np.stack([_detail(each) for each in small]).reshape(len(small), -1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _bits(values: np.ndarray) -> np.ndarray:
    """How many bits of each uint64 [N] are 1: int [N]."""
    return np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
