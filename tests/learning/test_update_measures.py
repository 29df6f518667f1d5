"""What a server measures of updates: lengths and angles by hand, and of sketches in probability."""

from __future__ import annotations

import collections
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.learning import tiny
from tffcxr import runtime
from tffcxr.learning import aggregators, update_measures
from tffcxr.training import update_rows

METRICS = tff.types.to_type(
    collections.OrderedDict(loss=np.float32, labels=np.float32, images=np.int64, failed=np.int32)
)


def metrics(images=1, failed=-1):
    return collections.OrderedDict(
        loss=np.float32(0), labels=np.float32(0), images=np.int64(images), failed=np.int32(failed)
    )


def update(*numbers):
    return collections.OrderedDict(
        trainable=(np.float32(numbers[:2]),), statistics=(np.float32([numbers[2:]]),)
    )


def measured(updates, of, result):
    kind = tff.types.to_type(tf.nest.map_structure(lambda v: (v.dtype.type, v.shape), result))
    return update_measures.build(kind, METRICS)(updates, of, result)


@pytest.mark.parametrize("executor", ["device", "native"])
def test_by_hand(executor):
    runtime.use(executor)
    updates = [
        update(3, 0, 4),
        update(3, 0, -4),
        update(9, 9, 9),
        update(0, -5, 0),
        update(0, 0, 0),
    ]
    of = [metrics(), metrics(2), metrics(failed=0), metrics(), metrics(images=0)]
    found = measured(updates, of, update(6, 0, 0))
    np.testing.assert_allclose(found["norms"], [5, 5, np.nan, 5, np.nan])
    np.testing.assert_allclose(found["largest"], [4, 4, np.nan, 5, np.nan])
    np.testing.assert_allclose(found["cosines"], [0.6, 0.6, np.nan, 0, np.nan], atol=1e-6)
    # The first two have the cosine -7/25, the last is at right angles to both.
    expected = [-0.14, -0.14, np.nan, 0, np.nan]
    np.testing.assert_allclose(found["among_others"], expected, atol=1e-6)


def test_an_update_of_zeros_has_no_direction():
    runtime.use("device")
    found = measured([update(0, 0, 0), update(1, 0, 0)], [metrics()] * 2, update(1, 0, 0))
    np.testing.assert_array_equal(found["norms"], [0, 1])
    assert found["cosines"][1] == 1 and np.isnan(found["cosines"][0])
    assert np.isnan(found["among_others"]).all()


def test_sketches_keep_angles():
    random = np.random.default_rng(0)
    length, groups = 50_000, 2003
    first = random.normal(size=length).astype(np.float32)
    second = (first + random.normal(size=length)).astype(np.float32)
    second[:20] *= 30.0  # A layer with larger numbers than the others.
    sketched = [
        update_measures.sketch([tf.constant(each)], length, groups).numpy()
        for each in (first, second)
    ]

    def cosine(one, other):
        return one @ other / np.linalg.norm(one) / np.linalg.norm(other)

    # Three standard deviations.
    assert abs(cosine(*sketched) - cosine(first, second)) < 3 / groups**0.5
    assert abs(np.linalg.norm(sketched[0]) / np.linalg.norm(first) - 1) < 3 / groups**0.5


def test_measuring_changes_no_other_result():
    runtime.use("device")
    results = []
    for measures in (False, True):
        process = tiny.image_process(measures_updates=measures)
        clients = [
            tiny.client(process.initialize_client(), tiny.pictures(seed)) for seed in (1, 2, 3)
        ]
        results.append(process.next(process.initialize(), clients))
    (plain, plain_metrics), (other, other_metrics) = ((r[:2], r[2]) for r in results)
    tf.nest.map_structure(np.testing.assert_array_equal, plain, other)
    assert set(other_metrics) - set(plain_metrics) == {"updates"}


def test_clipping_and_zeroing_are_told_for_each_client():
    runtime.use("device")
    # TFF's robust aggregator starts by clipping to 1 and zeroing what has a number above 21.
    process = tiny.scalar_process(measures_updates=True, aggregator=aggregators.make("robust"))
    clients = [
        tiny.client(process.initialize_client(), tiny.scalars([x])) for x in (0.5, 3.0, 200.0)
    ]
    _, _, found, _ = process.next(process.initialize(), clients)
    rows = update_rows.of(found, 3)
    assert [(row.clipped, row.counted) for row in rows] == [(0, 1), (1, 1), (0, 0)]


def test_without_shared_weights_nothing_is_measured():
    process = tiny.image_process(private_layers=["conv", "bn", "head"], measures_updates=True)
    clients = [tiny.client(process.initialize_client(), tiny.pictures(1))]
    _, _, found, _ = process.next(process.initialize(), clients)
    assert all(map(math.isnan, update_rows.of(found, 1)[0]))
