"""What a hospital may say that it has; nothing else gets as far as the run."""

import pytest

from tffcxr.hospitals import registrations, results_told, wire

COUNTS = {"present": 20, "absent": None, "unknown": 0}
SPLIT = {"images": 42, "labels": {"Lung Opacity": COUNTS}}


def test_clients_of_the_site_with_numbers_of_images():
    clients = {"north": {"train": SPLIT, "test": {"images": None, "labels": {}}}}
    assert registrations.read("north", {"clients": clients}).clients == clients
    of_parts = {"north-1": {"train": SPLIT}, "north-2": {}}
    assert registrations.read("north", {"clients": of_parts}).clients == of_parts


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ({}, "expected the clients of north, found None"),
        ({"clients": {}}, "expected the clients of north, found {}"),
        ({"clients": {"south": {"train": SPLIT}}}, "expected clients of north, found 'south'"),
        ({"clients": {"northern": {}}}, "expected clients of north, found 'northern'"),
        ({"clients": {"north": {"all": SPLIT}}}, "expected numbers of images by split and label"),
        ({"clients": {"north": {"train": {"images": 3}}}}, "expected numbers of images"),
        ({"clients": {"north": {"train": {**SPLIT, "images": -1}}}}, "expected numbers of images"),
        ({"clients": {"north": {"train": {**SPLIT, "images": 2.5}}}}, "expected numbers of images"),
        (
            {"clients": {"north": {"train": {"images": 3, "labels": {"Lung Opacity": 3}}}}},
            "expected numbers of images",
        ),
    ],
)
def test_anything_else_is_refused(about, line):
    with pytest.raises(wire.MessageError, match=line):
        registrations.read("north", about)


ROW = {"task": "Lung Opacity", "model": "m", "split": "test", "training": "federated", "auroc": 0.9}


def test_rows_of_results_are_read_as_they_were_told():
    assert results_told.read([{**ROW, "images": 40, "p": None}]) == [
        {**ROW, "images": 40, "p": None}
    ]


@pytest.mark.parametrize(
    "rows",
    [
        None,
        {"rows": []},
        [{"task": "Lung Opacity"}],
        [{**ROW, "model": 3}],
        [{**ROW, "model": "two\nlines"}],
        [{**ROW, "auroc": "<script>"}],
        [{**ROW, "auroc": [0.9]}],
    ],
)
def test_other_rows_are_refused(rows):
    with pytest.raises(wire.MessageError, match="expected rows of results"):
        results_told.read(rows)
