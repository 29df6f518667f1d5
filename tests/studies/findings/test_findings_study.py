"""What makes a classifier again and again."""

import numpy as np
import pytest

from tffcxr.studies.findings import findings_study


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_builder_gives_one_model_per_block_with_its_initial_weights(precision):
    build = findings_study.model_builder("standard", 32, 2, "none", "aggregate", 0, precision)
    first = build(None)
    initial = first.keras.get_weights()
    first.keras.set_weights([np.zeros_like(weight) for weight in initial])
    again, frozen = build(None), build("representation")
    assert again is first and frozen is not first
    for model in (again, frozen):
        for weight, expected in zip(model.keras.get_weights(), initial):
            np.testing.assert_array_equal(weight, expected)
    assert len(frozen.keras.trainable_weights) == 2 < len(first.keras.trainable_weights)
