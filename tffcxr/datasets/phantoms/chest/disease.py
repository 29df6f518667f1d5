"""Pneumonia and pneumothorax as changes of lung density, and findings that are neither.

Pneumonia fills air with fluid inside a lobe: patchy, with fuzzy edges, sometimes sharp at the minor
fissure, open bronchi showing dark within it, vessels and neighbouring heart border fading. COVID-19
is a haze in several patches of both lungs, near the chest wall and the diaphragm, through which
vessels still show (Wong et al., Radiology 2020;296:E72, doi:10.1148/radiol.2020201160). In
pneumothorax the lung leaves the chest wall, first at the apex: a thin pleural line, and beyond it
air without markings.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tffcxr.datasets.phantoms.chest import anatomy as pa
from tffcxr.datasets.phantoms.chest import frame as pf
from tffcxr.datasets.phantoms.chest import vessels as pv

INCIDENTAL = ("cardiomegaly", "effusion", "nodules", "hyperinflation")
_VISIBLE = 0.33  # part of full opacity that counts as inside its outline

# Zone: sides it exists on (-1 right, 1 left), heights of its centre, part of the way from medial
# to lateral border.
_ZONES = {
    "upper": ((-1, 1), (4.0, 8.0), (0.35, 0.75)),
    "middle": ((-1, 1), (10.0, 14.0), (0.1, 0.65)),
    "lower": ((-1, 1), (14.5, 18.5), (0.1, 0.75)),
}


@dataclasses.dataclass(frozen=True)
class Pneumothorax:
    """A partially collapsed lung.

    Attributes:
      side: -1 right, 1 left.
      severity: 0..1.
      pleura: float32 [2, TABLE], lateral border of both lungs against y after collapse.
      mask: bool [H, W], pleural space filled with air.
      line: float32 [H, W], the visceral pleura, cm of water.
      lung: float32 [H, W], part of the ray's air that is still lung, 0..1.
      density: density of the collapsed lung relative to water.
    """

    side: int
    severity: float
    pleura: np.ndarray
    mask: np.ndarray
    line: np.ndarray
    lung: np.ndarray
    density: float


@dataclasses.dataclass(frozen=True)
class Pneumonia:
    """Lung that holds fluid.

    Attributes:
      fill: float32 [H, W], part of the air replaced by fluid, 0..1.
      foci: bool [K, H, W], each focus within its visible outline.
      is_haze: ground glass, in which neither bronchi stand out nor vessels fade.
    """

    fill: np.ndarray
    foci: np.ndarray
    is_haze: bool = False

    @property
    def mask(self) -> np.ndarray:
        """Bool [H, W], all foci."""
        return self.foci.any(0)


def collapse(
    rng: np.random.Generator, severity: float, thorax: pa.Thorax, pose: pa.Pose
) -> Pneumothorax:
    """Lets one lung fall away from the chest wall; severity 0 is a sliver at the apex."""
    frame = pose.frame
    side = -1 if rng.random() < 0.55 else 1
    index = int(side > 0)
    drop = 1.1 + 5.4 * severity**1.3 * rng.uniform(0.8, 1.2)
    apical = 1.0 + 4.4 * severity**1.2 * rng.uniform(0.8, 1.2)
    basal = max(0.0, apical * (1.35 * severity - 0.45 + 0.15 * rng.normal()))
    fade = np.clip((pf.TABLE_Y - drop) / rng.uniform(11, 17), 0, 1)
    gap = basal + (apical - basal) * (1 - fade) ** 1.4
    bend = rng.uniform(0, 2 * np.pi)
    gap *= 1 + 0.12 * np.sin(pf.TABLE_Y / 2.6 + bend) + 0.05 * np.sin(pf.TABLE_Y / 1.1 + 2 * bend)
    stretched = pa.HILUM_Y - (pa.HILUM_Y - pf.TABLE_Y) * pa.HILUM_Y / (pa.HILUM_Y - drop)
    source = np.where(pf.TABLE_Y < pa.HILUM_Y, stretched, pf.TABLE_Y)
    border = np.interp(source, pf.TABLE_Y, thorax.outer_table[index]) - gap
    border[drop > pf.TABLE_Y] = -1.0
    pleura = thorax.outer_table.copy()
    pleura[index] = np.minimum(border, pleura[index])
    side_here = frame.left == (side > 0)
    edge = frame.along_y(pleura)
    slope = np.gradient(pleura[index], pf.TABLE_Y)
    tilt = frame.along_y((1 / np.sqrt(1 + slope**2)).astype(np.float32))
    distance = (frame.lateral - edge) * tilt
    mask = side_here & thorax.lungs & (distance > 0)
    separated = thorax.outer - edge > 0.25
    width = max(0.085, 0.5 * frame.pixel)
    line = np.float32(0.1 / width) * np.exp(-((distance / np.float32(width)) ** 2))
    line *= side_here & separated & thorax.lungs
    relative = frame.lateral / np.maximum(edge, np.float32(0.1))
    lung = np.sqrt(pf.half_ellipse(relative**6))
    lung = np.where(side_here, np.where(separated, lung, np.float32(1) - mask), np.float32(1))
    density = pa.AERATION * (1 + 0.45 * severity)
    return Pneumothorax(side, severity, pleura, mask, line, lung.astype(np.float32), density)


def consolidate(
    rng: np.random.Generator,
    severity: float,
    thorax: pa.Thorax,
    pose: pa.Pose,
    pneumothorax: Pneumothorax | None = None,
) -> Pneumonia:
    """Fills parts of lobes; severity 0 is a faint haze, 1 a dense consolidation."""
    shape = pose.frame.x.shape
    fill = np.zeros(shape, np.float32)
    lung = thorax.lungs if pneumothorax is None else thorax.lungs & ~pneumothorax.mask
    density = 0.35 + 0.45 * severity
    foci: list[np.ndarray] = []
    count = 1 + (rng.random() < 0.3 + 0.2 * severity) + (rng.random() < 0.25 * severity)
    while len(foci) < count:
        focus = _focus(rng, severity, thorax, pose)
        outline = (focus > _VISIBLE) & lung
        if outline.sum() * pose.frame.pixel**2 < 5.0:
            continue
        strength = density * (1.0 if not foci else rng.uniform(0.75, 1.1))
        fill = np.maximum(fill, focus * np.float32(min(strength, 0.85)))
        foci.append(outline)
    if pneumothorax is not None:
        fill *= ~pneumothorax.mask
    patches = pf.smooth_field(rng, 26, shape) + pf.smooth_field(rng, 60, shape)
    fill *= np.clip(np.float32(0.92) + np.float32(0.14) * patches, 0.3, 1.15)
    return Pneumonia(np.minimum(fill, np.float32(0.9)), np.stack(foci))


def _focus(
    rng: np.random.Generator, severity: float, thorax: pa.Thorax, pose: pa.Pose
) -> np.ndarray:
    """One focus: 0 outside to 1 inside, float32 [H, W], fuzzy and irregular."""
    frame = pose.frame
    zone = rng.choice(list(_ZONES), p=[0.22, 0.3, 0.48])
    sides, heights, across = _ZONES[zone]
    side = sides[int(rng.random() < 0.45)]
    index = int(side > 0)
    y = rng.uniform(*heights) * (1 + pa.dome_offset(pose) / 40)
    inner = float(pf.at_y(thorax.inner_table[index], y))
    outer = float(pf.at_y(thorax.outer_table[index], y))
    x = inner + rng.uniform(*across) * (outer - inner)
    y = min(y, float(pf.at_x(thorax.dome_table, side * x)) - 1.2)
    radius = np.array([3.1, 3.9]) * (1.15 + 0.65 * severity) * rng.uniform(0.75, 1.3, 2)
    focus = _patch(rng, frame, side, (x, y), radius)
    if zone != "lower" and rng.random() < 0.35:
        fissure = np.float32(y + 0.45 * radius[1]) - np.float32(0.12 * side) * (frame.x - side * x)
        below = zone == "middle"
        beyond = (fissure - frame.y) * np.float32(-4 if below else 4) + np.float32(8 * below)
        focus *= pf.ramp(beyond)
    return focus


def haze(
    rng: np.random.Generator,
    severity: float,
    thorax: pa.Thorax,
    pose: pa.Pose,
    pneumothorax: Pneumothorax | None = None,
) -> Pneumonia:
    """Ground glass of COVID-19: patches in both lungs; severity 0 is hardly seen, 1 is dense."""
    frame = pose.frame
    fill = np.zeros(frame.x.shape, np.float32)
    lung = thorax.lungs if pneumothorax is None else thorax.lungs & ~pneumothorax.mask
    density = 0.3 + 0.4 * severity
    # Denser towards the chest wall: the distance from it is in cm.
    near_wall = np.float32(1) - np.float32(0.75) * pf.ramp(
        (thorax.outer - frame.lateral - np.float32(1.5)) / np.float32(4.5)
    )
    foci: list[np.ndarray] = []
    for side in (-1, 1):
        of_side = 0
        strength = density * rng.uniform(0.65, 1.0)
        count = 1 + rng.binomial(3, 0.3 + 0.5 * severity)
        while of_side < count:
            patch = _peripheral_patch(rng, severity, thorax, pose, side) * near_wall
            outline = (patch > _VISIBLE) & lung
            if outline.sum() * frame.pixel**2 < 3.0:
                continue
            fill = np.maximum(fill, patch * np.float32(strength))
            foci.append(outline)
            of_side += 1
    if pneumothorax is not None:
        fill *= ~pneumothorax.mask
    fill *= np.clip(
        np.float32(0.9) + np.float32(0.2) * pf.smooth_field(rng, 40, fill.shape), 0, 1.3
    )
    return Pneumonia(np.minimum(fill, np.float32(0.8)), np.stack(foci), is_haze=True)


def _peripheral_patch(
    rng: np.random.Generator, severity: float, thorax: pa.Thorax, pose: pa.Pose, side: int
) -> np.ndarray:
    """One patch of the lateral half of the middle and lower zone, as of `_focus`."""
    index = int(side > 0)
    y = 19.0 - 9.0 * rng.random() ** 1.5 + pa.dome_offset(pose) / 2
    inner = float(pf.at_y(thorax.inner_table[index], y))
    outer = float(pf.at_y(thorax.outer_table[index], y))
    x = inner + rng.uniform(0.65, 0.95) * (outer - inner)
    y = min(y, float(pf.at_x(thorax.dome_table, side * x)) - 1.0)
    radius = np.array([2.7, 3.4]) * (1.0 + 0.5 * severity) * rng.uniform(0.75, 1.3, 2)
    return _patch(rng, pose.frame, side, (x, y), radius)


def _patch(
    rng: np.random.Generator,
    frame: pf.Frame,
    side: int,
    centre: tuple[float, float],
    radius: np.ndarray,
) -> np.ndarray:
    """A ragged, fuzzy ellipse in one half: 0 outside to 1 inside, float32 [H, W].

    Args:
      rng: of its outline.
      frame: of the image.
      side: -1 right, 1 left.
      centre: distance from the midline and height, cm.
      radius: across and along, cm.
    """
    x, y = centre
    dx = (frame.x - np.float32(side * x)) / np.float32(radius[0])
    dy = (frame.y - np.float32(y)) / np.float32(radius[1])
    lean = np.float32(rng.uniform(-0.3, 0.3))
    ragged = np.float32(0.5) * pf.smooth_field(rng, 9, frame.x.shape)
    ragged += np.float32(0.32) * pf.smooth_field(rng, 20, frame.x.shape)
    ragged += np.float32(0.16) * pf.smooth_field(rng, 42, frame.x.shape)
    near = dx * dx + dy * dy + lean * dx * dy
    ragged *= np.clip(np.float32(2.6) - near, 0, 1)
    focus = pf.ramp((np.float32(1.4) - near + ragged) * np.float32(0.55))
    return focus * (frame.left == (side > 0))


def bronchograms(tree: pv.Tree, pneumonia: Pneumonia, frame: pf.Frame) -> np.ndarray:
    """Air in bronchi inside consolidated lung: float32 [H, W], cm, to be taken off."""
    chosen = tree.some((tree.generation >= 1) & (tree.generation <= 3))
    chosen = pv.Tree(chosen.points + [0.15, 0.3], chosen.radius, chosen.mass, chosen.generation)
    bronchi = pv.draw(chosen, np.full(len(chosen.mass), 0.9), frame)
    bronchi = np.minimum(bronchi, np.float32(0.7))
    return bronchi * pf.ramp((pneumonia.fill - np.float32(0.2)) * np.float32(3.5))


def effusion(rng: np.random.Generator, thorax: pa.Thorax, pose: pa.Pose) -> np.ndarray:
    """Fluid that blunts a costophrenic angle, rising to the side: float32 [H, W], cm of water."""
    frame = pose.frame
    side = -1 if rng.random() < 0.5 else 1
    height = rng.uniform(1.5, 4.5)
    edge = thorax.outer - frame.lateral
    corner = float(pf.at_x(thorax.dome_table, side * 11.5))
    level = np.float32(corner) - np.float32(height) * np.exp(-edge * np.float32(0.55))
    fluid = pf.ramp((frame.y - level) * np.float32(0.8)) * (frame.left == (side > 0))
    return np.float32(0.7 * (1 - pa.AERATION)) * thorax.air * fluid


def nodules(rng: np.random.Generator, thorax: pa.Thorax, pose: pa.Pose) -> np.ndarray:
    """One to three round lesions of 8 to 24 mm: float32 [H, W], cm of water."""
    frame = pose.frame
    total = np.zeros_like(frame.x)
    for _ in range(rng.integers(1, 4)):
        side = rng.integers(0, 2)
        y = rng.uniform(3, 16)
        inner, outer = (
            float(pf.at_y(table[side], y)) for table in (thorax.inner_table, thorax.outer_table)
        )
        x = (inner + rng.uniform(0.25, 0.8) * (outer - inner)) * (1 if side else -1)
        radius = rng.uniform(0.4, 1.2)
        window = frame.window(x - radius, x + radius, y - radius, y + radius)
        part = frame.crop(window)
        squared = (part.x - np.float32(x)) ** 2 + (part.y - np.float32(y)) ** 2
        relative = squared * np.float32(1 / radius**2)
        total[window] += np.float32(1.6 * radius) * pf.half_ellipse(relative)
    return total * thorax.lungs
