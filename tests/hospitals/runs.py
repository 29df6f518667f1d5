"""Trainings over hospitals in one process, and the same in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import contextlib
import csv
import dataclasses
import functools
import logging
import threading
import types

import numpy as np
import tensorflow_federated as tff

from tests.hospitals import in_memory
from tests.training import example
from tffcxr.clients.sampling import Sampler
from tffcxr.hospitals import (
    authority,
    coordinated_training,
    coordinator,
    member,
    round_keys,
    serving,
    values_as_fields,
)
from tffcxr.learning.schedules import Schedule
from tffcxr.runtime import device
from tffcxr.training import loop
from tffcxr.training.checkpoints import Checkpoints
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Stage

RATE = Schedule("constant", 1e-3, 3)
HEAD = Stage("head", 1, RATE, "representation")
ALL = Stage("all", 2, RATE)
THREE = Stage("all", 3, RATE)
SITES = {"north": ("north",), "south": ("south",)}
NAME = "standard"
# A test that fails since a hospital has failed shows the exception's traceback.
logging.getLogger("tffcxr.hospitals.work").setLevel(logging.DEBUG)


@dataclasses.dataclass(frozen=True)
class Limits:
    fewest_images: int = 1
    smallest_count: int = 1
    scores_per_image: bool = True
    fingerprints: bool = False
    fewest_hospitals: int = 2


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A sampler of what a training over hospitals has recorded: who took part in each round."""

    client_ids: tuple[str, ...]
    rounds: Mapping[int, list[str]]

    @classmethod
    def of(cls, folder):
        rounds: dict[int, list[str]] = {}
        ids: set[str] = set()
        for row in statuses(folder):
            ids.add(row["client"])
            took_part = rounds.setdefault(int(row["round"]), [])
            if not row["status"].startswith("left out"):
                took_part.append(row["client"])
        return cls(tuple(sorted(ids)), rounds)

    def sample(self, round_number):
        return sorted(self.rounds[round_number])


def statuses(folder):
    with open(folder / "clients.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def left_out(folder):
    """{(round, client): reason}"""
    return {
        (int(row["round"]), row["client"]): row["status"].partition(": ")[2]
        for row in statuses(folder)
        if row["status"].startswith("left out")
    }


def journal(folder, **changes):
    return loop.Journal(
        folder / "rounds.csv", folder / "clients.csv", folder / "checkpoints", **changes
    )


class Setting:
    """A plan, its data and its evaluator; what is traced once serves all trainings of it."""

    def __init__(self, plan, data, evaluator=None):
        self.plan, self.data = plan, data
        self.evaluator = evaluator or example.evaluator(data)
        self._processes = {}

    def share(self, training):
        training._processes = self._processes
        return training

    def training(self, sampler):
        return self.share(FederatedTraining(self.plan, self.data, sampler, self.evaluator))

    def local(self, folder, sampler=None, **changes):
        """The rows without seconds of a training in one place, and its last state."""
        training = self.training(sampler or Sampler(("north", "south"), None, seed=0))
        end = loop.run(training, self.plan, self.evaluator.columns, journal(folder, **changes))
        return rows_of(end), end.state

    def weights(self, state, number=None):
        """Of each client."""
        training = self.training(Sampler(tuple(state["clients"]), None, 0))
        return training.client_weights(state, number or self.plan.rounds)


def rows_of(end, columns=None):
    return [
        {k: repr(v) for k, v in row.items() if k != "seconds" and (not columns or k in columns)}
        for row in end.rounds
    ]


# Of the studies of all tests.
HOSPITALS = ("alps", "coast", "dale", "north", "south", "west", authority.COORDINATOR)


def credentials(site, period=None):
    """A member's certificate of the one authority of all tests."""
    if site == authority.COORDINATOR:
        return authority.issue_to_coordinator(
            _authority(), "localhost", authority.Period.of_days(1)
        )
    return authority.issue_to_site(_authority(), site, period or authority.Period.of_days(1))


@functools.cache
def signer(site):
    """Of a hospital of the study."""
    return round_keys.Signer(credentials(site), "the study", HOSPITALS)


@functools.cache
def _authority():
    return authority.make_authority("the study")


class Study:
    """A coordinator and its hospitals, each of which has its own clients alone.

    Args:
      folder: of the coordinator's journal, and of each hospital's private states.
      setting: of the coordinator, and of hospitals without one of their own.
      devices: of every hospital.
    """

    def __init__(
        self,
        folder,
        setting,
        *,
        hub=None,
        limits=Limits(),
        sites=None,
        quorum=2,
        seconds=60.0,
        settings: Mapping[str, Setting] | None = None,
        devices=("CPU:0",),
        after_round: Callable[[int], None] = lambda _: None,
        **of_journal,
    ):
        self.folder, self.setting = folder, setting
        self.hub = hub or in_memory.Hub()
        self.limits, self.quorum, self.seconds = limits, quorum, seconds
        self.sites = sites or SITES
        self.settings = settings or {}
        self.devices = devices
        self.after_round = after_round
        self.of_journal = of_journal
        self.finished: dict[str, serving.Finished] = {}
        self.noted: dict[str, dict[int, Mapping[str, serving.ClientTurn]]] = {}
        self.threads: list[threading.Thread] = []
        self.shares = True

    @property
    def client_ids(self):
        return tuple(client for clients in self.sites.values() for client in clients)

    def link(self, site):
        return in_memory.Link(self.hub, site)

    def hospital(self, site):
        """Starts a hospital, or starts it again."""
        setting = self.settings.get(site, self.setting)
        sampler = Sampler(self.sites[site], None, 0)
        own = FederatedTraining(setting.plan, setting.data, sampler, setting.evaluator)
        if self.shares:
            setting.share(own)
        part = member.Member(self.link(site), self.limits, self.folder / site, {}, signer(site))
        served = serving.Served(
            NAME, own, setting.plan, setting.data, setting.evaluator, self.sites[site],
            lambda number, _, turns, __: self.noted.setdefault(site, {}).update({number: turns}),
        )  # fmt: skip
        counts = {
            client: {
                split: {"images": images, "labels": {}}
                for split, images in (("train", setting.data.train_images(client)),)
            }
            for client in self.sites[site]
        }

        def run():
            context = device.device_context(self.devices)
            with (
                tff.framework.get_context_stack().install(context),
                contextlib.suppress(in_memory.LostError),
            ):
                part.register(counts)
                self.finished[site] = part.serve(served)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def await_serving(self, site):
        doing = coordinator.serving(NAME)
        assert self.hub.wait_for(lambda m: site in m and m[site].doing == doing, 30)

    def coordinate(self, sampler=None):
        """Coordinates a training from the last checkpoint on; its end."""
        setting = self.setting
        has_own_clients = any((site,) != clients for site, clients in self.sites.items())
        hospitals = coordinator.Coordinator(
            self.hub,
            dict.fromkeys(self.sites, ()),
            self.quorum,
            self.seconds,
            self.folder / "hospitals",
            has_own_clients,
        )
        context = device.DeviceContext(["/CPU:0"], elsewhere=hospitals.parts)
        sampler = sampler or Sampler(self.client_ids, None, seed=0)
        written = journal(
            self.folder,
            observers=[lambda row, *_: self.after_round(row["round"])],
            **self.of_journal,
        )
        with tff.framework.get_context_stack().install(context):
            hospitals.begin()
            self.coordinator = hospitals
            training = coordinated_training.CoordinatedTraining(
                setting.plan,
                # Nothing but the shape of a batch and their number is known of the images.
                types.SimpleNamespace(
                    element_spec=setting.data.element_spec, train_images=setting.data.train_images
                ),
                sampler, setting.evaluator, hospitals, NAME,
                Checkpoints(self.folder / "checkpoints").rounds, quarantine=written.quarantine,
            )  # fmt: skip
            if self.shares:
                setting.share(training)
            columns = setting.evaluator.columns
            end = loop.run(training, setting.plan, columns, written)
            number, state = end.number, end.state
            if written.best:
                number, state = loop.load_best(training, setting.plan, columns, written)
            hospitals.finish(
                NAME, training.end(end.state, end.number, state, number, bool(written.best))
            )
        return end

    def run(self, sampler=None):
        for site in self.sites:
            self.hospital(site)
        # A round leaves out, above the quorum, who has not connected when it begins.
        assert self.hub.wait_for(lambda members: len(members) == len(self.threads), 30)
        return self.run_on(sampler)

    def run_on(self, sampler=None):
        """The same with hospitals that were started before."""
        end = self.coordinate(sampler)
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()
        return end

    def private_states(self, site, client):
        """The paths of a client's states on the hospital's disk."""
        return sorted((self.folder / site).glob(f"*/{client}/*.npz"))


def bits(value):
    return [np.asarray(leaf).tobytes() for leaf in values_as_fields.flat(value)]


def assert_same_state(study, found, state):
    """A training over hospitals ends with the bits of one in one place, private ones included."""
    assert bits(found["server"]) == bits(state["server"])
    weights = study.setting.weights(state)
    for site, clients in study.sites.items():
        for client in clients:
            assert bits(study.finished[site].last[client]) == bits(weights[client])
            after = int(found["clients"][client])
            if after:
                (path,) = [
                    path
                    for path in study.private_states(site, client)
                    if path.name == f"round_{after:06d}.npz"
                ]
                with np.load(path) as file:
                    kept = [file[name].tobytes() for name in sorted(file.files)]
                if (
                    study.setting.plan.stage_of(after)[0]
                    == study.setting.plan.stage_of(study.setting.plan.rounds)[0]
                ):
                    assert kept == bits(state["clients"][client])


def clients(folder):
    """North, south and west with 12, 8 and 10 images to train on."""
    return example.client_data(folder, north=12, south=8, west=10)
