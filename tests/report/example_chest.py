"""A drawn chest with an outlined opacity and heat maps around it, for the runs of the examples."""

from __future__ import annotations

from collections.abc import Mapping
import pathlib

import numpy as np


def write(
    path: pathlib.Path, size: int, generator: np.random.Generator, offsets: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Writes the arrays of an explained image.

    Args:
      path: of the .npz file.
      size: in pixels.
      generator: says where the opacity is, and makes noise.
      offsets: name of a model to how far beside the opacity its heat is, in widths of the image.

    Returns:
      Name of each model to the columns of `explanations.csv` on its heat.
    """
    x, y = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    lungs = sum(((x - c) / 0.18) ** 2 + ((y - 0.5) / 0.33) ** 2 < 1 for c in (0.28, 0.72)) > 0
    cx, cy = generator.choice([0.28, 0.72]), generator.uniform(0.35, 0.65)
    annotation = (abs(x - cx) < 0.09) & (abs(y - cy) < 0.11)
    image = np.where(lungs, 70, 170) + 60 * annotation + generator.normal(0, 8, lungs.shape)
    heat = {
        name: np.exp(-((x - cx - offset) ** 2 + (y - cy) ** 2) / 0.02).astype(np.float32)
        for name, offset in offsets.items()
    }
    np.savez_compressed(
        path, image=np.clip(image, 0, 255).astype(np.uint8), lungs=lungs, annotation=annotation,
        **{f"heat_{name}": of_model for name, of_model in heat.items()},
    )  # fmt: skip
    return {
        name: {
            "heat_in_lungs": of_model[lungs].sum() / of_model.sum(),
            "heat_in_annotation": of_model[annotation].sum() / of_model.sum(),
        }
        for name, of_model in heat.items()
    }
