"""Files damaged at random are read or refused in one line; nothing else is ever raised."""

from __future__ import annotations

import pathlib
import random
import struct
import zlib

import numpy as np
import pydicom
import pytest

from tests.datasets import dicom_files
from tffcxr.datasets.imaging import grey, images
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.sources import dicom_header
from tffcxr.datasets.volumes import dicom_series

_RSNA = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "rsna"
_VRS = ("AS", "AT", "CS", "DS", "DT", "FD", "IS", "LO", "OB", "OW", "PN", "SQ", "UI", "UN", "US")
_EXTREMES = (
    b"\0",
    b"\xff",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x80",
    b"nan",
    b"-inf",
    b"1e9",
)


def _dicom_files():
    """Returns files as RSNA ships them, and one with all that a header may say of grey."""
    paths = sorted((_RSNA / "stage_2_train_images").glob("*.dcm"))
    made = dicom_files.dataset(
        np.arange(64, dtype=np.uint16).reshape(8, 8),
        12,
        Modality="CT",
        WindowCenter=[30, 1],
        WindowWidth=[60, 2],
        RescaleSlope="1",
        RescaleIntercept="-10",
        PixelSpacing=["0.2", "0.1"],
        PixelAspectRatio=["3", "4"],
        PixelPaddingValue=0,
        ImagePositionPatient=["0", "0", "0"],
        ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        SeriesInstanceUID="1.2.3",
        PatientID="7",
        PatientAge="062Y",
    )
    made.VOILUTSequence = [dicom_files.lut(0, 12, list(range(64)))]
    return [*(path.read_bytes() for path in paths[:3]), dicom_files.to_bytes(made)]


def _damage(data: bytes, rng: random.Random, start: int, stop: int) -> bytes:
    """Returns the file with one to three places between start and stop changed."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(start, min(stop, len(damaged)))
        kind = rng.randrange(5)
        if kind == 0:
            damaged[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            extreme = rng.choice(_EXTREMES)
            damaged[place : place + len(extreme)] = extreme
        elif kind == 2:
            del damaged[place : place + rng.randint(1, 8)]
        elif kind == 3:
            damaged[place:place] = rng.randbytes(rng.randint(1, 8))
        else:
            damaged[place:place] = damaged[place : place + rng.randint(1, 64)]
    return bytes(damaged)


def _retype(data: bytes, rng: random.Random) -> bytes:
    """Gives an element of a DICOM file another value representation."""
    places = [
        at
        for at in range(132, len(data) - 1)
        if data[at : at + 2].isupper() and data[at : at + 2].decode("latin-1") in _VRS
    ]
    place = rng.choice(places)
    return data[:place] + rng.choice(_VRS).encode() + data[place + 2 :]


def _read(path: pathlib.Path) -> str:
    """Returns "read" or "refused"; fails on everything else."""
    try:
        image = images.read_image(path)
    except ImageError as error:
        assert str(error).startswith(f"{path}: expected "), error
        assert "\n" not in str(error)
        return "refused"
    assert image.dtype == np.uint8
    assert image.ndim == 3
    return "read"


@pytest.mark.filterwarnings("error::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("part", ["header", "pixels", "types"])
def test_dicom(tmp_path, part):
    rng = random.Random(7)
    path = tmp_path / "x.dcm"
    outcomes = set()
    for data in _dicom_files():
        pixels = data.rindex(b"\xe0\x7f\x10\x00")
        for _ in range(60):
            if part == "types":
                damaged = _retype(data, rng)
            else:
                limits = (132, pixels + 12) if part == "header" else (pixels, len(data))
                damaged = _damage(data, rng, *limits)
            path.write_bytes(damaged)
            outcomes.add(_read(path))
            (header,) = dicom_header.read_headers([str(path)], "made")
            assert header.patient is None or isinstance(header.patient, str)
            try:
                dicom_series.read(tmp_path)
            except ImageError as error:
                assert "\n" not in str(error)
    assert outcomes == {"read", "refused"}


@pytest.mark.filterwarnings("error::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("with_checksums", [False, True])
def test_png(tmp_path, with_checksums):
    rng = random.Random(7)
    path = tmp_path / "x.png"
    outcomes = set()
    for original in sorted((_RSNA / "lung_masks").glob("*.png"))[:4]:
        data = original.read_bytes()
        for _ in range(60):
            if with_checksums:  # So that the damage gets past them.
                chunks = _chunks(data)
                number = rng.randrange(len(chunks) - 1)
                kind, content = chunks[number]
                chunks[number] = (kind, _damage(content, rng, 0, len(content)))
                if rng.random() < 0.2:
                    chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
                damaged = _png(chunks)
            else:
                damaged = _damage(data, rng, 8, len(data))
            path.write_bytes(damaged)
            outcomes.add(_read(path))
    assert "refused" in outcomes
    assert ("read" in outcomes) or not with_checksums


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_our_own_bugs_are_not_reported_as_bad_files(tmp_path, monkeypatch):
    path = tmp_path / "x.dcm"
    path.write_bytes(_dicom_files()[0])
    assert _read(path) == "read"

    def broken(*_):
        raise TypeError("a bug")

    monkeypatch.setattr(grey, "to_grey", broken)
    with pytest.raises(TypeError, match="a bug"):
        images.read_image(path)
    monkeypatch.undo()
    monkeypatch.setattr(pydicom, "dcmread", broken)  # pydicom does so on damaged files.
    assert _read(path) == "refused"
