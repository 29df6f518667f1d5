"""What is measured of a study's training images is of them, and of nothing else."""

import types
from typing import Any

import numpy as np
import pandas as pd

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


class _Slices:
    """Slices of two channels as `ClientData` gives them; a client to the patients of its slices."""

    def __init__(self, patients):
        self.patients = patients
        spec = types.SimpleNamespace(channels=2)
        self.store = types.SimpleNamespace(client_ids=sorted(patients), spec=spec)

    def slices(self, client):
        rng = np.random.default_rng(len(client))
        return rng.integers(0, 256, (len(self.patients[client]), 16, 16, 2), dtype=np.uint8)

    def evaluation_dataset(self, client, split):
        assert split == "train"
        batch = {"images": self.slices(client) / np.float32(255), "rows": np.arange(60)}
        return types.SimpleNamespace(as_numpy_iterator=lambda: [batch])


def test_slices_are_measured_by_client_and_channel():
    data: Any = _Slices({"a": np.arange(60) // 6, "few": np.arange(60) // 7, "bbb": np.arange(60)})
    records = {name: pd.DataFrame({"patient": found}) for name, found in data.patients.items()}
    found = training_images.measure_slices(ClientRecords(records, {}, {}, {}), data)
    assert set(found) == {"a", "bbb"}  # Nine patients are too few.
    for client, channels in found.items():
        for number, part in enumerate(channels):
            vectors = likeness.describe(data.slices(client)[..., number])["layout"]
            np.testing.assert_allclose(part.parts["layout"].mean, vectors.mean(axis=0))


def test_images_of_a_fold_do_not_count_for_its_limit():
    """A patient with the same odd image five times is odd, though it is a fifth of all."""
    rng = np.random.default_rng(0)
    vectors = {"layout": rng.normal(size=(50, 2))}
    vectors["layout"][:10] += 100.0
    by_patient = training_images.fit(vectors, np.arange(50) // 10).parts["layout"]
    by_image = training_images.fit(vectors, np.arange(50) % 5).parts["layout"]
    assert by_patient.limit > 5 * by_image.limit
