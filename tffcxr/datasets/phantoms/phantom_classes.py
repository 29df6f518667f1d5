"""Writes phantom radiographs of mutually exclusive classes, like COVIDx and Kermany's.

Healthy chests, pneumonia (consolidated in one to three foci of a lobe) and COVID-19 (haze in both
lungs near the chest wall and the diaphragm). In COVIDx's layout all disease is clearly visible; in
Kermany's a fifth of it is faint. There are no other findings, since the classes do not include any.
Both layouts get `lung_masks/`, which the originals do not have.
"""

from __future__ import annotations

from collections.abc import Iterator
import functools
import pathlib

import numpy as np

from tffcxr.datasets.phantoms import phantom_drawing as drawing
from tffcxr.errors import InputError

# Of the patients. In COVIDx the classes are as uneven, and more so in some versions.
_SHARES = {"normal": 0.4, "pneumonia": 0.35, "COVID-19": 0.25}
_SEVERE = (0.9, 1.0)  # Plain enough for a few hundred images to teach a network of millions.
_TEST = 0.15  # of the patients of each class
_SECOND_IMAGE = 0.3  # of the patients with COVID-19, who were X-rayed again and again
_VIRAL = 1 / 3  # of the children with pneumonia
_TAGS = {"covidx": 4, "kermany": 5}  # No phantom patient is in two layouts of one seed.


def write_covidx(
    root: pathlib.Path,
    patients: int,
    seed: int,
    size: int | None = None,
    workers: int | None = None,
    progress: drawing.Progress | None = None,
) -> None:
    """Writes a site in the layout of `covidx`: PNG files in train/ and test/, a list for each.

    Some patients with COVID-19 have two images.

    Args:
      root: new folder; reused when it already holds exactly this.
      patients: how many, at least 6: two of each class, one for each list.
      seed: of everything.
      size: pixels per side; None takes `phantom_drawing.SIZE`.
      workers: processes; None takes one per usable core. The files do not depend on it.
      progress: called with (images written, images in all).

    Raises:
      InputError: an argument is out of range, the folder holds something else, or it cannot be
        written.
    """
    plan = functools.partial(_covidx_plan, patients, seed)
    made_by = _settings("covidx", patients, seed, size, minimum=6)
    writers = (_write_covidx_image, _write_covidx_lists)
    drawing.write(root, made_by, plan, *writers, workers, progress)


def write_kermany(
    root: pathlib.Path,
    patients: int,
    seed: int,
    size: int | None = None,
    positive_fraction: float = 0.6,
    workers: int | None = None,
    progress: drawing.Progress | None = None,
) -> None:
    """Writes a site in the layout of `kermany`: JPEG files in train/ and test/, by class.

    "Bacteria" are consolidations, a "virus" is haze in both lungs. The chests are those of adults.
    Arguments and errors as of `write_covidx`; positive_fraction: of the patients with pneumonia, of
    whom there must be two, as of the others.
    """
    positives = round(patients * positive_fraction)
    plan = functools.partial(_kermany_plan, patients, positives, seed)
    made_by = _settings(
        "kermany", patients, seed, size, minimum=4, positive_fraction=positive_fraction
    )
    if not 2 <= positives <= patients - 2:
        raise InputError(
            f"phantom positive_fraction: expected two patients with pneumonia and two without "
            f"among {patients}, found {positive_fraction}"
        )
    drawing.write(root, made_by, plan, _write_kermany_image, None, workers, progress)


def _settings(
    layout: str, patients: int, seed: int, size: int | None, minimum: int, **others: float
) -> dict[str, object]:
    if patients < minimum:
        raise InputError(f"--phantom_patients: expected at least {minimum}, found {patients}")
    return drawing.settings(layout, patients, seed, size, **others)


def _random(layout: str, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([seed, _TAGS[layout]]))


def _covidx_plan(patients: int, seed: int) -> Iterator[drawing.Plan]:
    rng = _random("covidx", seed)
    counts = {kind: max(2, round(patients * share)) for kind, share in _SHARES.items()}
    counts["normal"] = patients - counts["pneumonia"] - counts["COVID-19"]
    kinds = rng.permutation([kind for kind, count in counts.items() for _ in range(count)])
    tested = dict.fromkeys(counts, 0)
    for number, kind in enumerate(map(str, kinds)):
        person = int(rng.integers(2**62))
        severity = float(rng.uniform(*_SEVERE))
        again = rng.random() < _SECOND_IMAGE
        split = "test" if tested[kind] < max(1, round(_TEST * counts[kind])) else "train"
        tested[kind] += 1
        for acquisition in range(2 if again and kind == "COVID-19" else 1):
            yield drawing.Plan(
                patient=str(number),
                seed=person,
                acquisition=acquisition,
                pneumonia=severity if kind == "pneumonia" else None,
                covid=severity if kind == "COVID-19" else None,
                file=f"{split}/phantom-{number:05d}-{acquisition}.png",
            )


def _kermany_plan(patients: int, positives: int, seed: int) -> Iterator[drawing.Plan]:
    rng = _random("kermany", seed)
    is_sick = rng.permutation(np.arange(patients) < positives)
    tested = {True: 0, False: 0}
    for number, sick in enumerate(map(bool, is_sick), start=1):
        person = int(rng.integers(2**62))
        severity = drawing.severity(rng)
        is_viral = rng.random() < _VIRAL
        kind = "virus" if is_viral else "bacteria"
        count = positives if sick else patients - positives
        split = "test" if tested[sick] < max(1, round(_TEST * count)) else "train"
        tested[sick] += 1
        name = (
            f"PNEUMONIA/person{number}_{kind}_{number}" if sick else f"NORMAL/IM-{number:04d}-0001"
        )
        yield drawing.Plan(
            patient=str(number),
            seed=person,
            pneumonia=severity if sick and not is_viral else None,
            covid=severity if sick and is_viral else None,
            file=f"{split}/{name}.jpeg",
        )


def _write_covidx_image(folder: pathlib.Path, size: int, plan: drawing.Plan) -> tuple[str, str]:
    """Writes one image and its mask; returns its split and its line in the list."""
    _write_image(folder, size, plan)
    kind = "COVID-19" if plan.covid is not None else "pneumonia"
    if plan.pneumonia is None and plan.covid is None:
        kind = "normal"
    split, _, name = plan.file.partition("/")
    return split, f"{plan.patient} {name} {kind} phantom\n"


def _write_covidx_lists(folder: pathlib.Path, rows: list[tuple]) -> None:
    for split in ("train", "test"):
        lines = "".join(line for of_split, line in rows if of_split == split)
        (folder / f"{split}_split.txt").write_text(lines, encoding="utf-8")


def _write_kermany_image(folder: pathlib.Path, size: int, plan: drawing.Plan) -> tuple[()]:
    """Writes one image and its mask."""
    _write_image(folder, size, plan)
    return ()


def _write_image(folder: pathlib.Path, size: int, plan: drawing.Plan) -> None:
    phantom = drawing.draw(plan, size)
    path = folder / plan.file
    drawing.write_picture(path, phantom.image)
    drawing.write_mask(folder / "lung_masks" / f"{path.stem}.png", phantom.lungs)
