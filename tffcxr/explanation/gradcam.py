"""Grad-CAM and Grad-CAM++: which parts of an image raised a model's score for one finding.

R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual
Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, arXiv:1610.02391.
A. Chattopadhyay, A. Sarkar, P. Howlader, V. N. Balasubramanian, "Grad-CAM++: Improved Visual
Explanations for Deep Convolutional Networks", WACV 2018, arXiv:1710.11063.

Both sum a layer's feature maps, each with a weight from the gradient of the score. In Grad-CAM a
map's weight is the mean of its gradient, so a small region counts for less than a large one of the
same evidence, and what speaks against the finding is taken off. In Grad-CAM++ the weight is a sum
over the positions that speak for the finding alone, each divided by how much of the map there is.
"""

from __future__ import annotations

from collections.abc import Callable
import functools

import numpy as np
import tensorflow as tf
from tf_explain.core.grad_cam import GradCAM

# From feature maps and the score's gradients, both [N, h, w, K], to heat [N, h, w].
_Heat = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# From images [N, S, S, C] and the number of an output to a layer's feature maps and the gradients
# of that output, both [N, h, w, K].
Gradients = Callable[[tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]]


def compiled_gradients(model: tf.keras.Model, layer_name: str) -> Gradients:
    """Returns what `grad_cam` takes as `gradients`, for many images of one model.

    It is traced once, which takes a deep network seconds; then it is about four times as fast. The
    weights of the model may change between calls.

    Args:
      model: as in `grad_cam`.
      layer_name: as in `grad_cam`.
    """
    images = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
    return tf.function(
        functools.partial(_gradients, model, layer_name),
        input_signature=[images, tf.TensorSpec([], tf.int32)],
        autograph=False,
    )


def _gradients(
    model: tf.keras.Model, layer_name: str, images: tf.Tensor, output_index: int
) -> tuple[tf.Tensor, tf.Tensor]:
    return GradCAM.get_gradients_and_filters(
        model, images, layer_name, output_index, use_guided_grads=False
    )


def grad_cam(
    model: tf.keras.Model,
    layer_name: str,
    images: np.ndarray,
    output_index: int,
    batch_size: int = 32,
    gradients: Gradients | None = None,
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
      gradients: of `compiled_gradients`; by default, nothing is compiled.

    Returns:
      float32 [N, S, S] in 0..1 with maximum 1, or zero everywhere for an image in which nothing
      raises the score.

    Raises:
      ValueError: the images or the layer have the wrong rank, there is no such output or layer, or
        the model gives values that are not finite.
    """
    return _explain(model, layer_name, images, output_index, batch_size, gradients, _grad_cam_heat)


def grad_cam_plus_plus(
    model: tf.keras.Model,
    layer_name: str,
    images: np.ndarray,
    output_index: int,
    batch_size: int = 32,
    gradients: Gradients | None = None,
) -> np.ndarray:
    """Explains one output of a model on every image, as `grad_cam` does, by Grad-CAM++.

    With feature maps A_k, score S and g = dS/dA_k, the weight of a map is the sum over its
    positions ij of alpha_ij * ReLU(g_ij) (eq. 5), where

        alpha_ij = g_ij² / (2 g_ij² + sum_ab A_ab * g_ij³)                                (eq. 19)

    and the heat is ReLU(sum_k weight_k * A_k). Equation 19 is the closed form of equation 10 for
    Y = exp(S) where S is piecewise linear in A, as behind ReLU: then the second and third
    derivatives of Y are powers of g times Y. The factor exp(S) that the weights of all maps then
    share is left out, as the heat is divided by its maximum.

    Args:
      model: as in `grad_cam`. S is its output, which so must be the logit.
      layer_name: a layer with feature maps [N, h, w, K] that are not negative, such as those
        behind ReLU; the method assumes it.
      images: as in `grad_cam`.
      output_index: as in `grad_cam`.
      batch_size: as in `grad_cam`.
      gradients: as in `grad_cam`.

    Returns:
      As `grad_cam`.

    Raises:
      ValueError: as `grad_cam`, or a feature map is negative somewhere.
    """

    def heat(maps: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        if tf.reduce_any(maps < 0):
            raise ValueError(
                f"layer {layer_name}: Grad-CAM++ needs feature maps that are not negative, "
                f"found {float(tf.reduce_min(maps)):.3g}"
            )
        return _grad_cam_plus_plus_heat(maps, gradients)

    return _explain(model, layer_name, images, output_index, batch_size, gradients, heat)


def _grad_cam_heat(maps: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(tf.stack(GradCAM.generate_ponderated_output(maps, gradients)))


def _grad_cam_plus_plus_heat(maps: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(maps, axis=(1, 2), keepdims=True)  # [N, 1, 1, K]
    # Only where g is positive does alpha count; there eq. 19 is 1 / (2 + g * total).
    positive = tf.nn.relu(gradients)
    weights = tf.reduce_sum(positive / (2 + positive * total), axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * maps, axis=3))


def _explain(
    model: tf.keras.Model,
    layer_name: str,
    images: np.ndarray,
    output_index: int,
    batch_size: int,
    gradients: Gradients | None,
    to_heat: _Heat,
) -> np.ndarray:
    if images.ndim != 4:
        raise ValueError(f"images: expected [N, S, S, channels], found shape {images.shape}")
    if len(model.get_layer(layer_name).output_shape) != 4:
        raise ValueError(f"layer {layer_name} has no feature maps: expected an output [N, h, w, K]")
    if not 0 <= output_index < model.output_shape[-1]:
        raise ValueError(f"output {output_index} is not one of {model.output_shape[-1]}")
    gradients = gradients or functools.partial(_gradients, model, layer_name)
    heats = [np.zeros((0, *images.shape[1:3]), np.float32)]
    for start in range(0, len(images), batch_size):
        batch = tf.convert_to_tensor(images[start : start + batch_size], tf.float32)
        maps, slopes = gradients(batch, output_index)
        # The layer may compute in half precision, too coarse for sums over positions.
        heat = to_heat(tf.cast(maps, tf.float32), tf.cast(slopes, tf.float32))
        heat = tf.image.resize(heat[..., None], images.shape[1:3], method="bilinear")[..., 0]
        heats.append(_to_unit_maximum(heat.numpy()))
    return np.concatenate(heats)


def _to_unit_maximum(heat: np.ndarray) -> np.ndarray:
    """Divides each map [h, w] of [N, h, w] by its maximum, where that is not zero."""
    if not np.all(np.isfinite(heat)):
        raise ValueError("the model gives values that are not finite, so nothing can be explained")
    maximum = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, maximum, out=np.zeros_like(heat), where=maximum > 0)
