"""Single images of a run with what the models made of them: heat maps and masks.

A table names a file of arrays per image; all arrays of an image have its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import pathlib

import numpy as np
import pandas as pd

from tffcxr import errors, run_tables
from tffcxr.report import run_files


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The heat maps of one image.

    Attributes:
      task: the finding.
      case: the name of the image in the report.
      image: uint8 [S, S], 0..255.
      seen: by kind of training, what the model was shown where that is not `image`: uint8 [S, S].
      heat: by kind of training, float32 [S, S] in 0..1.
      scores: by kind of training, the probability of the finding.
      in_lungs: by kind of training, the share of the heat inside the lungs, NaN if unknown.
      in_annotation: the same for the annotation.
      annotation: bool [S, S], or None if the finding is not drawn.
      lungs: bool [S, S], or None.
    """

    task: str
    case: str
    image: np.ndarray
    seen: Mapping[str, np.ndarray]
    heat: Mapping[str, np.ndarray]
    scores: Mapping[str, float]
    in_lungs: Mapping[str, float]
    in_annotation: Mapping[str, float]
    annotation: np.ndarray | None
    lungs: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """The masks of one image.

    Attributes:
      task: the organ.
      case: the name of the image in the report.
      kind: why it was chosen, such as "worst".
      image: uint8 [S, S], 0..255.
      truth: bool [S, S].
      masks: by kind of training, bool [S, S].
      jaccard: by kind of training, 0..1, NaN if unknown.
      dice: the same.
      boxes: by kind of training, where boxes around its mask are: bool [S, S]; empty without any.
      overlap: by kind of training, the part of the truth that is in the boxes; empty without any.
    """

    task: str
    case: str
    kind: str
    image: np.ndarray
    truth: np.ndarray
    masks: Mapping[str, np.ndarray]
    jaccard: Mapping[str, float]
    dice: Mapping[str, float]
    boxes: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    overlap: Mapping[str, float] = dataclasses.field(default_factory=dict)


def read_explanations(run_dir: pathlib.Path) -> list[Explanation]:
    """Reads `explanations.csv` and the arrays that it names, in its order.

    Raises:
      errors.InputError: if one of these files is damaged or lacks something.
    """
    table = run_files.read_table(run_dir, run_tables.EXPLANATIONS)
    explanations = []
    for (task, case), rows in table.groupby(["task", "case"], sort=False):
        by_training = rows.set_index("training")
        arrays = _arrays(run_dir, rows, "heat")
        explanations.append(
            Explanation(
                task=task,
                case=case,
                image=arrays["image"],
                seen={
                    training: arrays[f"seen_{training}"]
                    for training in by_training.index
                    if f"seen_{training}" in arrays
                },
                heat={training: arrays[f"heat_{training}"] for training in by_training.index},
                scores=by_training["score"].to_dict(),
                in_lungs=by_training["heat_in_lungs"].to_dict(),
                in_annotation=by_training["heat_in_annotation"].to_dict(),
                annotation=arrays.get("annotation"),
                lungs=arrays.get("lungs"),
            )
        )
    return explanations


def read_segmentations(run_dir: pathlib.Path) -> list[Segmentation]:
    """Reads `segmentations.csv` and the arrays that it names, in its order.

    Raises:
      errors.InputError: if one of these files is damaged or lacks something.
    """
    table = run_files.read_table(run_dir, run_tables.SEGMENTATIONS)
    segmentations = []
    for (task, case), rows in table.groupby(["task", "case"], sort=False):
        by_training = rows.set_index("training")
        arrays = _arrays(run_dir, rows, "mask", ["truth"])
        segmentations.append(
            Segmentation(
                task=task,
                case=case,
                kind=rows["kind"].iloc[0],
                image=arrays["image"],
                truth=arrays["truth"].astype(bool),
                masks={
                    training: arrays[f"mask_{training}"].astype(bool)
                    for training in by_training.index
                },
                jaccard=by_training["jaccard"].to_dict(),
                dice=by_training["dice"].to_dict(),
                boxes={
                    training: arrays[f"boxes_{training}"].astype(bool)
                    for training in by_training.index
                    if f"boxes_{training}" in arrays
                },
                overlap=by_training["overlap"].to_dict(),
            )
        )
    return segmentations


def _arrays(
    run_dir: pathlib.Path, rows: pd.DataFrame, prefix: str, required: list[str] | None = None
) -> dict[str, np.ndarray]:
    """Reads the arrays of one image and checks that they fit together.

    Args:
      run_dir: the run directory.
      rows: of one image, with the columns `training` and `file`.
      prefix: of the array that each training must have: `<prefix>_<training>`.
      required: other arrays that must be there, besides `image`.
    """
    arrays: dict[str, np.ndarray] = {}
    for file in dict.fromkeys(rows["file"]):
        arrays.update(run_files.read_arrays(run_dir / file))
    path = run_dir / rows["file"].iloc[0]
    image = arrays.get("image")
    if image is None or image.ndim != 2:
        raise errors.InputError(f"expected an array 'image' [S, S] in {path}")
    for name in [*(required or []), *(f"{prefix}_{training}" for training in rows["training"])]:
        if name not in arrays:
            raise errors.InputError(f"expected an array {name!r} in {path}")
    for name, array in arrays.items():
        if array.shape != image.shape:
            raise errors.InputError(
                f"expected {name!r} of the image's shape {image.shape} in {path}, "
                f"found {array.shape}"
            )
    return arrays
