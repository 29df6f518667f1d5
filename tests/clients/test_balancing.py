"""Classes come equally often, as a function of the seed, and every image has its share."""

from __future__ import annotations

import collections

import numpy as np
import pandas as pd
from PIL import Image
import pytest
import tensorflow as tf

from tests.clients.fixtures import picture
from tffcxr.clients import balancing, client_data
from tffcxr.clients.shards import preparation
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.errors import InputError

CLASSES = ("a", "b", "c")


def _client(folder, counts, first):
    """Images numbered from `first`, as many of each class as `counts` says."""
    folder.mkdir(parents=True)
    rows = []
    kinds = [kind for kind, count in zip(CLASSES, counts) for _ in range(count)]
    for number, kind in enumerate(kinds, start=first):
        path = folder / f"{number}.png"
        Image.fromarray(picture(number)).save(path)
        labels = {name: float(name == kind) for name in CLASSES}
        row = {"image": str(path), "patient": str(number), "site": "s", "mask": None}
        rows.append({**row, **labels, "split": "train"})
    return pd.DataFrame(rows)


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clients")
    records = {
        "north": _client(folder / "north", (8, 2, 0), 0),
        "south": _client(folder / "south", (0, 5, 0), 20),
    }
    return preparation.prepare(records, preparation.ShardSpec(16, CLASSES), folder / "cache")


def _epochs(store, clients, rounds, local_epochs, balance_classes=True):
    """Yields of each epoch how often each image came, by its number, and each class."""
    known = {picture(number).tobytes(): number for number in range(30)}
    # A batch ends with its epoch, and holds all of it.
    data = client_data.ClientData(store, batch_size=100, seed=0, balance_classes=balance_classes)
    for number in rounds:
        batches = list(data.train_dataset(clients, number, local_epochs).as_numpy_iterator())
        assert len(batches) == local_epochs
        for batch in batches:
            pixels = np.round(batch["images"] * 255).astype(np.uint8)
            images = collections.Counter(known[image.tobytes()] for image in pixels)
            yield images, batch["labels"].sum(axis=0)


def test_expected_copies_by_hand():
    # 10 images of the two classes that are there: 10 / (2 * 8) and 10 / (2 * 2).
    assert balancing.expected_copies([8, 2, 0]) == [0.625, 2.5, 0.0]
    assert balancing.expected_copies([0, 5, 0]) == [0.0, 1.0, 0.0]
    assert balancing.expected_copies([4, 4, 4]) == [1.0, 1.0, 1.0]
    assert balancing.expected_copies([0, 0, 0]) == [0.0, 0.0, 0.0]


def test_images_come_as_often_as_expected(store):
    total: collections.Counter[int] = collections.Counter()
    by_class, epochs = np.zeros(3), 60
    for images, classes in _epochs(store, "north", range(6), 10):
        # 0.625 is rounded to 0 or 1, and 2.5 to 2 or 3.
        assert all(images[number] in (0, 1) for number in range(8))
        assert all(images[number] in (2, 3) for number in (8, 9))
        total.update(images)
        by_class += classes
    # Standard deviations of a mean over 60 epochs: sqrt(8 * 0.625 * 0.375 / 60) = 0.18 of the
    # first class, sqrt(2 * 0.25 / 60) = 0.09 of the second.
    np.testing.assert_allclose(by_class / epochs, [5.0, 5.0, 0.0], atol=0.7)
    # Each image of the first class: 0.625 with a standard deviation of 0.0625.
    np.testing.assert_allclose([total[n] / epochs for n in range(8)], 0.625, atol=0.25)


def test_one_class_comes_as_it_is(store):
    ((images, _),) = _epochs(store, "south", [1], 1)
    assert images == dict.fromkeys(range(20, 25), 1)


def test_pooled_clients_are_balanced_together(store):
    # 15 images: 8 of one class, 7 of the other, which come 0.94 and 1.07 times.
    epochs = list(_epochs(store, ["south", "north"], range(3), 10))
    assert all(max(images.values()) <= 2 for images, _ in epochs)
    np.testing.assert_allclose(np.mean([c for _, c in epochs], axis=0), [7.5, 7.5, 0], atol=0.6)


def test_a_function_of_seed_round_and_client_only(store):
    def drawn(seed, round_number):
        data = client_data.ClientData(store, 4, seed, balance_classes=True)
        batches = data.train_dataset("north", round_number, 2).as_numpy_iterator()
        return [batch["images"].tobytes() for batch in batches]

    tf.random.set_seed(3)
    first = drawn(0, 1)
    tf.random.set_seed(4)
    assert drawn(0, 1) == first
    assert drawn(0, 2) != first
    assert drawn(1, 1) != first


def test_evaluation_and_the_default_are_not_balanced(store):
    data = client_data.ClientData(store, batch_size=4, seed=0, balance_classes=True)
    rows = [b["rows"] for b in data.evaluation_dataset("north", "train").as_numpy_iterator()]
    assert sorted(np.concatenate(rows)) == list(range(10))
    ((images, _),) = _epochs(store, "north", [1], 1, balance_classes=False)
    assert images == dict.fromkeys(range(10), 1)


def test_an_image_of_unknown_class_comes_once():
    labels = [[1.0, 0.0], [np.nan, np.nan], [0.0, 1.0]]
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"labels": tf.train.Feature(float_list=tf.train.FloatList(value=row))}
            )
        ).SerializeToString()
        for row in labels
    ]
    dataset = tf.data.Dataset.from_tensor_slices(examples)
    found = balancing.balance(
        dataset, tf.constant([0.0, 3.0]), tf.constant([1, 2], tf.int64)
    ).as_numpy_iterator()
    assert list(found) == [examples[1]] + 3 * [examples[2]]


def test_shards_without_classes_are_refused(tmp_path):
    records = _client(tmp_path / "east", (1, 1, 0), 0).drop(columns=list(CLASSES))
    records["mask"] = [areas.Boxes((), 16, 16)] * 2
    spec = preparation.ShardSpec(16, (), with_mask=True)
    store = preparation.prepare({"east": records}, spec, tmp_path / "cache")
    with pytest.raises(InputError, match="expected shards with classes to balance"):
        client_data.ClientData(store, 4, 0, balance_classes=True)
