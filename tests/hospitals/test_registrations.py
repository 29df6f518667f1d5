"""What hospitals say of themselves when they join, and of their results at the end."""

from __future__ import annotations

import threading

import pytest

from tests.hospitals import in_memory, runs
from tffcxr import runtime
from tffcxr.clients.shards.shard_store import ShardSpec
from tffcxr.hospitals import coordinator, wire
from tffcxr.runtime import device


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.clients(tmp_path_factory.mktemp("clients"))


def registered(hub, site, clients):
    return hub.call(site, wire.Message("register", {"clients": clients}))


def joined(tmp_path, hub, **settings):
    """A coordinator whose run has begun, with what North has."""
    hospitals = coordinator.Coordinator(
        hub, dict.fromkeys(runs.SITES, ()), 1, 1.0, tmp_path, **settings
    )
    counts = {"train": {"images": 3, "labels": {"Opacity": {"present": None, "absent": 2}}}}
    thread = threading.Thread(target=registered, args=(hub, "north", {"north": counts}))
    thread.start()
    if settings:
        registered_early = threading.Thread(target=registered, args=(hub, "south", {"south": {}}))
        registered_early.start()
    hospitals.begin()
    thread.join(10)
    return hospitals


@pytest.mark.parametrize(
    ("site", "clients", "why"),
    [
        ("south", {"south": {}, "north": {}}, "expected the client south alone"),
        ("south", {"north": {}}, "expected the client south alone"),
        ("south", {}, "expected the client south alone, found none"),
        ("west", {"west": {}}, "expected a hospital of the run, found west"),
    ],
)
def test_a_hospital_that_brings_others_clients_may_not_join(tmp_path, site, clients, why):
    hub = in_memory.Hub()
    hospitals = joined(tmp_path, hub)
    answer = registered(hub, site, clients)
    assert answer.kind == "refused" and why in answer.about["reason"]
    assert hospitals.site_of == {"north": "north", "south": "south"}


def test_hospitals_with_clients_of_their_own_join_before_the_start(tmp_path, caplog):
    hub = in_memory.Hub()
    hospitals = joined(tmp_path, hub, has_own_clients=True)
    assert registered(hub, "south", {"south": {}}).kind == "register"  # It was started again.
    answer = registered(hub, "south", {"north": {}})
    assert "found that north has north" in answer.about["reason"]
    answer = registered(hub, "south", {"other": {}})
    assert answer.about["reason"] == "the run has begun without south"
    assert hospitals.site_of == {"north": "north", "south": "south"}


@pytest.mark.parametrize(
    "clients",
    [None, [], {"north": 3}, {"north": {"train": {}}}, {"north": {"train": {"images": -1}}},
     {"north": {"train": {"images": 1.5, "labels": {}}}},
     {"north": {"train": {"images": 1, "labels": {"Opacity": {"present": "many"}}}}}],
)  # fmt: skip
def test_a_registration_of_other_values_is_refused(tmp_path, clients):
    hub = in_memory.Hub()
    joined(tmp_path, hub)
    with pytest.raises(wire.MessageError, match="expected the clients of a hospital"):
        registered(hub, "north", clients)


def test_what_is_known_of_clients_has_the_form_of_shards(tmp_path, data):
    hospitals = joined(tmp_path, in_memory.Hub())
    store = hospitals.store(data.store.spec)
    assert store.client_ids == ["north", "south"]
    assert (store.count("north", "train"), store.count("south", "train")) == (3, None)
    assert store.files("north", "train") == []


def test_computations_of_clients_need_a_round(tmp_path):
    hospitals = joined(tmp_path, in_memory.Hub())
    context = device.DeviceContext(["/CPU:0"], elsewhere=hospitals.parts)
    assert context.workers == ("/CPU:0",)
    with pytest.raises(AssertionError, match="expected a round"):
        hospitals.parts(None, None, None, 2)


def test_labels_that_are_not_told_are_unknown(tmp_path):
    found = joined(tmp_path, in_memory.Hub()).store(ShardSpec(32, ("Opacity", "Effusion")))
    unknown = {"present": None, "absent": None, "unknown": None}
    assert found.label_counts("north", "train") == {
        "Opacity": {"present": None, "absent": 2, "unknown": None},
        "Effusion": unknown,
    }
    assert found.label_counts("south", "test") == {"Opacity": unknown, "Effusion": unknown}


ROW = {"task": "Opacity", "model": "m", "split": "test", "training": "federated", "auroc": 0.9}


def results(hub, rows):
    return hub.call("north", wire.Message("results", {"rows": rows}))


def test_rows_of_results_are_kept_as_they_were_reported(tmp_path):
    hub = in_memory.Hub()
    hospitals = joined(tmp_path, hub)
    results(hub, [{**ROW, "p": None, "binned": [[0.1, 0.4, 12, 30]]}])
    assert hospitals.result_rows() == [{**ROW, "p": None, "client": "north"}]


@pytest.mark.parametrize(
    "rows",
    [
        None, {"rows": []}, [3], [{"task": "Opacity"}], [{**ROW, "model": 3}],
        [{**ROW, "model": "two\nlines"}], [{**ROW, "auroc": "<script>"}], [{**ROW, "auroc": [1]}],
        [{**ROW, "binned": 3}], [{**ROW, "binned": [[0.1, 0.4, 12]]}],
    ],
    ids=str,
)  # fmt: skip
def test_other_rows_of_results_are_refused(tmp_path, rows):
    hub = in_memory.Hub()
    joined(tmp_path, hub)
    with pytest.raises(wire.MessageError, match="expected rows of results"):
        results(hub, rows)
    assert not (tmp_path / "north.rows.json").exists()
