"""Predicts a volume slice by slice, and puts what is marked back on the volume's own grid.

volume ─► axial slices as in training ─► probabilities ─► the volume's grid ─► mask, millilitres
"""

from __future__ import annotations

import math
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
            mask, slices, warnings = self._mask(node, channels)
        except InputError as error:
            return Answer(file, (), reading.UNREADABLE, answers.readable(str(error))), None
        voxel = abs(np.linalg.det(mask.affine[:3, :3])) / 1000.0  # Millilitres.
        marked = float(mask.array.sum(dtype=np.float64))
        remark = "" if marked else "nothing is marked"
        share = marked / mask.array.size
        row = Row(self._exported.metadata.outputs[0], marked * voxel, remark, (share,))
        distance, unlike = self._distance(node, slices)
        return Answer(file, (row,), reading.OK, "", (*warnings, *unlike), distance), mask

    def _distance(self, node: str, slices: np.ndarray) -> tuple[float, list[str]]:
        """The distance of slices uint8 [K, S, S, C] from those trained on, and what to say of it.

        That of the channel that is farthest away counts; NaN where there are no statistics.
        """
        farthest, warnings = math.nan, []
        for channel, likeness in enumerate(self._exported.slice_likeness.get(node, ())):
            squares = slices[..., channel]
            distances = likeness.distances(squares)
            distance = float(np.median(distances))
            farthest = distance if math.isnan(farthest) else max(farthest, distance)
            if distance > 1:
                middle = squares[int(np.argmin(np.abs(distances - distance)))]
                mistake = likeness.mistake(middle)
                why = f"; it looks as if {mistake}" if mistake else ""
                name = self._slices[node]["channels"][channel]["name"]
                warnings.append(
                    f"{name} unlike the training images (distance {distance:.1f}, limit 1){why}"
                )
        return farthest, warnings

    def _mask(self, node: str, channels: list[Channel]) -> tuple[Volume, np.ndarray, list[str]]:
        """What is marked, the slices uint8 [K, S, S, C] as the model takes them, and warnings."""
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
        together = np.stack(slices, axis=-1)
        found = self._predict(together)
        placed = volume.resample(volume.from_axial_pictures(found, grid), grids[0], 0.0)
        marked = placed.array >= self._exported.metadata.threshold
        return Volume(marked.astype(np.float32), grids[0].affine), together, warnings

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
