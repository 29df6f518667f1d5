"""Messages give back what they were made of, and are refused where they are something else."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import messages, sequences

PAIR = tff.types.to_type(collections.OrderedDict(a=np.float32, b=(np.int32, [None])))
GOOD = (tf.constant(1.5), tf.constant([1, 2, 3]))


def test_a_message_gives_back_its_value():
    found = messages.decode_all(messages.encode_all([GOOD], [PAIR]), [PAIR])[0]
    assert found[0].numpy() == 1.5 and found[1].numpy().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "of_type"),
    [
        ((tf.constant(1.5, tf.float64), GOOD[1]), [np.float64, (np.int32, [3])]),  # A dtype.
        ((GOOD[0], tf.constant([[1]])), [np.float32, (np.int32, [1, 1])]),  # A shape.
        ((GOOD[0],), [np.float32]),  # A number of elements.
        (GOOD[0], np.float32),  # A structure.
        ((GOOD[0], sequences.ingest([1, 2], tff.SequenceType(np.int32))),
         [np.float32, tff.SequenceType(np.int32)]),
    ],
)  # fmt: skip
def test_a_message_of_another_type_is_refused(value, of_type):
    content = messages.encode_all([value], [tff.types.to_type(of_type)])
    with pytest.raises(TypeError, match="expected"):
        messages.decode_all(content, [PAIR])


def test_a_message_that_is_cut_or_too_long_is_refused():
    head, arrays = messages.encode_all([GOOD], [PAIR])
    for length in range(len(head)):
        with pytest.raises(TypeError, match="^expected "):
            messages.decode_all(messages.Packed(head[:length], arrays), [PAIR])
    for others, said in (
        (arrays[:1], "expected an array of 12 bytes, found none"),
        ((*arrays, arrays[0]), "expected 2 arrays, found 3"),
        ((arrays[0], arrays[1][:-1]), "expected an array of 12 bytes, found 11"),
    ):
        with pytest.raises(TypeError, match=said):
            messages.decode_all(messages.Packed(head, others), [PAIR])


def test_numbers_of_all_sizes_survive():
    sent = [
        tf.constant([[True, False]]),
        tf.constant(-(2**63), tf.int64),
        tf.zeros([0, 3]),
        tf.constant([1.5, -2.0, 3.0], tf.bfloat16),
        tf.constant([1.5], tf.float16),
        tf.constant([b"a\0", b""]),
        tf.constant([255], tf.uint8),
    ]
    types = [tff.types.tensorflow_to_type((tensor.dtype, tensor.shape)) for tensor in sent]
    found = messages.decode_all(messages.encode_all(sent, types), types)
    for ours, theirs in zip(found, sent):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.numpy().tolist() == theirs.numpy().tolist()


def test_what_is_no_message_is_refused():
    with pytest.raises(TypeError, match="expected a message, found 9 other bytes"):
        messages.decode_all(messages.Packed(b"\xff" * 9, ()), [PAIR])
    with pytest.raises(TypeError, match="expected 1 values, found 0"):
        messages.decode_all(messages.NOTHING, [PAIR])
    with pytest.raises(TypeError, match="expected 1 values, found 0"):
        messages.decode_all(messages.encode_all([], []), [PAIR])
    floats = tff.SequenceType(np.float32)
    content = messages.encode_all([sequences.ingest([1, 2], tff.SequenceType(np.int32))],
                                  [tff.SequenceType(np.int32)])  # fmt: skip
    with pytest.raises(TypeError, match="expected a sequence of type float32"):
        messages.decode_all(content, [floats])
