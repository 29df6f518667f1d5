"""Pictures show the image pixel by pixel, and only what the model calls."""

import numpy as np
from PIL import Image
import pytest

from tests.models.files import exported_models
from tffcxr.models.files import metadata
from tffcxr.prediction import answers, overlays, predictor, reading
from tffcxr.prediction.answers import Answer, Row
from tffcxr.prediction.predictor import Predicted

PICTURE = np.random.default_rng(0).integers(0, 256, (410, 430, 1), dtype=np.uint8)


def _image(picture=PICTURE):
    square = np.random.default_rng(1).integers(0, 256, (16, 16, 1), dtype=np.uint8)
    return reading.Image(
        "x/a.dcm", square=square, shape=picture.shape[:2], stored_shape=picture.shape[:2],
        picture=picture,
    )  # fmt: skip


def _read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_every_pixel_of_the_image_is_a_dot():
    opacity = np.zeros(PICTURE.shape[:2])
    opacity[100:200, 50:90] = 1.0
    drawn = overlays.draw(PICTURE, np.array([255, 0, 10], np.uint8), opacity, "title", "heat")
    shown = drawn[-410:, :430]
    expected = np.repeat(PICTURE, 3, axis=2)
    expected[100:200, 50:90] = [255, 0, 10]
    np.testing.assert_array_equal(shown, expected)
    # Beside it, the colours of the scale; above it, the title.
    assert (drawn[-410:, 430:] != 255).any() and (drawn[:-410] != 255).any()


def test_small_images_are_enlarged_by_a_whole_number():
    drawn = overlays.draw(PICTURE[:40, :30], np.zeros(3, np.uint8), np.zeros((40, 30)), "title")
    np.testing.assert_array_equal(
        drawn[-400:], PICTURE[:40, :30].repeat(10, 0).repeat(10, 1).repeat(3, 2)
    )


def test_only_what_is_called_has_a_heat_map(tmp_path):
    exported = exported_models.exported(metadata.FINDINGS)
    explainer = overlays.Explainer(exported)
    maps = overlays.HeatMaps(tmp_path / "new", explainer)
    rows = [
        Row(name, 0.5, "", (), called)
        for name, called in zip(exported_models.FINDINGS, (False, True))
    ]
    maps.write(3, Predicted(_image(), Answer("x/a.dcm", tuple(rows))))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["0003_a_pneumothorax.png"]
    assert explainer.not_called == 1
    maps.write(4, Predicted(_image(), Answer("b", (Row("Lung Opacity", 0.5, "none"),))))
    assert (tmp_path / "new" / "0004_b_lung-opacity.png").exists()  # It has no operating point.
    assert explainer.not_called == 1


def test_a_map_without_heat_says_so(tmp_path, monkeypatch):
    titles: list[str] = []
    drawn = overlays.draw

    def draw(*given):
        titles.append(given[3])
        return drawn(*given)

    monkeypatch.setattr(overlays, "draw", draw)
    answer = Answer("x/a.dcm", (Row("Lung Opacity", 0.5, "", (), True),))
    for scale in (0.0, 1.0):
        monkeypatch.setattr(
            overlays.gradcam, "grad_cam", lambda *_, scale=scale, **__: np.full((1, 16, 16), scale)
        )
        explainer = overlays.Explainer(exported_models.exported(metadata.FINDINGS))
        overlays.HeatMaps(tmp_path, explainer).write(1, Predicted(_image(), answer))
    assert titles == [
        "Lung Opacity: 0.500, though Grad-CAM finds no place that speaks for it",
        "Lung Opacity: 0.500",
    ]


def test_a_mask_is_0_and_255_in_the_rows_and_columns_of_the_file(tmp_path):
    exported = exported_models.exported(metadata.MASKS, seed=1)
    (predicted,) = predictor.Predictor(exported, 1).predict([_image()])
    overlays.Masks(tmp_path).write(1, predicted)
    with Image.open(tmp_path / "0001_a_lungs.png") as image:
        assert image.mode == "L"
        mask = np.asarray(image)
    assert predicted.mask is not None and predicted.mask.any()
    np.testing.assert_array_equal(mask, np.where(predicted.mask, 255, 0))
    shown = _read(tmp_path / "0001_a_lungs_overlay.png")[-410:, :430]
    np.testing.assert_array_equal(
        (shown[..., 0] == PICTURE[..., 0]) & (shown[..., 2] == PICTURE[..., 0]) | predicted.mask,
        True,
    )


@pytest.mark.parametrize("probability,call", [(0.4, "above"), (0.39, "below")])
def test_a_probability_at_the_operating_point_is_above(probability, call):
    assert answers.call(probability, 0.4) == call


def test_a_name_in_utf8_stays_as_it_is():
    assert answers.readable("Röntgen/é.png") == "Röntgen/é.png"
