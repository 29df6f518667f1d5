"""Batches give what single images give, and nothing stops at a bad file."""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image
import pytest

from tests.models.files import exported_models
from tffcxr.models.files import metadata
from tffcxr.prediction import predictor, reading


def _folder(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(7):
        pixels = rng.integers(0, 256, (20 + number, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"not an image")
    return [str(tmp_path / f"{number}.png") for number in range(7)]


def _predicted(exported, paths, batch_size):
    how = reading.Reading(predictor.expected_of(exported), "pad", keep_pictures=True)
    images = reading.read_all(paths, how)
    return list(predictor.Predictor(exported, batch_size).predict(images))


@pytest.mark.parametrize("kind", [metadata.FINDINGS, metadata.CLASSES, metadata.MASKS])
@pytest.mark.parametrize("batch_size", [2, 3, 64])
def test_batches_give_what_single_images_give(tmp_path, kind, batch_size):
    exported = exported_models.exported(kind, seed=1)
    paths = _folder(tmp_path)
    found = _predicted(exported, paths, batch_size)
    assert [one.answer.status for one in found] == ["ok"] * 3 + ["unreadable"] + ["ok"] * 3
    for path, one in zip(paths, found):
        assert one.answer.file == path
        if one.answer.status != "ok":
            assert one.answer.error.startswith(f"{path}: expected") and not one.answer.rows
            continue
        expected = exported.predict(path)
        if isinstance(expected, dict):
            numbers = [row.number for row in one.answer.rows]
            np.testing.assert_allclose(numbers, list(expected.values()), atol=1e-6)
        else:
            assert one.mask is not None
            np.testing.assert_array_equal(one.mask, expected)
            assert one.answer.rows[0].number == expected.mean()


def test_no_more_than_a_batch_is_read_ahead():
    exported = exported_models.exported(metadata.CLASSES)
    taken = 0

    def images():
        nonlocal taken
        for _ in range(9):
            taken += 1
            yield reading.Image("a.png", square=np.zeros((16, 16, 1), np.uint8), shape=(16, 16))

    answers = predictor.Predictor(exported, 4).predict(images())
    next(answers)
    assert taken == 4
    assert len(list(answers)) == 8


def test_a_mask_has_the_rows_and_columns_of_the_file():
    """Where pixels are twice as high as wide, the image is resampled, and the mask is put back."""
    exported = exported_models.exported(metadata.MASKS, seed=1)
    square = np.random.default_rng(0).integers(0, 256, (16, 16, 1), dtype=np.uint8)
    image = reading.Image("a.dcm", square=square, shape=(40, 40), stored_shape=(20, 40))
    (found,) = predictor.Predictor(exported, 1).predict([image])
    assert found.mask is not None and found.mask.shape == (20, 40)
    assert 0 < found.answer.rows[0].number < 1


def test_an_image_unlike_those_trained_on_is_marked():
    class Likeness:
        """Stands for statistics that call every second image odd, and inverted."""

        def distances(self, squares):
            return np.where(squares[:, 0, 0] % 2, 2.5, 0.5)

        def mistake(self, square):
            return "its grey is inverted"

    likeness: Any = Likeness()
    exported = dataclasses.replace(exported_models.exported(metadata.CLASSES), likeness=likeness)
    read = [
        reading.Image("a.png", square=np.full((16, 16, 1), n, np.uint8), warnings=("odd",))
        for n in (1, 2)
    ]
    unlike, alike = (one.answer for one in predictor.Predictor(exported, 2).predict(read))
    assert unlike.warnings == (
        "odd",
        "unlike the training images (distance 2.5, limit 1); it looks as if its grey is inverted",
    )
    assert alike.warnings == ("odd",)
    assert (unlike.distance, alike.distance) == (2.5, 0.5)
