"""Coordinates, tabulated curves, smooth fields and splats shared by the phantom's modules.

Every length is in centimetres of a standard adult, seen as a radiograph is hung: x grows to the
patient's left (the reader's right) from the midline, y grows downwards from the apex of the lungs.
Curves of y or x are tabulated once per patient and looked up per pixel, which is what makes a
phantom cheap.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from scipy import interpolate

TABLE = 4096
Window = tuple[slice, slice]  # rows, columns
Y_RANGE = (-20.0, 44.0)
X_RANGE = (-36.0, 36.0)
TABLE_Y = np.linspace(*Y_RANGE, TABLE).astype(np.float32)
TABLE_X = np.linspace(*X_RANGE, TABLE).astype(np.float32)


class Curve:
    """A smooth curve through values at fixed knots, tabulated along y or x.

    Cubic-spline interpolation is linear in the values, so its matrix is computed only once.
    Beyond the outer knots the curve keeps its outer value.
    """

    def __init__(self, axis: str, knots: list[float]) -> None:
        self._knots = np.asarray(knots, np.float64)
        self._table = TABLE_Y if axis == "y" else TABLE_X

    @functools.cached_property
    def _matrix(self) -> np.ndarray:
        spline = interpolate.CubicSpline(self._knots, np.eye(len(self._knots)), bc_type="natural")
        return spline(np.clip(self._table, self._knots[0], self._knots[-1])).astype(np.float32)

    def __call__(self, values: np.ndarray | list[float]) -> np.ndarray:
        """Tabulates the curve: values [knots] -> float32 [TABLE]."""
        return np.einsum("ij,j->i", self._matrix, np.asarray(values, np.float32))


def at_y(table: np.ndarray, y: np.ndarray | float) -> np.ndarray:
    """Looks up a curve tabulated along y at some heights."""
    return np.interp(y, TABLE_Y, table)


def at_x(table: np.ndarray, x: np.ndarray | float) -> np.ndarray:
    """Looks up a curve tabulated along x at some positions."""
    return np.interp(x, TABLE_X, table)


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where each pixel lies in the patient.

    Attributes:
      x, y: float32 [H, W], cm.
      row: int64 [H, W], index of y in curves tabulated along y.
      column: int64 [H, W], index of x in curves tabulated along x.
      left: bool [H, W], True in the patient's left half.
      pixel: side of a pixel in cm.
      to_pixels: float64 [2, 3], affine map from (x, y, 1) in cm to (column, row) in pixels.
    """

    x: np.ndarray
    y: np.ndarray
    row: np.ndarray
    column: np.ndarray
    left: np.ndarray
    pixel: float
    to_pixels: np.ndarray

    @functools.cached_property
    def lateral(self) -> np.ndarray:
        """float32 [H, W]: distance from the midline in cm."""
        return np.abs(self.x)

    @functools.cached_property
    def sided_row(self) -> np.ndarray:
        """int64 [H, W]: index into a pair of curves [2, TABLE] (right half, left half)."""
        return self.row + TABLE * self.left

    def along_y(self, table: np.ndarray) -> np.ndarray:
        """Spreads a curve [TABLE], or a pair for both halves [2, TABLE], over the pixels."""
        return table[self.row] if table.ndim == 1 else table.ravel()[self.sided_row]

    def along_x(self, table: np.ndarray) -> np.ndarray:
        """Spreads a curve [TABLE] tabulated along x over the pixels."""
        return table[self.column]

    def window(self, left: float, right: float, top: float, bottom: float) -> Window:
        """The pixels that hold a rectangle of the patient, given in cm; may be empty."""
        limits = []
        for (by_x, by_y, offset), count in zip(self.to_pixels.tolist(), self.x.shape[::-1]):
            ends = [by_x * x + by_y * y + offset for x in (left, right) for y in (top, bottom)]
            low, high = math.floor(min(ends)), math.ceil(max(ends)) + 1
            limits.append(slice(min(max(low, 0), count), min(max(high, 0), count)))
        return limits[1], limits[0]

    def crop(self, window: Window) -> Frame:
        """The frame of a window alone; `to_pixels` still refers to the whole image."""
        return Frame(
            x=self.x[window],
            y=self.y[window],
            row=self.row[window],
            column=self.column[window],
            left=self.left[window],
            pixel=self.pixel,
            to_pixels=self.to_pixels,
        )


@functools.lru_cache(maxsize=4)
def _pixel_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    centred = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    return centred[None, :], centred[:, None]


def make_frame(
    size: int, width: float, centre: tuple[float, float], degrees: float, stretch: float = 1.0
) -> Frame:
    """Lays a square detector over the patient.

    Args:
      size: pixels per side.
      width: what the detector covers, in cm of the standard adult.
      centre: the point (x, y) of the patient in the middle of the detector, cm.
      degrees: how far the patient leans on the image, clockwise.
      stretch: horizontal extent of the patient relative to the vertical one.
    """
    columns, rows = _pixel_grid(size)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    forward = width * np.array([[cosine, sine], [-sine, cosine]]) / [[stretch], [1.0]]
    x = np.float32(forward[0, 0]) * columns + np.float32(forward[0, 1]) * rows
    y = np.float32(forward[1, 0]) * columns + np.float32(forward[1, 1]) * rows
    x += np.float32(centre[0])
    y += np.float32(centre[1])
    inverse = np.array([[cosine, -sine], [sine, cosine]]) * [stretch, 1.0] * (size / width)
    offset = size / 2 - 0.5 - (inverse * centre).sum(1)
    return Frame(
        x=x,
        y=y,
        row=_table_index(y, Y_RANGE),
        column=_table_index(x, X_RANGE),
        left=x > 0,
        pixel=width / size,
        to_pixels=np.column_stack([inverse, offset]),
    )


def _table_index(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    scale = np.float32((TABLE - 1) / (limits[1] - limits[0]))
    scaled = (values - np.float32(limits[0])) * scale + np.float32(0.5)
    return np.clip(scaled, 0, TABLE - 1).astype(np.int64)


@functools.lru_cache(maxsize=64)
def _spline_weights(cells: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform cubic B-spline: first control point and the four weights of each sample."""
    position = (np.arange(size) + 0.5) / size * cells
    first = np.minimum(position.astype(np.int64), cells - 1)
    t = position - first
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    return first, (weights / 6).astype(np.float32)


def smooth_field(rng: np.random.Generator, cells: int, shape: tuple[int, int]) -> np.ndarray:
    """A random smooth field of about unit standard deviation: float32 [H, W].

    Cubic B-spline over `cells` random control points per side; sums of four terms in a fixed
    order, so that the result does not depend on a linear algebra library.
    """
    control = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    first, weights = _spline_weights(cells, shape[1])
    wide = control[:, first] * weights[0]
    for i in range(1, 4):
        wide += control[:, first + i] * weights[i]
    first, weights = _spline_weights(cells, shape[0])
    field = np.take(wide, first, axis=0) * weights[0][:, None]
    for i in range(1, 4):
        field += np.take(wide, first + i, axis=0) * weights[i][:, None]
    return field * np.float32(2.1)


def binomial_blur(field: np.ndarray, passes: int) -> np.ndarray:
    """Blurs with the kernel [1 2 1] / 4 along both axes; variance grows by 1/2 pixel^2 a pass."""
    quarter = np.float32(0.25)
    for _ in range(passes):
        for _ in range(2):
            part = field * quarter
            field = part + part
            field[1:] += part[:-1]
            field[0] += part[0]
            field[:-1] += part[1:]
            field[-1] += part[-1]
            field = field.T
    return field


def splat(points: np.ndarray, mass: np.ndarray, frame: Frame, shape: tuple[int, int]) -> np.ndarray:
    """Spreads point masses bilinearly over the pixels.

    Args:
      points: [N, 2], (x, y) in cm.
      mass: [N], water-equivalent volume of each point in cm^3.
      frame: of the whole image.
      shape: of the image.

    Returns:
      float32 [H, W], water-equivalent thickness in cm. Points off the image are lost.
    """
    by_x, by_y, offset = frame.to_pixels.T
    pixels = points[:, :1] * by_x + points[:, 1:] * by_y + offset
    height, width = shape
    inside = ((pixels >= 0) & (pixels < [width - 1, height - 1])).all(1)
    pixels, mass = pixels[inside], mass[inside] / frame.pixel**2
    corner = pixels.astype(np.int64)
    right, down = (pixels - corner).T
    first = corner[:, 1] * width + corner[:, 0]
    index = np.concatenate([first, first + 1, first + width, first + width + 1])
    upper, lower = mass * (1 - down), mass * down
    left = 1 - right
    weight = np.concatenate([upper * left, upper * right, lower * left, lower * right])
    image = np.bincount(index, weight, minlength=height * width)
    return image.reshape(shape).astype(np.float32)


def half_ellipse(squared: np.ndarray) -> np.ndarray:
    """sqrt(1 - squared) where positive, 0 elsewhere: chord of an ellipsoid over its depth."""
    return np.sqrt(np.maximum(np.float32(1) - squared, np.float32(0)))


def ramp(values: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at values <= 0 to 1 at values >= 1."""
    t = np.minimum(np.maximum(values, np.float32(0)), np.float32(1))
    return t * t * (np.float32(3) - np.float32(2) * t)
