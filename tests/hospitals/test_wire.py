"""Messages: what arrives is what was sent, and nothing else is taken for a message."""

import json

import numpy as np
import pytest

from tffcxr.hospitals import wire

ALL = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
       "float16", "float32", "float64")  # fmt: skip
MANY = 1 << 30


def message(*arrays, kind="answer", **about):
    fields = tuple(wire.Field(f"f{n}", np.asarray(array)) for n, array in enumerate(arrays))
    return wire.Message(kind, about, fields)


def sent(of):
    return b"".join(wire.encode(of))


def with_head(head, content=b""):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return wire.MAGIC + len(text).to_bytes(4, "little") + text + content


@pytest.mark.parametrize("dtype", ALL)
def test_every_dtype_arrives(dtype):
    array = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    (field,) = wire.decode(wire.encode(message(array)), MANY).fields
    assert field.array.dtype == array.dtype and field.name == "f0"
    np.testing.assert_array_equal(field.array, array)


def test_arrays_keep_their_shapes_also_empty_ones_and_numbers():
    shapes = [(), (0,), (3, 0, 2), (1, 1)]
    found = wire.decode(wire.encode(message(*map(np.zeros, shapes))), MANY)
    assert [field.array.shape for field in found.fields] == shapes


def test_an_array_of_many_chunks_arrives_however_they_are_cut():
    array = np.arange(700_001, dtype=np.float32).reshape(1, -1)[:, ::-1]
    chunks = list(wire.encode(message(array, round=3)))
    assert max(map(len, chunks)) == wire.CHUNK_BYTES
    content = b"".join(chunks)
    for size in (77_777, len(content)):
        cut = [content[at : at + size] for at in range(0, len(content), size)]
        found = wire.decode(cut, MANY)
        np.testing.assert_array_equal(found.fields[0].array, array)
        assert found.about == {"round": 3} and found.fields[0].array.nbytes == 4 * 700_001


def test_bytes_on_the_wire_are_little_endian():
    content = sent(message(np.array([1, 258], ">u2")))
    assert content.endswith(b"\x01\x00\x02\x01")
    np.testing.assert_array_equal(wire.decode([content], MANY).fields[0].array, [1, 258])


def test_values_that_are_no_numbers_stay_numbers():
    found = wire.decode(wire.encode(message(np.array([np.nan, -np.inf]), loss=float("nan"))), MANY)
    assert np.isnan(found.about["loss"]) and found.fields[0].array[1] == -np.inf


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.array([1j])])
def test_other_than_numbers_are_not_sent(array):
    with pytest.raises(TypeError, match="expected numbers in f0"):
        list(wire.encode(message(array)))


def test_a_message_that_ends_early_is_none_wherever_it_is_cut():
    content = sent(message(np.arange(3.0), b=1))
    for end in range(len(content)):
        with pytest.raises(wire.MessageError):
            wire.decode([content[:end]], MANY)
    wire.decode([content], MANY)


def test_a_message_with_more_at_its_end_is_none():
    with pytest.raises(wire.MessageError, match="found more bytes"):
        wire.decode([sent(message(np.arange(3.0))), b"x"], MANY)


def test_a_message_that_says_it_is_too_large_is_refused_from_its_head():
    def chunks():
        head = {"kind": "answer", "about": {}, "fields": [["f", "float32", [2_500_000_000]]]}
        yield with_head(head)
        raise AssertionError("read on")

    with pytest.raises(wire.MessageError, match=f"at most {MANY} bytes, found 100000000"):
        wire.decode(chunks(), MANY)


def test_a_head_that_says_it_is_too_large_is_refused_before_it_is_read():
    def chunks():
        yield wire.MAGIC + b"\xff\xff\xff\xff"
        raise AssertionError("read on")

    with pytest.raises(wire.MessageError, match="a head of at most"):
        wire.decode(chunks(), MANY)


def test_each_kind_may_have_a_limit_of_its_own():
    limits = {"poll": 100, "answer": MANY}
    wire.decode(wire.encode(message(np.zeros(100))), limits.__getitem__)
    with pytest.raises(wire.MessageError, match="expected a 'poll' of at most 100 bytes"):
        wire.decode(wire.encode(message(np.zeros(100), kind="poll")), limits.__getitem__)


@pytest.mark.parametrize(
    "head",
    [
        b"\x80\x04\x95",
        b"[" * 100_000,
        [],
        {"kind": "a", "about": {}},
        {"kind": 1, "about": {}, "fields": []},
        {"kind": "a", "about": [], "fields": []},
        {"kind": "a", "about": {}, "fields": [["f", "float32"]]},
        {"kind": "a", "about": {}, "fields": [[7, "float32", [0]]]},
        {"kind": "a", "about": {}, "fields": [["f", "object", [1]]]},
        {"kind": "a", "about": {}, "fields": [["f", "float32", [-1]]]},
        {"kind": "a", "about": {}, "fields": [["f", "float32", [True]]]},
        {"kind": "a", "about": {}, "fields": [["f", "float32", 0]]},
        {"kind": "a", "about": {}, "fields": [["f", "float32", [0] * 100]]},
        {"kind": "a", "about": {}, "fields": [["f", "float32", [0, 2**31, 2**31]]]},
        {"kind": "a", "about": {}, "fields": [["f", "float32", [10**4000, 10**4000]]]},
    ],
)
def test_other_heads_are_refused_in_a_line(head):
    with pytest.raises(wire.MessageError, match="^expected") as error:
        wire.decode([with_head(head)], MANY)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(100)])
def test_other_bytes_are_no_message(content):
    with pytest.raises(wire.MessageError):
        wire.decode([content], MANY)
