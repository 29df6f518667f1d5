"""A phantom abdomen for PET/CT: Hounsfield units, uptake, and where the kidneys are.

Coordinates are RAS in mm around the middle between the kidneys: x to the patient's right, y to the
front, z to the head. Sizes are those of an adult; Hounsfield units are those of a scan without
contrast agent, uptakes those of FDG an hour after the injection, with urine in the renal pelves.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from tffcxr.datasets.phantoms.body.canvas import Canvas
from tffcxr.datasets.volumes.volume import Grid, Volume

_AIR, _FAT, _MUSCLE = (-1000.0, 0.02), (-95.0, 0.35), (55.0, 0.7)  # Hounsfield units, SUV.
_LIVER, _SPLEEN, _BONE, _MARROW = (60.0, 2.2), (52.0, 1.8), (420.0, 0.6), (190.0, 1.3)
_BLOOD, _GAS, _SINUS = (42.0, 1.6), (-700.0, 0.4), (-30.0, 1.0)
_PSF = 3.4  # Standard deviation in mm: 8 mm full width at half maximum.


@dataclasses.dataclass(frozen=True)
class Torso:
    """The images of one patient.

    Attributes:
      ct: Hounsfield units.
      pet: SUV by body weight, on a grid of its own.
      kidneys: 0 and 1, on the CT's grid.
      weight: kg.
    """

    ct: Volume
    pet: Volume
    kidneys: Volume
    weight: float


def draw(seed: int, ct_grid: Grid, pet_grid: Grid) -> Torso:
    """Draws one patient; everything is a function of the seed."""
    ct, kidneys = _anatomy(seed, ct_grid)
    pet, _ = _anatomy(seed, pet_grid)
    rng = np.random.default_rng([seed, 1])
    hounsfield = ct.images[..., 0] + 12.0 * rng.normal(size=ct_grid.shape)
    uptake = ndimage.gaussian_filter(pet.images[..., 1], _PSF / pet_grid.spacing)
    uptake = uptake * (1.0 + 0.08 * pet.texture(rng, 4.0)) + 0.03 * pet.texture(rng, 4.0)
    size = np.random.default_rng([seed, 0]).normal()
    return Torso(
        Volume(np.clip(hounsfield, -1024, 3000).astype(np.float32), ct_grid.affine),
        Volume(np.maximum(uptake, 0.0).astype(np.float32), pet_grid.affine),
        Volume((kidneys >= 0.5).astype(np.float32), ct_grid.affine),
        round(75.0 + 9.0 * size, 1),
    )


def _anatomy(seed: int, grid: Grid) -> tuple[Canvas, np.ndarray]:
    """Paints Hounsfield units and SUV; returns the kidneys' part of each voxel, too."""
    rng = np.random.default_rng([seed, 0])
    size = 1.0 + 0.06 * float(rng.normal())  # The first number, as in `draw`.
    canvas = Canvas(grid, _AIR)
    fat = rng.uniform(14, 34)
    wide, deep = 165.0 * size, 112.0 * size
    canvas.paint(canvas.ellipsoid((0, 0, 0), (wide, deep, 900)), _FAT)
    canvas.paint(canvas.ellipsoid((0, -4, 0), (wide - fat, deep - fat, 900)), _MUSCLE)
    canvas.paint(canvas.ellipsoid((0, 4, 0), (wide - fat - 14, deep - fat - 15, 900)), _FAT)
    _spine_and_ribs(canvas, rng, wide - fat - 8, deep - fat - 9)
    _organs(canvas, rng, size)
    _bowel(canvas, rng, size)
    return canvas, _kidneys(canvas, rng, size)


def _spine_and_ribs(canvas: Canvas, rng: np.random.Generator, wide: float, deep: float) -> None:
    z = canvas.points[..., 2]
    for side in (-1, 1):  # Erector spinae and psoas.
        canvas.paint(canvas.ellipsoid((side * 36, -74, 0), (32, 24, 900)), _MUSCLE)
        canvas.paint(canvas.ellipsoid((side * 36, -38, -80), (17, 20, 110)), _MUSCLE)
    disc = (np.mod(z + rng.uniform(0, 34), 34.0) < 8.0).astype(np.float32)
    body = canvas.ellipsoid((0, -48, 0), (25, 19, 900))
    canvas.paint(body, _BONE)
    canvas.paint(canvas.ellipsoid((0, -48, 0), (20, 14, 900)), _MARROW)
    canvas.paint(body * disc, (80.0, 0.6))
    canvas.paint(canvas.ellipsoid((0, -84, 0), (6, 20, 900)) * (1 - disc), _BONE)
    canvas.paint(canvas.ellipsoid((0, -70, 0), (10, 8, 900)), (20.0, 0.9))  # The spinal canal.
    # Ribs run downwards to the front: each is cut once by a slice, at an angle of its own.
    start = rng.uniform(0, 26)
    for rib in range(8):
        height = -20.0 + start + 24.0 * rib
        for side in (-1, 1):
            angle = np.radians(np.clip(150.0 - 0.9 * (z - height + 90.0), 20.0, 150.0))
            x, y = side * wide * np.sin(angle), deep * np.cos(angle)
            away = np.hypot(canvas.points[..., 0] - x, (canvas.points[..., 1] - y) * 1.2)
            shown = (z > height - 60.0) & (z < height + 70.0)
            canvas.paint(np.clip((8.0 - away) / 6.0 + 0.5, 0, 1) * shown, _BONE)


def _organs(canvas: Canvas, rng: np.random.Generator, size: float) -> None:
    shift = rng.uniform(-8, 8, 3)
    lumps = 0.05 * canvas.texture(rng, 14.0)
    centre = np.array([72.0, 22.0, 62.0]) + shift
    canvas.paint(canvas.ellipsoid(centre, (70 * size, 74 * size, 92 * size), 18.0, lumps), _LIVER)
    spleen = np.array([-108.0 * size, -32.0, 66.0]) + rng.uniform(-6, 6, 3)
    canvas.paint(canvas.ellipsoid(spleen, (26, 46, 58), -10.0, lumps), _SPLEEN)
    stomach = np.array([-62.0, 48.0, 64.0]) + rng.uniform(-8, 8, 3)
    canvas.paint(canvas.ellipsoid(stomach, (40, 36, 52), 20.0, lumps), (30.0, rng.uniform(1, 2)))
    canvas.paint(canvas.ellipsoid(stomach + [0, 20, 14], (22, 10, 26)), _GAS)
    canvas.paint(canvas.ellipsoid((-12, -14, 0), (11, 11, 900)), _BLOOD)  # Aorta.
    canvas.paint(canvas.ellipsoid((18, -12, 0), (12, 9, 900)), _BLOOD)  # Inferior vena cava.


def _bowel(canvas: Canvas, rng: np.random.Generator, size: float) -> None:
    for _ in range(16):
        x, y, z = rng.uniform(-95, 95) * size, rng.uniform(10, 72) * size, rng.uniform(-95, -5)
        radii = rng.uniform(10, 20, 3)
        canvas.paint(
            canvas.ellipsoid((x, y, z), radii), (rng.uniform(15, 45), rng.choice([1.0, 1.4, 3.0]))
        )
        if rng.random() < 0.35:
            canvas.paint(canvas.ellipsoid((x, y + 5, z), 0.5 * radii), _GAS)
    for side in (-1, 1):  # Ascending and descending colon.
        x, y = side * (112 + rng.uniform(-6, 6)) * size, rng.uniform(0, 16)
        canvas.paint(canvas.ellipsoid((x, y, -70), (20, 21, 85)), (35.0, rng.uniform(0.9, 2.2)))
        canvas.paint(canvas.ellipsoid((x, y + 8, -70), (11, 7, 70)), _GAS)


def _kidneys(canvas: Canvas, rng: np.random.Generator, size: float) -> np.ndarray:
    """Paints both kidneys in their fat and returns their part of each voxel."""
    found = np.zeros(canvas.grid.shape, np.float32)
    cortex = rng.uniform(3.2, 5.5)
    for side, low in ((1, -16.0), (-1, 0.0)):  # The right one is lower, below the liver.
        centre = np.array([side * 66.0 * size, -42.0, low]) + rng.uniform(-6, 6, 3)
        radii = np.array([29.0, 26.0, 56.0]) * size * rng.uniform(0.88, 1.1)
        tilt = side * rng.uniform(8, 18)
        canvas.paint(canvas.ellipsoid(centre, radii + [12, 9, 14], tilt), _FAT)
        kidney = canvas.ellipsoid(centre, radii, tilt)
        canvas.paint(kidney, (33.0, cortex))
        canvas.paint(canvas.ellipsoid(centre, 0.62 * radii, tilt), (36.0, 0.7 * cortex))
        hilum = centre - [side * 0.62 * radii[0], -4, 0]
        sinus = canvas.ellipsoid(hilum, (0.5 * radii[0], 0.42 * radii[1], 0.36 * radii[2]), tilt)
        canvas.paint(sinus, _SINUS)
        pelvis = canvas.ellipsoid(hilum, (0.3 * radii[0], 0.26 * radii[1], 0.2 * radii[2]), tilt)
        canvas.paint(pelvis, (8.0, rng.uniform(6.0, 14.0)))
        # Outlines follow the parenchyma; the sinus opens to the middle.
        found = np.maximum(found, kidney - np.minimum(kidney, sinus))
    return found
