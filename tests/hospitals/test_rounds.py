"""Rounds over hospitals give the bits of rounds in one place, and what is private stays."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import tensorflow_federated as tff

from tests.hospitals import in_memory
from tests.training import example
from tffcxr import runtime
from tffcxr.clients.sampling import Sampler
from tffcxr.hospitals import coordinated_training, coordinator, member, values_as_fields, wire
from tffcxr.learning.schedules import Schedule
from tffcxr.runtime import device
from tffcxr.training import loop
from tffcxr.training.checkpoints import Checkpoints
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Stage

RATE = Schedule("constant", 1e-3, 3)
HEAD = Stage("head", 1, RATE, "representation")
ALL = Stage("all", 2, RATE)
SITES = {"north": example.FINDINGS[0], "south": example.FINDINGS[1]}
NAME = "standard"


@dataclasses.dataclass(frozen=True)
class Limits:
    fewest_images: int = 1
    smallest_count: int = 1
    scores_per_image: bool = True


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return example.client_data(tmp_path_factory.mktemp("clients"), north=12, south=8)


def journal(folder):
    return loop.Journal(folder / "rounds.csv", folder / "clients.csv", folder / "checkpoints")


def local(folder, plan, data, sampler=None):
    """The bits of a training in one place: rows without seconds, server state, private states."""
    sampler = sampler or Sampler(tuple(SITES), None, seed=0)
    evaluator = example.evaluator(data)
    training = FederatedTraining(plan, data, sampler, evaluator)
    end = loop.run(training, plan, evaluator.columns, journal(folder))
    return rows_of(end), end.state


def rows_of(end):
    return [{k: repr(v) for k, v in row.items() if k != "seconds"} for row in end.rounds]


class Study:
    """A coordinator and its hospitals, each of which has its own clients alone."""

    def __init__(self, folder, plan, data, hub=None, limits=Limits(), quorum=2, seconds=60.0):
        self.folder, self.plan, self.data = folder, plan, data
        self.hub = hub or in_memory.Hub()
        self.limits = limits
        self.quorum, self.seconds = quorum, seconds
        self.finished, self.noted = {}, {}
        self.threads = []

    def hospital(self, site):
        evaluator = example.evaluator(self.data)
        own = FederatedTraining(self.plan, self.data, Sampler((site,), None, 0), evaluator)
        part = member.Member(in_memory.Link(self.hub, site), self.limits, self.folder / site, SITES)
        served = member.Served(
            NAME, own, self.plan, self.data, evaluator, (site,),
            lambda number, *_: self.noted.setdefault(site, []).append(number),
        )  # fmt: skip

        def run():
            context = device.device_context(["CPU:0"])
            with tff.framework.get_context_stack().install(context):
                counts = {"images": 12, "labels": {}}
                try:
                    part.register({site: {"train": counts}})
                    self.finished[site] = part.serve(served)
                except in_memory.LostError:
                    pass

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def coordinate(self, sampler=None):
        evaluator = example.evaluator(self.data)
        hospitals = coordinator.Coordinator(
            self.hub, SITES, self.quorum, self.seconds, self.folder / "hospitals"
        )
        context = device.DeviceContext(["/CPU:0"], elsewhere=hospitals.parts)
        sampler = sampler or Sampler(tuple(SITES), None, seed=0)
        with tff.framework.get_context_stack().install(context):
            hospitals.begin()
            training = coordinated_training.CoordinatedTraining(
                self.plan, self.data, sampler, evaluator, hospitals, NAME,
                Checkpoints(self.folder / "checkpoints").rounds,
            )  # fmt: skip
            end = loop.run(training, self.plan, evaluator.columns, journal(self.folder))
            hospitals.finish(NAME, training.end(end.state, end.number, end.state, end.number))
        return rows_of(end), end.state

    def run(self, sampler=None):
        for site in SITES:
            self.hospital(site)
        found = self.coordinate(sampler)
        for thread in self.threads:
            thread.join(60)
        return found


def bits(value):
    return [np.asarray(leaf).tobytes() for leaf in values_as_fields.flat(value)]


@pytest.mark.parametrize("share", ["representation", "all"])
def test_the_same_bits_as_in_one_place(tmp_path, data, share):
    plan = example.plan(HEAD, ALL, share=share, keeps_optimizer=True)
    rows, state = local(tmp_path / "local", plan, data)
    study = Study(tmp_path / "hospitals", plan, data)
    found, over_hospitals = study.run()
    assert found == rows
    assert bits(over_hospitals["server"]) == bits(state["server"])
    training = FederatedTraining(
        plan, data, Sampler(tuple(SITES), None, 0), example.evaluator(data)
    )
    weights = training.client_weights(state, 3)
    for site in SITES:
        assert bits(study.finished[site].last[site]) == bits(weights[site])


class _Garbles(in_memory.Hub):
    """South's answers to one kind of task are other values than they should be."""

    def __init__(self, kind, about):
        super().__init__()
        self._kind, self._about = kind, about

    def answer(self, site, name, message):
        if site == "south" and message.kind == self._kind:
            message = wire.Message(message.kind, self._about)
        super().answer(site, name, message)


def test_a_hospital_that_measures_nonsense_ends_nobodys_training(tmp_path, data, caplog):
    plan = example.plan(ALL)
    _, state = local(tmp_path / "local", plan, data)
    hub = _Garbles("measure", {"scores": "Scores", "images": {"south": "many"}})
    found, after = Study(tmp_path / "hospitals", plan, data, hub).run()
    assert bits(after["server"]) == bits(state["server"])
    assert found[0][f"{SITES['north']}/loss"] != "nan" == found[0][f"{SITES['south']}/loss"]
    assert "south is left out of what is measured: expected what a model does" in caplog.text


def test_an_update_of_other_shapes_is_left_out(tmp_path, data):
    plan = example.plan(ALL)
    hub = _Garbles("compute", {"seconds": "a while"})
    _, state = local(tmp_path / "local", plan, data, _NorthAlone(tuple(SITES)))
    study = Study(tmp_path / "hospitals", plan, data, hub, quorum=1)
    found, after = study.run()
    assert [row["failed_clients"] for row in found] == ["1", "1"]
    assert bits(after["server"]) == bits(state["server"])


class _NorthAlone(Sampler):
    """All clients exist, north is drawn."""

    def sample(self, round_number):
        return ["north"]
