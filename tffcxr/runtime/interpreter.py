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

from tffcxr.runtime import graphs, placed, private_apis, secure_sums, sequences

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
        self, block: tff.framework.ComputationBuildingBlock, scope: dict[str, Value]
    ) -> Value:
        """The value of `block`, where the names that it refers to are in `scope`.

        Raises:
          NotImplementedError: it holds something that is not TFF's native form.
        """
        if isinstance(block, tff.framework.Reference):
            return scope[block.name]
        if isinstance(block, tff.framework.Selection):
            return self.evaluate(block.source, scope)[block.as_index()]
        if isinstance(block, tff.framework.Struct):
            return tuple(self.evaluate(part, scope) for part in block)
        if isinstance(block, tff.framework.Call):
            function = self.evaluate(block.function, scope)
            has_argument = block.argument is not None
            return function(self.evaluate(block.argument, scope) if has_argument else None)
        if isinstance(block, tff.framework.Lambda):
            return self._lambda(block, scope)
        if isinstance(block, tff.framework.Block):
            inner = dict(scope)
            for name, part in block.locals:
                inner[name] = self.evaluate(part, inner)
            return self.evaluate(block.result, inner)
        if isinstance(block, tff.framework.Literal):
            return tf.constant(block.value, block.type_signature.dtype)
        if isinstance(block, tff.framework.Intrinsic):
            return self._intrinsic(block)
        if (
            isinstance(block, tff.framework.CompiledComputation)
            and block.proto.WhichOneof("computation") == "tensorflow"
        ):
            return self._functions.get(block)
        raise NotImplementedError(
            f"the device executor cannot run {block.compact_representation()}"
        )

    def _lambda(self, block: tff.framework.Lambda, scope: dict[str, Value]) -> Function:
        # A copy: `scope` will hold what this function makes, and the two would keep each other, and
        # all weights and datasets of the round, alive until Python looks for such cycles.
        scope = dict(scope)
        if block.parameter_name is None:
            return lambda _: self.evaluate(block.result, scope)
        if (graph := _only_call(block)) is not None:
            return self._functions.get(graph)
        return lambda value: self.evaluate(block.result, {**scope, block.parameter_name: value})

    def _intrinsic(self, block: tff.framework.Intrinsic) -> Function:
        if block.uri not in _INTRINSICS:
            raise NotImplementedError(f"the device executor does not know {block.uri!r}")
        intrinsic, result = _INTRINSICS[block.uri], block.type_signature.result
        return lambda argument: intrinsic(self._federation, argument, result)


def _only_call(block: tff.framework.Lambda) -> tff.framework.CompiledComputation | None:
    """The graph that a lambda calls with its own argument, where it does nothing else.

    The call-dominant form writes a graph `f` as `(a -> let x = f(a) in x)`; `sequence_reduce` has
    a shorter way with a graph than with a function.
    """
    body = block.result
    if isinstance(body, tff.framework.Block) and len(body.locals) == 1:
        (name, value), result = body.locals[0], body.result
        if isinstance(result, tff.framework.Reference) and result.name == name:
            body = value
    if (
        isinstance(body, tff.framework.Call)
        and isinstance(body.function, tff.framework.CompiledComputation)
        and body.function.proto.WhichOneof("computation") == "tensorflow"
        and isinstance(body.argument, tff.framework.Reference)
        and body.argument.name == block.parameter_name
    ):
        return body.function
    return None


def _map(_: placed.Federation, argument: Value, result: tff.Type) -> placed.ClientValue:
    function, source = argument
    return placed.ClientValue(lambda _, value: function(value), [source], result.member)


def _apply(_: placed.Federation, argument: Value, result: tff.Type) -> placed.ServerValue:
    function, source = argument
    return placed.ServerValue(function, [source], result.member)


def _aggregate(
    federation: placed.Federation, argument: Value, result: tff.Type
) -> placed.ServerValue:
    source, zero, accumulate, _merge, report = argument  # There is one aggregator: no merging.
    if isinstance(source, placed.ServerValue):
        source = placed.ClientValue(lambda _, value: value, [source], source.type_spec)
    return federation.aggregate(
        source,
        lambda: zero,
        lambda total, value: accumulate((total, value)),
        report,
        result.member,
    )


def _zip_at_server(_: placed.Federation, argument: Value, result: tff.Type) -> placed.ServerValue:
    leaves = tf.nest.flatten(argument)
    return placed.ServerValue(
        lambda *parts: tf.nest.pack_sequence_as(argument, parts), leaves, result.member
    )


def _zip_at_clients(
    federation: placed.Federation, argument: Value, result: tff.Type
) -> placed.ClientValue | placed.ServerValue:
    if result.all_equal:
        return _zip_at_server(federation, argument, result)
    leaves = tf.nest.flatten(argument)
    return placed.ClientValue(
        lambda _, *parts: tf.nest.pack_sequence_as(argument, parts), leaves, result.member
    )


def _select(_: placed.Federation, argument: Value, result: tff.Type) -> placed.ClientValue:
    keys, _max_key, server_value, select = argument

    def compute(_: int, client_keys: tf.Tensor, value: Value) -> sequences.Sequence:
        return sequences.MappedSequence(
            tf.unstack(client_keys), lambda key: select((value, key)), result.member.element
        )

    return placed.ClientValue(compute, [keys, server_value], result.member)


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
    tff.framework.FEDERATED_AGGREGATE.uri: _aggregate,
    tff.framework.FEDERATED_APPLY.uri: _apply,
    tff.framework.FEDERATED_BROADCAST.uri: lambda _, value, __: value,
    tff.framework.FEDERATED_EVAL_AT_CLIENTS.uri: lambda _, function, result: placed.ClientValue(
        lambda _: function(None), (), result.member
    ),
    tff.framework.FEDERATED_EVAL_AT_SERVER.uri: lambda _, function, result: placed.ServerValue(
        lambda: function(None), (), result.member
    ),
    tff.framework.FEDERATED_MAP.uri: _map,
    tff.framework.FEDERATED_MAP_ALL_EQUAL.uri: _apply,
    # What a client asks for stays with it, as it gets everything.
    private_apis.FEDERATED_SECURE_SELECT.uri: _select,
    private_apis.FEDERATED_SECURE_SUM.uri: secure_sums.summed,
    private_apis.FEDERATED_SECURE_SUM_BITWIDTH.uri: secure_sums.summed_bitwidth,
    private_apis.FEDERATED_SECURE_MODULAR_SUM.uri: secure_sums.summed_modulo,
    private_apis.FEDERATED_SELECT.uri: _select,
    tff.framework.FEDERATED_VALUE_AT_CLIENTS.uri: lambda _, value, result: placed.known(
        value, result.member
    ),
    tff.framework.FEDERATED_VALUE_AT_SERVER.uri: lambda _, value, result: placed.known(
        value, result.member
    ),
    tff.framework.FEDERATED_ZIP_AT_CLIENTS.uri: _zip_at_clients,
    tff.framework.FEDERATED_ZIP_AT_SERVER.uri: _zip_at_server,
    private_apis.SEQUENCE_MAP.uri: _sequence_map,
    private_apis.SEQUENCE_REDUCE.uri: _sequence_reduce,
    private_apis.SEQUENCE_SUM.uri: _sequence_sum,
}
