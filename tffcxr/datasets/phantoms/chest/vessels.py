"""Branching pulmonary vessels: dense at the hilum, tapering to nothing before the pleura."""

from __future__ import annotations

import dataclasses

import numpy as np

from tffcxr.datasets.phantoms.chest import anatomy as pa
from tffcxr.datasets.phantoms.chest import frame as pf

_STEPS = (20, 17, 13, 10, 7, 6)  # points per branch of each generation
# Where the first branches of a lung head (degrees from lateral, downwards positive) and their
# length relative to the others: more and longer ones go to the lower lobe.
_HEADINGS = np.radians([-82, -66, -48, -30, -10, 8, 22, 36, 50, 62, 74, 86])
_REACH = np.array([0.75, 0.9, 0.95, 0.9, 0.95, 1.0, 1.1, 1.2, 1.25, 1.25, 1.2, 1.0])


@dataclasses.dataclass(frozen=True)
class Tree:
    """Points along the vessels of both lungs.

    Attributes:
      points: float64 [N, 2], cm.
      radius: float64 [N], cm.
      mass: float64 [N], volume of vessel that a point stands for, cm^3.
      generation: int [N], 0 at the hilum.
    """

    points: np.ndarray
    radius: np.ndarray
    mass: np.ndarray
    generation: np.ndarray

    def some(self, chosen: np.ndarray) -> Tree:
        """The points chosen by a boolean mask [N]."""
        return Tree(
            self.points[chosen], self.radius[chosen], self.mass[chosen], self.generation[chosen]
        )


def grow(person: pa.Person, pose: pa.Pose) -> Tree:
    """Grows the vessels of both lungs of one image."""
    rng = person.details(10)
    rise = pa.dome_offset(pose)
    side = np.repeat([-1.0, 1.0], len(_HEADINGS))
    count = len(side)
    heading = np.tile(_HEADINGS, 2) + 0.12 * rng.standard_normal(count)
    start = np.column_stack(
        [
            pa.HILUM_X - 0.5 + 0.15 * side + 0.35 * rng.standard_normal(count),
            (pa.HILUM_Y - 0.35 - 0.35 * side) * (1 + rise / 60)
            + 1.4 * np.sin(heading)
            + 0.3 * rng.standard_normal(count),
        ]
    )
    length = 3.1 * np.tile(_REACH, 2) * rng.uniform(0.75, 1.25, count)
    radius = 0.4 * rng.uniform(0.7, 1.2, count)
    squeeze = 1 + rise / 30
    collected = []
    for generation, steps in enumerate(_STEPS):
        along = (np.arange(steps) + 0.5) / steps
        bend = 0.45 * rng.standard_normal(len(heading))
        angle = heading[:, None] + bend[:, None] * (along - 0.5)
        step = (length / steps)[:, None]
        path = np.stack([np.cos(angle) * step, np.sin(angle) * step * squeeze], -1).cumsum(1)
        path += start[:, None]
        taper = radius[:, None] * (1 - 0.25 * along)
        mass = np.pi * taper**2 * step
        points = path * np.stack([side, np.ones_like(side)], -1)[:, None]
        order = np.full(taper.size, generation)
        collected.append((points.reshape(-1, 2), taper.ravel(), mass.ravel(), order))
        fork = rng.uniform(0.15, 0.62, (2, len(heading))) * [[-1], [1]]
        start = np.tile(path[:, -1], (2, 1))
        heading = (heading + bend / 2 + fork).ravel()
        side = np.tile(side, 2)
        length = np.tile(length, 2) * rng.uniform(0.62, 0.95, len(heading))
        radius = np.tile(radius, 2) * rng.uniform(0.62, 0.85, len(heading))
    return Tree(*(np.concatenate(arrays) for arrays in zip(*collected)))


def draw(tree: Tree, visible: np.ndarray, frame: pf.Frame) -> np.ndarray:
    """Projects the vessels.

    Args:
      tree: the points.
      visible: float [N], part of each point that contrasts with air, 0..1.
      frame: of the image.

    Returns:
      float32 [H, W], cm of water.
    """
    shape = frame.x.shape
    mass = tree.mass * visible
    total = np.zeros(shape, np.float32)
    for low, high in ((0.0, 0.075), (0.075, 0.16), (0.16, 9.0)):
        chosen = (tree.radius >= low) & (tree.radius < high) & (visible > 0.01)
        if not chosen.any():
            continue
        layer = pf.splat(tree.points[chosen], mass[chosen], frame, shape)
        typical = float(np.mean(tree.radius[chosen])) * 0.55 / frame.pixel
        total += pf.binomial_blur(layer, int(np.clip(round(2 * typical**2), 0, 12)))
    return total


def visibility(tree: Tree, outer: np.ndarray, thorax: pa.Thorax) -> np.ndarray:
    """How visible each point is: 0 outside the lungs and at the pleura, 1 within.

    Args:
      tree: N points.
      outer: float32 [2, TABLE], lateral border of both lungs against y: the thorax's own, or that
        of a collapsed lung.
      thorax: the other borders.

    Returns:
      float64 [N].
    """
    x, y = tree.points[:, 0], tree.points[:, 1]
    row = np.clip((y - pf.Y_RANGE[0]) / (pf.Y_RANGE[1] - pf.Y_RANGE[0]) * (pf.TABLE - 1), 0, None)
    row = np.minimum(row.astype(np.int64), pf.TABLE - 1)
    side = (x > 0).astype(np.int64)
    to_pleura = (outer[side, row] - np.abs(x)) / 1.6
    to_mediastinum = (np.abs(x) - thorax.inner_table[side, row] + 0.9) / 0.9
    to_dome = (pf.at_x(thorax.dome_table, x) - y + 0.3) / 0.8
    nearest = np.minimum(np.minimum(to_pleura, to_mediastinum), to_dome)
    return np.clip(nearest, 0, 1) * (y > 0.3)
