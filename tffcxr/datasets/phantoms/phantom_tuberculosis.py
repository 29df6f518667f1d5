"""Writes phantom radiographs in the layouts of Shenzhen Hospital and Montgomery County.

Half of the patients have tuberculosis, drawn as consolidations in one to three foci. As in the real
data, Shenzhen's masks of the lungs are missing for about a seventh of the images, and Montgomery's
are split into the left and the right lung. Disease is more visible in Shenzhen's than in
Montgomery's, so one hospital's model is not sufficient for the other.
"""

from __future__ import annotations

from collections.abc import Iterator
import functools
import pathlib

import numpy as np

from tffcxr.datasets.phantoms import phantom_drawing as drawing

_WITHOUT_MASK = 96 / 662  # Of Shenzhen's images.
_SHENZHEN_SEVERITY = (0.5, 1.0)
_TAGS = {"shenzhen": 6, "montgomery": 7}  # No phantom patient is in two layouts of one seed.


def _plan(
    layout: str, patients: int, seed: int, positive_fraction: float
) -> Iterator[drawing.Plan]:
    rng = np.random.Generator(np.random.SFC64([seed, _TAGS[layout]]))
    is_ill = rng.permutation(np.arange(patients) < round(patients * positive_fraction))
    prefix = {"shenzhen": "CHNCXR", "montgomery": "MCUCXR"}[layout]
    for number, ill in enumerate(map(bool, is_ill), start=1):
        person = int(rng.integers(2**62))
        plain = float(rng.uniform(*_SHENZHEN_SEVERITY))
        severity = plain if layout == "shenzhen" else drawing.severity(rng)
        yield drawing.Plan(
            patient=str(number),
            seed=person,
            pneumonia=severity if ill else None,
            file=f"{prefix}_{number:04d}_{int(ill)}.png",
            has_mask=rng.random() >= _WITHOUT_MASK,
        )


def _write_shenzhen_image(folder: pathlib.Path, size: int, plan: drawing.Plan) -> tuple[()]:
    """Writes one image, and its mask if it has one."""
    phantom = drawing.draw(plan, size)
    drawing.write_picture(folder / "CXR_png" / plan.file, phantom.image)
    if plan.has_mask:
        name = f"{pathlib.PurePath(plan.file).stem}_mask.png"
        drawing.write_mask(folder / "mask" / name, phantom.lungs)
    return ()


def _write_montgomery_image(folder: pathlib.Path, size: int, plan: drawing.Plan) -> tuple[()]:
    """Writes one image and the masks of both lungs."""
    phantom = drawing.draw(plan, size)
    drawing.write_picture(folder / "CXR_png" / plan.file, phantom.image)
    # The patient's left lung is on the right of the image.
    is_left = np.arange(phantom.lungs.shape[1]) >= phantom.lungs.shape[1] // 2
    for side, columns in (("leftMask", is_left), ("rightMask", ~is_left)):
        drawing.write_mask(folder / "ManualMask" / side / plan.file, phantom.lungs & columns)
    return ()


write_shenzhen = drawing.SiteWriter(
    "shenzhen", functools.partial(_plan, "shenzhen"), _write_shenzhen_image
)
write_montgomery = drawing.SiteWriter(
    "montgomery", functools.partial(_plan, "montgomery"), _write_montgomery_image
)
