"""A model of the lungs alone gets what its training would have given it."""

import json

import numpy as np
from PIL import Image
import tensorflow as tf

from tests.models.files import exported_models
from tffcxr.datasets.imaging import images
from tffcxr.models.files import export, metadata
from tffcxr.prediction import session

SIZE = 64


def _lung_model():
    """Marks what is dark."""
    pixels = tf.keras.Input((SIZE, SIZE, 1))
    logits = tf.keras.layers.Rescaling(-100.0, 50.0)(pixels)
    about = exported_models.about(metadata.MASKS, image_size=SIZE, threshold=0.5)
    return export.Exported(
        export.with_probabilities(tf.keras.Model(pixels, logits), "sigmoid"), about
    )


def _chest(lungs):
    """A bright body of 120 x 90 pixels with dark lungs, ellipses around these columns."""
    rows, columns = np.mgrid[:120, :90]
    picture = np.full((120, 90), 200, np.uint8)
    noise = np.random.default_rng(0).integers(0, 60, picture.shape, dtype=np.uint8)
    for column in lungs:
        inside = ((rows - 60) / 40) ** 2 + ((columns - column) / 16) ** 2 < 1
        picture[inside] = noise[inside]
    return picture


def test_what_is_outside_of_plausible_lungs_is_black(tmp_path, capsys):
    model, lung_model = tmp_path / "m.keras", tmp_path / "lungs.keras"
    exported = exported_models.exported("classes", seed=1, cut_out=True)
    export.save(model, exported)
    export.save(lung_model, _lung_model())
    both, one = _chest((25, 65)), _chest((25,))
    for name, picture in (("both", both), ("one", one)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    wanted = session.Wanted(json=tmp_path / "a.json", lung_model=lung_model)
    paths = [str(tmp_path / f"{name}.png") for name in ("both", "one")]
    assert session.predict(model, [], paths, wanted) == []
    assert "which another model had cut out" in capsys.readouterr().out
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    # The lungs are those of the 64 x 64 square, so that their edge is coarser than the image's.
    coarse = images.fit_to_square(both, SIZE) < 128
    place = images.place_in_square(both.shape, SIZE, "pad")
    lungs = images.take_nearest(coarse[place], *both.shape).astype(np.uint8)
    small = [
        images.fit_to_square(both, 16) * images.fit_to_square(lungs, 16, is_mask=True),
        images.fit_to_square(one, 16),
    ]
    expected = exported.keras(np.stack(small)[..., np.newaxis].astype(np.float32) / 255).numpy()
    for file, row in zip(found["files"], expected):
        answers = [answer["probability"] for answer in file["answers"]]
        np.testing.assert_allclose(answers, row, atol=1e-6)
    assert not found["files"][0]["warnings"]
    (warning,) = found["files"][1]["warnings"]
    assert warning.startswith("the whole image was used, since its predicted lungs are implausible")
