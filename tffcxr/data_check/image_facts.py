"""What one file says of itself: header, size, grey values, a thumbnail, text burned into it."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import dataclasses
import hashlib

import cv2
import imagehash
import numpy as np
import PIL.Image
import tqdm

from tffcxr.clients.shards import decoding
from tffcxr.data_check import burned_in
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import dicom_header
from tffcxr.errors import InputError, one_line
from tffcxr.prediction import image_checks

THUMBNAIL = 64  # Pixels a side.
CHEST = image_checks.Expected(modalities=("CR", "DX", "RG"), views=(), image_size=0)
_LARGEST = 1024  # Pixels of the longer side that text is looked for in.
_CHUNK = 16
_WORTH_A_POOL = 200

_QUANTILES = (0.05, 0.5, 0.95)


@dataclasses.dataclass(frozen=True)
class Task:
    """One file to look at.

    Attributes:
      path: of the image, as in a records table.
    """

    path: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of one image.

    Attributes:
      reason: why it cannot be read; "" if it can.
      modality: of the DICOM header, "" where there is none.
      body_part: of the header, or "".
      view: of the header, or "".
      bits: per pixel as stored; 0 unknown.
      height: rows of pixels.
      width: columns of pixels.
      refusal: why the header says that it is no chest radiograph, or "".
      remarks: what the header says of it that may be wrong, such as a lateral view.
      digest: of the grey pixels.
      hashed: perceptual hash of 64 bits, see `imagehash.phash`.
      thumbnail: uint8 [64, 64] of the stretched image, as bytes.
      quantiles: 5 %, 50 % and 95 % of the grey values, in 0..1.
      letters: how many letters are burned in near the border, in the longest line.
    """

    reason: str = ""
    modality: str = ""
    body_part: str = ""
    view: str = ""
    bits: int = 0
    height: int = 0
    width: int = 0
    refusal: str = ""
    remarks: tuple[str, ...] = ()
    digest: bytes = b""
    hashed: int = 0
    thumbnail: bytes = b""
    quantiles: tuple[float, ...] = ()
    letters: int = 0

    @property
    def is_readable(self) -> bool:
        """Whether there are pixels."""
        return not self.reason


def measure_all(paths: Sequence[str]) -> list[Facts]:
    """Looks at many files, in processes, with progress; the result has the order of `paths`."""
    found = decoding.in_order(measure, map(Task, paths), len(paths), None, _CHUNK, _WORTH_A_POOL)
    with contextlib.closing(found):
        progress = tqdm.tqdm(found, "checking", len(paths), unit="file", disable=None)
        return list(progress)


def measure(task: Task) -> Facts:
    """Looks at one file."""
    texts = dicom_header.texts(task.path, image_checks.KEYWORDS)
    is_dicom, header = texts is not None, texts or {}
    checked = image_checks.check_texts(header, CHEST) if is_dicom else image_checks.Checked()
    about = Facts(
        modality=header.get("Modality", ""),
        body_part=header.get("BodyPartExamined", ""),
        view=header.get("ViewPosition", ""),
        bits=(dicom_header.bits(task.path) if is_dicom else None) or 0,
        refusal=checked.refusal,
        remarks=checked.warnings,
    )
    try:
        picture = images.read_image(task.path)
        image_checks.check_pixels(picture, CHEST)
        picture = picture[..., 0]
    except (InputError, OSError) as error:
        return dataclasses.replace(about, reason=one_line(error))
    small = images.fit_to_square(picture, THUMBNAIL, "stretch")
    return dataclasses.replace(
        about,
        bits=about.bits or 8,
        height=picture.shape[0],
        width=picture.shape[1],
        digest=hashlib.blake2b(picture.tobytes(), digest_size=16).digest(),
        hashed=int(str(imagehash.phash(PIL.Image.fromarray(small))), 16),
        thumbnail=small.tobytes(),
        quantiles=tuple(float(value) / 255 for value in np.quantile(small, _QUANTILES)),
        letters=burned_in.count_letters(_reduced(picture)),
    )


def thumbnails(facts: Sequence[Facts]) -> np.ndarray:
    """The thumbnails of readable images: uint8 [N, 64, 64]."""
    flat = np.frombuffer(b"".join(each.thumbnail for each in facts), np.uint8)
    return flat.reshape(-1, THUMBNAIL, THUMBNAIL)


def _reduced(picture: np.ndarray) -> np.ndarray:
    """The image [H, W] with a longer side of at most `_LARGEST`."""
    scale = _LARGEST / max(picture.shape)
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
