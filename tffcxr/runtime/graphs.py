"""A TensorFlow graph inside a TFF computation, as a function of tensors that is built once.

TFF ships the body of a `tff.tensorflow.computation` as a GraphDef with the names of its inputs
and outputs, and with an operation that initialises its variables. A session would run the latter
first and the outputs afterwards, with variables that live in the session. Here both become one
function without side effects: every call makes its own variables, which vanish with it, so that
calls may run at the same time and none sees another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import hashlib
import itertools
import threading
from typing import Any

import cachetools
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import private_apis, sequences

_CACHED_FUNCTIONS = 512


class GraphFunction:
    """One TensorFlow graph as a function from a value to a value.

    A value is a tensor, a tuple of values, or a sequence (see `sequences.py`).
    """

    def __init__(
        self,
        graph: private_apis.computation_pb2.TensorFlow,
        type_signature: tff.FunctionType,
        key: str,
    ) -> None:
        self._parameter = graph.parameter if graph.HasField("parameter") else None
        self._result = graph.result
        self._result_type = type_signature.result
        inputs = [] if self._parameter is None else list(_tensor_names(self._parameter))
        graph_def = tf.compat.v1.GraphDef()
        graph.graph_def.Unpack(graph_def)
        _rename_library(graph_def, key)
        outputs = list(_tensor_names(self._result))
        graph_def = _join_initialization(graph_def, graph.initialize_op, outputs)
        nodes = {node.name for node in graph_def.node}
        self._is_used = [name in outputs or _node_name(name) in nodes for name in inputs]
        inputs = list(itertools.compress(inputs, self._is_used))
        self._function = _build(graph_def, inputs, outputs, graph.session_token_tensor_name)

    def __call__(self, value: Any = None) -> Any:
        """Runs the graph on the current device."""
        return self.pack(self.call_flat(self.flatten(value)))

    def flatten(self, value: Any) -> list[tf.Tensor]:
        """The tensors of an argument, in the order of the graph's inputs."""
        tensors: list[tf.Tensor] = []
        if self._parameter is not None:
            _flatten(value, self._parameter, tensors)
        return tensors

    def call_flat(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Runs the graph on the current device, from its inputs to its outputs."""
        outputs = self._function(*itertools.compress(tensors, self._is_used))
        return outputs or ()  # None where the graph has no outputs.

    def fold(self, total: Any, elements: Iterable[Any]) -> Any:
        """Applies a graph of type `(<total, element> -> total)` to one element after another.

        The total stays a flat list of tensors, on the device where it is, in between.
        """
        assert self._parameter is not None  # The type of the graph says so.
        of_total, of_element = self._parameter.struct.element
        tensors: list[tf.Tensor] = []
        _flatten(total, of_total, tensors)
        del total
        for element in elements:
            _flatten(element, of_element, tensors)
            tensors = list(self.call_flat(tensors))
        return self.pack(tensors)

    def pack(self, tensors: Iterable[tf.Tensor]) -> Any:
        """The value that the graph's outputs make up."""
        return _pack(iter(tensors), self._result, self._result_type)


class GraphFunctions:
    """The functions of all graphs seen lately, by content."""

    def __init__(self) -> None:
        self._by_content: cachetools.LRUCache = cachetools.LRUCache(_CACHED_FUNCTIONS)
        # Serialising and hashing a graph takes longer than many a graph's execution.
        self._by_block: cachetools.LRUCache = cachetools.LRUCache(_CACHED_FUNCTIONS)
        self._lock = threading.RLock()

    def get(self, block: tff.framework.CompiledComputation) -> GraphFunction:
        """The function of a computation whose body is a TensorFlow graph."""
        with self._lock:
            known_block, function = self._by_block.get(id(block), (None, None))
            if known_block is not block:
                function = self._get_by_content(block)
                self._by_block[id(block)] = (block, function)
            return function

    def _get_by_content(self, block: tff.framework.CompiledComputation) -> GraphFunction:
        graph = block.proto.tensorflow
        content = graph.SerializeToString(deterministic=True) + repr(block.type_signature).encode()
        key = hashlib.sha256(content).hexdigest()
        if key not in self._by_content:
            self._by_content[key] = GraphFunction(graph, block.type_signature, key[:16])
        return self._by_content[key]


def _tensor_names(binding: private_apis.computation_pb2.TensorFlow.Binding) -> Iterator[str]:
    kind = binding.WhichOneof("binding")
    if kind == "tensor":
        yield binding.tensor.tensor_name
    elif kind == "sequence":
        yield binding.sequence.variant_tensor_name
    else:
        for element in binding.struct.element:
            yield from _tensor_names(element)


def _flatten(
    value: Any, binding: private_apis.computation_pb2.TensorFlow.Binding, tensors: list[tf.Tensor]
) -> None:
    kind = binding.WhichOneof("binding")
    if kind == "tensor":
        tensors.append(value)
    elif kind == "sequence":
        tensors.append(sequences.to_variant(value))
    else:
        for part, element in zip(value, binding.struct.element):
            _flatten(part, element, tensors)


def _pack(
    tensors: Iterator[tf.Tensor],
    binding: private_apis.computation_pb2.TensorFlow.Binding,
    type_spec: tff.Type,
) -> Any:
    kind = binding.WhichOneof("binding")
    if kind == "tensor":
        return next(tensors)
    if kind == "sequence":
        return sequences.from_variant(next(tensors), type_spec.element)
    types = sequences.element_types(type_spec)
    return tuple(
        _pack(tensors, element, element_type)
        for element, element_type in zip(binding.struct.element, types)
    )


def _node_name(name: str) -> str:
    """The node that an input or tensor name (`^node`, `node:1`, `node`) refers to."""
    return name.removeprefix("^").split(":")[0]


def _rename_library(graph_def: tf.compat.v1.GraphDef, key: str) -> None:
    """Gives the graph's own functions names that no other graph's functions have.

    Functions of all graphs share one namespace in a process, and graphs made by other programs or
    by TFF's optimiser use the same names for different bodies.
    """
    names = {f.signature.name: f"{f.signature.name}_{key}" for f in graph_def.library.function}

    def rename_in(nodes: Iterable[tf.compat.v1.NodeDef]) -> None:
        for node in nodes:
            node.op = names.get(node.op, node.op)
            for attribute in node.attr.values():
                functions = [attribute.func, *attribute.list.func]
                for function in functions if names else ():
                    if function.name in names:
                        function.name = names[function.name]

    rename_in(graph_def.node)
    for function in graph_def.library.function:
        rename_in(function.node_def)
        function.signature.name = names[function.signature.name]
    for gradient in graph_def.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)


def _ancestors(nodes: dict[str, tf.compat.v1.NodeDef], roots: Iterable[str]) -> set[str]:
    """The names of all nodes that `roots` need, themselves included."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(map(_node_name, nodes[name].input))
    return found


def _join_initialization(
    graph_def: tf.compat.v1.GraphDef, initialize_op: str, outputs: Sequence[str]
) -> tf.compat.v1.GraphDef:
    """Leaves what the outputs need, with initialisation before every use of a variable or table.

    A variable is created by one node, its handle. Nodes that take the handle, and are no part of
    the initialisation themselves, are made to wait for all of it.
    """
    nodes = {node.name: node for node in graph_def.node}
    for node in graph_def.node:  # A fed placeholder is not there any more to be waited for.
        kept = [i for i in node.input if not _is_wait_for_placeholder(nodes, i)]
        del node.input[:]
        node.input.extend(kept)
    needed = _ancestors(nodes, map(_node_name, outputs))
    if initialize_op:
        initialization = _ancestors(nodes, [_node_name(initialize_op)])
        created = {n for n in needed & initialization if private_apis.is_stateful(nodes[n].op)}
        for name in needed - initialization:
            if created.intersection(map(_node_name, nodes[name].input)):
                nodes[name].input.append(f"^{_node_name(initialize_op)}")
        needed = _ancestors(nodes, map(_node_name, outputs))
    joined = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    joined.node.extend(node for node in graph_def.node if node.name in needed)
    _make_variables_anonymous(joined)
    return joined


def _is_wait_for_placeholder(nodes: dict[str, tf.compat.v1.NodeDef], name: str) -> bool:
    return name.startswith("^") and nodes[_node_name(name)].op == "Placeholder"


def _make_variables_anonymous(graph_def: tf.compat.v1.GraphDef) -> None:
    """Makes every handle create a variable of its own whenever it runs.

    Handles of one shared name are one variable: all but the first are replaced by the first.
    """
    handles = [node for node in graph_def.node if node.op == "VarHandleOp"]
    first: dict[bytes, str] = {}
    for node in handles:
        shared_name = node.attr["shared_name"].s or node.name.encode()
        creator = first.setdefault(shared_name, node.name)
        if creator == node.name:
            node.attr["shared_name"].s = private_apis.ANONYMOUS_NAME
        else:
            dtype = tf.resource.as_datatype_enum
            node.CopyFrom(tf.compat.v1.NodeDef(name=node.name, op="Identity", input=[creator]))
            node.attr["T"].type = dtype


def _build(
    graph_def: tf.compat.v1.GraphDef,
    inputs: Sequence[str],
    outputs: Sequence[str],
    session_token: str,
) -> Any:
    """Imports a graph as a function from the tensors named `inputs` to those named `outputs`."""
    nodes = {node.name: node for node in graph_def.node}
    signature = [_input_spec(nodes[_node_name(name)]) for name in inputs]
    fetched = [name for name in outputs if name not in inputs]

    def body(*arguments: tf.Tensor) -> list[tf.Tensor]:
        given = dict(zip(inputs, arguments))
        feeds = dict(given)
        if _node_name(session_token) in nodes:
            feeds[session_token] = tf.constant("")
        imported = tf.graph_util.import_graph_def(graph_def, feeds, fetched, name="graph")
        given.update(zip(fetched, imported))
        return [tf.identity(given[name]) for name in outputs]

    with tf.init_scope():
        wrapped = tf.compat.v1.wrap_function(body, signature)
    return private_apis.inference_function(wrapped)


def _input_spec(node: tf.compat.v1.NodeDef) -> tf.TensorSpec:
    return tf.TensorSpec(node.attr["shape"].shape, tf.as_dtype(node.attr["dtype"].type))
