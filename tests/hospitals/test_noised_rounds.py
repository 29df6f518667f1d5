"""A round whose steps have noise is trained on one set of weights, however often it is asked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.hospitals import in_memory, runs
from tests.hospitals.test_private_states import Killed, kill_once
from tests.training import example
from tffcxr import runtime
from tffcxr.errors import RunError
from tffcxr.hospitals import noised_rounds, questions, wire
from tffcxr.hospitals.work import CannotError
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.training import checkpoints
from tffcxr.training.plan import Stage

TWO = Stage("all", 2, runs.RATE)


def question(*walks, computation="next", state=0, **changes):
    """Of walks, each of which has an array of one number; with masks that differ each time."""
    about = {
        "computation": computation, "state": state, "walks": [[n] for n in range(len(walks))],
        "arrays": [1] * len(walks), "kept": [len(walks)], "masking": str(walks), **changes,
    }  # fmt: skip
    fields = [wire.Field("w", np.array([number], np.float32)) for number in walks]
    return wire.Message(questions.COMPUTE, about, tuple(fields))


def refused(rounds, message, number=1):
    with pytest.raises(CannotError, match="expected the weights that it was asked to") as found:
        rounds.begin("north", number, message)
    return found.value.reported == questions.OTHER_WEIGHTS


def test_other_values_state_or_computation_of_a_round_are_refused(tmp_path):
    noised_rounds.NoisedRounds(tmp_path).begin("north", 1, question(0.5))
    rounds = noised_rounds.NoisedRounds(tmp_path)  # Of a hospital that was started again.
    rounds.begin("north", 1, question(0.5))
    rounds.begin("north", 1, question(0.5, kept=[7], masking="other"))
    rounds.begin("north", 1, question(0.5, 3.0))  # A later walk, of what came before.
    for other in (
        question(np.nextafter(np.float32(0.5), np.float32(1))),
        question(-0.5, 3.0),
        question(0.5, 2.0),
        question(0.5, state=1),
        question(0.5, computation="recompute"),
        question(0.5, walks=[[1]]),
        question(0.5, 3.0, arrays=[0, 2]),
    ):
        assert refused(rounds, other)
    rounds.begin("north", 2, question(0.25))
    rounds.begin("south", 1, question(0.25))
    assert refused(rounds, question(0.5), number=2)


@pytest.mark.parametrize("content", ["{", "[]", '{"1": 3}'])
def test_damaged_digests_stop_the_client(tmp_path, content):
    path = tmp_path / "north" / noised_rounds.FILE
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(RunError, match="noised_rounds.json: expected digests of rounds, found"):
        noised_rounds.NoisedRounds(tmp_path).begin("north", 1, question(0.5))
    assert path.read_text() == content


def test_a_coordinator_may_repeat_a_round_and_may_not_ask_another(tmp_path, monkeypatch):
    runtime.use("device")
    settings = DpSgd(noise_multiplier=1.0, clip=0.5, batch_size=4)
    data = runs.clients(tmp_path / "clients")
    setting = runs.Setting(example.plan(TWO, dp_sgd=settings, keeps_optimizer=True), data)
    kill_once(monkeypatch, checkpoints.Checkpoints, "save", lambda _, number, *__: number == 2)
    hub = in_memory.Hub()
    study = runs.Study(tmp_path / "run", setting, hub=hub)
    for site in study.sites:
        study.hospital(site)
    with pytest.raises(Killed):
        study.coordinate()
    (second,) = [
        task
        for site, task in hub.sent
        if (site, task.kind, task.about.get("round_number")) == ("north", "compute", 2)
    ]
    first, *rest = second.fields
    other = wire.Field(first.name, first.array + np.float32(0.1))
    changed = dataclasses.replace(second, fields=(other, *rest))
    answer = hub.ask("north", changed).result(30)
    assert (answer.about["failed"], answer.fields) == (questions.OTHER_WEIGHTS, ())
    beyond = dataclasses.replace(second, about={**second.about, "round_number": 0})
    assert hub.ask("north", beyond).result(30).about["failed"] == questions.FAILED
    study.run_on()  # Asks for round 2 again, of the same weights.
    assert runs.left_out(study.folder) == {}
    of_north = [
        [field.array.tobytes() for field in message.fields]
        for site, message in hub.received
        if (site, message.kind) == ("north", "compute") and message.fields
    ]
    assert len(of_north) == 3 and of_north[1] == of_north[2] != of_north[0]
