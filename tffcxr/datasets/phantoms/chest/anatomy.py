"""The thorax of a phantom patient: who it is, how it is positioned, and where its organs lie.

Outlines are curves of height (or of lateral position) around those of a standard adult; the usual
landmarks were placed by hand: apex at T2, carina at T5, right dome of the diaphragm at T10,
cardiothoracic ratio about 0.47 in PA view, right dome higher than left.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tffcxr.datasets.phantoms.chest import frame as pf

AERATION = 0.26  # density of inflated lung relative to water
CARINA_Y = 8.8
HILUM_Y = 10.3
HILUM_X = 3.4

_OUTER = pf.Curve("y", [-4, 0, 0.35, 1, 2.2, 4, 7, 11, 16, 21, 26, 32, 40])
_OUTER_STANDARD = [3.9, 4.2, 5.2, 6.4, 7.8, 9.2, 11.0, 12.5, 13.6, 14.0, 13.9, 13.2, 12.2]
_DEPTH = pf.Curve("y", [-1, 0, 0.5, 1.5, 3, 6, 10, 16, 24, 40])
_DEPTH_STANDARD = [0.0, 0.8, 3.2, 5.6, 8.4, 11.8, 14.6, 16.0, 16.0, 15.0]
_VESSELS_RIGHT = pf.Curve("y", [-3, 0, 3, 6, 9, 12, 40])
_VESSELS_RIGHT_STANDARD = [3.4, 3.2, 2.6, 2.7, 2.8, 2.6, 2.5]
_VESSELS_LEFT = pf.Curve("y", [-3, 0, 3, 5, 6.5, 8, 9.3, 10.5, 12.5, 40])
_VESSELS_LEFT_STANDARD = [3.3, 3.1, 2.6, 3.1, 3.8, 3.5, 3.0, 3.6, 3.7, 2.6]
_HEART_RIGHT = pf.Curve("y", [9, 10.5, 12, 14, 16.5, 19, 21, 23, 26])
_HEART_RIGHT_STANDARD = [-0.2, 1.6, 2.8, 3.7, 4.2, 4.3, 4.1, 3.6, 2.0]
_HEART_LEFT = pf.Curve("y", [9, 10.5, 12, 14, 16.5, 19, 21, 23, 26])
_HEART_LEFT_STANDARD = [0.4, 2.3, 3.6, 5.2, 7.4, 8.9, 9.4, 9.3, 8.0]
_HEART_DEPTH = pf.Curve("y", [9, 11, 14, 18, 22, 27])
_HEART_DEPTH_STANDARD = [3.0, 8.0, 11.5, 13.2, 13.0, 9.0]
_DOME = pf.Curve("x", [0, 2.5, 4.5, 7, 9.5, 11.5, 13, 14.5, 18])
_DOME_STANDARD = [1.4, 0.8, 0.2, 0.0, 0.7, 2.2, 4.2, 7.0, 10.0]
_BODY = pf.Curve("y", [-14, -9, -6.5, -5, -3.6, -2.4, -1, 3, 7, 12, 18, 25, 40])
_BODY_STANDARD = [6.6, 6.2, 7.6, 9.6, 12.4, 14.6, 16.2, 17.2, 17.6, 17.2, 16.8, 16.6, 17.2]
_BODY_DEPTH = pf.Curve("y", [-14, -8, -4, 0, 5, 12, 20, 40])
_BODY_DEPTH_STANDARD = [14.0, 11.5, 12.5, 16.0, 20.0, 22.0, 23.0, 26.5]


@dataclasses.dataclass(frozen=True)
class Person:
    """What stays the same in every image of one patient.

    Attributes:
      age: years.
      sex: "F" or "M".
      build: subcutaneous tissue, 0 lean to 1 obese.
      outer: float32 [2, TABLE], lateral border of the right and left lung against y, cm.
      vessels: float32 [2, TABLE], border of the upper mediastinum on both sides.
      heart: float32 [2, TABLE], border of the heart in PA view on both sides.
      spine: float32 [TABLE], x of the vertebral column (scoliosis).
      dome: float32 [2, TABLE] against |x|: the diaphragm below its highest point.
      dome_y: height of the right and left dome at full inspiration.
      rib_top, rib_spacing: y of the (imaginary) rib 0 at the spine; distance between ribs.
      rib_drop, rib_drop_step: how far rib 0 descends from back to front; more per rib.
      rib_size: half the height of a rib.
      seed: of details that need no name.
    """

    age: int
    sex: str
    build: float
    outer: np.ndarray
    vessels: np.ndarray
    heart: np.ndarray
    spine: np.ndarray
    dome: np.ndarray
    dome_y: tuple[float, float]
    rib_top: float
    rib_spacing: float
    rib_drop: float
    rib_drop_step: float
    rib_size: float
    seed: int

    def details(self, topic: int) -> np.random.Generator:
        """Random numbers for one topic, the same in every image of this patient."""
        return np.random.Generator(np.random.SFC64([self.seed, topic]))


@dataclasses.dataclass(frozen=True)
class Pose:
    """How one image of the patient was taken.

    Attributes:
      view: "PA" or "AP".
      inspiration: 0 (expiration) to 1 (full).
      turn: rotation about the long axis, as lateral shift of the front in cm.
      heart_scale: magnification of the heart relative to PA.
      frame: detector over patient.
    """

    view: str
    inspiration: float
    turn: float
    heart_scale: float
    frame: pf.Frame


@dataclasses.dataclass(frozen=True)
class Thorax:
    """Organs of one image as fields over the pixels.

    Attributes:
      outer, inner: float32 [H, W], lateral and medial border of the lung at each pixel's height
        and side, cm from the midline.
      chord: float32 [H, W], thickness of the thoracic cavity, cm.
      below_dome: float32 [H, W], part of the cavity's thickness that is below the diaphragm, 0..1.
      heart: float32 [H, W], thickness of heart and mediastinum, cm.
      air: float32 [H, W], thickness of aerated lung, cm.
      lungs: bool [H, W], lung fields: inside the rib cage, above the domes, beside the heart and
        mediastinum.
      dome_y: float32 [H, W], height of the diaphragm's silhouette at each pixel's x.
      outer_table, inner_table: float32 [2, TABLE], the same borders against y.
      dome_table: float32 [TABLE] against x.
    """

    outer: np.ndarray
    inner: np.ndarray
    chord: np.ndarray
    below_dome: np.ndarray
    heart: np.ndarray
    air: np.ndarray
    lungs: np.ndarray
    dome_y: np.ndarray
    outer_table: np.ndarray
    inner_table: np.ndarray
    dome_table: np.ndarray


def draw_person(rng: np.random.Generator, sex: str | None = None) -> Person:
    """Draws one patient."""
    drawn_sex = "F" if rng.random() < 0.45 else "M"
    sex = sex or drawn_sex
    age = int(np.clip(rng.normal(52, 18), 18, 92))
    build = float(np.clip(rng.beta(2.0, 3.0) + 0.1 * rng.normal(), 0, 1))

    def vary(standard: list[float], spread: float, common: float = 0.0) -> np.ndarray:
        values = np.asarray(standard) * (1 + common * rng.normal())
        return values + spread * rng.standard_normal(len(values))

    chest = 1 + 0.045 * rng.normal() - (0.03 if sex == "F" else 0.0)
    outline = np.asarray(_OUTER_STANDARD) * chest
    sides = [outline * (1 + 0.015 * rng.normal()) for _ in range(2)]
    wobble = np.array([0.1, 0.12, 0.12, 0.13, 0.14, 0.14, 0.14, 0.14, 0.14, 0.14, 0.14, 0.14, 0.14])
    outer = [_OUTER(side + wobble * rng.standard_normal(len(side))) for side in sides]
    aorta = 1 + 0.12 * rng.normal() + 0.004 * (age - 50)
    left = np.asarray(_VESSELS_LEFT_STANDARD)
    left = left + (aorta - 1) * np.array([0, 0, 0, 1.5, 2.5, 2.2, 1.0, 0, 0, 0])
    vessels = [_VESSELS_RIGHT(vary(_VESSELS_RIGHT_STANDARD, 0.15, 0.05)), _VESSELS_LEFT(left)]
    size = 1 + 0.075 * rng.normal()
    heart = [
        _HEART_RIGHT(vary(list(np.asarray(_HEART_RIGHT_STANDARD) * size), 0.12, 0.08)),
        _HEART_LEFT(vary(list(np.asarray(_HEART_LEFT_STANDARD) * size), 0.12, 0.05)),
    ]
    bend = 0.25 + 0.35 * (rng.random() < 0.12)
    phase = rng.uniform(0, 2 * np.pi)
    spine = bend * rng.normal() * np.sin(pf.TABLE_Y / rng.uniform(5, 9) + phase)
    dome = [_DOME(vary(_DOME_STANDARD, 0.12, 0.1)) for _ in range(2)]
    right_dome = 21.0 + 0.9 * rng.normal()
    return Person(
        age=age,
        sex=sex,
        build=build,
        outer=np.stack(outer),
        vessels=np.stack(vessels),
        heart=np.stack(heart),
        spine=spine.astype(np.float32),
        dome=np.stack(dome),
        dome_y=(right_dome, right_dome + rng.uniform(0.4, 2.0)),
        rib_top=-3.4 + 0.4 * rng.normal(),
        rib_spacing=2.32 * (1 + 0.04 * rng.normal()),
        rib_drop=4.4 + 0.8 * rng.normal(),
        rib_drop_step=1.35 + 0.15 * rng.normal(),
        rib_size=0.62 * (1 + 0.08 * rng.normal()) * (0.93 if sex == "F" else 1.0),
        seed=int(rng.integers(2**62)),
    )


def draw_pose(rng: np.random.Generator, size: int, view: str | None = None) -> Pose:
    """Draws how an image was taken: projection, inspiration, rotation, field of view."""
    drawn_view = "AP" if rng.random() < 0.4 else "PA"
    view = view or drawn_view
    portable = view == "AP"
    inspiration = float(np.clip(rng.beta(3.2, 2.2) - (0.25 if portable else 0), 0, 1))
    frame = pf.make_frame(
        size,
        width=float(np.clip(38.3 + 2.4 * rng.normal() + portable, 33, 45)),
        centre=(0.8 * rng.normal(), 12.3 + 1.2 * rng.normal() - 0.7 * portable),
        degrees=(3.2 if portable else 1.4) * rng.normal(),
        stretch=1 + 0.03 * rng.normal() + 0.06 * (1 - inspiration),
    )
    turn = (0.8 if portable else 0.35) * rng.normal()
    scale = (1.12 if portable else 1.0) + 0.07 * (1 - inspiration)
    return Pose(view, inspiration, float(turn), float(scale), frame)


def dome_offset(pose: Pose) -> float:
    """How far the diaphragm stands above its position at full inspiration, cm (negative: y)."""
    return -4.6 * (1 - pose.inspiration)


def make_thorax(
    person: Person, pose: Pose, heart_scale: float = 1.0, flatten: float = 0.0
) -> Thorax:
    """Places the organs of one image.

    Args:
      person: the patient.
      pose: the image.
      heart_scale: enlarges the heart (cardiomegaly is above about 1.2).
      flatten: hyperinflation, 0 none to 1: low flat diaphragm.
    """
    frame = pose.frame
    outer = frame.along_y(person.outer)
    depth = frame.along_y(_DEPTH(_DEPTH_STANDARD))
    chord = depth * pf.half_ellipse((frame.lateral / (outer + np.float32(0.02))) ** 2)
    rise = dome_offset(pose)
    signed = np.where(pf.TABLE_X > 0, 1, 0)
    domes = np.stack([_mirror(curve) for curve in person.dome]) * (1 - 0.55 * flatten)
    dome_table = np.choose(signed, domes) + np.asarray(person.dome_y)[signed] + rise + 1.6 * flatten
    dome_table = dome_table.astype(np.float32)
    dome_y = frame.along_x(dome_table)
    t = np.clip((frame.y - dome_y) * np.float32(1 / 4.5), np.float32(0), np.float32(1))
    below_dome = np.sqrt(t * (np.float32(2) - t))
    scale = np.float32(pose.heart_scale * heart_scale)
    shift = np.float32(0.75 * rise)
    heart_tables = _shifted(person.heart * scale, shift) + pose.turn * np.array([[-0.5], [0.5]])
    vessel_tables = person.vessels * (0.9 + 0.1 * pose.heart_scale)
    inner_table = np.maximum(heart_tables, vessel_tables).astype(np.float32)
    heart = _mediastinum(frame, heart_tables, vessel_tables, chord, shift)
    air = np.maximum(chord - heart, 0) * (np.float32(1) - below_dome)
    inner = frame.along_y(inner_table)
    lungs = (frame.lateral > inner) & (frame.lateral < outer) & (frame.y < dome_y)
    lungs &= (frame.y > 0) & (chord > 0.5)
    return Thorax(
        outer=outer,
        inner=inner,
        chord=chord,
        below_dome=below_dome,
        heart=heart,
        air=air,
        lungs=lungs,
        dome_y=dome_y,
        outer_table=person.outer,
        inner_table=inner_table,
        dome_table=dome_table,
    )


def body_tables(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Half the width and the whole depth of trunk and neck against y, both float32 [TABLE], cm."""
    breadth = 0.95 + 0.2 * person.build + (0.0 if person.sex == "F" else 0.02)
    width = _BODY(np.asarray(_BODY_STANDARD) * breadth)
    depth = _BODY_DEPTH(np.asarray(_BODY_DEPTH_STANDARD) * (0.92 + 0.24 * person.build))
    return width, depth


def _mirror(table: np.ndarray) -> np.ndarray:
    """Turns a curve known for x >= 0 into an even one."""
    return np.interp(np.abs(pf.TABLE_X), pf.TABLE_X, table)


def _shifted(tables: np.ndarray, shift: float) -> np.ndarray:
    """Moves curves of y up by -shift cm."""
    return np.stack([np.interp(pf.TABLE_Y - shift, pf.TABLE_Y, table) for table in tables])


def _mediastinum(
    frame: pf.Frame, heart: np.ndarray, vessels: np.ndarray, chord: np.ndarray, shift: float
) -> np.ndarray:
    """Thickness of heart and mediastinum along each ray, float32 [H, W]."""
    heart_depth = _shifted(_HEART_DEPTH(_HEART_DEPTH_STANDARD)[None], shift)[0]
    heart_depth = heart_depth * (9 + shift < pf.TABLE_Y) * (27 + shift > pf.TABLE_Y)
    layers = []
    for borders, depth in ((heart, heart_depth), (vessels, np.full(pf.TABLE, 7.5))):
        centre = frame.along_y(((borders[1] - borders[0]) / 2).astype(np.float32))
        half = np.maximum((borders[0] + borders[1]) / 2, 0.05)
        relative = (frame.x - centre) * frame.along_y((1 / half).astype(np.float32))
        layers.append(frame.along_y(depth.astype(np.float32)) * pf.half_ellipse(relative**2))
    thickness = np.sqrt(layers[0] ** 2 + layers[1] ** 2)
    core = pf.ramp((np.float32(3.7) - frame.lateral) * np.float32(1 / 2.6))
    core *= np.float32(0.93) * chord
    return np.minimum(np.sqrt(np.maximum(thickness**2, core**2) + np.float32(0.1) * core**2), chord)
