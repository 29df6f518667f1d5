"""Small exported models of every kind."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tffcxr.models.files import export, metadata
from tffcxr.models.files.metadata import Metadata

SIZE = 16
FINDINGS = ("Lung Opacity", "Pneumothorax")
_OTHERS: dict[str, dict[str, Any]] = {
    metadata.FINDINGS: {"outputs": FINDINGS, "operating_points": {"Lung Opacity": 0.25}},
    metadata.CLASSES: {"outputs": ("Normal", "Pneumonia", "COVID-19")},
    metadata.MASKS: {"outputs": ("Lungs",), "threshold": 0.25},
    metadata.VOLUMES: {"outputs": ("Brain lesions",), "threshold": 0.5, "channels": 3},
}


def about(kind: str, **others: Any) -> Metadata:
    """Metadata of a model of `keras`."""
    values = {
        "kind": kind,
        "image_size": SIZE,
        "fit": "pad",
        "recipe": "tiny",
        "network": "standard",
        "phantoms": False,
        **_OTHERS[kind],
        **others,
    }
    if kind in (metadata.FINDINGS, metadata.CLASSES):
        values.setdefault("gradcam_layers", dict.fromkeys(values["outputs"], "conv"))
    return Metadata(**values)


def keras(kind: str, seed: int = 0) -> tf.keras.Model:
    """A model whose layer "conv" has random weights."""
    channels = 3 if kind == metadata.VOLUMES else 1
    images = tf.keras.Input((SIZE, SIZE, channels))
    tf.keras.utils.set_random_seed(seed)
    if kind in (metadata.MASKS, metadata.VOLUMES):
        logits = tf.keras.layers.Conv2D(1, 3, padding="same", name="conv")(images)
    else:
        features = tf.keras.layers.Conv2D(4, 3, activation="relu", name="conv")(images)
        pooled = tf.keras.layers.GlobalAveragePooling2D(name="pool")(features)
        logits = tf.keras.layers.Dense(len(_OTHERS[kind]["outputs"]), name="task")(pooled)
    activation = "softmax" if kind == metadata.CLASSES else "sigmoid"
    return export.with_probabilities(tf.keras.Model(images, logits), activation)


def exported(kind: str, seed: int = 0, **others: Any) -> export.Exported:
    """A model with its metadata."""
    return export.Exported(keras(kind, seed), about(kind, **others))
