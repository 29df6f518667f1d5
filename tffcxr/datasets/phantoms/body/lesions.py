"""Phantom brains and breasts in MRI: T1 before and after contrast agent, T2, and the lesion.

Coordinates are RAS in mm around the middle of the volume. Signals are in arbitrary units, with
scanner gains of their own, so that only normalised values can be compared. Lesions take up contrast
agent in an irregular rim; vessels (and, in the breast, normal glands a little) do, too.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from tffcxr.datasets.phantoms.body.canvas import Canvas
from tffcxr.datasets.volumes.volume import Grid, Volume

# Signals before and after contrast agent, and T2.
_CSF, _GREY, _WHITE = (25.0, 25.0, 100.0), (58.0, 60.0, 62.0), (80.0, 82.0, 45.0)
_VESSEL, _EDEMA, _NECROSIS = (50.0, 135.0, 40.0), (55.0, 57.0, 84.0), (35.0, 38.0, 90.0)
_ENHANCING = (60.0, 140.0, 70.0)
_AIR, _LUNG, _MUSCLE = (0.0, 0.0, 0.0), (8.0, 10.0, 8.0), (52.0, 58.0, 25.0)
_FAT, _GLAND, _SKIN, _BLOOD = (
    (30.0, 31.0, 28.0),
    (55.0, 66.0, 55.0),
    (45.0, 60.0, 30.0),
    (45.0, 120.0, 40.0),
)
_TUMOUR, _TUMOUR_CORE = (50.0, 135.0, 62.0), (48.0, 85.0, 85.0)


@dataclasses.dataclass(frozen=True)
class Lesion:
    """The images of one patient.

    Attributes:
      channels: T1 before and after contrast agent, and T2, on one grid.
      labels: 0 without a lesion, 1 core, 2 edema, 4 enhancing, as in BraTS.
    """

    channels: tuple[Volume, ...]
    labels: Volume


def draw_brain(seed: int, grid: Grid) -> Lesion:
    """Draws a brain, cut out of its skull, with a tumour, its necrosis and its edema."""
    rng = np.random.default_rng([seed, 2])
    canvas = Canvas(grid, _AIR)
    size = 1.0 + 0.05 * rng.normal()
    centre, radii = (0, -2, -6), np.array([68.0, 84.0, 66.0]) * size
    brain = canvas.ellipsoid(centre, radii)
    inner = np.clip((canvas.ellipsoid(centre, radii - 5)), 0, 1)
    canvas.paint(brain, _CSF)
    # The cortex folds: grey matter along a wavy border, fluid in its furrows.
    folds = 0.09 * canvas.texture(rng, 5.0)
    canvas.paint(canvas.ellipsoid(centre, radii - 3, wobble=folds), _GREY)
    canvas.paint(canvas.ellipsoid(centre, radii - 10, wobble=1.6 * folds), _WHITE)
    for side in (-1, 1):  # Deep nuclei, ventricles.
        canvas.paint(canvas.ellipsoid((side * 21, 4, -8), (11, 20, 13)), _GREY)
        horn = canvas.ellipsoid((side * 9, 2, 6), (5.5, 34, 12), side * 14)
        canvas.paint(horn, _CSF)
    cleft = np.clip(1.6 - np.abs(canvas.points[..., 0]) / 1.6, 0, 1) * inner
    canvas.paint(cleft * (canvas.points[..., 2] > 8), _CSF)
    for y in (-radii[1] + 6, radii[1] - 8):  # Sagittal sinus, behind and in front.
        canvas.paint(canvas.ellipsoid((0, y, 12), (4, 5, 50)) * brain, _VESSEL)
    place = _place_in_brain(rng, radii)
    radius = rng.uniform(11, 22)
    lumps = 0.12 * canvas.texture(rng, 9.0)
    edema = canvas.ellipsoid(place, radius * rng.uniform(1.3, 1.7, 3), wobble=1.6 * lumps) * inner
    solid = canvas.ellipsoid(place, radius * rng.uniform(0.85, 1.1, 3), wobble=lumps) * inner
    core = canvas.ellipsoid(place, 0.55 * radius * rng.uniform(0.8, 1.1, 3), wobble=lumps) * inner
    _paint_within(canvas, edema, _EDEMA)
    canvas.paint(solid, _ENHANCING)
    canvas.paint(core, _NECROSIS)
    labels = np.where(edema >= 0.5, 2, 0)
    labels = np.where(solid >= 0.5, 4, labels)
    labels = np.where(core >= 0.5, 1, labels)
    return _finish(canvas, rng, labels, brain >= 0.5)


def draw_breast(seed: int, grid: Grid) -> Lesion:
    """Draws one breast of a patient who lies prone, fat suppressed, with an enhancing mass."""
    rng = np.random.default_rng([seed, 3])
    canvas = Canvas(grid, _AIR)
    x, y, z = (canvas.points[..., axis] for axis in range(3))
    wide, deep, high = np.array([72.0, 104.0, 70.0]) * (1.0 + 0.08 * rng.normal(size=3))
    wall = -38.0 + 0.0022 * x * x  # Front of the chest wall.
    breast = canvas.ellipsoid(
        (0, -42, 0), (wide, deep, high), wobble=0.02 * canvas.texture(rng, 20)
    )
    front = np.clip((y - wall) / 3.5 + 0.5, 0, 1)
    breast = breast * front
    # A layer of skin, then fat, then glands that fan out from the nipple.
    canvas.paint(breast, _SKIN)
    fat = canvas.ellipsoid((0, -44, 0), (wide - 4, deep - 4, high - 4)) * front
    canvas.paint(fat, _FAT)
    density = rng.uniform(-0.4, 0.9)
    glands = canvas.ellipsoid((0, -6, 0), (0.68 * wide, 0.56 * deep, 0.66 * high))
    strands = np.clip(1.2 * canvas.texture(rng, 5.0) + density, 0, 1) * glands * fat
    canvas.paint(strands, np.array(_GLAND) + [0, rng.uniform(0, 18), 0])
    # Behind: pectoral muscle, ribs' level, lung, and the heart.
    behind = 1.0 - front
    canvas.paint(behind, _LUNG)
    canvas.paint(np.clip((y - wall + 18) / 3.5 + 0.5, 0, 1) * behind, _MUSCLE)
    canvas.paint(canvas.ellipsoid((55, -112, -10), (48, 40, 52)) * behind, _BLOOD)
    for _ in range(3):  # Vessels, seen across.
        spot = rng.uniform(-0.6, 0.6, 2) * [wide, high]
        canvas.paint(
            canvas.ellipsoid((spot[0], rng.uniform(-25, 25), spot[1]), (3.5, 3.5, 26)) * fat, _BLOOD
        )
    place = np.array(
        [rng.uniform(-0.45, 0.45) * wide, rng.uniform(-16, 26), rng.uniform(-0.45, 0.45) * high]
    )
    radius = rng.uniform(9.0, 18.0)
    lumps = 0.15 * canvas.texture(rng, 6.0)
    mass = canvas.ellipsoid(place, radius * rng.uniform(0.85, 1.15, 3), wobble=lumps) * fat
    core = canvas.ellipsoid(place, 0.45 * radius * np.ones(3), wobble=lumps) * fat
    canvas.paint(mass, _TUMOUR)
    canvas.paint(core, _TUMOUR_CORE)
    labels = np.where(mass >= 0.5, 4, 0)
    labels = np.where((core >= 0.5) & (labels > 0), 1, labels)
    return _finish(canvas, rng, labels, None)


def _place_in_brain(rng: np.random.Generator, radii: np.ndarray) -> np.ndarray:
    """A point in the white matter of one hemisphere."""
    side = rng.choice([-1.0, 1.0])
    return np.array(
        [
            side * rng.uniform(0.34, 0.58) * radii[0],
            rng.uniform(-0.5, 0.5) * radii[1],
            rng.uniform(-0.35, 0.4) * radii[2],
        ]
    )


def _paint_within(canvas: Canvas, part: np.ndarray, values: tuple[float, ...]) -> None:
    """Edema swells white matter and leaves fluid as it is."""
    fluid = np.clip((canvas.images[..., 2] - 88.0) / 10.0, 0, 1)
    canvas.paint(part * (1.0 - fluid), values)


def _finish(
    canvas: Canvas, rng: np.random.Generator, labels: np.ndarray, body: np.ndarray | None
) -> Lesion:
    """Adds what the scanner adds: gains, a shading, blur and noise; cuts the body out."""
    shading = 1.0 + 0.06 * canvas.texture(rng, 70.0)
    channels = []
    for number in range(canvas.images.shape[-1]):
        signal = ndimage.gaussian_filter(canvas.images[..., number], 1.5 / canvas.grid.spacing)
        signal = signal * shading + 2.5 * rng.normal(size=canvas.grid.shape)
        signal = np.abs(signal) * rng.uniform(3.0, 9.0)
        if body is not None:
            signal = np.where(body, signal, 0.0)
        channels.append(Volume(signal.astype(np.float32), canvas.grid.affine))
    return Lesion(tuple(channels), Volume(labels.astype(np.float32), canvas.grid.affine))
