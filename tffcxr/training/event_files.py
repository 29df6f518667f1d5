"""Copies of TensorBoard's event files without private content."""

from __future__ import annotations

import pathlib

import tensorflow as tf

_CURVES = "scalars"  # TensorBoard's name for what it draws as curves.


def copy_scalars(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies the curves of an event file, and nothing else, to a new file.

    Tags, steps, times and single numbers are copied; histograms, images, texts and the writer's own
    metadata are not. A file that ends within an event, as that of a killed run may, is copied up to
    there.

    Raises:
      OSError: the target cannot be written.
    """
    with tf.io.TFRecordWriter(str(target)) as writer:
        version = tf.compat.v1.Event(file_version="brain.Event:2")
        writer.write(version.SerializeToString())
        try:
            for record in tf.data.TFRecordDataset(str(source)).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                values = [_scalar(value) for value in event.summary.value if _is_scalar(value)]
                if values:
                    shared = tf.compat.v1.Event(wall_time=event.wall_time, step=event.step)
                    shared.summary.value.extend(values)
                    writer.write(shared.SerializeToString())
        except tf.errors.DataLossError:
            pass


def _is_scalar(value: tf.compat.v1.Summary.Value) -> bool:
    is_curve = value.metadata.plugin_data.plugin_name == _CURVES
    return (
        is_curve
        and value.tensor.dtype == tf.float32.as_datatype_enum
        and not (value.tensor.tensor_shape.dim)
    )


def _scalar(value: tf.compat.v1.Summary.Value) -> tf.compat.v1.Summary.Value:
    number = float(tf.make_ndarray(value.tensor))
    shared = tf.compat.v1.Summary.Value(
        tag=value.tag, tensor=tf.make_tensor_proto(number, tf.float32)
    )
    shared.metadata.plugin_data.plugin_name = _CURVES
    return shared
