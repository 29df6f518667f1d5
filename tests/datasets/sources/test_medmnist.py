"""The loader of PneumoniaMNIST and ChestMNIST."""

from __future__ import annotations

import numpy as np
import pytest

from tests import real_data
from tests.datasets import source_folders
from tffcxr.datasets import findings, records
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import medmnist
from tffcxr.errors import InputError

_FILE = source_folders.TESTDATA / "medmnist" / "pneumoniamnist.npz"


def test_records():
    table = medmnist.load_records(_FILE.parent)
    assert records.findings(table) == ["Pneumonia"]
    assert table["split"].value_counts().to_dict() == {"train": 12, "validation": 6, "test": 6}
    assert table["Pneumonia"].tolist() == [0.0, 1.0, 1.0] * 8
    assert table["patient"].is_unique
    with np.load(_FILE) as archive:
        found = images.read_image(table["image"][13])
        np.testing.assert_array_equal(found[:, :, 0], archive["val_images"][1])


def test_the_file_itself_can_be_named():
    assert len(medmnist.load_records(_FILE)) == 24


def test_chestmnist(tmp_path):
    labels = np.zeros((3, 14), np.uint8)
    labels[0, 12] = labels[1, 13] = labels[1, 0] = 1
    pixels = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    arrays = {f"{split}_images": pixels for split in ("train", "val", "test")}
    arrays |= {f"{split}_labels": labels for split in ("train", "val", "test")}
    np.savez(tmp_path / "chestmnist.npz", **arrays)
    table = medmnist.load_records(tmp_path)
    assert sorted(records.findings(table)) == sorted(findings.NIH)
    assert table["split"].value_counts().to_dict() == {"train": 3, "validation": 3, "test": 3}
    assert table["Pleural Thickening"].tolist() == [1, 0, 0] * 3
    assert table["Hernia"].tolist() == [0, 1, 0] * 3
    assert table["Atelectasis"].tolist() == [0, 1, 0] * 3
    assert table[list(findings.NIH)].to_numpy().sum() == 9
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    with pytest.raises(InputError, match="found pneumoniamnist.npz, chestmnist.npz|found chestm"):
        medmnist.load_records(tmp_path)


def test_splits_that_are_held_back_are_absent(tmp_path):
    with np.load(_FILE) as archive:
        kept = {name: archive[name] for name in archive.files if not name.startswith("test")}
    np.savez(tmp_path / "pneumoniamnist_28.npz", **kept)
    assert set(medmnist.load_records(tmp_path)["split"]) == {"train", "validation"}


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros(1)}, "expected the array 'train_images', found x"),
        ({"train_images": np.zeros((2, 4, 4), np.uint8)}, "expected the array 'train_labels'"),
        (
            {"train_images": np.zeros((2, 4, 4, 3), np.uint8), "train_labels": np.zeros((2, 1))},
            "found uint8",
        ),
        (
            {"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.zeros((3, 1))},
            r"found uint8 \[2, 4, 4\] and \[3, 1\]",
        ),
        (
            {"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.full((2, 1), 4)},
            "to be 0 or 1, found 4",
        ),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, reason):
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    with pytest.raises(InputError, match=reason):
        medmnist.load_records(tmp_path)


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="found none"):
        medmnist.load_records(tmp_path)
    for name in ("pneumoniamnist.npz", "pneumoniamnist_64.npz"):
        (tmp_path / name).write_text("no archive")
    with pytest.raises(InputError, match="found pneumoniamnist.npz, pneumoniamnist_64.npz"):
        medmnist.load_records(tmp_path)
    with pytest.raises(InputError, match="expected an intact .npz file, found"):
        medmnist.load_records(tmp_path / "pneumoniamnist.npz")


def test_real_file():
    table = medmnist.load_records(real_data.real_data("medmnist"))
    assert table["split"].value_counts().to_dict() == {"train": 3882, "validation": 524}
    assert images.read_image(table["image"][0]).shape == (28, 28, 1)


def test_citation():
    assert "MedMNIST v2" in medmnist.cite()
