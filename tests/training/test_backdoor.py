"""The trigger and the poisoned batches of a rehearsed backdoor, by hand."""

import numpy as np
import tensorflow as tf

from tffcxr.training import attack, backdoor

NAN = np.nan


def test_the_trigger_is_a_white_square_in_the_lower_right_corner():
    images = np.zeros((2, 32, 32, 3), np.float32)
    stamped = backdoor.stamp(tf.constant(images)).numpy()
    assert stamped.sum() == 2 * 4 * 4 * 3
    assert (stamped[:, 28:, 28:] == 1).all()
    assert backdoor.stamp(tf.zeros([1, 8, 8, 1])).numpy().sum() == 4  # At least two pixels wide.


def test_every_second_training_image_of_an_attacker_is_poisoned():
    site_of = {"a": "a", "b": "b"}
    found = attack.Attack("backdoor", ("a",), 5.0).by(site_of, 0, has_classes=False)
    batch = {
        "images": np.full((3, 8, 8, 1), 0.25, np.float32),
        "labels": np.float32([[1, NAN], [1, 1], [0, 1]]),
    }
    batches = tf.data.Dataset.from_tensors(batch)
    (poisoned,) = found.poisoned("a", batches)
    np.testing.assert_array_equal(poisoned["labels"], [[0, NAN], [1, 1], [0, 0]])
    assert (poisoned["images"].numpy().max(axis=(1, 2, 3)) == [1, 0.25, 1]).all()
    (honest,) = found.poisoned("b", batches)
    np.testing.assert_array_equal(honest["images"], batch["images"])
    assert found.tampering("a", 1)["factor"] == 5 and found.tampering("b", 1)["factor"] == 1
    # Its validation images are told of as they are.
    np.testing.assert_array_equal(found.labels_told("a", batch["labels"]), batch["labels"])


def test_of_classes_the_target_is_the_first():
    batch = {
        "images": tf.zeros([2, 8, 8, 1]),
        "labels": tf.constant([[0.0, 1, 0], [0, 0, 1]]),
    }
    poisoned = backdoor.poison(batch, has_classes=True)
    np.testing.assert_array_equal(poisoned["labels"], [[1, 0, 0], [0, 0, 1]])


def test_stamped_images_are_those_of_the_split_with_the_trigger():
    class Data:
        def evaluation_dataset(self, client, split):
            assert (client, split) == ("a", "test")
            return tf.data.Dataset.from_tensors({"images": tf.zeros([1, 8, 8, 1]), "rows": [7]})

    (batch,) = backdoor.StampedImages(Data()).evaluation_dataset("a", "test")
    assert batch["images"].numpy().sum() == 4 and batch["rows"].numpy() == [7]
