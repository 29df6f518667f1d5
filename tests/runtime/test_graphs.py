"""TensorFlow graphs become functions without side effects, with the native worker's results."""

from __future__ import annotations

import collections
from typing import NamedTuple

import attrs
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.runtime.executors import contexts, run, run_both
from tffcxr.runtime import graphs


class Point(NamedTuple):
    x: np.ndarray
    y: np.ndarray


Box = attrs.make_class("Box", ["width", "height"])


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (np.float32, 1.5),
        (np.float64, np.float64(1.5)),
        (np.int32, 3),
        (np.int64, -3),
        (np.uint8, np.uint8(200)),
        (np.bool_, True),
        (np.str_, "thorax"),
        (np.complex64, np.complex64(1 + 2j)),
        ((np.float32, [2, 2]), np.eye(2, dtype=np.float32)),
        ((np.int32, [None]), [1, 2, 3]),
        ((np.str_, [2]), np.array(["a", "b"])),
        ((np.float32, [0]), np.zeros(0, np.float32)),
    ],
)
def test_values_pass_through(dtype, value):
    type_spec = tff.types.to_type(dtype)
    run_both(tff.tensorflow.computation(lambda x: tf.identity(x), type_spec), value)
    run_both(tff.tensorflow.computation(lambda x: x, type_spec), value)


def test_containers_come_back_as_they_went_in():
    types = collections.OrderedDict(
        point=Point(np.float32, np.int32), box=Box(np.float32, np.float32), none=(), b=[np.int32]
    )
    identity = tff.tensorflow.computation(lambda x: x, tff.types.to_type(types))
    value = collections.OrderedDict(point=Point(1.0, 2), box=Box(3.0, 4.0), none=(), b=[5])
    result = run_both(identity, value)
    assert isinstance(result["point"], Point)
    assert isinstance(result["box"], Box)


def test_tensors_are_taken_as_they_are():
    triple = tff.tensorflow.computation(lambda x: 3.0 * x, (np.float32, [2]))
    for value in (tf.constant([1.0, 2.0]), tf.Variable([1.0, 2.0]), np.float32([1.0, 2.0])):
        np.testing.assert_array_equal(run_both(triple, value), [3.0, 6.0])


@pytest.mark.parametrize(
    "value", [np.float64([1.0, 2.0]), np.float32([1.0]), tf.constant([1, 2]), "text"]
)
def test_values_of_another_type_are_refused(value):
    triple = tff.tensorflow.computation(lambda x: 3.0 * x, (np.float32, [2]))
    with pytest.raises(TypeError):
        run(contexts()["device"], triple, value)


def test_an_unused_input_and_an_output_twice():
    first = tff.tensorflow.computation(lambda x, y: (x, x, x + 1.0), np.float32, np.int32)
    assert run_both(first, 1.0, 7) == (1.0, 1.0, 2.0)


def test_variables_start_anew_in_every_call():
    @tff.tensorflow.computation(np.float32)
    def count(x):
        variable = tf.Variable(10.0)
        with tf.control_dependencies([variable.assign_add(x)]):
            return variable.read_value()

    assert run_both(count, 1.0) == 11.0
    assert run_both(count, 1.0) == 11.0


def test_variables_in_loops_and_functions():
    @tff.tensorflow.computation(tff.SequenceType(np.float32))
    def running_maximum(values):
        best = tf.Variable(-1.0)
        seen = tf.Variable(0)

        @tf.function
        def follow(dataset):
            for value in dataset:
                seen.assign_add(1)
                if value > best:
                    best.assign(value)
            return best.read_value(), seen.read_value()

        return follow(values)

    assert run_both(running_maximum, [3.0, 7.0, 5.0]) == (7.0, 3)
    assert run_both(running_maximum, [1.0]) == (1.0, 1)


def test_lookup_tables_are_initialised():
    @tff.tensorflow.computation(np.str_)
    def look_up(key):
        table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["opacity", "normal"], [1, 0]), -1
        )
        return table.lookup(key)

    assert run_both(look_up, "opacity") == 1
    assert run_both(look_up, "unknown") == -1


def test_computations_inside_computations():
    @tff.tensorflow.computation(np.float32)
    def inner(x):
        variable = tf.Variable(5.0)
        return variable + x

    outer = tff.tensorflow.computation(lambda x: inner(x) * inner(2.0 * x), np.float32)
    assert run_both(outer, 1.0) == 42.0


def test_functions_of_the_same_name_do_not_meet():
    """Two graphs, each with a function called `body` in its library, of different contents."""

    def build(factor):
        with tf.Graph().as_default():
            return tff.tensorflow.computation(
                lambda x: x.map(lambda value: value * factor).reduce(0.0, lambda a, b: a + b),
                tff.SequenceType(np.float32),
            )

    double, triple = build(2.0), build(3.0)
    proto_of = type(double).get_proto
    old, new = (_function_names(proto_of(each)) for each in (triple, double))
    _rename_functions(proto_of(triple), dict(zip(old, new)))
    assert _function_names(proto_of(triple)) == _function_names(proto_of(double))
    assert run_both(double, [1.0, 2.0]) == 6.0
    assert run_both(triple, [1.0, 2.0]) == 9.0


def _graph(proto):
    graph = tf.compat.v1.GraphDef()
    proto.tensorflow.graph_def.Unpack(graph)
    return graph


def _function_names(proto):
    return [function.signature.name for function in _graph(proto).library.function]


def _rename_functions(proto, names):
    text = str(_graph(proto))
    for old, new in names.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    from google.protobuf import text_format

    proto.tensorflow.graph_def.Pack(text_format.Parse(text, tf.compat.v1.GraphDef()))


@pytest.mark.parametrize(
    "element",
    [
        np.float32,
        collections.OrderedDict(b=np.float32, a=np.float32),
        (np.float32, (np.float32,)),
    ],
)
def test_datasets_go_in_and_come_out(element):
    def make():
        values = tf.data.Dataset.from_tensor_slices([1.0, 2.0, 3.0])
        if isinstance(element, dict):
            return values.map(lambda x: collections.OrderedDict(b=x, a=-x))
        return values.map(lambda x: (x, (-x,))) if isinstance(element, tuple) else values

    sequence = tff.SequenceType(tff.types.to_type(element))
    run_both(tff.tensorflow.computation(lambda data: data.skip(1), sequence), make())
    run_both(tff.tensorflow.computation(make))


def test_lists_of_batches_of_unequal_size():
    total = tff.tensorflow.computation(
        lambda data: data.reduce(0.0, lambda a, b: a + tf.reduce_sum(b)),
        tff.SequenceType(tff.TensorType(np.float32, [None])),
    )
    assert run_both(total, [np.float32([1, 2]), np.float32([3])]) == 6.0


def test_a_sequence_of_another_type_is_refused():
    total = tff.tensorflow.computation(
        lambda data: data.reduce(0.0, tf.add), tff.SequenceType(np.float32)
    )
    with pytest.raises(TypeError, match="int64"):
        run(contexts()["device"], total, tf.data.Dataset.range(3))
    with pytest.raises(TypeError, match="int"):
        run(contexts()["device"], total, 3)


def test_each_graph_is_built_once():
    def block():
        comp = tff.tensorflow.computation(lambda x: x - 7.0, np.float32)
        return comp.to_building_block()

    functions = graphs.GraphFunctions()
    first, second = block(), block()
    function = functions.get(first)
    assert functions.get(first) is function
    assert functions.get(second) is function
    assert function(tf.constant(8.0)) == 1.0
