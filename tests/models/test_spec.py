"""One description makes every model of a study: fresh each time, with the same initial weights."""

import numpy as np
import pytest

from tffcxr.models.files import pretrained
from tffcxr.models.spec import ModelSpec


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_build_is_a_fresh_model_with_the_initial_weights(precision):
    spec = ModelSpec("standard", 32, 2, precision=precision)
    first = spec.build()
    initial = first.keras.get_weights()
    first.keras.set_weights([np.zeros_like(weight) for weight in initial])
    for model in (spec.build(), spec.build("representation"), spec.structure()):
        for weight, expected in zip(model.keras.get_weights(), initial):
            np.testing.assert_array_equal(weight, expected)
    assert len(spec.build("representation").keras.trainable_weights) == 2


def test_what_measures_computes_in_float32_with_weights_in_the_same_order():
    spec = ModelSpec("standard", 32, 2, precision="bfloat16")
    trained, measuring = spec.build().keras, spec.measuring_model().keras
    assert [w.name for w in trained.weights] == [w.name for w in measuring.weights]
    assert {layer.compute_dtype for layer in measuring.layers} == {"float32"}


def test_structures_read_a_file_of_weights_once_for_how_images_enter(tmp_path, monkeypatch):
    path = tmp_path / "weights.h5"
    source = ModelSpec("standard", 32, 2, seed=1).build().keras
    source.save_weights(path)
    spec = ModelSpec("standard", 32, 2, weights=str(path))
    kernel = spec.build().keras.get_layer("conv1").get_weights()[0]
    np.testing.assert_array_equal(kernel, source.get_layer("conv1").get_weights()[0])
    assert spec.structure().keras.count_params() == source.count_params()
    monkeypatch.setattr(pretrained, "read", None)
    assert spec.structure().keras.count_params() == source.count_params()
    with pytest.raises(TypeError):
        spec.build()
