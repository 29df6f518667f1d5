"""The multi-task "meta" model: one trunk and every site's task block, in one model.

CheXViz (arXiv:2211.06212) trains one representation block across sites that label different
findings. Put under every site's task block at once, it gives all findings for one image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import re
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr.models.blocks import CxrModel, get_weights, set_weights


def multi_task_model(
    shared: CxrModel,
    heads: Mapping[str, Sequence[np.ndarray]],
    columns: Mapping[str, str],
    trunks: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> tf.keras.Model:
    """Joins the sites' task blocks on one trunk.

    Args:
      shared: the trained model; its representation weights are copied, its task block is not used.
      heads: finding -> its column of a site's task block: kernel [features, 1] and bias [1].
      columns: finding -> the site that the column is of, in the order of the model's outputs.
      trunks: site -> its representation weights, where sites do not share all of them
        (`batch_norm=local`). Then each of these sites gets a trunk of its own, with the site's
        name before every layer's, and the file grows by as many trunks. Sites left out use the
        shared one.

    Returns:
      A Keras model that maps images, float32 [B, S, S, 1] in 0..1, to probabilities, float32
      [B, len(columns)], in the order of `columns`. It shares no variable with `shared`.

    Raises:
      ValueError: a finding has no column of a task block, or one of another width, the task block
        is not one dense layer, or two names are the same in letters and digits.
    """
    _check_heads(shared, heads, columns)
    images = tf.keras.Input(shared.keras.input_shape[1:], name="images")
    features = _features(shared, columns, trunks or {}, images)

    logits, head_weights = [], {}
    for finding, site in columns.items():
        name = f"task_{_slug(site)}_{_slug(finding)}"
        dense = tf.keras.layers.Dense(1, dtype="float32", name=name)
        logits.append(dense(features[site]))
        head_weights[name] = list(heads[finding])
    joined = logits[0] if len(logits) == 1 else tf.keras.layers.Concatenate(name="logits")(logits)
    probabilities = tf.keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")
    model = tf.keras.Model(images, probabilities(joined), name="multi_task")
    for name, arrays in head_weights.items():
        set_weights(model, [name], arrays)
    return model


def gradcam_layers(
    shared: CxrModel, columns: Mapping[str, str], trunks: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Finding -> the layer of the multi-task model to explain it with; arguments as there."""
    own = trunks or {}
    return {
        finding: (f"{_slug(site)}_" if site in own else "") + shared.gradcam_layer
        for finding, site in columns.items()
    }


def _features(
    shared: CxrModel,
    columns: Mapping[str, str],
    trunks: Mapping[str, Sequence[np.ndarray]],
    images: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Makes the trunks that are needed; returns each site's features [B, D]."""
    common = None
    features = {}
    for site in dict.fromkeys(columns.values()):
        if site in trunks:
            features[site] = _trunk(shared, trunks[site], images, f"{_slug(site)}_")
        else:
            if common is None:
                weights = get_weights(shared.keras, shared.representation)
                common = _trunk(shared, weights, images, "")
            features[site] = common
    return features


def _trunk(
    shared: CxrModel, weights: Sequence[np.ndarray], images: tf.Tensor, prefix: str
) -> tf.Tensor:
    """Copies the representation block onto `images`; every layer's name gets the prefix."""

    def renamed(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        config = layer.get_config()
        return type(layer).from_config({**config, "name": prefix + config["name"]})

    end = shared.keras.get_layer(shared.task[0]).input
    original = tf.keras.Model(shared.keras.input, end)
    copy = tf.keras.models.clone_model(original, input_tensors=images, clone_function=renamed)
    set_weights(copy, [prefix + name for name in shared.representation], weights)
    return copy.output


def _check_heads(
    shared: CxrModel, heads: Mapping[str, Sequence[np.ndarray]], columns: Mapping[str, str]
) -> None:
    if not columns:
        raise ValueError("expected at least one finding")
    task = shared.keras.get_layer(shared.task[0])
    if len(shared.task) != 1 or not isinstance(task, tf.keras.layers.Dense):
        raise ValueError(f"expected a task block of one dense layer, found {shared.task}")
    features = task.input_shape[-1]
    for finding in columns:
        found = [np.shape(array) for array in heads.get(finding, ())]
        if found != [(features, 1), (1,)]:
            raise ValueError(
                f"task block of {finding}: expected shapes {[(features, 1), (1,)]}, found {found}"
            )
    slugs = [(_slug(site), _slug(finding)) for finding, site in columns.items()]
    if len(set(slugs)) != len(slugs):
        raise ValueError(f"names must differ in letters or digits, found {', '.join(columns)}")


def _slug(name: str) -> str:
    """A name that a Keras layer may have: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "_"
