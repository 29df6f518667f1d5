"""A model as two blocks of layers: the representation, which sites share, and the task.

The split follows CheXViz: P. Kulkarni, A. Kanhere, P. H. Yi, V. S. Parekh, "From Competition to
Collaboration: Making Toy Datasets on Kaggle Clinically Useful for Chest X-Ray Diagnosis Using
Federated Learning", arXiv:2211.06212, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class CxrModel:
    """A flat functional Keras model whose weights belong to one of two blocks.

    Attributes:
      keras: maps images, float32 [B, S, S, 1] in 0..1 (higher = denser), to logits, float32
        [B, outputs], or [B, S, S, outputs] where it segments, or a list of the latter, of every
        resolution with the full one first. All layers are at the top level, so a layer's name
        identifies it.
      representation: names of the weight-bearing layers that sites share, in the model's order.
      task: names of the weight-bearing layers that belong to a site's own findings.
      gradcam_layer: name of the layer whose feature maps Grad-CAM weighs.

    Raises:
      ValueError: the two blocks overlap or do not hold exactly the layers that have weights.
    """

    keras: tf.keras.Model
    representation: tuple[str, ...]
    task: tuple[str, ...]
    gradcam_layer: str

    def __post_init__(self):
        named = [*self.representation, *self.task]
        present = [layer.name for layer in self.keras.layers if layer.weights]
        if sorted(named) != sorted(present):
            odd = sorted(set(named) ^ set(present)) or sorted(named)
            raise ValueError(
                "the blocks must hold each layer with weights once; "
                f"missing, unknown or doubled: {', '.join(odd)}"
            )
        self.keras.get_layer(self.gradcam_layer)

    @property
    def outputs(self) -> int:
        """Width of the task block: the number of logits, of an image or of each pixel."""
        shape = self.keras.output_shape
        return int((shape[0] if isinstance(shape, list) else shape)[-1])

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return int(self.keras.input_shape[1])


def named_weights(model: tf.keras.Model) -> list[tuple[str, tf.Variable]]:
    """Pairs every weight with the name of its layer.

    A variable's own name will not do: TensorFlow alters it when a graph already has one like it.

    Returns:
      `(layer name, weight)` in the order of `model.trainable_weights +
      model.non_trainable_weights`.
    """
    owner = {id(weight): layer.name for layer in model.layers for weight in layer.weights}
    weights = model.trainable_weights + model.non_trainable_weights
    return [(owner[id(weight)], weight) for weight in weights]


def get_weights(model: tf.keras.Model, layer_names: Sequence[str]) -> list[np.ndarray]:
    """Reads the weights of the named layers, layer after layer.

    Within a layer the order is the layer's own (kernel, bias; gamma, beta, moving mean, moving
    variance). Freezing a layer does not change it.
    """
    return [array for name in layer_names for array in model.get_layer(name).get_weights()]


def set_weights(
    model: tf.keras.Model, layer_names: Sequence[str], arrays: Sequence[np.ndarray]
) -> None:
    """Writes what `get_weights` read, into a model of the same layers.

    Raises:
      ValueError: the arrays are too few, too many or of other shapes; nothing is written then.
    """
    variables = [weight for name in layer_names for weight in model.get_layer(name).weights]
    if len(arrays) != len(variables):
        raise ValueError(f"expected {len(variables)} arrays, found {len(arrays)}")
    for variable, array in zip(variables, arrays):
        if tuple(variable.shape) != np.shape(array):
            raise ValueError(
                f"{variable.name}: expected shape {tuple(variable.shape)}, found {np.shape(array)}"
            )
    for variable, array in zip(variables, arrays):
        variable.assign(array)
