"""The number that tells why a client failed, there and back."""

import pytest
import tensorflow as tf

from tests.learning import tiny
from tffcxr.learning import failure
from tffcxr.learning.weight_groups import WeightPartition


@pytest.mark.parametrize(
    "weights,loss,expected",
    [
        ([True, True], True, None),
        ([True, True], False, failure.Failure(None)),
        ([True, False], True, failure.Failure(1)),
        ([False, False], False, failure.Failure(0)),  # The first weight says most.
    ],
)
def test_what_is_encoded_is_decoded(weights, loss, expected):
    code = failure.encode(tf.constant(weights), tf.constant(loss))
    assert failure.decode(int(code)) == expected
    assert bool(failure.succeeded(code)) is (expected is None)


def test_a_layer_is_named():
    partition = WeightPartition.of(tiny.image_model(), ["head"])
    assert failure.Failure(None).describe(partition) == "loss is not finite"
    assert failure.Failure(0).describe(partition) == "layer conv is not finite"
