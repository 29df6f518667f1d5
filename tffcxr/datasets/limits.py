"""How large the files and header values of a dataset may be.

Larger files are damaged or hostile; they are rejected with a reason before memory is allocated.
"""

from __future__ import annotations

from tffcxr.datasets.imaging.image_error import ImageError

# Detectors have up to 5000 x 5000 pixels; film of 43 cm scanned at 0.07 mm has 6143 x 6143.
MAXIMUM_PIXELS = 40_000_000
# A body of 2048 slices of 512 x 512.
MAXIMUM_VOXELS = 1 << 29
# Files, and arrays in .npz files. The largest one read, PneumoniaMNIST of 224 x 224 pixels, unpacks
# to 236 MB.
MAXIMUM_BYTES = 1 << 30
# A DICOM data set when it is inflated: 16 bits a pixel, and room for the header.
MAXIMUM_INFLATED_BYTES = 2 * MAXIMUM_PIXELS + (16 << 20)
# Millimetres between the centres of neighbouring pixels, voxels or slices: finer than a microscope
# of whole slides needs, and coarser than a thumbnail of the whole chest.
SPACING_MM = (1e-3, 100.0)
# Between the two spacings of an image's pixels, the larger over the smaller.
MAXIMUM_ASPECT = 10.0
# Characters of an identifier or another entry of a table. DICOM allows 64, and file systems 255.
MAXIMUM_TEXT = 256
# Characters of a path, as Linux has it.
MAXIMUM_PATH = 4096


def check_pixels(height: int, width: int) -> None:
    """Checks the size that a file says its image has, before the image is decoded.

    Raises:
      ImageError: the image has no pixel, or more than `MAXIMUM_PIXELS`. The message lacks the path.
    """
    if height < 1 or width < 1 or height * width > MAXIMUM_PIXELS:
        raise ImageError(
            f"expected an image of 1 to {MAXIMUM_PIXELS} pixels, found {width}x{height}"
        )
