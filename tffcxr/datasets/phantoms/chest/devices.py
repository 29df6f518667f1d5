"""Distractors: tubes, lines, electrodes, pacemakers and markers, drawn whatever the disease."""

from __future__ import annotations

import functools

import numpy as np

from tffcxr.datasets.phantoms.chest import anatomy as pa
from tffcxr.datasets.phantoms.chest import frame as pf

# 5 x 7 dot letters, a row per number, most significant bit at the left.
_FONT = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "B": (30, 17, 17, 30, 17, 17, 30),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "H": (17, 17, 17, 31, 17, 17, 17),
}


def _curve(points: list[tuple[float, float]], rng: np.random.Generator) -> np.ndarray:
    """A smooth line through some points, with a little slack: float64 [N, 2], 0.05 cm apart."""
    control = np.asarray(points, np.float64)
    control[1:-1] += 0.35 * rng.standard_normal((len(control) - 2, 2))
    length = np.hypot(*np.diff(control, axis=0).T).sum()
    time = np.linspace(0, 1, len(control))
    fine = np.linspace(0, 1, max(int(length / 0.05), 2))
    line = np.column_stack([np.interp(fine, time, control[:, axis]) for axis in (0, 1)])
    window = np.hanning(max(len(fine) // len(control), 3) | 1)
    window /= window.sum()
    half = len(window) // 2
    padded = np.pad(line, ((half, half), (0, 0)), mode="edge")
    return np.column_stack([np.convolve(padded[:, axis], window, "valid") for axis in (0, 1)])


def _line(
    points: list[tuple[float, float]],
    thickness: float,
    diameter: float,
    rng: np.random.Generator,
    frame: pf.Frame,
) -> np.ndarray:
    """A tube of some water-equivalent thickness in cm: float32 [H, W]."""
    path = _curve(points, rng)
    mass = np.full(len(path), thickness * diameter * 0.05)
    drawn = pf.splat(path, mass, frame, frame.x.shape)
    return pf.binomial_blur(drawn, max(1, round((diameter / frame.pixel) ** 2 / 4)))


def _disc(frame: pf.Frame, centre: tuple[float, float], radius: float) -> np.ndarray:
    total = np.zeros_like(frame.x)
    reach = radius + frame.pixel
    window = frame.window(
        centre[0] - reach, centre[0] + reach, centre[1] - reach, centre[1] + reach
    )
    x, y = frame.x[window] - np.float32(centre[0]), frame.y[window] - np.float32(centre[1])
    distance = np.float32(radius) - np.sqrt(x * x + y * y)
    total[window] = pf.ramp(distance / np.float32(frame.pixel) + np.float32(0.5))
    return total


def _electrodes(rng: np.random.Generator, pose: pa.Pose) -> np.ndarray:
    frame = pose.frame
    total = np.zeros_like(frame.x)
    places = [(-10, 1.5), (10, 1.5), (-11, 20), (10.5, 21), (3, 14)]
    for place in rng.permutation(places)[: rng.integers(2, 5)]:
        centre = place + 1.2 * rng.standard_normal(2)
        total += np.float32(1.1) * _disc(frame, tuple(centre), 0.75)
        total += np.float32(2.2) * _disc(frame, tuple(centre), 0.3)
        exit_point = (np.sign(centre[0]) * 24, centre[1] + rng.uniform(-8, 8))
        middle = tuple((centre + exit_point) / 2 + rng.normal(size=2))
        total += _line([tuple(centre), middle, exit_point], 1.8, 0.2, rng, frame)
    return total


def _central_line(rng: np.random.Generator, pose: pa.Pose) -> np.ndarray:
    tip = (-2.2, rng.uniform(8.5, 13.5))
    if rng.random() < 0.5:
        points = [(-4.5, -14.0), (-4.2, -5.0), (-2.9, 2.0), (-2.3, 6.0), tip]
    else:
        points = [(-13.0, 4.0), (-9.0, 0.2), (-5.0, 0.6), (-2.6, 4.0), tip]
    return _line(points, 2.2, 0.24, rng, pose.frame)


def _endotracheal(rng: np.random.Generator, pose: pa.Pose) -> np.ndarray:
    tip = rng.uniform(2.5, 6.5)
    frame = pose.frame
    tube = sum(
        _line([(x, -16.0), (x, -6.0), (x - 0.1, tip)], 1.6, 0.14, rng, frame) for x in (-0.45, 0.4)
    )
    return tube + _line([(0.0, -16.0), (0.1, -6.0), (0.0, tip)], 1.2, 0.6, rng, frame)


def _feeding_tube(rng: np.random.Generator, pose: pa.Pose) -> np.ndarray:
    points = [(0.3, -16.0), (0.3, -4.0), (0.6, 6.0), (0.9, 16.0), (2.5, 23.0), (7.0, 26.0)]
    return _line(points, 2.4, 0.3, rng, pose.frame)


def _pacemaker(rng: np.random.Generator, pose: pa.Pose) -> np.ndarray:
    frame = pose.frame
    side = 1 if rng.random() < 0.85 else -1
    x0, y0 = side * rng.uniform(10, 12), rng.uniform(2, 5)
    x, y = np.abs(frame.x - np.float32(x0)), np.abs(frame.y - np.float32(y0))
    box = (np.maximum(x - 1.3, 0) ** 2 + np.maximum(y - 1.1, 0) ** 2).astype(np.float32)
    can = np.float32(16) * pf.ramp((np.float32(1.1) - np.sqrt(box)) / frame.pixel)
    lead = [(x0, y0 - 1.5), (side * 7.5, 0.0), (side * 3.0, 2.5), (-2.0, 6.0), (-2.6, 12.0)]
    ventricle = [*lead, (-1.5, 17.0), (4.5, 20.0)]
    drawn = can + _line(ventricle, 3.2, 0.25, rng, frame)
    if rng.random() < 0.6:
        drawn += _line([*lead, (-3.2, 14.5), (-2.0, 13.5)], 3.0, 0.25, rng, frame)
    return drawn


def _sternal_wires(rng: np.random.Generator, pose: pa.Pose) -> np.ndarray:
    total = np.zeros_like(pose.frame.x)
    for level in range(6):
        x, y = pose.turn + 0.2 * rng.normal(), 4.0 + 2.6 * level
        loop = [(x - 0.7, y), (x, y - 0.4), (x + 0.7, y), (x, y + 0.4), (x - 0.7, y)]
        total += _line(loop, 4.0, 0.12, rng, pose.frame)
    return total


def _chest_tube(rng: np.random.Generator, pose: pa.Pose) -> np.ndarray:
    side = 1 if rng.random() < 0.5 else -1
    points = [(side * 22, 17.0), (side * 14.5, 15.0), (side * 10.5, 9.0), (side * 6.5, 4.0)]
    tube = _line(points, 1.0, 0.55, rng, pose.frame)
    return tube + _line(points, 2.0, 0.12, rng, pose.frame)


def devices(rng: np.random.Generator, pose: pa.Pose) -> np.ndarray:
    """Tubes, lines and metal of one image: float32 [H, W], cm of water.

    More of them in AP (bedside) images, as on a ward; none depends on the findings.
    """
    bedside = pose.view == "AP"
    chances = (
        (_electrodes, 0.55 if bedside else 0.08),
        (_central_line, 0.35 if bedside else 0.06),
        (_endotracheal, 0.22 if bedside else 0.0),
        (_feeding_tube, 0.22 if bedside else 0.02),
        (_pacemaker, 0.07),
        (_sternal_wires, 0.08),
        (_chest_tube, 0.07 if bedside else 0.03),
    )
    total = np.zeros_like(pose.frame.x)
    for device, chance in chances:
        if rng.random() < chance:
            total += device(rng, pose)
    return total


@functools.lru_cache(maxsize=256)
def _glyphs(text: str, height: int) -> np.ndarray:
    """Text as float32 [height, width] in 0..1, antialiased."""
    cells = []
    for letter in text:
        rows = np.array([[row >> (4 - bit) & 1 for bit in range(5)] for row in _FONT[letter]])
        cells.append(np.pad(rows, ((0, 0), (0, 1))))
    dots = np.pad(np.hstack(cells).astype(np.float32), 1)
    width = max(int(round(height * dots.shape[1] / dots.shape[0])), 1)
    rows = (np.arange(height) + 0.5) / height * dots.shape[0] - 0.5
    columns = (np.arange(width) + 0.5) / width * dots.shape[1] - 0.5
    fine = np.stack(
        [np.interp(rows, np.arange(len(dots)), dots[:, c]) for c in range(dots.shape[1])]
    )
    fine = np.stack([np.interp(columns, np.arange(len(fine)), fine[:, r]) for r in range(height)])
    return pf.ramp((fine - 0.2) * 1.8).astype(np.float32)


def _paste(image: np.ndarray, stamp: np.ndarray, top: int, left: int, value: float) -> None:
    """Blends a stamp into the image in place; what hangs over the edge is cut."""
    height, width = image.shape
    top, left = max(0, min(top, height - 1)), max(0, min(left, width - 1))
    stamp = stamp[: height - top, : width - left]
    target = image[top : top + stamp.shape[0], left : left + stamp.shape[1]]
    target += stamp * (np.float32(value) - target)


def markers(rng: np.random.Generator, image: np.ndarray, pose: pa.Pose) -> None:
    """Writes side markers and labels into a finished image [H, W] in 0..1, in place."""
    size = image.shape[0]
    left_marker = rng.random() < 0.8
    letter = "L" if left_marker else "R"
    height = int(size * rng.uniform(0.035, 0.055))
    top = int(size * rng.uniform(0.04, 0.2))
    across = rng.uniform(0.90, 0.95) if left_marker else rng.uniform(0.03, 0.08)
    if rng.random() < 0.93:
        text = letter + rng.choice(["", "", "HB", "S", "A"])
        stamp = _glyphs(text[0], height)
        _paste(image, stamp, top, int(size * across), rng.uniform(0.85, 1.0))
        if len(text) > 1:
            initials = _glyphs(text[1:], max(int(height * 0.6), 5))
            _paste(image, initials, top + height, int(size * across), rng.uniform(0.8, 1.0))
    if pose.view == "AP" and rng.random() < 0.6:
        small = max(int(size * 0.028), 6)
        word = rng.choice(["AP", "PORTABLE", "PORTABLE AP"]).split()
        place = int(size * rng.uniform(0.02, 0.12)), int(size * rng.uniform(0.05, 0.3))
        for line, part in enumerate(word):
            _paste(image, _glyphs(part, small), place[0] + line * (small + 1), place[1], 0.97)
