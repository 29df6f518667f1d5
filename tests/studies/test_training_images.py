"""What is measured of a study's training images is of them, and of nothing else."""

import numpy as np

from tests.clients import fixtures
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards.preparation import ShardSpec, prepare
from tffcxr.clients.sites import ClientRecords
from tffcxr.datasets.imaging import likeness
from tffcxr.studies import training_images


def _measured(tmp_path, images):
    records = {
        name: fixtures.client_records(tmp_path / name, images, validation=5, first=first)
        for name, first in (("north", 0), ("south", 1000))
    }
    store = prepare(records, ShardSpec(16, fixtures.FINDINGS), tmp_path / "cache", workers=1)
    clients = ClientRecords(records, {name: name for name in records}, {}, {})
    return training_images.measure(clients, ClientData(store, 8, 0))


def test_the_training_images_of_all_clients_are_measured(tmp_path):
    found = _measured(tmp_path, 30)
    trained = [*range(25), *range(1000, 1025)]
    vectors = likeness.describe(np.stack([fixtures.picture(number) for number in trained]))
    assert found is not None and found.images == 50
    for name, part in found.parts.items():
        np.testing.assert_allclose(part.mean, vectors[name].mean(axis=0))
        assert part.limit > 0


def test_few_images_are_not_measured(tmp_path):
    assert _measured(tmp_path, 29) is None


def test_images_of_a_fold_do_not_count_for_its_limit():
    """A patient with the same odd image five times is odd, though it is a fifth of all."""
    rng = np.random.default_rng(0)
    vectors = {"layout": rng.normal(size=(50, 2))}
    vectors["layout"][:10] += 100.0
    by_patient = training_images.fit(vectors, np.arange(50) // 10).parts["layout"]
    by_image = training_images.fit(vectors, np.arange(50) % 5).parts["layout"]
    assert by_patient.limit > 5 * by_image.limit
