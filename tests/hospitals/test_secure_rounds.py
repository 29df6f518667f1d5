"""Rounds of masked sums give the bits of plain sums, also where hospitals drop out of them."""

from __future__ import annotations

import contextlib
import csv
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.hospitals import in_memory, network, runs
from tests.hospitals.test_participation import check, comes_back, once, warm
from tests.runtime.uniform_bytes import LARGEST_CHI_SQUARE, chi_square
from tests.training import example
from tffcxr import runtime
from tffcxr.clients.sampling import Sampler
from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import coordinated_training, member, outgoing, questions, wire
from tffcxr.learning import aggregators
from tffcxr.runtime import masking

THREE_SITES = {site: (site,) for site in ("north", "south", "west")}
SEVERAL_CLIENTS = {"alps": ("north", "west"), "coast": ("south",)}
ROUNDS = {1: ["north", "south"], 2: ["north", "west"], 3: ["south", "west"]}
SECONDS = 4  # After which a hospital is late; others need them on a busy machine.


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.clients(tmp_path_factory.mktemp("clients"))


def setting_of(data, aggregator, tmp_path_factory):
    plan = example.plan(runs.THREE, keeps_optimizer=True, aggregator=aggregator, sees_updates=False)
    return warm(runs.Setting(plan, data), tmp_path_factory)


@pytest.fixture(scope="module")
def secure(data, tmp_path_factory):
    return setting_of(data, aggregators.make("secure"), tmp_path_factory)


class OverTheNetwork(runs.Study):
    """A study over TLS."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.closed = contextlib.ExitStack()

    def link(self, site):
        log = self.closed.enter_context(
            contextlib.closing(outgoing.OutgoingLog(self.folder / f"{site}.jsonl"))
        )
        hub: Any = self.hub
        return self.closed.enter_context(network.link(hub.port, log, site, instance=site))


class InTwoWalks(tff.aggregators.UnweightedAggregationFactory):
    """A mean of whole numbers, the second of whose secure sums needs the first."""

    def create(self, value_type):
        @tff.federated_computation
        def initialize():
            return tff.federated_value((), tff.SERVER)

        @tff.tensorflow.computation(value_type)
        def whole(value):
            return tf.nest.map_structure(
                lambda v: tf.cast(tf.round(v * 2**16), tf.int32) + 2**20, value
            )

        @tff.tensorflow.computation(
            whole.type_signature.result, whole.type_signature.result, np.int32
        )
        def mean(total, parities, clients):
            return tf.nest.map_structure(
                lambda t, p: (
                    (tf.cast(t + p, tf.float32) / tf.cast(clients, tf.float32) - 2**20) / 2**16
                ),
                total,
                parities,
            )

        @tff.tensorflow.computation(whole.type_signature.result, whole.type_signature.result)
        def parity(value, total):
            return tf.nest.map_structure(lambda v, t: (v + t) % 3, value, total)

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, values):
            numbers = tff.federated_map(whole, values)
            total = tff.federated_secure_sum_bitwidth(numbers, 24)
            clients = tff.federated_secure_sum(tff.federated_value(1, tff.CLIENTS), 1)
            parities = tff.backends.mapreduce.federated_secure_modular_sum(
                tff.federated_map(parity, (numbers, tff.federated_broadcast(total))), 3
            )
            result = tff.federated_map(mean, (total, parities, clients))
            return tff.templates.MeasuredProcessOutput(
                state, result, tff.federated_value((), tff.SERVER)
            )

        return tff.templates.AggregationProcess(initialize, next_fn)


@pytest.fixture(scope="module")
def in_two_walks(data, tmp_path_factory):
    return setting_of(data, InTwoWalks(), tmp_path_factory)


def computed(hub, site=None):
    """What the coordinator has got of each client's part, in the order of arrival."""
    return [
        message
        for where, message in hub.received
        if message.kind == "compute" and message.fields and site in (None, where)
    ]


def attempts(hub, round_number):
    """The clients of each attempt at a round."""
    found = {}
    for _, message in hub.sent:
        if message.kind == "compute" and message.about["round_number"] == round_number:
            about = message.about["masking"]
            found[about["attempt"]] = "".join(sorted(client[0] for client in about["clients"]))
    return list(found.values())


@pytest.fixture(scope="module")
def whole(secure, tmp_path_factory):
    """A training in which nobody drops out."""
    study = runs.Study(tmp_path_factory.mktemp("whole"), secure, sites=THREE_SITES)
    assert check(study) == {}
    return study


def without_seconds(folder):
    with open(folder / "rounds.csv", newline="", encoding="utf-8") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def test_the_table_of_rounds_is_that_of_plain_sums(tmp_path, secure, whole):
    secure.local(tmp_path, Sampler(whole.client_ids, None, 0))
    assert without_seconds(whole.folder) == without_seconds(tmp_path)


def test_over_tls_and_in_the_log_of_what_leaves(tmp_path, secure):
    with network.hub(sites=tuple(THREE_SITES)) as hub:
        study = OverTheNetwork(tmp_path, secure, hub=hub, sites=THREE_SITES)
        with study.closed:
            assert check(study) == {}
    lines = [json.loads(line) for line in (tmp_path / "north.jsonl").read_text().splitlines()]
    keys = [line["about"]["about"]["key"] for line in lines if line["about"].get("kind") == "key"]
    assert len({key["public"] for key in keys}) == len(keys) == 3


def test_a_hospital_may_have_several_clients(tmp_path, secure):
    assert check(runs.Study(tmp_path, secure, sites=SEVERAL_CLIENTS)) == {}


def masked(hub, site):
    """The masked integers of a hospital, as whole numbers, of the arrays that have some."""
    return [
        sum(field.array[:, place].astype(np.int64) << 8 * place for place in range(5))
        for message in computed(hub, site)
        for field in message.fields
        if field.array.dtype == np.uint8 and field.array.shape[1] == 5 and len(field.array) > 1
    ]


def test_what_arrives_of_a_hospital_is_uniformly_distributed(whole):
    by_site = {site: np.concatenate(masked(whole.hub, site)) for site in THREE_SITES}
    for numbers in by_site.values():
        assert numbers.size == 3 * 40  # The kernel and the bias of the representation.
    total = sum(by_site.values())
    for numbers in (
        np.concatenate(list(by_site.values())),
        (by_site["north"] + by_site["south"]) % (1 << 40),
        (by_site["south"] + by_site["west"]) % (1 << 40),
    ):
        assert chi_square(masking.narrowed(numbers, 5)) < LARGEST_CHI_SQUARE
    # The sum of all is that of three numbers of 32 bits.
    assert (total % (1 << 40) < 3 << 32).all()


def test_what_comes_in_the_clear_is_what_the_document_says(whole):
    clear = {
        field.name.split("/")[-1]: field.array.shape
        for message in computed(whole.hub)
        for field in message.fields
        if field.array.dtype != np.uint8
    }
    assert clear == dict.fromkeys(("loss", "labels", "images", "clients", "failed"), ())


def test_a_late_hospital_is_left_out_of_the_sum(tmp_path, secure, monkeypatch):
    trained = []
    begin = member.Member._begin_part

    def noting(self, served, states, message):
        trained.append((message.about["client"], message.about["round_number"]))
        return begin(self, served, states, message)

    monkeypatch.setattr(member.Member, "_begin_part", noting)
    hub = in_memory.Hub(holds=once("compute", "south", 2))
    study = runs.Study(tmp_path, secure, hub=hub, sites=THREE_SITES, seconds=SECONDS)
    assert check(study) == {(2, "south"): questions.LATE}
    assert attempts(hub, 2) == ["nsw", "nw"]
    # The others have masked what they had computed, and have computed nothing again.
    assert sorted(trained) == [(site, number) for site in THREE_SITES for number in (1, 2, 3)]


def test_a_late_client_drops_its_hospital_and_not_itself_alone(tmp_path, secure):
    late = once("compute", "alps", 2)
    hub = in_memory.Hub(holds=late)
    study = runs.Study(tmp_path, secure, hub=hub, sites=SEVERAL_CLIENTS, seconds=SECONDS)
    assert check(study) == {}
    # Two hospitals are needed: the round waits for the one whose client was late.
    assert attempts(hub, 2) == ["nsw", "nsw"]


def test_a_client_that_fails_leaves_with_its_hospital(tmp_path, secure):
    data = example.client_data(tmp_path / "clients", north=12, south=8, west=10, east=8)
    setting = secure.share(runs.Setting(secure.plan, data))
    sites = {**SEVERAL_CLIENTS, "dale": ("east",)}
    answers: list[wire.Message] = []

    def changes(site, answer):
        if (site, answer.kind) == ("alps", "compute"):
            answers.append(answer)
            if len(answers) == 3:  # Two of its clients have answered in round 1.
                return wire.Message("compute", {"failed": questions.FAILED})
        return answer

    hub = in_memory.Hub(changes=changes)
    study = runs.Study(tmp_path / "run", setting, hub=hub, sites=sites)
    assert check(study) == {(2, client): questions.FAILED for client in ("north", "west")}
    assert attempts(hub, 2) == ["ensw", "es"]


def test_a_hospital_that_makes_no_key_is_left_out(tmp_path, secure):
    hub = in_memory.Hub(holds=once("key", "south", 2))
    study = runs.Study(tmp_path, secure, hub=hub, sites=THREE_SITES, seconds=SECONDS)
    assert check(study) == {(2, "south"): questions.LATE}
    assert attempts(hub, 2) == ["nw"]


def test_a_hospital_that_is_killed_comes_back_in_a_later_round(tmp_path, secure):
    hub = in_memory.Hub(loses_answer=once("compute", "south", 2))

    def after_round(number):
        if number == 2:
            study.hospital("south")
            study.await_serving("south")

    study = runs.Study(
        tmp_path, secure, hub=hub, sites=THREE_SITES, seconds=SECONDS, after_round=after_round
    )
    assert check(study) == {(2, "south"): questions.LATE}


@pytest.mark.parametrize("later", [False, True])
def test_a_hospital_that_comes_back_in_time_makes_another_key(tmp_path, in_two_walks, later):
    hub = in_memory.Hub(loses=once("compute", "south", 2, later=later))
    study = runs.Study(tmp_path, in_two_walks, hub=hub)
    comes_back(study, "south", hub)
    assert check(study) == {}
    assert attempts(hub, 2) == ["ns", "ns"]


def test_late_in_a_later_walk(tmp_path, in_two_walks):
    hub = in_memory.Hub(holds=once("compute", "south", 2, later=True))
    study = runs.Study(tmp_path, in_two_walks, hub=hub, sites=THREE_SITES, seconds=SECONDS)
    assert check(study) == {(2, "south"): questions.LATE}


def test_a_round_of_one_hospital_ends_with_a_line(tmp_path, secure):
    study = runs.Study(tmp_path, secure, sites=runs.SITES, quorum=1)
    line = "round 1: expected clients of at least 2 hospitals for a secure sum, found those of"
    sampler = Sampler(study.client_ids, 1, seed=0)
    with pytest.raises(RunError, match=line):
        study.run(sampler)


@pytest.mark.parametrize(("site_of_west", "is_refused"), [("north", True), ("west", False)])
def test_rounds_that_draw_one_hospital_are_found_before(data, secure, site_of_west, is_refused):
    # Round 1 draws north and south, 2 north and west, 3 south and west.
    sampler: Any = runs.Recorded(("north", "south", "west"), ROUNDS)
    hospitals: Any = None  # None is asked.
    sites = {"north": "north", "south": "south", "west": site_of_west}
    for setting, may_fail in (
        (secure, is_refused),
        (runs.Setting(example.plan(runs.THREE), data), False),
    ):
        training = coordinated_training.CoordinatedTraining(
            setting.plan, data, sampler, setting.evaluator, hospitals, runs.NAME, tuple
        )
        line = "found round 2 with those of north alone"
        expected = pytest.raises(InputError, match=line) if may_fail else contextlib.nullcontext()
        with expected:
            setting.share(training).check_draws(sites)


def test_a_part_that_does_not_fit_is_noticed(tmp_path, secure):
    def changes(site, answer):
        if site != "south" or answer.kind != "compute":
            return answer
        fields = [
            wire.Field(field.name, np.full_like(field.array, 1)) if field.array.ndim else field
            for field in answer.fields
        ]
        return wire.Message(answer.kind, answer.about, tuple(fields))

    study = runs.Study(tmp_path, secure, hub=in_memory.Hub(changes=changes), sites=THREE_SITES)
    with pytest.raises(RunError, match="the masks of one do not cancel"):
        study.run()
