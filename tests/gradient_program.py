"""A program that computes a gradient in a precision, and says whether it is finite."""

from __future__ import annotations

import sys

from tffcxr import environment
from tffcxr.models.spec import ModelSpec


def main(precision: str) -> None:
    """Prints "finite: True" where all is well."""
    environment.prepare()
    environment.prepare_for_precision(precision)
    import tensorflow as tf

    model = ModelSpec("standard", 32, 1, precision=precision).build().keras  # type: ignore[arg-type]
    images = tf.ones([2, 32, 32, 1])

    @tf.function
    def all_finite() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        return tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])

    print("finite:", all_finite().numpy())


if __name__ == "__main__":
    main(sys.argv[1])
