"""Makes DICOM files in memory for tests."""

from __future__ import annotations

import io

import gdcm
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
import pydicom.encaps


def dataset(pixels: np.ndarray, bits: int | None = None, **elements: object) -> FileDataset:
    """Returns an uncompressed MONOCHROME2 image of integers [H, W], with further elements."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uid.UID("1.2.3")
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, uid.UID("1.2.3")
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape[:2]
    made.BitsAllocated = 8 * pixels.dtype.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OW" if made.BitsAllocated == 16 else "OB"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def to_bytes(made: Dataset) -> bytes:
    """Returns the file."""
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def encapsulate(made: FileDataset, syntax: str, frame: bytes) -> FileDataset:
    """Replaces the pixels by one compressed frame."""
    made.file_meta.TransferSyntaxUID = uid.UID(syntax)
    made.PixelData = pydicom.encaps.encapsulate([frame])
    made["PixelData"].VR = "OB"
    return made


def transcode(data: bytes, syntax: int, folder) -> bytes:
    """Compresses a file with GDCM.

    Args:
      data: an uncompressed file.
      syntax: one of `gdcm.TransferSyntax`.
      folder: where to put temporary files.
    """
    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target.read_bytes()


def lut(first: int, depth: int, data: list[int] | bytes, entries: int | None = None) -> Dataset:
    """Returns an item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [entries or len(data), first % 65536, depth])
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return item
