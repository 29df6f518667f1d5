"""Predicts a volume slice by slice, and puts what is marked back on the volume's own grid.

volume ─► axial slices as in training ─► probabilities ─► the volume's grid ─► mask, millilitres
"""

from __future__ import annotations

import os
import pathlib

import numpy as np
import tensorflow as tf

from tffcxr.clients.shards import volume_slices
from tffcxr.datasets.volumes import cases, nifti, volume
from tffcxr.datasets.volumes.cases import Channel, GreyScale
from tffcxr.datasets.volumes.volume import Volume
from tffcxr.errors import InputError
from tffcxr.models.files.export import Exported
from tffcxr.prediction import answers, reading, volume_files
from tffcxr.prediction.answers import Answer, Row
from tffcxr.report import style

# Air has some -1000 Hounsfield units; an SUV of 1000 would be more than all of the dose.
_AIR = -500.0
_LARGEST_SUV = 1000.0


class VolumePredictor:
    """A model of slices that answers for volumes.

    Args:
      exported: a model of volumes.
      batch_size: slices that are predicted at once, at least 1.
      node: see `volume_files.identify`.

    Raises:
      InputError: the model does not say what its slices are, or there is no such node.
    """

    def __init__(self, exported: Exported, batch_size: int, node: str | None):
        self._exported = exported
        self._batch_size = batch_size
        self._slices = exported.metadata.slices
        for about in self._slices.values():
            if not {"loader", "grey_scale", "field_of_view_mm", "channels"} <= set(about):
                raise InputError(
                    "--model: expected a model that says what its slices are, found one of an "
                    "older version: run the study again"
                )
        if node is not None and node not in self._slices:
            raise InputError(f"--node: expected {' or '.join(self._slices)}, found {node!r:.60}")
        self._node = node
        spec = tf.TensorSpec([None, *exported.keras.input_shape[1:]], tf.float32)
        self._probabilities = tf.function(
            lambda batch: exported.keras(batch, training=False), [spec], autograph=False
        )

    def predict(self, path: pathlib.Path) -> tuple[Answer, Volume | None]:
        """What the model marks in a volume of `volume_files.find`.

        Returns:
          The answer, and a mask of 0 and 1 on the grid of the volume, of a case that of its first
          image; None if the volume cannot be used, which the answer then says.
        """
        file = answers.readable(path)
        try:
            node, channels = volume_files.identify(path, self._slices, self._node)
        except InputError as error:
            return Answer(file, (), reading.REFUSED, answers.readable(str(error))), None
        try:
            mask, warnings = self._mask(node, channels)
        except InputError as error:
            return Answer(file, (), reading.UNREADABLE, answers.readable(str(error))), None
        voxel = abs(np.linalg.det(mask.affine[:3, :3])) / 1000.0  # Millilitres.
        marked = float(mask.array.sum(dtype=np.float64))
        remark = "" if marked else "nothing is marked"
        share = marked / mask.array.size
        row = Row(self._exported.metadata.outputs[0], marked * voxel, remark, (share,))
        return Answer(file, (row,), reading.OK, "", tuple(warnings)), mask

    def _mask(self, node: str, channels: list[Channel]) -> tuple[Volume, list[str]]:
        about = self._slices[node]
        size, field = self._exported.metadata.image_size, about["field_of_view_mm"]
        grey_scale = GreyScale(**about["grey_scale"])
        slices, grids, warnings = [], [], []
        for channel in channels:
            image = _read(channel)
            grids.append(image.grid)
            warnings += _odd_values(channel, image)
            grid = volume.axial_grid(grids[0], size, field)
            slices.append(volume_slices.slice_image(image, channel, grid, grey_scale))
        seen = float(volume.covered(grid, grids[0]).mean())
        if seen < 1:
            warnings.append(
                f"{1 - seen:.0%} of the volume lies outside of the model's {field:g} mm around its "
                "middle and is not marked"
            )
        found = self._predict(np.stack(slices, axis=-1))
        placed = volume.resample(volume.from_axial_pictures(found, grid), grids[0], 0.0)
        marked = placed.array >= self._exported.metadata.threshold
        return Volume(marked.astype(np.float32), grids[0].affine), warnings

    def _predict(self, slices: np.ndarray) -> np.ndarray:
        """Probabilities of slices uint8 [K, S, S, C]: float32 [K, S, S]."""
        found = []
        for start in range(0, len(slices), self._batch_size):
            batch = slices[start : start + self._batch_size].astype(np.float32) / np.float32(255.0)
            found.append(self._probabilities(tf.constant(batch)).numpy()[..., 0])
        return np.concatenate(found)


def write_mask(folder: pathlib.Path, number: int, answer: Answer, mask: Volume) -> None:
    """Writes a mask as NIfTI, with the number and the name of its volume in its name.

    Raises:
      InputError: it cannot be written.
    """
    name = pathlib.Path(answer.file).name
    for suffix in nifti.SUFFIXES:
        name = name.removesuffix(suffix)
    path = folder / f"{number:04d}_{name}_{style.slug(answer.rows[0].name)}.nii.gz"
    partial = path.with_name(f".{path.name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        nifti.write(partial, mask, np.uint8)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"--masks: cannot write {path}: {error.strerror}") from error


def _read(channel: Channel) -> Volume:
    """Reads one image in the units of its modality, which a NIfTI file is taken to have."""
    return cases.read(channel) if channel.path.is_dir() else nifti.read(channel.path)


def _odd_values(channel: Channel, image: Volume) -> list[str]:
    """Says if values cannot be in the units of a modality."""
    low, high = float(image.array.min()), float(image.array.max())
    if channel.kind == "ct" and low > _AIR:
        return [f"no air (least value {low:g}): its values may not be Hounsfield units"]
    if channel.kind == "pet" and (high > _LARGEST_SUV or low < 0):
        return [f"values from {low:g} to {high:g}: they may not be SUV in g/ml"]
    return []
