"""One phantom radiograph: from the seed to pixels and truth.

Organs and devices give the water-equivalent thickness along every ray, disease changes the lungs'
part of it, and the detector turns the sum into a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools

import numpy as np

from tffcxr.datasets.phantoms.chest import anatomy as pa
from tffcxr.datasets.phantoms.chest import detector, devices
from tffcxr.datasets.phantoms.chest import disease as disease
from tffcxr.datasets.phantoms.chest import frame as pf
from tffcxr.datasets.phantoms.chest import tissue as tissue
from tffcxr.datasets.phantoms.chest import vessels as pv
from tffcxr.errors import InputError

VERSION = "4"  # Changes whenever the same seed gives different images.
MIN_SIZE = 64
Box = tuple[float, float, float, float]
INCIDENTAL = disease.INCIDENTAL


@dataclasses.dataclass(frozen=True)
class Phantom:
    """One simulated radiograph and its truth.

    Attributes:
      pixels: uint16 [size, size], 0..4095, higher is denser (whiter).
      opacity: bool [size, size], lung that holds fluid.
      pneumothorax: bool [size, size], air between lung and chest wall.
      lungs: bool [size, size], both lung fields, diseased or not.
      boxes: (x, y, width, height) of each focus of opacity in pixels, x and y of its upper left.
      age: years.
      sex: "F" or "M".
      view: "PA" or "AP".
      spacing: side of a pixel in mm.
    """

    pixels: np.ndarray
    opacity: np.ndarray
    pneumothorax: np.ndarray
    lungs: np.ndarray
    boxes: tuple[Box, ...]
    age: int
    sex: str
    view: str
    spacing: float

    @functools.cached_property
    def image(self) -> np.ndarray:
        """uint8 [size, size], 0..255: the upper 8 of the 12 bits."""
        return (self.pixels >> 4).astype(np.uint8)


def draw(
    seed: int,
    size: int = 256,
    pneumonia: float | None = None,
    pneumothorax: float | None = None,
    incidental: str | None = None,
    sex: str | None = None,
    view: str | None = None,
    acquisition: int = 0,
    covid: float | None = None,
) -> Phantom:
    """Simulates one radiograph.

    Patient, position, devices, exposure and noise depend on seed and acquisition alone, never on
    the findings asked for: the same call with and without a finding differs by the finding.

    Args:
      seed: the patient.
      size: pixels per side, at least 64.
      pneumonia: severity 0 (faint) to 1 (dense, often several foci), or None.
      pneumothorax: severity 0 (apical sliver) to 1 (collapsed lung), or None.
      incidental: one of `INCIDENTAL`, or None.
      sex: "F" or "M"; None draws it.
      view: "PA" or "AP"; None draws it.
      acquisition: 0, 1, ... different images of the same patient with the same disease.
      covid: severity of COVID-19, 0 (hardly seen) to 1 (dense haze in both lungs), or None.

    Raises:
      InputError: an argument is outside its range, or there are two kinds of pneumonia.
    """
    severities = {"pneumonia": pneumonia, "pneumothorax": pneumothorax, "covid": covid}
    _check(size, severities, incidental, sex, view)
    person = pa.draw_person(random(seed, 0), sex)
    pose = pa.draw_pose(random(seed, 1, acquisition), size, view)
    thorax = pa.make_thorax(
        person,
        pose,
        heart_scale=1.32 if incidental == "cardiomegaly" else 1.0,
        flatten=1.0 if incidental == "hyperinflation" else 0.0,
    )
    tree = pv.grow(person, pose)
    fixed = _fixed_tissue(person, pose, thorax)
    fixed += devices.devices(random(seed, 2, acquisition), pose)
    if incidental == "effusion":
        fixed += disease.effusion(random(seed, 3), thorax, pose)
    if incidental == "nodules":
        fixed += disease.nodules(random(seed, 3), thorax, pose)
    texture = _texture(random(seed, 4, acquisition), thorax)
    reference = (fixed + thorax.air * np.float32(pa.AERATION))[::4, ::4]
    collapsed = filled = None
    if pneumothorax is not None:
        collapsed = disease.collapse(random(seed, 5), pneumothorax, thorax, pose)
    if pneumonia is not None:
        filled = disease.consolidate(random(seed, 6), pneumonia, thorax, pose, collapsed)
    if covid is not None:
        filled = disease.haze(random(seed, 9), covid, thorax, pose, collapsed)
    water = fixed + _lung(thorax, pose, tree, texture, collapsed, filled)
    pixels = detector.expose(water, reference, random(seed, 7, acquisition), pose)
    nothing = np.zeros_like(thorax.lungs)
    return Phantom(
        pixels=pixels,
        opacity=nothing if filled is None else filled.mask,
        pneumothorax=nothing if collapsed is None else collapsed.mask,
        lungs=thorax.lungs,
        boxes=() if filled is None else tuple(_box(focus) for focus in filled.foci),
        age=person.age,
        sex=person.sex,
        view=pose.view,
        spacing=10 * pose.frame.pixel,
    )


def _check(
    size: int,
    severities: Mapping[str, float | None],
    incidental: str | None,
    sex: str | None,
    view: str | None,
) -> None:
    if size < MIN_SIZE:
        raise InputError(f"phantom size: expected at least {MIN_SIZE} pixels, found {size}")
    if severities["pneumonia"] is not None and severities["covid"] is not None:
        raise InputError("phantom: expected pneumonia or covid, found both")
    for name, severity in severities.items():
        if severity is not None and not 0 <= severity <= 1:
            raise InputError(f"phantom {name}: expected a severity in 0..1, found {severity}")
    for name, value, allowed in (
        ("incidental finding", incidental, disease.INCIDENTAL),
        ("sex", sex, ("F", "M")),
        ("view", view, ("PA", "AP")),
    ):
        if value is not None and value not in allowed:
            raise InputError(f"phantom {name}: expected one of {', '.join(allowed)}, found {value}")


def random(*key: int) -> np.random.Generator:
    """Random numbers for one topic of one phantom: seed, topic, and further keys."""
    return np.random.Generator(np.random.SFC64(key))


def _fixed_tissue(person: pa.Person, pose: pa.Pose, thorax: pa.Thorax) -> np.ndarray:
    """All that attenuates outside the lungs: float32 [H, W], cm of water."""
    body = tissue.soft_tissue(person, pose)
    cavity = np.minimum(thorax.air, np.maximum(body - np.float32(3.0), 0))
    gas = tissue.airways(person, pose) + tissue.abdominal_gas(person, pose, thorax)
    water = np.maximum(body - cavity - gas, 0)
    bone = tissue.ribs(person, thorax, pose)
    bone += tissue.spine(person, pose)
    bone += tissue.shoulder_girdle(person, pose)
    return water + bone * np.minimum(body, 1)


def _texture(rng: np.random.Generator, thorax: pa.Thorax) -> np.ndarray:
    """Relative density of the parenchyma around 1: float32 [H, W]."""
    shape = thorax.air.shape
    texture = np.float32(0.035) * pf.smooth_field(rng, 5, shape)
    texture += np.float32(0.02) * pf.smooth_field(rng, 40, shape)
    texture += np.float32(0.025) * pf.smooth_field(rng, 90, shape)
    return texture + np.float32(1)


def _lung(
    thorax: pa.Thorax,
    pose: pa.Pose,
    tree: pv.Tree,
    texture: np.ndarray,
    collapsed: disease.Pneumothorax | None,
    filled: disease.Pneumonia | None,
) -> np.ndarray:
    """What attenuates inside the air spaces: float32 [H, W], cm of water."""
    if collapsed is None:
        water = texture * thorax.air * np.float32(pa.AERATION)
        vessels = pv.draw(tree, pv.visibility(tree, thorax.outer_table, thorax), pose.frame)
    else:
        same = pose.frame.left != (collapsed.side > 0)
        density = np.where(same, np.float32(pa.AERATION), np.float32(collapsed.density))
        water = texture * thorax.air * density * collapsed.lung
        visible = pv.visibility(tree, collapsed.pleura, thorax)
        vessels = pv.draw(tree, visible, pose.frame) * (np.float32(1) - collapsed.mask)
        water += collapsed.line
    if filled is not None:
        water += filled.fill * (thorax.air - water)
        if not filled.is_haze:
            vessels *= np.maximum(np.float32(1) - np.float32(1.3) * filled.fill, 0)
            water -= disease.bronchograms(tree, filled, pose.frame)
    return water + vessels * (thorax.air > 0.5)


def _box(focus: np.ndarray) -> Box:
    """Tight bounding box of a mask: x, y, width, height in pixels."""
    rows, columns = np.flatnonzero(focus.any(1)), np.flatnonzero(focus.any(0))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return float(columns[0]), float(rows[0]), float(width), float(height)
