"""Tests of training.event_files: curves are copied, names of computers and images are not."""

import numpy as np
import tensorflow as tf

from tffcxr.training import event_files


def _events(path):
    return [
        tf.compat.v1.Event.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]


def _write(folder):
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for step in range(3):
            tf.summary.scalar("loss/train", 0.5 * step, step=step)
        tf.summary.text("note", "on MARK", step=0)
        tf.summary.histogram("weights MARK", np.arange(9.0), step=0)
        tf.summary.image("MARK", np.zeros((1, 4, 4, 1), np.float32), step=0)
    writer.close()
    (path,) = folder.iterdir()
    return path


def test_curves_and_nothing_else(tmp_path):
    source = _write(tmp_path / "run")
    event_files.copy_scalars(source, tmp_path / "copy")
    first, *others = _events(tmp_path / "copy")
    assert first.file_version == "brain.Event:2"
    assert [
        (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
        for event in others
        for value in event.summary.value
    ] == [(0, "loss/train", 0.0), (1, "loss/train", 0.5), (2, "loss/train", 1.0)]
    content = (tmp_path / "copy").read_bytes()
    assert b"MARK" in source.read_bytes()
    assert b"MARK" not in content


def test_a_file_that_was_cut_off_is_copied_up_to_there(tmp_path):
    source = _write(tmp_path / "run")
    whole = source.read_bytes()
    source.write_bytes(whole[:-5])
    event_files.copy_scalars(source, tmp_path / "copy")
    assert len(_events(tmp_path / "copy")) == 4
