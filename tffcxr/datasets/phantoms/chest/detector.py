"""From thickness of water to the picture: Beer-Lambert, scatter, noise, processing, collimation."""

from __future__ import annotations

import numpy as np

from tffcxr.datasets.phantoms.chest import anatomy as pa
from tffcxr.datasets.phantoms.chest import devices as pd
from tffcxr.datasets.phantoms.chest import frame as pf

_ATTENUATION = 0.19  # of water for a filtered 110 kVp beam, per cm
DEPTH = 4095  # highest pixel value


def expose(
    water: np.ndarray, reference: np.ndarray, rng: np.random.Generator, pose: pa.Pose
) -> np.ndarray:
    """Takes the picture.

    Args:
      water: float32 [H, W], water-equivalent thickness along each ray, cm.
      reference: float32 [H / 4, W / 4], every fourth ray of the same patient in health. The
        automatic window looks at this one, so that a finding changes the picture only where it
        lies.
      rng: of this exposure; the same numbers are drawn whatever the findings.
      pose: of this image.

    Returns:
      uint16 [H, W], 0..4095, higher is denser.
    """
    bedside = pose.view == "AP"
    dose = 10 ** rng.uniform(5.2, 6.2) * (0.6 if bedside else 1.0)
    scatter = rng.uniform(0.03, 0.06) * (1.6 if bedside else 1.0)
    grain = rng.standard_normal(water.shape, dtype=np.float32) * np.float32(dose**-0.5)
    seen = _log_signal(water, scatter, 16, grain)
    low, high = _window(_log_signal(reference, scatter, 4), rng, pose)
    detail = seen - _spread(seen, 4, passes=4)
    seen = seen + np.float32(rng.uniform(0.4, 1.0)) * detail
    image = (seen - np.float32(low)) * np.float32(1 / (high - low))
    image = _film(image, rng.uniform(0.75, 1.3))
    image *= np.float32(rng.uniform(0.88, 1.0))
    _collimate(image, rng, pose)
    pd.markers(rng, image, pose)
    return (np.clip(image, 0, 1) * np.float32(DEPTH) + np.float32(0.5)).astype(np.uint16)


def _log_signal(
    water: np.ndarray,
    scatter: float,
    block: int,
    grain: np.ndarray | None = None,
) -> np.ndarray:
    """Logarithm of what the detector counts, upwards with thickness: float32 [H, W].

    Args:
      water: float32 [H, W], cm.
      scatter: scattered relative to unattenuated radiation. It spreads over many centimetres.
      block: side in pixels of the blocks that scatter is computed on.
      grain: float32 [H, W], noise of a signal of 1; None gives neither noise nor blur.
    """
    signal = np.exp(water * np.float32(-_ATTENUATION))
    veil = np.float32(scatter) * _spread(signal, block, passes=6)
    if grain is not None:
        signal = pf.binomial_blur(signal, 1)
    signal += veil
    if grain is not None:
        signal += grain * np.sqrt(signal)
    return -np.log(np.maximum(signal, np.float32(1e-4)))


def _spread(field: np.ndarray, block: int, passes: int) -> np.ndarray:
    """Averages over blocks, blurs, and interpolates linearly back to the field's size."""
    size = field.shape[0]
    cells = -(-size // block)
    if cells * block != size:
        field = np.pad(field, (0, cells * block - size), mode="edge")
    small = np.add.reduceat(field, np.arange(0, cells * block, block), axis=0)
    small = small.reshape(cells, cells, block).mean(2) * np.float32(1 / block)
    small = pf.binomial_blur(small, passes)
    position = np.clip((np.arange(size) + 0.5) / block - 0.5, 0, cells - 1)
    first = np.minimum(position.astype(np.int64), max(cells - 2, 0))
    second = np.minimum(first + 1, cells - 1)
    part = (position - first).astype(np.float32)
    wide = small[:, first] * (1 - part) + small[:, second] * part
    return wide[first] * (1 - part)[:, None] + wide[second] * part[:, None]


def _window(seen: np.ndarray, rng: np.random.Generator, pose: pa.Pose) -> tuple[float, float]:
    """Display window around the healthy patient, different in every image."""
    high = float(np.quantile(seen, 0.9)) + 0.25 * rng.uniform(-0.7, 1.4)
    lung = float(np.quantile(seen, 0.22))
    target = rng.uniform(0.22, 0.48) + (0.06 if pose.view == "AP" else 0.0)
    low = (lung - target * high) / (1 - target)
    return max(low, 0.05 * high), high


def _film(image: np.ndarray, gamma: float) -> np.ndarray:
    """Characteristic curve: a toe at black, a shoulder at white."""
    value = np.linspace(0, 1.3, 4096) ** gamma
    knee, reach = 0.74, 0.26
    curve = np.minimum(value, knee)
    curve += reach * (1 - np.exp(-np.maximum(value - knee, 0) / 0.24))
    level = np.clip(image * np.float32(4095 / 1.3), np.float32(0), np.float32(4095))
    return curve.astype(np.float32)[level.astype(np.int64)]


def _collimate(image: np.ndarray, rng: np.random.Generator, pose: pa.Pose) -> None:
    """Blackens what lies outside the beam: sometimes a margin, slightly tilted, on some sides."""
    size = image.shape[0]
    margins = np.where(rng.random(4) < 0.25, rng.uniform(0.005, 0.05, 4), 0.0) * size
    tilt = 0.02 * rng.standard_normal() * (rng.random() < 0.4)
    along = np.arange(size, dtype=np.float32)
    slopes = np.array([tilt, -tilt, -tilt, tilt])[:, None] * (margins > 0)[:, None]
    edges = margins[:, None] + slopes * (along - size / 2)
    for view, edge in zip((image, image[::-1], image.T, image.T[::-1]), edges):
        reach = max(int(np.ceil(edge.max())), 0)
        view[:reach] *= np.clip(along[:reach, None] - edge + 1, 0, 1)
