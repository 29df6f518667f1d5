"""The COVIDx loader on its layout, and on lists that someone spoiled."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.datasets import source_folders
from tffcxr.datasets import records
from tffcxr.datasets.sources import covidx
from tffcxr.errors import InputError

_CLASSES = ["Normal", "Pneumonia", "COVID-19"]


@pytest.fixture
def root(tmp_path):
    return source_folders.copy("covidx", tmp_path)


def _lists(root, train, test):
    (root / "train_COVIDx9A.txt").write_text(train)
    (root / "test_COVIDx9A.txt").write_text(test)


def test_records(root):
    table = covidx.load_records(root)
    assert records.findings(table) == _CLASSES
    np.testing.assert_array_equal(table[_CLASSES].to_numpy(), np.tile(np.eye(3), (3, 1)))
    assert table["split"].tolist() == ["train"] * 6 + ["test"] * 3
    # The sixth image is the third patient's second; images 2, 5 and 8 are from Cohen et al.
    assert table["patient"].tolist() == [
        "rsna/0", "rsna/1", "cohen/2", "rsna/3", "rsna/4", "cohen/2", "rsna/6", "rsna/7", "cohen/8",
    ]  # fmt: skip
    assert table["image"][6] == str(root / "test" / "test-6.png")
    assert table["lungs"][6].path == str(root / "lung_masks" / "test-6.png")


@pytest.mark.parametrize("folders", ["data/train data/test", "images images", "train test"])
def test_where_images_may_be(root, folders):
    for split, folder in zip(("train", "test"), folders.split()):
        for path in list((root / split).glob("*.png")):
            target = root / folder / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        if folder != split:
            (root / split).rmdir()
    assert len(covidx.load_records(root)) == 9


def test_lists_of_the_first_versions(root):
    _lists(
        root,
        "3 train-0.png viral\n29 train-1.png bacteria\n2 train-2.png COVID-19\n",
        "\n4 test-6.png normal\n",
    )
    (root / "train_COVIDx9A.txt").rename(root / "train_split.txt")
    table = covidx.load_records(root)
    assert table["patient"].tolist() == ["3", "29", "2", "4"]
    assert table[_CLASSES].to_numpy().argmax(axis=1).tolist() == [1, 1, 2, 0]


def test_names_with_spaces_or_a_class_in_them(root):
    (root / "train" / "train-0.png").rename(root / "train" / "COVID-19 (69).png")
    _lists(root, "COVID-19(69) COVID-19 (69).png COVID-19 sirm\n", "4 test-6.png normal rsna\n")
    table = covidx.load_records(root)
    assert table["image"][0] == str(root / "train" / "COVID-19 (69).png")
    assert table["patient"][0] == "sirm/COVID-19(69)"
    assert table["COVID-19"][0] == 1


def test_patients_of_different_sources_are_different(root):
    _lists(root, "6 train-0.png normal cohen\n", "6 test-6.png normal rsna\n")
    assert covidx.load_records(root)["patient"].tolist() == ["cohen/6", "rsna/6"]


@pytest.mark.parametrize("train", ["6 train-0.png normal\n", "6 train-0.png normal rsna\n"])
def test_a_patient_in_both_lists_is_refused(root, train):
    _lists(root, train, "6 test-6.png normal rsna\n")
    reason = "each patient in one of train_COVIDx9A.txt and test_.*found 1 in both, such as .*6"
    with pytest.raises(InputError, match=reason):
        covidx.load_records(root)


def test_an_image_in_both_lists_is_refused(root):
    _lists(root, "1 test-6.png normal\n", "2 test-6.png normal\n")
    with pytest.raises(InputError, match="each image in one of .*found 1 in both, such as test-6"):
        covidx.load_records(root)


def test_two_classes_are_refused(root):
    _lists(root, "1 train-0.png negative rsna\n", "2 test-6.png positive rsna\n")
    with pytest.raises(InputError, match="the three classes .*9A.*found 'negative' in line 1"):
        covidx.load_records(root)


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ("1 train-0.png normal\n2 train-1.png\n", "in line 2: 2 train-1.png"),
        ("1 train-0.png tuberculosis rsna\n", "in line 1: 1 train-0.png tuberculosis"),
        ("1 train-0.png normal rsna extra\n", "in line 1"),
        ("1 train-0.png normal\n2 train-0.png normal\n", "each image once, found train-0.png"),
        ("\n", "expected a line per image, found none"),
    ],
)
def test_spoiled_lists(root, train, reason):
    _lists(root, train, "9 test-6.png normal\n")
    with pytest.raises(InputError, match=reason):
        covidx.load_records(root)


def test_missing_and_several_lists(root):
    (root / "train_split.txt").write_text("1 train-0.png normal\n")
    with pytest.raises(InputError, match="one list train.*found train_COVIDx9A.txt, train_split"):
        covidx.load_records(root)
    for path in root.glob("train*.txt"):
        path.unlink()
    with pytest.raises(InputError, match=r"one list train\*.txt in .*found none"):
        covidx.load_records(root)


def test_images_that_are_not_on_disk(root, caplog):
    (root / "train" / "train-0.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(covidx.load_records(root)) == 8
    assert "1 of 9 labelled images are not in" in caplog.text
    (root / "test").rename(root / "tests")
    with pytest.raises(InputError, match="images in test/, data/test/ or images/"):
        covidx.load_records(root)


def test_citation():
    assert "COVID-Net" in covidx.cite()
