"""Random layers, such as dropout, in a step that TFF runs.

A Keras layer that draws random numbers keeps a `tf.random.Generator`, whose state is a variable
outside `model.weights`. A step of TFF keeps no variables from call to call, so that every step
would draw the same numbers. Here each step starts the generators from a fingerprint of all that it
gets: weights, optimizer, batch. So the numbers differ from step to step and from client to client,
and a training that is repeated or resumed draws the same ones again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Of Philox and ThreeFry, the algorithms of `tf.random.Generator`.
_STATE_SHAPES = ([3], [2])
_RANDOM_OPERATIONS = ("Random", "Rng", "Multinomial", "TruncatedNormal")


def trace(step: Callable[[Any, Any], Any], model: tf.keras.Model, progress: Any, batch: Any) -> Any:
    """Traces a step of a model, with its random layers started from the step's arguments.

    Args:
      step: `<progress, batch> -> progress`; assigns all weights of the model before it reads them.
      model: the model that it runs.
      progress: `tf.TensorSpec`s of the first argument.
      batch: of the second.

    Returns:
      A concrete function `<progress, batch> -> progress`.
    """
    traced = tf.function(step, autograph=False).get_concrete_function(progress, batch)
    weights = {id(weight) for weight in model.weights}
    states = [
        variable
        for variable in traced.graph.variables
        if id(variable) not in weights
        and variable.dtype == tf.int64
        and variable.shape.as_list() in _STATE_SHAPES
    ]
    # In the order of their first use: the graph lists its variables in none.
    places = {id(handle): place for place, (handle, _) in enumerate(traced.graph.captures)}
    states.sort(key=lambda state: places[id(state.handle)])
    if not states:
        return traced

    def seeded(progress: Any, batch: Any) -> Any:
        key = _fingerprint(tf.nest.flatten((progress, batch)))
        for number, state in enumerate(states):
            counter = tf.constant([number] + [0] * (state.shape[0] - 2), tf.int64)
            state.assign(tf.concat([counter, key], 0))
        return step(progress, batch)

    return tf.function(seeded, autograph=False).get_concrete_function(progress, batch)


def are_in(model: tf.keras.Model, inputs: Any) -> bool:
    """Whether a model draws random numbers in training, from a generator or not.

    Args:
      model: see `trace`.
      inputs: `tf.TensorSpec`s of what it takes.
    """
    forward = tf.function(lambda values: model(values, training=True), autograph=False)
    graph = forward.get_concrete_function(inputs).graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    return any(word in node.op for node in nodes for word in _RANDOM_OPERATIONS)


def _fingerprint(tensors: list[tf.Tensor]) -> tf.Tensor:
    """An int64 [1] of the values of tensors."""
    parts = [tf.fingerprint(tf.reshape(tensor, [1, -1])) for tensor in tensors]  # uint8 [1, 8]
    return tf.bitcast(tf.fingerprint(tf.concat(parts, -1)), tf.int64)
