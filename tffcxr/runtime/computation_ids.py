"""What two programs that build the same computation agree on.

The names in a graph depend on what else a program has built before, such as "dense_3", and so does
a hash of the computation as it is serialized. The id here is a hash of the same with every node and
function of a graph counted instead of named.
"""

from __future__ import annotations

from collections.abc import Mapping
import functools
import hashlib
from typing import Any

from google.protobuf import message as protobuf
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import private_apis

# What says how a graph came about, not what it computes.
_LEFT_OUT = frozenset({"_class", "shared_name", "container", "_output_shapes"})


@functools.lru_cache(maxsize=32)
def computation_id(comp: tff.Computation) -> str:
    """The SHA-256 of what a computation does, as hexadecimal digits.

    It is the same in all programs that build the computation from the same settings, with the same
    versions of the packages that trace it.
    """
    digest = hashlib.sha256()
    _add(tff.framework.serialize_computation(comp), {}, digest)
    return digest.hexdigest()


def _add(message: protobuf.Message, names: Mapping[str, str], digest: Any) -> None:
    """Adds a part of a computation; `names` are those of the nodes of the graph around it."""
    if isinstance(message, private_apis.computation_pb2.TensorFlow):
        graph = tf.compat.v1.GraphDef()
        message.graph_def.Unpack(graph)
        names = _add_graph(graph, digest)
    for field, value in message.ListFields():
        if field.name in ("graph_def", "cache_key"):
            continue
        digest.update(f"<{field.name}".encode())
        for each in value if field.label == field.LABEL_REPEATED else [value]:
            if field.message_type is not None:
                _add(each, names, digest)
            else:
                node, _, output = str(each).partition(":")
                digest.update(f" {names.get(node, node)}:{output}".encode())
        digest.update(b">")


def _add_graph(graph: Any, digest: Any) -> dict[str, str]:
    """Adds a graph; returns what its nodes are called by their names."""
    functions = {
        each.signature.name: f"f{place}" for place, each in enumerate(graph.library.function)
    }
    for function in graph.library.function:
        arguments = [argument.name for argument in function.signature.input_arg]
        names = {name: f"a{place}" for place, name in enumerate(arguments)}
        names.update({node.name: f"n{place}" for place, node in enumerate(function.node_def)})
        for argument in [*function.signature.input_arg, *function.signature.output_arg]:
            digest.update(f"{argument.type},{argument.type_attr},".encode())
        for node in function.node_def:
            _add_node(node, names, functions, digest)
        for output in function.signature.output_arg:
            node, _, rest = function.ret[output.name].partition(":")
            digest.update(f"{names.get(node, node)}:{rest} ".encode())
    names = {node.name: f"n{place}" for place, node in enumerate(graph.node)}
    for node in graph.node:
        _add_node(node, names, functions, digest)
    return names


def _add_node(
    node: Any, names: Mapping[str, str], functions: Mapping[str, str], digest: Any
) -> None:
    digest.update(f"{functions.get(node.op, node.op)} {node.device}(".encode())
    for each in node.input:
        source, _, output = each.lstrip("^").partition(":")
        digest.update(f"{each.startswith('^')}{names[source]}:{output} ".encode())
    for name in sorted(node.attr):
        if name not in _LEFT_OUT:
            digest.update(f"{name}=".encode())
            _add_attribute(node.attr[name], functions, digest)
    digest.update(b")")


def _add_attribute(value: Any, functions: Mapping[str, str], digest: Any) -> None:
    called = [*([value.func] if value.HasField("func") else []), *value.list.func]
    if not called:
        digest.update(value.SerializeToString(deterministic=True))
    for function in called:
        digest.update(f"{functions[function.name]}[".encode())
        for name in sorted(function.attr):
            digest.update(f"{name}=".encode())
            _add_attribute(function.attr[name], functions, digest)
        digest.update(b"]")
