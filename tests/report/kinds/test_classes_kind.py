"""Tests of report.kinds.classes_kind: each sentence appears when it should, and only then."""

import dataclasses

import pandas as pd
import pytest

from tests.report import example_classes
from tffcxr.report import remarks, results_table, run_reader
from tffcxr.report.kinds.classes_kind import KIND

NAN = float("nan")
_ROW = {
    "task": "RSNA classes", "model": "resnet50", "images_kind": "full", "training": "federated",
    "split": "test", "images": 200, "patients": 200, "accuracy": 0.8, "accuracy_low": 0.75,
    "accuracy_high": 0.85, "classes": ["Normal", "Ill"], "confusion": [[70, 30], [10, 90]],
    "chosen": "largest accuracy on the validation images",
}  # fmt: skip


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    path = example_classes.write(tmp_path_factory.mktemp("run"), 2, 1, example_classes.VARIANTS[:1])
    return dataclasses.replace(run_reader.read(path), config={})


def _summary(rows):
    return KIND.summary(results_table.in_order(rows, KIND))


def _warnings(run, *rows, **more):
    return remarks.warnings(dataclasses.replace(run, rows=list(rows), **more), [])


def test_summary_names_the_best_model_and_what_guessing_gives():
    lungs = {**_ROW, "images_kind": "segmented", "accuracy": 0.77}
    best, guessing, difference = _summary([_ROW, lungs])
    assert "most accurate model is ResNet50, full, 0.800 (0.750–0.850)" in best
    assert "right in 50 % of the images" in guessing
    assert difference == (
        "ResNet50, segmented against ResNet50, full: difference in accuracy \u22120.030."
    )


def test_of_equally_accurate_models_none_is_the_best():
    first, *_ = _summary([_ROW, {**_ROW, "images_kind": "segmented"}])
    assert "most accurate models are ResNet50, full and ResNet50, segmented, 0.800 (" in first


def test_models_are_compared_within_their_training():
    rows = [
        {**_ROW, "training": training, "images_kind": kind, "accuracy": accuracy}
        for training, kind, accuracy in (
            ("federated", "full", 0.8), ("federated", "segmented", 0.81),
            ("pooled", "full", 0.9), ("pooled", "segmented", 0.88),
        )
    ]  # fmt: skip
    differences = [text for text in _summary(rows) if "difference" in text]
    # Federated against pooled on full images, then on the lungs; the lungs against full images.
    assert sorted(text[-7:] for text in differences) == [
        "+0.010.", "\u22120.020.", "\u22120.070.", "\u22120.100.",
    ]  # fmt: skip
    lungs = [text for text in differences if "segmented" in text and "full" in text]
    assert sorted(text[-7:] for text in lungs) == ["+0.010.", "\u22120.020."]


def test_a_good_row_needs_no_warning(run):
    assert _warnings(run, _ROW) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"accuracy": NAN}, "accuracy is undefined"),
        ({"accuracy_low": NAN}, "too few patients for a confidence interval"),
        ({"accuracy_low": 0.49}, "naming the commonest class always (0.500)"),
        ({"chosen": "largest accuracy on the test images"}, "so they are optimistic"),
        ({"confusion": [[40, 0], [20, 9]]}, "images of class “Ill”: only 29"),
        ({"confusion": [[0, 100], [0, 90]]}, "no image was called “Normal”"),
    ],
)  # fmt: skip
def test_each_problem_has_its_warning(run, change, expected):
    (warning,) = _warnings(run, {**_ROW, **change})
    assert warning.startswith("RSNA classes (test images)")
    assert expected in warning


def test_the_best_of_all_rounds_on_the_test_images_is_optimistic(run):
    row = {**_ROW, "maximum_accuracy": 0.81}
    (warning,) = _warnings(run, row, config={"derived": {"measured_split": "test"}})
    assert "best of all rounds on these very images" in warning
    assert _warnings(run, row) == []  # rounds were measured on validation images


def test_models_must_be_measured_on_the_same_images(run):
    (warning,) = _warnings(run, _ROW, {**_ROW, "images_kind": "segmented", "images": 190})
    assert "not measured on the same images" in warning


@pytest.mark.parametrize(
    ("lungs", "expected"),
    [
        ({"images": 800, "implausible": 12, "unreadable": 0}, ["In 12 of 800 images no lungs"]),
        (
            {"images": 800, "implausible": 12, "unreadable": 0, "model": "a.keras"},
            ["In 12 of 800 images the predicted lungs were implausible"],
        ),
        ({"images": 800, "implausible": 0, "unreadable": 3}, ["3 images could not be read"]),
        ({"images": 800, "implausible": 0, "unreadable": 0}, []),
        (None, []),
    ],
)
def test_implausible_lungs_are_counted(run, lungs, expected):
    row = {**_ROW, "images_kind": "segmented"}
    found = _warnings(run, row, config={"derived": {"lungs": lungs}})
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected))


def test_lungs_do_not_matter_to_full_images(run):
    assert (
        _warnings(run, _ROW, config={"derived": {"lungs": {"images": 8, "implausible": 2}}}) == []
    )


def test_what_is_wrong_with_several_models_is_said_once(run):
    lungs = {**_ROW, "images_kind": "segmented", "accuracy_low": 0.4}
    (warning,) = _warnings(run, {**_ROW, "accuracy_low": 0.3}, lungs)
    assert "ResNet50, full; ResNet50, segmented: the accuracy is not shown" in warning


def test_federation_is_set_against_one_place_network_by_network():
    rows = [
        {**_ROW, "model": model, "training": training, "accuracy": accuracy}
        for model, training, accuracy in (
            ("resnet50", "federated", 0.8), ("resnet50", "pooled", 0.85),
            ("densenet121", "federated", 0.7), ("densenet121", "pooled", 0.69),
        )
    ]  # fmt: skip
    differences = [text for text in _summary(rows) if "difference" in text]
    against_pooled = sorted(text[-7:] for text in differences if "pooled" in text)
    assert against_pooled == ["+0.010.", "\u22120.050."]
    train = [{**row, "split": "train"} for row in rows]
    assert _summary(train) == []


@pytest.mark.parametrize(("epochs", "count"), [(2, 1), (1, 0)])
def test_who_saw_more_images_in_training(run, epochs, count):
    def rounds(images):
        return pd.DataFrame({"round": [1, 2], "images": [images, images]})

    found = _warnings(
        run,
        _ROW,
        {**_ROW, "training": "pooled"},
        rounds=rounds(100),
        rounds_pooled=rounds(100 * epochs),
    )
    assert len([text for text in found if "saw 200 images" in text and "400" in text]) == count
