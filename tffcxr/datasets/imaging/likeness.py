"""How far an image lies from those that a model was trained on, by statistics of its pixels.

Two vectors describe an image, after it was fitted to the model's square and resized to 64 x 64:

    layout    its 8 x 8 thumbnail, the detail of three scales, and seven quantiles of its grey
    texture   the same without the thumbnail, and how alike it is to its two mirror images

An image's distance is the Mahalanobis distance of a vector from the mean of the training images,
with their covariance shrunk after O. Ledoit, M. Wolf, "A well-conditioned estimator for
large-dimensional covariance matrices", Journal of Multivariate Analysis 88, 2004, and divided by
the limit that 1 % of the training images exceed if they are left out of mean and covariance
(five-fold, by patients); of the two vectors, the larger distance counts. So 1 is the limit.

K. Lee, K. Lee, H. Lee, J. Shin, "A simple unified framework for detecting out-of-distribution
samples and adversarial attacks", NeurIPS 2018, arXiv:1807.03888, take a network's features instead.
Those of a small network trained on 450 chest radiographs (128 features, `cheXviz` at 64 pixels)
told few of the images apart that pixels do. Pixels serve every kind of model.

The slices of volumes are described so, each channel by itself; a volume's distance is the median of
those of its slices.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import io
import pathlib

import cv2
import numpy as np

from tffcxr import files
from tffcxr.datasets import npz_files
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError

FORMAT_VERSION = 1
PARTS = ("layout", "texture")
_SIZE = 64  # Pixels a side; details of larger images are not looked at.
_THUMBNAIL = 8
_BANDS = 3  # Scales of detail, each of half the resolution of the one before.
_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_WIDTHS = {
    "layout": _THUMBNAIL**2 + _BANDS + len(_QUANTILES),
    "texture": _BANDS + len(_QUANTILES) + 2,
}
# What makes an image look like those trained on again: how it is put, and the change.
_MISTAKES = (
    ("its grey is inverted", lambda square: 255 - square),
    ("it is rotated by 90 degrees", lambda square: np.rot90(square, 1)),
    ("it is rotated by 90 degrees", lambda square: np.rot90(square, 3)),
    ("it is upside down", lambda square: np.rot90(square, 2)),
)


@dataclasses.dataclass(frozen=True)
class Part:
    """Moments of one vector over the training images.

    Attributes:
      mean: float64 [D].
      precision: inverse of the shrunk covariance, float64 [D, D].
      limit: the distance that counts as 1, above 0.
    """

    mean: np.ndarray
    precision: np.ndarray
    limit: float

    def distances(self, vectors: np.ndarray) -> np.ndarray:
        """Distances of vectors [N, D] in limits: float64 [N]."""
        return mahalanobis(vectors, self.mean, self.precision) / self.limit


@dataclasses.dataclass(frozen=True)
class Likeness:
    """Aggregated statistics of training images; no image is in them.

    Attributes:
      images: how many there were.
      parts: by the names of `PARTS`.
    """

    images: int
    parts: dict[str, Part]

    def distances(self, squares: np.ndarray) -> np.ndarray:
        """How unlike the training images others are: float64 [N], where 1 is the limit.

        Args:
          squares: uint8 [N, S, S], fitted as for the model.
        """
        vectors = describe(squares)
        return np.max([self.parts[name].distances(vectors[name]) for name in PARTS], axis=0)

    def mistake(self, square: np.ndarray) -> str | None:
        """What would explain that an image [S, S] is unlike the others; None if nothing does."""
        for what, change in _MISTAKES:
            if self.distances(np.ascontiguousarray(change(square))[np.newaxis])[0] <= 1:
                return what
        return None


# Of volumes: node to the statistics of its slices, of each channel in order.
SliceLikeness = Mapping[str, tuple[Likeness, ...]]


def describe(squares: np.ndarray) -> dict[str, np.ndarray]:
    """The vectors of images uint8 [N, S, S]: float64 [N, D] by the names of `PARTS`."""
    small = np.stack([images.fit_to_square(square, _SIZE) for square in squares])
    flat = small.reshape(len(small), -1)
    quantiles = np.quantile(flat, _QUANTILES, axis=1).T / 255.0  # [N, 7]
    grey = np.stack([_detail(square) for square in small])  # [N, 3]
    thumbnails = np.stack([images.fit_to_square(square, _THUMBNAIL) for square in small])
    layout = thumbnails.reshape(len(small), -1) / 255.0  # [N, 64]
    mirrored = [small[:, :, ::-1], small[:, ::-1]]
    alike = np.stack([correlations(small, other) for other in mirrored], axis=1)  # [N, 2]
    return {
        "layout": np.hstack([layout, grey, quantiles]),
        "texture": np.hstack([grey, quantiles, alike]),
    }


def mahalanobis(vectors: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Mahalanobis distances of vectors [N, D], divided by the root of D: float64 [N]."""
    away = vectors - mean
    squared = np.einsum("nd,de,ne->n", away, precision, away)
    return np.sqrt(np.maximum(squared, 0.0) / vectors.shape[1])


def file_of(model: pathlib.Path) -> pathlib.Path:
    """The file of the statistics of a model, beside its `.keras` file."""
    return model.with_suffix(".images.npz")


def write(path: pathlib.Path, likeness: Likeness) -> None:
    """Writes the statistics as one `.npz` file."""
    _write(path, _arrays(likeness, ""))


def write_slices(path: pathlib.Path, nodes: Mapping[str, int], found: SliceLikeness) -> None:
    """Writes the statistics of volumes as one `.npz` file.

    Args:
      path: of the file.
      nodes: the channels of each node of the model, in its order.
      found: of all or some of these nodes.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, node in enumerate(nodes):
        for channel, likeness in enumerate(found.get(node, ())):
            arrays |= _arrays(likeness, f"{number}_{channel}_")
    _write(path, arrays)


def read(path: pathlib.Path) -> Likeness:
    """Reads what `write` wrote.

    Raises:
      InputError: it is something else, damaged, or of another version.
    """
    return _of_arrays(path, _read(path), "")


def read_slices(path: pathlib.Path, nodes: Mapping[str, int]) -> SliceLikeness:
    """Reads what `write_slices` wrote with the same nodes.

    Raises:
      InputError: it is something else, damaged, or of another version.
    """
    arrays = _read(path)
    return {
        node: tuple(_of_arrays(path, arrays, f"{number}_{channel}_") for channel in range(channels))
        for number, (node, channels) in enumerate(nodes.items())
        if f"{number}_0_images" in arrays
    }


def _arrays(likeness: Likeness, prefix: str) -> dict[str, np.ndarray]:
    arrays = {f"{prefix}images": np.array(likeness.images)}
    for name, part in likeness.parts.items():
        arrays[f"{prefix}{name}_mean"] = part.mean
        arrays[f"{prefix}{name}_precision"] = part.precision
        arrays[f"{prefix}{name}_limit"] = np.array(part.limit)
    return arrays


def _write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, format_version=np.array(FORMAT_VERSION), **arrays)
    files.write_atomically(path, lambda file: file.write(buffer.getvalue()))


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        arrays = {name: npz_files.read(path, name) for name in npz_files.names(path)}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    version = arrays.get("format_version", np.zeros(0))
    if version.tolist() != FORMAT_VERSION:
        raise InputError(
            f"{path}: expected statistics of training images in version {FORMAT_VERSION}, found "
            f"{str(version.tolist()):.40}"
        )
    return arrays


def _of_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray], prefix: str) -> Likeness:
    def numbers(name: str, *shape: int) -> np.ndarray:
        array = arrays.get(prefix + name, np.zeros(0))
        if array.shape != shape or array.dtype.kind not in "if" or not np.isfinite(array).all():
            raise InputError(
                f"{path}: expected finite numbers of the shape {shape} as {prefix}{name}"
            )
        return array

    parts = {}
    for name, wide in _WIDTHS.items():
        limit = float(numbers(f"{name}_limit"))
        if limit <= 0:
            raise InputError(
                f"{path}: expected a limit above 0 as {prefix}{name}_limit, found {limit}"
            )
        moments = numbers(f"{name}_mean", wide), numbers(f"{name}_precision", wide, wide)
        parts[name] = Part(*moments, limit)
    return Likeness(int(numbers("images")), parts)


def _detail(square: np.ndarray) -> list[float]:
    """Log energy of what each scale has beyond the next coarser one."""
    found, now = [], square.astype(np.float32)
    for _ in range(_BANDS):
        half = cv2.resize(now, (now.shape[1] // 2, now.shape[0] // 2), interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(half, now.shape[::-1], interpolation=cv2.INTER_LINEAR)
        found.append(float(np.log(np.mean((now - coarse) ** 2) + 1e-3)))
        now = half
    return found


def correlations(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pearson's correlation of images [N, H, W] with others, float64 [N]; of constant ones 0."""
    centred = [
        part.astype(np.float64) - part.mean((1, 2), keepdims=True) for part in (ones, others)
    ]
    one, other = centred
    norms = np.sqrt((one**2).sum((1, 2)) * (other**2).sum((1, 2)))
    return (one * other).sum((1, 2)) / np.maximum(norms, 1e-6)
