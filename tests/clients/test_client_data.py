"""Datasets of clients: the right images in an order that only the seed decides, small graphs."""

import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.clients.fixtures import FINDINGS, client_records, picture
from tffcxr.clients import client_data
from tffcxr.clients.augment import Augmentation
from tffcxr.clients.shards import preparation
from tffcxr.errors import InputError

MOVING = Augmentation(flip=True, rotation_degrees=10, translation=0.1, scale=0.1, shear=5)


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clients")
    records = {
        "north": client_records(folder / "north", 10),
        "south": client_records(folder / "south", 7, validation=0, first=100),
    }
    return preparation.prepare(records, preparation.ShardSpec(16, FINDINGS), folder / "cache")


def _read(dataset: tf.data.Dataset) -> list[dict[str, np.ndarray]]:
    return list(dataset.as_numpy_iterator())


def _numbers(batches) -> list[int]:
    """Which pictures the batches hold, in order."""
    known = {picture(number).tobytes(): number for number in range(110)}
    return [
        known[np.round(image * 255).astype(np.uint8).tobytes()]
        for batch in batches
        for image in batch["images"]
    ]


def test_evaluation_keeps_the_order_of_the_table(store):
    data = client_data.ClientData(store, batch_size=2, seed=0, augmentation=MOVING)
    batches = _read(data.evaluation_dataset("north", "validation"))
    assert [batch["images"].shape for batch in batches] == [(2, 16, 16, 1), (1, 16, 16, 1)]
    np.testing.assert_array_equal(np.concatenate([b["rows"] for b in batches]), [7, 8, 9])
    assert _numbers(batches) == [7, 8, 9]
    np.testing.assert_array_equal(
        np.concatenate([batch["labels"] for batch in batches]), [[1, 0], [0, 0], [1, np.nan]]
    )


def test_evaluation_of_several_clients_and_of_none(store):
    data = client_data.ClientData(store, batch_size=4, seed=0)
    batches = _read(data.evaluation_dataset(["south", "north"], "train"))
    numbers = _numbers(batches)
    assert sorted(numbers[:7]) == list(range(100, 107))
    assert sorted(numbers[7:]) == list(range(7))
    assert _read(data.evaluation_dataset("south", "validation")) == []


def test_training_holds_every_image_once_per_epoch_in_another_order(store):
    data = client_data.ClientData(store, batch_size=4, seed=0)
    batches = _read(data.train_dataset("north", round_number=1, local_epochs=3))
    assert [len(batch["images"]) for batch in batches] == [4, 3] * 3
    epochs = [_numbers(batches[start : start + 2]) for start in (0, 2, 4)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for image, label in zip(_numbers(batches), np.concatenate([b["labels"] for b in batches])):
        np.testing.assert_array_equal(label, [image % 2, np.nan if image % 3 == 0 else 0])


def _same(left: tf.data.Dataset, right: tf.data.Dataset) -> bool:
    left, right = _read(left), _read(right)
    return len(left) == len(right) and all(
        a[key].tobytes() == b[key].tobytes() for a, b in zip(left, right) for key in a
    )


def test_a_function_of_seed_round_and_client_only(store):
    data, same, other = (client_data.ClientData(store, 4, s, MOVING) for s in (0, 0, 1))
    dataset = data.train_dataset("north", 1, 2)
    assert _same(dataset, dataset)  # Iterating it again, too.
    tf.random.set_seed(5)
    data.train_dataset("south", 3, 1)
    assert _same(dataset, same.train_dataset("north", 1, 2))
    assert not _same(dataset, data.train_dataset("north", 2, 2))
    assert not _same(dataset, other.train_dataset("north", 1, 2))


def test_augmentation_differs_between_epochs_and_images_stay_in_range(store):
    data = client_data.ClientData(store, batch_size=8, seed=0, augmentation=MOVING)
    first, second = _read(data.train_dataset("north", 1, 2))
    assert not {i.tobytes() for i in first["images"]} & {i.tobytes() for i in second["images"]}
    assert first["images"].min() >= 0
    assert first["images"].max() <= 1


def test_pooled_clients_are_mixed_whatever_their_order(store):
    data = client_data.ClientData(store, batch_size=4, seed=0)
    pooled = data.train_dataset(["north", "south"], 1, 1)
    numbers = _numbers(_read(pooled))
    assert sorted(numbers) == [*range(7), *range(100, 107)]
    assert numbers != sorted(numbers)
    assert len({number < 100 for number in numbers[:7]}) == 2
    assert _same(pooled, data.train_dataset(["south", "north"], 1, 1))


def test_pooled_clients_are_mixed_by_a_small_buffer(store, monkeypatch):
    monkeypatch.setattr(client_data, "_SHUFFLE_EXAMPLES", 2)
    data = client_data.ClientData(store, batch_size=4, seed=0)
    mixed = 0
    for round_number in range(10):
        numbers = _numbers(_read(data.train_dataset(["north", "south"], round_number, 1)))
        assert sorted(numbers) == [*range(7), *range(100, 107)]
        mixed += sum(number < 100 for number in numbers[:7])
    assert 20 < mixed < 50  # 35 of 70 if mixed, 70 if one client came after the other.


def test_masks_come_with_images(tmp_path):
    spec = preparation.ShardSpec(16, FINDINGS, with_mask=True)
    store = preparation.prepare(
        {"north": client_records(tmp_path / "north")}, spec, tmp_path / "cache"
    )
    mask = np.zeros((16, 16, 1), np.float32)
    mask[8:16, 4:8] = 1
    flip = client_data.ClientData(store, 8, 0, Augmentation(flip=True))
    (batch,) = _read(flip.train_dataset("north", 1, 1))
    sides = {image.tobytes() for image in batch["masks"]}
    assert sides == {mask.tobytes(), mask[:, ::-1].tobytes()}
    (batch,) = _read(flip.evaluation_dataset("north", "validation"))
    np.testing.assert_array_equal(batch["masks"], [mask] * 3)
    assert flip.train_dataset("north", 1, 1).element_spec == flip.element_spec


def test_a_dataset_serializes_to_a_small_graph(store):
    data = client_data.ClientData(store, batch_size=8, seed=0, augmentation=MOVING)
    for dataset in (data.train_dataset("north", 1, 5), data.evaluation_dataset("north", "train")):
        variant = tf.data.experimental.to_variant(dataset)
        graph = tf.raw_ops.DatasetToGraphV2(input_dataset=variant).numpy()
        assert len(graph) < 50_000


def test_building_a_dataset_is_cheap(store):
    data = client_data.ClientData(store, batch_size=8, seed=0, augmentation=MOVING)
    data.train_dataset("north", 0, 1)
    start = time.process_time()
    for round_number in range(20):
        data.train_dataset("north", round_number, 1)
    assert (time.process_time() - start) / 20 < 0.05


def test_reads_the_same_in_the_native_worker_of_tff(store):
    data = client_data.ClientData(store, batch_size=4, seed=0, augmentation=MOVING)

    sequence = tff.SequenceType(tff.types.tensorflow_to_type(data.element_spec))

    @tff.tensorflow.computation(sequence)
    def weighted_sum(dataset):
        def add(total, batch):
            positions = tf.cast(tf.range(tf.size(batch["images"])), tf.float32)
            return total * 0.5 + tf.reduce_sum(tf.reshape(batch["images"], [-1]) * positions)

        return dataset.reduce(0.0, add)

    @tff.federated_computation(tff.FederatedType(sequence, tff.CLIENTS))
    def at_clients(datasets):
        return tff.federated_map(weighted_sum, datasets)

    datasets = [data.train_dataset(client, 1, 2) for client in store.client_ids]
    there = at_clients(datasets)
    expected = []
    for dataset in datasets:
        total = np.float32(0)
        for batch in _read(dataset):
            flat = batch["images"].ravel()
            total = total * 0.5 + np.sum(flat * np.arange(flat.size))
        expected.append(total)
    np.testing.assert_allclose(there, expected, rtol=1e-5)


def test_impossible_requests(store):
    with pytest.raises(InputError, match="batch size of at least 1"):
        client_data.ClientData(store, 0, 0)
    data = client_data.ClientData(store, 1, 0)
    with pytest.raises(InputError, match="at least one local epoch"):
        data.train_dataset("north", 1, 0)
    with pytest.raises(InputError, match="'west'"):
        data.train_dataset(["north", "west"], 1, 1)
