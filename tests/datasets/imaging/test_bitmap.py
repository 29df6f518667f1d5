"""PNG and JPEG files of all the kinds that chest X-rays come in."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin
import pytest
import simplejpeg

from tffcxr.datasets.imaging import bitmap
from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.sources import mask_folders

_PIXELS = np.add.outer(np.arange(20), np.arange(30) * 4).astype(np.uint8)  # [20, 30]


def _file(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_grey_png_is_exact():
    np.testing.assert_array_equal(bitmap.decode(_file(PIL.Image.fromarray(_PIXELS))), _PIXELS)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_in_several_channels_is_grey(mode):
    data = _file(PIL.Image.fromarray(_PIXELS).convert(mode))
    np.testing.assert_array_equal(bitmap.decode(data), _PIXELS)


def test_palette_is_looked_up():
    image = PIL.Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([9, 9, 9, 200, 200, 200, 50, 50, 50])
    assert bitmap.decode(_file(image)).tolist() == [[9, 200, 50]]


def test_one_bit_png():
    image = PIL.Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert bitmap.decode(_file(image)).tolist() == [[0, 255]]


def test_colour_becomes_luma():
    image = PIL.Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    assert bitmap.decode(_file(image)).tolist() == [[76, 150, 29]]  # 0.299, 0.587, 0.114.


def test_transparency_becomes_black():
    pixels = np.full((1, 2, 4), 200, np.uint8)
    pixels[0, :, 3] = [255, 0]
    assert bitmap.decode(_file(PIL.Image.fromarray(pixels))).tolist() == [[200, 0]]


def test_sixteen_bits_are_stretched():
    pixels = np.array([[1000, 2000, 3000]], np.uint16)
    assert bitmap.decode(_file(PIL.Image.fromarray(pixels))).tolist() == [[0, 128, 255]]


def test_sixteen_bits_of_one_value_are_refused():
    with pytest.raises(ImageError, match="found 7 in every pixel"):
        bitmap.decode(_file(PIL.Image.fromarray(np.full((2, 2), 7, np.uint16))))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(progressive):
    data = _file(PIL.Image.fromarray(_PIXELS), "JPEG", quality=95, progressive=progressive)
    assert np.abs(bitmap.decode(data).astype(int) - _PIXELS).max() <= 3


def test_colour_jpeg_of_a_grey_image():
    data = _file(PIL.Image.fromarray(_PIXELS).convert("RGB"), "JPEG", quality=95)
    assert np.abs(bitmap.decode(data).astype(int) - _PIXELS).max() <= 3


def test_cmyk_jpeg_is_refused():
    with pytest.raises(ImageError, match="found CMYK"):
        bitmap.decode(_file(PIL.Image.fromarray(_PIXELS).convert("CMYK"), "JPEG"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_that_of_pillow(kind, orientation):
    image = PIL.Image.fromarray(_PIXELS)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = _file(image, kind, exif=exif)
    with PIL.Image.open(io.BytesIO(data)) as tagged:
        upright = np.asarray(PIL.ImageOps.exif_transpose(tagged))
    assert upright.shape == ((20, 30) if orientation < 5 else (30, 20))
    assert np.abs(bitmap.decode(data).astype(int) - upright).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_truncated_file_is_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    data = _file(PIL.Image.fromarray(noise), kind)
    with pytest.raises(ImageError, match=f"intact {kind} file"):
        bitmap.decode(data[: int(len(data) * share)])


def test_truncated_jpeg_with_an_end_marker_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    data = _file(PIL.Image.fromarray(noise), "JPEG")
    with pytest.raises(ImageError, match="premature end"):
        bitmap.decode(data[: len(data) // 2] + b"\xff\xd9")


def test_png_with_a_wrong_checksum_is_refused():
    data = bytearray(_file(PIL.Image.fromarray(_PIXELS)))
    data[data.index(b"IDAT") + 10] ^= 1
    with pytest.raises(ImageError, match="intact PNG file"):
        bitmap.decode(bytes(data))


def test_animation_is_refused():
    frames = [PIL.Image.fromarray(_PIXELS), PIL.Image.fromarray(_PIXELS[::-1])]
    data = _file(frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animation of 2 frames"):
        bitmap.decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged_files_are_refused_or_decoded_but_nothing_else(kind):
    rng = np.random.default_rng(1)
    data = _file(PIL.Image.fromarray(_PIXELS), kind)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(8, len(data))] = rng.integers(0, 256)
        try:
            assert bitmap.decode(bytes(damaged)).dtype == np.uint8
            outcomes.add("decoded")
        except ImageError:
            outcomes.add("refused")
    assert "refused" in outcomes


def _huge_png():
    """Returns a small PNG file of 13000 x 13000 pixels."""
    rows = zlib.compressobj()
    packed = b"".join(rows.compress(bytes(1 + 13000 // 8)) for _ in range(13000)) + rows.flush()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 13000, 13000, 1, 0, 0, 0, 0)),
        (b"IDAT", packed),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.filterwarnings("error")
def test_more_pixels_than_any_detector_has_are_refused_before_they_are_decoded(
    monkeypatch, tmp_path
):
    png = _huge_png()
    assert len(png) < 1 << 16
    jpeg = bytearray(_file(PIL.Image.fromarray(_PIXELS), "JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", 20000, 20000)
    monkeypatch.setattr(PIL.PngImagePlugin.PngImageFile, "load", None)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", None)
    for data, side in ((png, 13000), (bytes(jpeg), 20000)):
        with pytest.raises(ImageError) as error:
            bitmap.decode(data)
        if side == 13000:
            assert str(error.value) == (
                "expected an image of 1 to 40000000 pixels, found 13000x13000"
            )
        assert "\n" not in str(error.value)
    (tmp_path / "a.png").write_bytes(png)
    assert mask_folders.size(str(tmp_path / "a.png")) is None


def test_the_largest_images_are_read():
    side = 6144  # Film of 43 cm at 0.07 mm.
    data = _file(PIL.Image.new("L", (side, side), 7))
    assert bitmap.decode(data).shape == (side, side)
