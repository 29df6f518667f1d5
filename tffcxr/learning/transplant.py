"""Puts a function that was traced eagerly into the graph of a TFF computation.

TFF traces computations in a plain `tf.Graph`. A Keras model that is built in such a graph is one of
TensorFlow 1, and building it puts the TensorFlow 1 base classes under the layer classes of the
whole program, so that models built before no longer run. So models are built and traced eagerly,
and only the finished graph is brought into TFF's.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def call_in_graph(function: Any, *arguments: Any) -> Any:
    """Copies a concrete function's operations into the current graph.

    Variables that the function captured become variables of the current graph that start as
    zeros, so the function must assign each before it reads it. Other captured tensors become
    constants.

    Args:
      function: a `tf.types.experimental.ConcreteFunction`.
      *arguments: tensors of the current graph, structured as the function's.

    Returns:
      The function's outputs as tensors of the current graph. Reading one of them also runs the
      function's side effects.
    """
    graph = function.graph
    given = tf.nest.flatten(arguments)
    inputs = dict(zip((tensor.name for tensor in graph.inputs), given))
    variables = {id(variable.handle): variable for variable in graph.variables}
    for external, internal in graph.captures:
        if id(external) in variables:
            like = variables[id(external)]
            inputs[internal.name] = tf.Variable(
                tf.zeros(like.shape, like.dtype), name=internal.op.name
            ).handle
        else:
            inputs[internal.name] = tf.constant(external.numpy())
    outputs = [tensor.name for tensor in function.outputs]
    effects = [operation.name for operation in graph.control_outputs]
    used = _placeholders_in_use(graph)
    definition = graph.as_graph_def()
    for node in definition.node:
        # Some random layers ask for the device of an input, which has another name here.
        node.attr.pop("_class", None)
    imported = tf.graph_util.import_graph_def(
        definition,
        input_map={name: value for name, value in inputs.items() if name in used},
        return_elements=outputs + effects,
        name="",
    )
    with tf.control_dependencies(imported[len(outputs) :]):
        tensors = [tf.identity(tensor) for tensor in imported[: len(outputs)]]
    return tf.nest.pack_sequence_as(function.structured_outputs, tensors)


def _placeholders_in_use(graph: tf.Graph) -> set[str]:
    """Names of the inputs that something reads; TensorFlow refuses to map the others."""
    return {tensor.name for op in graph.get_operations() for tensor in op.inputs} | {
        tensor.name for tensor in graph.outputs
    }
