"""Evaluates a compiled TFF computation in this process.

The forms of a value: a tensor, a tuple (struct, in the order of its type), a sequence
(`sequences.py`), a function of one argument, and the placed values of `placed.py`, where a value
that is equal at all clients is a ServerValue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_federated.python.core.impl.compiler import building_blocks, intrinsic_defs

from tffcxr.runtime import graphs, placed, sequences

Value = Any
Function = Callable[[Value], Value]


class Interpreter:
    """Evaluates building blocks for one invocation.

    Args:
      functions: the TensorFlow graphs known so far.
      federation: the clients of this invocation.
    """

    def __init__(self, functions: graphs.GraphFunctions, federation: placed.Federation) -> None:
        self._functions = functions
        self._federation = federation

    def evaluate(
        self, block: building_blocks.ComputationBuildingBlock, scope: dict[str, Value]
    ) -> Value:
        """The value of `block`, where the names that it refers to are in `scope`.

        Raises:
          NotImplementedError: it holds something that is not TFF's native form.
        """
        if isinstance(block, building_blocks.Reference):
            return scope[block.name]
        if isinstance(block, building_blocks.Selection):
            return self.evaluate(block.source, scope)[block.as_index()]
        if isinstance(block, building_blocks.Struct):
            return tuple(self.evaluate(part, scope) for part in block)
        if isinstance(block, building_blocks.Call):
            function = self.evaluate(block.function, scope)
            has_argument = block.argument is not None
            return function(self.evaluate(block.argument, scope) if has_argument else None)
        if isinstance(block, building_blocks.Lambda):
            return self._lambda(block, scope)
        if isinstance(block, building_blocks.Block):
            inner = dict(scope)
            for name, part in block.locals:
                inner[name] = self.evaluate(part, inner)
            return self.evaluate(block.result, inner)
        if isinstance(block, building_blocks.Literal):
            return tf.constant(block.value, block.type_signature.dtype)
        if isinstance(block, building_blocks.Intrinsic):
            return self._intrinsic(block)
        if (
            isinstance(block, building_blocks.CompiledComputation)
            and block.proto.WhichOneof("computation") == "tensorflow"
        ):
            return self._functions.get(block)
        raise NotImplementedError(
            f"the device executor cannot run {block.compact_representation()}"
        )

    def _lambda(self, block: building_blocks.Lambda, scope: dict[str, Value]) -> Function:
        # A copy: `scope` will hold what this function makes, and the two would keep each other, and
        # all weights and datasets of the round, alive until Python looks for such cycles.
        scope = dict(scope)
        if block.parameter_name is None:
            return lambda _: self.evaluate(block.result, scope)
        if (graph := _only_call(block)) is not None:
            return self._functions.get(graph)
        return lambda value: self.evaluate(block.result, {**scope, block.parameter_name: value})

    def _intrinsic(self, block: building_blocks.Intrinsic) -> Function:
        if block.uri not in _INTRINSICS:
            raise NotImplementedError(f"the device executor does not know {block.uri!r}")
        intrinsic, result = _INTRINSICS[block.uri], block.type_signature.result
        return lambda argument: intrinsic(self._federation, argument, result)


def _only_call(block: building_blocks.Lambda) -> building_blocks.CompiledComputation | None:
    """The graph that a lambda calls with its own argument, where it does nothing else.

    The call-dominant form writes a graph `f` as `(a -> let x = f(a) in x)`; `sequence_reduce` has
    a shorter way with a graph than with a function.
    """
    body = block.result
    if isinstance(body, building_blocks.Block) and len(body.locals) == 1:
        (name, value), result = body.locals[0], body.result
        if isinstance(result, building_blocks.Reference) and result.name == name:
            body = value
    if (
        isinstance(body, building_blocks.Call)
        and isinstance(body.function, building_blocks.CompiledComputation)
        and body.function.proto.WhichOneof("computation") == "tensorflow"
        and isinstance(body.argument, building_blocks.Reference)
        and body.argument.name == block.parameter_name
    ):
        return body.function
    return None


def _map(_: placed.Federation, argument: Value, __: tff.Type) -> placed.ClientValue:
    function, source = argument
    return placed.ClientValue(lambda _, value: function(value), [source])


def _apply(_: placed.Federation, argument: Value, __: tff.Type) -> placed.ServerValue:
    function, source = argument
    return placed.ServerValue(function, [source])


def _aggregate(federation: placed.Federation, argument: Value, _: tff.Type) -> placed.ServerValue:
    source, zero, accumulate, _merge, report = argument  # There is one aggregator: no merging.
    if isinstance(source, placed.ServerValue):
        source = placed.ClientValue(lambda _, value: value, [source])
    return federation.aggregate(
        source, lambda: zero, lambda total, value: accumulate((total, value)), report
    )


def _zip_at_server(_: placed.Federation, argument: Value, __: tff.Type) -> placed.ServerValue:
    leaves = tf.nest.flatten(argument)
    return placed.ServerValue(lambda *parts: tf.nest.pack_sequence_as(argument, parts), leaves)


def _zip_at_clients(
    federation: placed.Federation, argument: Value, result: tff.Type
) -> placed.ClientValue | placed.ServerValue:
    if result.all_equal:
        return _zip_at_server(federation, argument, result)
    leaves = tf.nest.flatten(argument)
    return placed.ClientValue(lambda _, *parts: tf.nest.pack_sequence_as(argument, parts), leaves)


def _select(_: placed.Federation, argument: Value, result: tff.Type) -> placed.ClientValue:
    keys, _max_key, server_value, select = argument

    def compute(_: int, client_keys: tf.Tensor, value: Value) -> sequences.Sequence:
        return sequences.MappedSequence(
            tf.unstack(client_keys), lambda key: select((value, key)), result.member.element
        )

    return placed.ClientValue(compute, [keys, server_value])


def _sequence_map(_: placed.Federation, argument: Value, result: tff.Type) -> Value:
    function, source = argument
    return sequences.MappedSequence(source, function, result.element)


def _sequence_reduce(federation: placed.Federation, argument: Value, _: tff.Type) -> Value:
    """Calls the step once per element, which is faster than a loop inside a graph."""
    source, total, step = argument
    if isinstance(step, graphs.GraphFunction):
        return step.fold(total, federation.until_stopped(source))
    for element in federation.until_stopped(source):
        total = step((total, element))
    return total


def _sequence_sum(federation: placed.Federation, argument: Value, result: tff.Type) -> Value:
    total = sequences.zeros(result)
    for element in federation.until_stopped(argument):
        total = tf.nest.map_structure(tf.add, total, element)
    return total


_INTRINSICS: dict[str, Callable[[placed.Federation, Value, tff.Type], Value]] = {
    intrinsic_defs.FEDERATED_AGGREGATE.uri: _aggregate,
    intrinsic_defs.FEDERATED_APPLY.uri: _apply,
    intrinsic_defs.FEDERATED_BROADCAST.uri: lambda _, value, __: value,
    intrinsic_defs.FEDERATED_EVAL_AT_CLIENTS.uri: lambda _, function, __: placed.ClientValue(
        lambda _: function(None)
    ),
    intrinsic_defs.FEDERATED_EVAL_AT_SERVER.uri: lambda _, function, __: placed.ServerValue(
        lambda: function(None)
    ),
    intrinsic_defs.FEDERATED_MAP.uri: _map,
    intrinsic_defs.FEDERATED_MAP_ALL_EQUAL.uri: _apply,
    intrinsic_defs.FEDERATED_SELECT.uri: _select,
    intrinsic_defs.FEDERATED_VALUE_AT_CLIENTS.uri: lambda _, value, __: placed.known(value),
    intrinsic_defs.FEDERATED_VALUE_AT_SERVER.uri: lambda _, value, __: placed.known(value),
    intrinsic_defs.FEDERATED_ZIP_AT_CLIENTS.uri: _zip_at_clients,
    intrinsic_defs.FEDERATED_ZIP_AT_SERVER.uri: _zip_at_server,
    intrinsic_defs.SEQUENCE_MAP.uri: _sequence_map,
    intrinsic_defs.SEQUENCE_REDUCE.uri: _sequence_reduce,
    intrinsic_defs.SEQUENCE_SUM.uri: _sequence_sum,
}
