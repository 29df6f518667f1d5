"""Axial slices of volumes, written once as arrays, from which shards are made as from images.

    <cache>/slices/<fingerprint of a case>.npy         uint8 [K, S, S, channels]
    <cache>/slices/<fingerprint of a case>_mask.npy    uint8 [K, S, S, 1] of 0 and 1

Every case goes through the same steps: the grid of the slices is laid around the mask's (see
`volume.axial_grid`), all images of the case are resampled to it, linearly, and the mask by the
nearest voxel, and the units of each modality become grey. A row of the records table is one slice,
`<file>.npy#<number>`, from foot to head; the row's patient keeps all of them in one split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import sys
from typing import Any
import warnings

import numpy as np
import pandas as pd
import tqdm

from tffcxr import files
from tffcxr.clients.shards import decoding, fingerprint
from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as regions
from tffcxr.datasets.imaging import dicom, dicom_codecs, grey
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.volumes import case_header, cases, dicom_series, intensity, nifti, suv, volume
from tffcxr.datasets.volumes.cases import Case, Channel, GreyScale
from tffcxr.datasets.volumes.volume import Grid, Volume
from tffcxr.errors import InputError

# Everything of this project that turns the files of a case into slices.
_CODE = (cases, dicom, dicom_codecs, dicom_series, grey, intensity, nifti, suv, volume)
_WORTH_A_POOL = 8  # Cases; starting workers takes a second or two.


@dataclasses.dataclass(frozen=True)
class SliceSpec:
    """What a slice looks like.

    Attributes:
      image_size: rows and columns.
      field_of_view: side in mm.
      grey_scale: how values become grey.
    """

    image_size: int
    field_of_view: float
    grey_scale: GreyScale = GreyScale()

    def __post_init__(self):
        if self.image_size < 1 or not 0 < self.field_of_view < float("inf"):
            raise InputError(
                f"expected an image size and a field of view above 0, found {self.image_size} and "
                f"{self.field_of_view}"
            )

    def describe(self, channels: Mapping[str, str]) -> dict[str, Any]:
        """Says in JSON values what a slice is, for programs that make such slices.

        Args:
          channels: the name of each channel, in order, and its kind, see `cases.Channel`.
        """
        return {
            "field_of_view_mm": self.field_of_view,
            "orientation": "axial",
            "channels": [
                {"name": name, "kind": kind, "grey": self.grey_scale.describe(kind)}
                for name, kind in channels.items()
            ],
            "grey_scale": dataclasses.asdict(self.grey_scale),
        }


@dataclasses.dataclass(frozen=True)
class _Job:
    """One case to be written.

    Attributes:
      case: what.
      spec: how.
      stem: path of the files without their endings.
    """

    case: Case
    spec: SliceSpec
    stem: str

    @property
    def path(self) -> str:
        """For messages."""
        return str(self.case.mask.parent)


def load_records(
    found: Sequence[Case],
    site: str,
    spec: SliceSpec,
    cache_dir: pathlib.Path,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Returns the records table of all slices of some cases, with "mask" and without findings.

    Slices that are not in the cache are made now; a run that is killed leaves whole cases only. A
    case whose mask is empty is kept, with a warning: the patient may be well, or not yet outlined.

    Args:
      found: the cases, with different patients and the same number of channels.
      site: the name of the hospital.
      spec: what a slice looks like.
      cache_dir: folder of the cache, made if missing.
      workers: processes; None for one per available core.
      progress: whether to draw a progress bar, if stderr is a terminal.

    Raises:
      InputError: a case cannot be read, its images or its slices do not show the region, or the
        cache cannot be written.
    """
    folder = cache_dir / "slices"
    jobs = [_Job(case, spec, str(folder / _fingerprint(case, spec))) for case in found]
    missing = [job for job in jobs if not os.path.exists(_image_file(job.stem))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results = decoding.in_order(_write, missing, len(missing), workers, 1, _WORTH_A_POOL)
        off = None if progress and sys.stderr.isatty() else True
        with (
            contextlib.closing(results),
            tqdm.tqdm(total=len(missing), desc=f"slices of {site}", disable=off) as bar,
        ):
            for message in results:
                if message is not None:
                    raise InputError(message)
                bar.update()
    except OSError as error:
        raise InputError(f"cannot write slices to {folder}: {error}") from None
    rows = []
    for job in jobs:
        # Here and not where slices are made: the cache must not silence it, nor a worker process.
        if not any(part.any() for part in np.load(_mask_file(job.stem), mmap_mode="r")):
            warnings.warn(f"{job.case.mask} has nothing marked", stacklevel=2)
        header = case_header.read(job.case)
        for number in range(len(np.load(_image_file(job.stem), mmap_mode="r"))):
            rows.append(
                {
                    "image": f"{_image_file(job.stem)}#{number}",
                    "patient": job.case.patient,
                    "site": site,
                    "age": header.age,
                    "sex": header.sex,
                    "scanner": header.scanner,
                    "mask": regions.MaskFile(f"{_mask_file(job.stem)}#{number}"),
                }
            )
    return records.build(rows, [], site)


def make_slices(case: Case, spec: SliceSpec) -> tuple[np.ndarray, np.ndarray]:
    """Reads a case and cuts it into slices.

    Returns:
      (images, masks), uint8 [K, S, S, channels] and uint8 [K, S, S, 1] of 0 and 1, as radiologists
      hang axial slices, from foot to head.

    Raises:
      ImageError: a file cannot be read, or the region is not within the slices and all images, or
        so small that no pixel of the slices shows it.
    """
    region = cases.read_region(case.mask)
    grid = volume.axial_grid(region.grid, spec.image_size, spec.field_of_view)
    cases.check_shown(
        region.array > 0,
        volume.covered(grid, region.grid),
        f"slices of {spec.field_of_view:g} mm",
        case.mask,
    )
    channels = []
    for channel in case.channels:
        image = cases.read(channel)
        cases.check_shown(
            region.array > 0,
            volume.covered(image.grid, region.grid),
            str(channel.path),
            case.mask,
        )
        channels.append(slice_image(image, channel, grid, spec.grey_scale))
    mask = volume.resample(region, grid, 0.0, is_mask=True)
    masks = volume.axial_pictures(mask).astype(np.uint8)
    if region.array.any() and not masks.any():
        # An empty prediction would count as correct although there is a lesion.
        raise ImageError(
            f"{case.mask}: expected the region in at least one pixel of {spec.image_size}x"
            f"{spec.image_size} over {spec.field_of_view:g} mm, found it too small "
            f"({np.count_nonzero(region.array)} voxels): use a larger --image_size or a smaller "
            "--field_of_view"
        )
    return np.stack(channels, axis=-1), masks[..., np.newaxis]


def slice_image(image: Volume, channel: Channel, grid: Grid, grey_scale: GreyScale) -> np.ndarray:
    """Cuts one image of a case, read from `channel`, into slices on a grid: uint8 [K, S, S].

    Raises:
      ImageError: its values have no grey.
    """
    seen = volume.resample(image, grid, cases.outside(channel.kind))
    try:
        shades = grey_scale.apply(channel.kind, seen.array, image.array)
    except InputError as error:
        raise ImageError(f"{channel.path}: {error}") from None
    return volume.axial_pictures(dataclasses.replace(seen, array=shades))


def _write(job: _Job) -> str | None:
    """Writes the slices of one case; returns why it cannot, in a worker process or in this one."""
    try:
        images, masks = make_slices(job.case, job.spec)
    except ImageError as error:
        return str(error)
    # The mask first: where there are images, there is a mask.
    for path, array in ((_mask_file(job.stem), masks), (_image_file(job.stem), images)):
        files.write_atomically(pathlib.Path(path), functools.partial(np.save, arr=array))
    return None


def _image_file(stem: str) -> str:
    return f"{stem}.npy"


def _mask_file(stem: str) -> str:
    return f"{stem}_mask.npy"


def _fingerprint(case: Case, spec: SliceSpec) -> str:
    """16 hexadecimal digits that change with the files of the case, the slices and the code."""
    digest = hashlib.sha256(repr(spec).encode())
    for module in (sys.modules[__name__], *_CODE):
        assert module.__file__ is not None
        digest.update(pathlib.Path(module.__file__).read_bytes())
    digest.update(repr([channel.kind for channel in case.channels]).encode())
    for path in case.paths:
        digest.update(repr((os.path.abspath(path), fingerprint.file_state(path))).encode())
        for parent, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                file = os.path.join(parent, name)
                digest.update(repr((file, fingerprint.file_state(file))).encode())
    return digest.hexdigest()[:16]
