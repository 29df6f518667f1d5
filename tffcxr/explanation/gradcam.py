"""Grad-CAM: which parts of an image raised a model's score for one finding.

R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual
Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, arXiv:1610.02391.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tf_explain.core.grad_cam import GradCAM


def grad_cam(
    model: tf.keras.Model,
    layer_name: str,
    images: np.ndarray,
    output_index: int,
    batch_size: int = 32,
) -> np.ndarray:
    """Explains one output of a model on every image.

    With feature maps A_k of the layer and score y, the weight of a map is the mean of dy/dA_k over
    its positions (eq. 1), and the heat is ReLU(sum_k weight_k * A_k) (eq. 2). The gradients are
    tf-explain's with its guided variant off, as in the paper. The heat is brought to the size of
    the image bilinearly and each image's is divided by its own maximum, so heat of different
    images or models compares in shape and not in strength.

    Args:
      model: a Keras model; its output should be the logit, whose gradient does not vanish for
        confident scores.
      layer_name: a layer with feature maps [N, h, w, K], usually the last convolution.
      images: float32 [N, S, S, 1] in 0..1, whatever the model takes.
      output_index: which output to explain.
      batch_size: images per forward and backward pass.

    Returns:
      float32 [N, S, S] in 0..1 with maximum 1, or zero everywhere for an image in which nothing
      raises the score.

    Raises:
      ValueError: the images or the layer have the wrong rank, there is no such output or layer, or
        the model gives values that are not finite.
    """
    if images.ndim != 4:
        raise ValueError(f"images: expected [N, S, S, channels], found shape {images.shape}")
    if len(model.get_layer(layer_name).output_shape) != 4:
        raise ValueError(f"layer {layer_name} has no feature maps: expected an output [N, h, w, K]")
    if not 0 <= output_index < model.output_shape[-1]:
        raise ValueError(f"output {output_index} is not one of {model.output_shape[-1]}")
    heats = [np.zeros((0, *images.shape[1:3]), np.float32)]
    for start in range(0, len(images), batch_size):
        batch = tf.convert_to_tensor(images[start : start + batch_size], tf.float32)
        maps, gradients = GradCAM.get_gradients_and_filters(
            model, batch, layer_name, output_index, use_guided_grads=False
        )
        heat = tf.nn.relu(tf.stack(GradCAM.generate_ponderated_output(maps, gradients)))
        heat = tf.image.resize(heat[..., None], images.shape[1:3], method="bilinear")[..., 0]
        heats.append(_to_unit_maximum(heat.numpy()))
    return np.concatenate(heats)


def _to_unit_maximum(heat: np.ndarray) -> np.ndarray:
    """Divides each map [h, w] of [N, h, w] by its maximum, where that is not zero."""
    if not np.all(np.isfinite(heat)):
        raise ValueError("the model gives values that are not finite, so nothing can be explained")
    maximum = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, maximum, out=np.zeros_like(heat), where=maximum > 0)
