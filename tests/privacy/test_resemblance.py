"""A changed radiograph is found wherever it is; figures that show none are not taken for one."""

import base64
from collections.abc import Callable
import io

import matplotlib
from matplotlib import pyplot
import numpy as np
from PIL import Image
import pytest

from tests.datasets import dicom_files
from tests.privacy import resemblance
from tffcxr.datasets.phantoms.chest import radiograph

SIZE = 64


def _grey(pixels):
    low, high = int(pixels.min()), int(pixels.max())
    return ((pixels.astype(np.float32) - low) * (255 / (high - low))).astype(np.uint8)


SOURCES = [
    _grey(radiograph.draw(seed, SIZE, pneumonia=0.9 if seed % 2 else None).pixels)
    for seed in range(12)
]
SEARCH = resemblance.Sources(SOURCES)


def _resized(image, side):
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def _under_heat(image, opacity=0.4, centre=(0.6, 0.35)):
    """As the report shows Grad-CAM."""
    y, x = (np.mgrid[: len(image), : len(image)] + 0.5) / len(image)
    heat = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 0.05)
    colours = 255 * matplotlib.colormaps["jet"](heat)[..., :3]
    return ((1 - opacity) * image[..., np.newaxis] + opacity * colours).astype(np.uint8)


def _jpeg(image, quality=25):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _in_a_figure(panel):
    """Beside others on a white page with lines and words."""
    figure = pyplot.figure(figsize=(5, 3), dpi=60)
    axes = figure.add_subplot(1, 2, 1, title="Federated model")
    axes.plot([0, 1], [0, 1])
    axes = figure.add_subplot(1, 2, 2, title="0.83")
    axes.imshow(panel, cmap="gray")
    axes.axis("off")
    return _drawn(figure)


def _drawn(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    pyplot.close(figure)
    return np.asarray(Image.open(file).convert("RGB"))


def _noisy(image):
    noise = np.random.default_rng(0).normal(0, 20, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nothing": lambda image: image,
    "larger": lambda image: _resized(image, 150),
    "smaller": lambda image: _resized(image, 32),
    "inverted": lambda image: 255 - image,
    "contrast": lambda image: (255 * (image / 255) ** 2.2).astype(np.uint8),
    "faint": lambda image: (120 + image // 16).astype(np.uint8),
    "jpeg": _jpeg,
    "noise": _noisy,
    "cropped": lambda image: image[6:-6, 6:-6],
    "heat map": _under_heat,
    "strong heat map": lambda image: _under_heat(image, 0.6, (0.3, 0.6)),
    "in a figure": _in_a_figure,
    "heat map in a figure": lambda image: _in_a_figure(_under_heat(_resized(image, 128))),
    "inverted and cropped": lambda image: 255 - image[4:-4, 4:-4],
}


def _as_rgb(image):
    return np.asarray(Image.fromarray(image).convert("RGB"))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_source_is_found(change):
    for number in (0, 5, 10):
        picture = _as_rgb(CHANGES[change](SOURCES[number]))
        found = SEARCH.closest("a", picture)
        assert abs(found.correlation) > resemblance.THRESHOLD + 0.04, (number, found)


def test_a_source_that_is_as_it_was_is_named():
    for number in (1, 6, 11):
        found = SEARCH.closest("a", _as_rgb(SOURCES[number]))
        assert found.source == number and found.correlation > 0.99


def test_the_place_of_a_source_in_a_page_is_found():
    for number in (1, 6, 11):
        page = np.full((160, 200), 255, np.uint8)
        page[40:136, 70:166] = _resized(SOURCES[number], 96)
        found = SEARCH.closest("a", _as_rgb(page))
        assert found.correlation > resemblance.THRESHOLD + 0.04
        left, top, side = found.box  # Of the whole or of what is within its border.
        assert 65 <= left < left + side <= 171 and 35 <= top < top + side <= 141 and side > 60


def _curves():
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 4), dpi=60)
    steps = np.sort(np.random.default_rng(0).random((4, 30)), axis=1)
    for number, step in enumerate(steps):
        left.step(np.linspace(0, 1, 30), step, label=f"Model {number}, AUROC 0.{number}9")
    left.plot([0, 1], [0, 1], "--")
    left.legend()
    right.errorbar([1, 2, 3], [0.4, 0.5, 0.7], [0.1, 0.1, 0.2])
    right.grid()
    return _drawn(figure)


def _bars():
    figure, axes = pyplot.subplots(figsize=(5, 4), dpi=60)
    axes.barh(["north", "south", "east"], [30, 50, 10])
    axes.barh(["north", "south", "east"], [10, 20, 40], left=[30, 50, 10])
    return _drawn(figure)


def _matrix():
    figure, axes = pyplot.subplots(figsize=(4, 4), dpi=60)
    axes.imshow([[30, 2, 1], [4, 20, 3], [0, 6, 25]], cmap="Blues")
    for place in range(9):
        axes.text(place % 3, place // 3, f"{place}")
    return _drawn(figure)


@pytest.mark.parametrize("draw", [_curves, _bars, _matrix])
def test_figures_without_radiographs_are_no_radiographs(draw):
    found = SEARCH.closest("a", draw())
    assert abs(found.correlation) < resemblance.THRESHOLD - 0.04, found


def test_even_and_random_pictures_are_no_radiographs():
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    for picture in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        assert abs(SEARCH.closest("a", picture).correlation) < resemblance.THRESHOLD - 0.04


def test_pictures_are_found_in_every_kind_of_file(tmp_path):
    image = SOURCES[0]
    file = io.BytesIO()
    Image.fromarray(255 - image).save(file, "PNG")
    uri = base64.b64encode(file.getvalue()).decode()
    (tmp_path / "a.html").write_text(f'<img src="data:image/png;base64,{uri}">')
    Image.fromarray(image).save(tmp_path / "b.jpg", quality=90)
    np.savez_compressed(tmp_path / "c.npz", a=np.stack([image, image[::-1]]), b=image[..., None])
    made = dicom_files.dataset(np.rot90(image).astype(np.uint16) * 16, 12)
    (tmp_path / "d").write_bytes(dicom_files.to_bytes(made))
    Image.fromarray(image[:8, :8]).save(tmp_path / "small.png")
    found = dict(resemblance.pictures_in(tmp_path))
    assert list(found) == ["a.html > data URI 0", "b.jpg", "c.npz > a.npy [0]", "c.npz > a.npy [1]",
                           "d [0]"]  # fmt: skip
    np.testing.assert_array_equal(found["c.npz > a.npy [1]"][..., 1], image[::-1])
    for place, picture in found.items():
        if not place.startswith(("d", "c.npz > a.npy [1]")):
            assert abs(SEARCH.closest(place, picture).correlation) > 0.9
