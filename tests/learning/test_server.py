"""The server's step on the batch-norm statistics."""

import collections

import numpy as np
import pytest
import tensorflow_federated as tff

from tffcxr import runtime
from tffcxr.learning import optimizers, server
from tffcxr.learning.weight_groups import Statistic


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


def test_statistics_take_the_mean_itself_and_a_variance_stays_at_zero_or_above():
    pair = tff.TensorType(np.float32, [2])
    update_type = tff.types.to_type(
        collections.OrderedDict(trainable=(pair,), statistics=(pair, pair))
    )
    weights_type = tff.types.to_type(
        collections.OrderedDict(trainable=(pair,), statistics=(pair, pair), constants=())
    )
    initialize, step = server.build_server_step(
        optimizers.server_optimizer("average", 0.5),
        weights_type,
        update_type,
        [Statistic.MEAN, Statistic.VARIANCE],
    )
    ones = np.ones(2, np.float32)
    down = np.array([-0.25, -3.0], np.float32)
    _, moved = step(
        initialize(),
        collections.OrderedDict(trainable=(ones,), statistics=(ones, ones), constants=()),
        collections.OrderedDict(trainable=(down,), statistics=(down, down)),
    )
    np.testing.assert_allclose(moved["trainable"][0], [0.875, -0.5])  # half of the mean update
    np.testing.assert_allclose(moved["statistics"][0], [0.75, -2.0])
    np.testing.assert_allclose(moved["statistics"][1], [0.75, 0.0])
