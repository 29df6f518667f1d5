"""Tensors packed into vectors come back as they were."""

import numpy as np
import tensorflow as tf

from tffcxr.learning.packing import Packing


def test_tensors_lie_behind_each_other_by_dtype():
    tensors = [
        tf.constant([[1.0, 2.0], [3.0, 4.0]]),
        tf.constant(7, tf.int64),
        tf.constant([[5.0]]),
        tf.zeros([0, 3]),
    ]
    packing = Packing([tf.TensorSpec(t.shape, t.dtype) for t in tensors])
    floats, integers = packing.pack(tensors)
    np.testing.assert_array_equal(floats, [1.0, 2.0, 3.0, 4.0, 5.0])
    np.testing.assert_array_equal(integers, [7])
    assert packing.specs == (tf.TensorSpec([5]), tf.TensorSpec([1], tf.int64))

    again = packing.unpack((floats, integers))
    assert len(again) == len(tensors)
    for one, other in zip(again, tensors):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        assert one.shape == other.shape


def test_vectors_stay_small_and_large_tensors_by_themselves():
    sizes = [100_000, 100_000, 300_000, 100_000, 2]
    tensors = [tf.fill([size], float(place)) for place, size in enumerate(sizes)]
    packing = Packing([tf.TensorSpec(t.shape, t.dtype) for t in tensors])
    vectors = packing.pack(tensors)
    assert [len(vector) for vector in vectors] == [200_000, 300_000, 100_002]
    for one, other in zip(packing.unpack(vectors), tensors):
        np.testing.assert_array_equal(one, other)


def test_nothing_packs_into_nothing():
    packing = Packing([])
    assert packing.pack([]) == ()
    assert packing.unpack(()) == ()
