"""What lies along each ray of a healthy phantom, as thickness of water that attenuates the same.

Bone is drawn as tubes with a cortical shell: the path length through the outer tube less that
through the marrow. One field gives all ribs of a side at once: the height of rib k at angle theta
around the chest is linear in k, so the number of the rib at a pixel has a closed form.
"""

from __future__ import annotations

import numpy as np

from tffcxr.datasets.phantoms.chest import anatomy as pa
from tffcxr.datasets.phantoms.chest import frame as pf

_CLAVICLE = pf.Curve("x", [0, 1.8, 4, 7, 10, 13, 16.5, 20])
_CLAVICLE_STANDARD = [2.3, 2.1, 1.2, 0.0, -1.2, -2.1, -2.2, -2.1]
_LAST_RIB = 12
_ANTERIOR_END = np.array(
    [3, 3.6, 4.0, 4.6, 5.4, 6.4, 7.6, 9.0, 10.4, 11.6, 12.6, 13, 13, 13], np.float32
)


def soft_tissue(person: pa.Person, pose: pa.Pose) -> np.ndarray:
    """Trunk, neck, shoulders, arms and breasts without the air inside: float32 [H, W], cm."""
    frame = pose.frame
    rng = person.details(1)
    width, depth = pa.body_tables(person)
    relative = frame.x * frame.along_y((1 / width).astype(np.float32))
    profile = pf.half_ellipse(relative**2)
    trunk = frame.along_y(depth) * (np.float32(0.6) * profile + np.float32(0.4) * np.sqrt(profile))
    total = trunk**2
    radius = 4.2 + 1.6 * person.build + 0.3 * rng.normal()
    spread = arm_direction(pose, rng)
    for side, angle in ((-1, spread[0]), (1, spread[1])):
        shoulder = (side * (16.2 + 1.2 * person.build), 2.4)
        distance = _from_ray(frame, shoulder, (side * np.sin(angle), np.cos(angle)))
        total += np.float32((2 * radius) ** 2) * pf.half_ellipse((distance / radius) ** 2) ** 2
    body = np.sqrt(total)
    if person.sex == "F":
        body += _breasts(person, pose, rng)
    fat = pf.smooth_field(person.details(2), 9, frame.x.shape)
    return body * (np.float32(1) + np.float32(0.012) * fat)


def arm_direction(pose: pa.Pose, rng: np.random.Generator) -> tuple[float, float]:
    """Angle of both upper arms from straight down, radians."""
    usual = 0.10 if pose.view == "AP" else 0.32
    return tuple(usual + 0.12 * np.abs(rng.standard_normal(2)))


def _from_ray(
    frame: pf.Frame, start: tuple[float, float], direction: tuple[float, float]
) -> np.ndarray:
    """Distance in cm of each pixel from the ray that begins at `start`."""
    dx, dy = frame.x - np.float32(start[0]), frame.y - np.float32(start[1])
    along = dx * np.float32(direction[0]) + dy * np.float32(direction[1])
    across = dx * np.float32(direction[1]) - dy * np.float32(direction[0])
    return np.sqrt(across**2 + np.minimum(along, np.float32(0)) ** 2)


def _breasts(person: pa.Person, pose: pa.Pose, rng: np.random.Generator) -> np.ndarray:
    """Breast tissue in cm: sharp lower fold, fading upwards; lower and flatter with age."""
    frame = pose.frame
    thickness = np.zeros_like(frame.x)
    amount = 1.6 + 4.2 * person.build + 0.5 * rng.normal()
    height = 15.0 + 0.035 * (person.age - 40) + 1.2 * rng.normal()
    for side in (-1, 1):
        radius = 5.4 + 2.0 * person.build + 0.4 * rng.normal()
        x = (frame.x - np.float32(side * (8.6 + 0.5 * rng.normal()))) / np.float32(radius)
        y = (frame.y - np.float32(height + 0.5 * rng.normal())) / np.float32(radius * 1.05)
        fade = pf.ramp((y + np.float32(1.0)) * np.float32(0.6))
        thickness += np.float32(max(amount, 0.5)) * fade * pf.half_ellipse(x**2 + y**2)
    return thickness


def ribs(person: pa.Person, thorax: pa.Thorax, pose: pa.Pose) -> np.ndarray:
    """Both arcs of all ribs: float32 [H, W], cm of water."""
    frame = pose.frame
    rng = person.details(3)
    cage = thorax.outer + np.float32(0.45)
    relative = np.minimum(frame.lateral / cage, np.float32(0.9985))
    cosine = np.sqrt(np.float32(1) - relative * relative)
    angle = (cosine * np.float32(pf.TABLE - 1)).astype(np.int64)
    total = np.zeros_like(cage)
    for front in (False, True):
        progress_table, slope_table = _ARCS[front]
        progress = progress_table[angle]
        spread = progress * np.float32(person.rib_drop_step) + np.float32(person.rib_spacing)
        number = frame.y - np.float32(person.rib_top) - progress * np.float32(person.rib_drop)
        number /= spread
        nearest = np.rint(number)
        steepness = number * np.float32(person.rib_drop_step) + np.float32(person.rib_drop)
        steepness *= slope_table[angle] / cage
        spread /= np.sqrt(steepness * steepness + np.float32(1))
        index = np.clip(nearest, 0, _LAST_RIB + 1).astype(np.int64)
        index += frame.left * (_LAST_RIB + 2)
        amount, relative_size = _rib_tables(person, rng, front)
        offset = (number - nearest) * spread * relative_size[index]
        bone = _cortical(offset * offset) * amount[index]
        if front:
            bone *= pf.ramp((frame.lateral - np.tile(_ANTERIOR_END, 2)[index]) * np.float32(1.2))
        else:
            bone *= np.minimum(frame.lateral * np.float32(0.5), np.float32(1))
        total += bone
    total *= _END_ON[angle]
    total *= frame.lateral < cage
    return total


def _arc(front: bool) -> tuple[np.ndarray, np.ndarray]:
    """How far a rib has descended, and its slope times the cage's half-width, against cosine.

    The cosine is that of the angle around the chest, 0 at the side. Both float32 [TABLE].
    """
    cosine = np.linspace(0, 1, pf.TABLE)
    turn = np.arcsin(np.sqrt(1 - cosine**2)) / np.pi
    turn = 1 - turn if front else turn
    progress = turn * (0.38 + 0.62 * turn)
    slope = (0.38 + 1.24 * turn) / (np.pi * np.maximum(cosine, 0.05))
    return progress.astype(np.float32), slope.astype(np.float32)


_ARCS = (_arc(front=False), _arc(front=True))
_END_ON = (1 / np.sqrt(np.linspace(0, 1, pf.TABLE) ** 2 + 0.42)).astype(np.float32)


def _rib_tables(
    person: pa.Person, rng: np.random.Generator, front: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Thickness and 1 / half-height of the ribs: float32 [2 * (LAST_RIB + 2)], right then left."""
    count = 2 * (_LAST_RIB + 2)
    aged = 1.1 - 0.005 * max(person.age - 45, 0)
    amount = (0.85 if front else 1.0) * aged * (1 + 0.08 * rng.standard_normal(count))
    amount = amount.reshape(2, -1)
    amount[:, [0, -1]] = 0
    amount[:, 9:] *= 0.75
    if front:
        amount[:, 11:] = 0
    size = person.rib_size * (1.12 if front else 1.0) * (1 + 0.06 * rng.standard_normal(count))
    return amount.ravel().astype(np.float32), (1 / size).astype(np.float32)


def _cortical(squared: np.ndarray, marrow: float = 0.72) -> np.ndarray:
    """Path through a bony tube at a squared relative distance from its axis, 0..about 0.7."""
    inner = pf.half_ellipse(squared * np.float32(marrow**-2))
    return pf.half_ellipse(squared) - np.float32(0.55) * inner


def spine(person: pa.Person, pose: pa.Pose) -> np.ndarray:
    """Vertebral bodies, discs, pedicles and spinous processes: float32 [H, W], cm of water."""
    frame = pose.frame
    window = frame.window(-4.5, 4.5, *pf.Y_RANGE)
    part = frame.crop(window)
    x = part.x - part.along_y(person.spine) + np.float32(0.5 * pose.turn)
    level = (part.y - np.float32(person.rib_top)) / np.float32(person.rib_spacing)
    within = (level - np.rint(level)) * np.float32(2)
    half = np.float32(1.35) + np.float32(0.035) * np.clip(part.y + 8, 0, 40)
    waist = half * (np.float32(0.9) + np.float32(0.12) * within * within)
    edge = pf.ramp((waist - np.abs(x)) * np.float32(4))
    disc = pf.ramp((np.abs(within) - np.float32(0.78)) * np.float32(9))
    rim = pf.ramp((np.abs(within) - np.float32(0.55)) * np.float32(6)) * (np.float32(1) - disc)
    body = edge * (np.float32(1.1) - np.float32(0.45) * disc + np.float32(0.35) * rim)
    body += np.float32(0.5) * np.exp(-(((np.abs(x) - waist + 0.15) * 6) ** 2))
    pedicle = ((np.abs(x) - half * np.float32(0.72)) / 0.34) ** 2 + ((within + 0.15) / 0.42) ** 2
    body += np.float32(1.0) * _cortical(pedicle, 0.6)
    process = (x / 0.28) ** 2 + ((within - 0.5) / 0.42) ** 2
    body += np.float32(1.6) * pf.half_ellipse(process)
    total = np.zeros_like(frame.x)
    total[window] = np.float32(0.7) * body
    return total


def shoulder_girdle(person: pa.Person, pose: pa.Pose) -> np.ndarray:
    """Clavicles, scapulae and humeri: float32 [H, W], cm of water."""
    frame = pose.frame
    rng = person.details(4)
    total = np.zeros_like(frame.x)
    lift = (-1.3 if pose.view == "AP" else 0.2) + 0.5 * rng.normal()
    clavicles = [np.asarray(_CLAVICLE_STANDARD) + lift + 0.15 * rng.normal(size=8) for _ in "rl"]
    for side, values in zip((-1, 1), clavicles):
        window = frame.window(*_span(side * 0.5, side * 17.5), -7.0, 6.5)
        part = frame.crop(window)
        table = np.interp(pf.TABLE_X * side, pf.TABLE_X, _CLAVICLE(values + side * 0.3 * pose.turn))
        slope = np.gradient(table, pf.TABLE_X)
        curve = part.along_x(table.astype(np.float32))
        tilt = part.along_x((1 / np.sqrt(1 + slope**2)).astype(np.float32))
        along = part.x * side - np.float32(0.9 * pose.turn * side)
        half = np.float32(0.55) + np.float32(0.45) * pf.ramp((np.float32(4.0) - along) / 2.4)
        offset = (part.y - curve) * tilt / half
        ends = pf.ramp((along - np.float32(1.5)) * 2) * pf.ramp((np.float32(16.4) - along) * 2)
        total[window] += np.float32(1.9) * _cortical(offset * offset, 0.66) * ends
    total += _scapulae(person, pose, rng)
    return total.astype(np.float32)


def _scapulae(person: pa.Person, pose: pa.Pose, rng: np.random.Generator) -> np.ndarray:
    """Scapular blade with its borders and spine, humeral head and shaft."""
    frame = pose.frame
    total = np.zeros_like(frame.x)
    angles = arm_direction(pose, person.details(1))
    for side, angle in ((-1, angles[0]), (1, angles[1])):
        out = (0.4 if pose.view == "AP" else 2.0) + 0.5 * rng.normal() + 0.9 * person.build
        arm = np.array([15.9 + 0.9 * person.build, 1.5])
        window = frame.window(*_span(side * (8.0 + out), side * 21.0), -4.0, 17.0)
        part = frame.crop(window)
        x, y = part.x * np.float32(side) - np.float32(out), part.y
        medial = (x - np.float32(8.3)) - (y - np.float32(1.0)) * np.float32(0.12)
        lower = (np.float32(15.2) - x) * np.float32(0.86) - (y - np.float32(4.2)) * np.float32(0.5)
        upper = (y + np.float32(0.6)) * np.float32(0.98) - (x - np.float32(8.3)) * np.float32(0.05)
        depth = np.minimum(np.minimum(medial, lower), upper)
        blade = np.float32(0.55) * pf.ramp(depth * np.float32(2.5))
        border = pf.half_ellipse(((depth - np.float32(0.15)) / np.float32(0.22)) ** 2)
        ridge = _from_segment(x, y, (8.8, 3.0), (15.8, -1.6)) / np.float32(0.55)
        girdle = blade + np.float32(0.6) * border + np.float32(0.7) * _cortical(ridge**2)
        head_x = (x + np.float32(out - arm[0])) / np.float32(2.3)
        head_y = (y - np.float32(arm[1])) / np.float32(2.1)
        girdle += np.float32(1.2) * _cortical(head_x**2 + head_y**2, 0.8)
        total[window] += girdle
        end = arm + 40 * np.array([np.sin(angle), np.cos(angle)])
        window = frame.window(*_span(side * (arm[0] - 2), side * 36.0), arm[1] - 2, 44.0)
        part = frame.crop(window)
        shaft = _from_segment(part.x * side, part.y, (arm[0] + 0.5, arm[1]), tuple(end))
        total[window] += np.float32(2.4) * _cortical((shaft / np.float32(1.15)) ** 2, 0.62)
    return total


def _span(one: float, other: float) -> tuple[float, float]:
    return min(one, other), max(one, other)


def _from_segment(
    x: np.ndarray, y: np.ndarray, start: tuple[float, float], end: tuple[float, float]
) -> np.ndarray:
    """Distance of points from a line segment, cm."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    scale = np.float32(1 / (dx * dx + dy * dy))
    t = (x - np.float32(start[0])) * np.float32(dx) + (y - np.float32(start[1])) * np.float32(dy)
    t = np.clip(t * scale, np.float32(0), np.float32(1))
    across = x - np.float32(start[0]) - t * np.float32(dx)
    along = y - np.float32(start[1]) - t * np.float32(dy)
    return np.sqrt(across * across + along * along)


def airways(person: pa.Person, pose: pa.Pose) -> np.ndarray:
    """Air in trachea and main bronchi: float32 [H, W], cm, to be taken off the soft tissue."""
    frame = pose.frame
    rng = person.details(5)
    total = np.zeros_like(frame.x)
    window = frame.window(-5.0, 5.0, pf.Y_RANGE[0], 13.0)
    part = frame.crop(window)
    y = part.y
    deviation = 0.35 + 0.25 * rng.normal() + 0.3 * pose.turn
    bend = np.exp(-(((pf.TABLE_Y - 6.3) / 3.0) ** 2)) * -deviation + 0.4 * pose.turn
    offset = (part.x - part.along_y(bend.astype(np.float32))) / np.float32(0.85)
    shade = pf.ramp((np.float32(pa.CARINA_Y + 0.4) - y) * np.float32(1.2))
    total[window] = np.float32(2.3) * pf.half_ellipse(offset * offset) * shade
    for end in ((-3.3, 11.0), (3.9, 11.1)):
        tube = _from_segment(part.x, y, (0.4 * pose.turn, pa.CARINA_Y), end) / np.float32(0.62)
        total[window] = np.maximum(total[window], np.float32(0.9) * pf.half_ellipse(tube * tube))
    return total


def abdominal_gas(person: pa.Person, pose: pa.Pose, thorax: pa.Thorax) -> np.ndarray:
    """Gas in stomach and bowel: float32 [H, W], cm, to be taken off the soft tissue."""
    frame = pose.frame
    rng = person.details(6)
    top = float(pf.at_x(thorax.dome_table, 6.0))
    gas = np.zeros_like(frame.x)
    bubbles = []
    if rng.random() < 0.6:
        width, height = rng.uniform(1.5, 3.4), rng.uniform(0.8, 2.2)
        bubbles.append(
            (6.5 + rng.normal(), top + 1.0 + height, width, height, rng.uniform(2, 5), True)
        )
    for _ in range(rng.integers(0, 4)):
        place = (rng.uniform(-11, 11), top + rng.uniform(5, 11))
        bubbles.append((*place, rng.uniform(0.8, 2.4), rng.uniform(0.7, 1.6), 3.0, False))
    for x, y, width, height, depth, level in bubbles:
        window = frame.window(x - width, x + width, y - height, y + height)
        part = frame.crop(window)
        dx = (part.x - np.float32(x)) / np.float32(width)
        dy = (part.y - np.float32(y)) / np.float32(height)
        bubble = np.float32(depth) * pf.half_ellipse(dx * dx + dy * dy)
        if level and pose.view == "PA":
            bubble *= pf.ramp((np.float32(0.35) - dy) * np.float32(4))
        gas[window] = np.maximum(gas[window], bubble)
    return gas
