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

# What says how a graph came about, or how this machine runs it, not what it computes. Gradients,
# whose functions are numbered, are in the graph already.
_LEFT_OUT = frozenset(
    {
        "_class", "shared_name", "container", "_output_shapes", "_gradient_op_type",
        "config_proto", "executor_type",
    }
)  # fmt: skip


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
    functions = _Functions(graph.library)
    names = {node.name: f"n{place}" for place, node in enumerate(graph.node)}
    for node in graph.node:
        _add_node(node, names, functions, digest)
    return names


class _Functions:
    """The functions of a graph, by what they do: their order in its library is that of names.

    Args:
      library: of the graph.
    """

    def __init__(self, library: Any) -> None:
        self._library = {each.signature.name: each for each in library.function}
        self._found: dict[str, str] = {}

    def digest_of(self, name: str) -> str:
        """Of a function; the name itself of an operation that is built in."""
        if name not in self._found:
            if name not in self._library:
                return name
            self._found[name] = "itself"  # Inside, should it call itself.
            digest = hashlib.sha256()
            self._add(self._library[name], digest)
            self._found[name] = digest.hexdigest()
        return self._found[name]

    def _add(self, function: Any, digest: Any) -> None:
        signature = function.signature
        arguments = [argument.name for argument in signature.input_arg]
        names = {name: f"a{place}" for place, name in enumerate(arguments)}
        names.update({node.name: f"n{place}" for place, node in enumerate(function.node_def)})
        for group in (signature.input_arg, signature.output_arg):
            digest.update(f"({len(group)}".encode())
            for argument in group:
                digest.update(f"{argument.type},{argument.type_attr},".encode())
        for node in function.node_def:
            _add_node(node, names, self, digest)
        for output in signature.output_arg:
            node, _, rest = function.ret[output.name].partition(":")
            digest.update(f"{names.get(node, node)}:{rest} ".encode())
        for node in sorted(names[name] for name in function.control_ret.values()):
            digest.update(f"^{node} ".encode())


def _add_node(node: Any, names: Mapping[str, str], functions: _Functions, digest: Any) -> None:
    digest.update(f"{functions.digest_of(node.op)} {node.device}(".encode())
    for each in node.input:
        source, _, output = each.lstrip("^").partition(":")
        digest.update(f"{each.startswith('^')}{names[source]}:{output} ".encode())
    for name in sorted(node.attr):
        if name not in _LEFT_OUT:
            digest.update(f"{name}=".encode())
            _add_attribute(node.attr[name], functions, digest)
    digest.update(b")")


def _add_attribute(value: Any, functions: _Functions, digest: Any) -> None:
    called = [*([value.func] if value.HasField("func") else []), *value.list.func]
    if not called:
        digest.update(value.SerializeToString(deterministic=True))
    for function in called:
        digest.update(f"{functions.digest_of(function.name)}[".encode())
        for name in sorted(function.attr):
            digest.update(f"{name}=".encode())
            _add_attribute(function.attr[name], functions, digest)
        digest.update(b"]")
