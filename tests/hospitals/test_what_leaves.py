"""What leaves a hospital: updates and single numbers, and nothing of what is private."""

from __future__ import annotations

import json
import math
import re
import types
from typing import Any

import numpy as np
import pytest

from tests.hospitals import in_memory, runs
from tests.training import example
from tffcxr import runtime
from tffcxr.errors import RunError
from tffcxr.hospitals import member, questions, wire
from tffcxr.hospitals.private_states import PrivateStates

PATIENT = re.compile(r"(north|south|west)-\d")


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hospital-disk")


@pytest.fixture(scope="module")
def data(folder):
    return runs.clients(folder)


@pytest.fixture(scope="module")
def kept(data):
    return runs.Setting(example.plan(runs.THREE, keeps_optimizer=True), data)


@pytest.fixture
def saved(monkeypatch):
    """Every private state that is saved: client to arrays."""
    found = []
    save = PrivateStates.save

    def noting(self, client, number, arrays):
        found.append((client, number, [np.array(each) for each in arrays]))
        save(self, client, number, arrays)

    monkeypatch.setattr(PrivateStates, "save", noting)
    return found


def pixels(data):
    """The images of all clients and splits, as they are stored and as they are read."""
    for client in ("north", "south"):
        for split in ("train", "validation", "test"):
            for batch in data.evaluation_dataset(client, split):
                for image in batch["images"].numpy():
                    yield image
                    yield np.rint(image * 255).astype(np.uint8)


def run(tmp_path, setting, limits):
    study = runs.Study(tmp_path / "hospitals", setting, limits=limits)
    study.run()
    return study


DEFAULTS = runs.Limits(fewest_images=1, smallest_count=10, scores_per_image=False)


@pytest.mark.parametrize("limits", [DEFAULTS, runs.Limits()])
def test_nothing_private_leaves(tmp_path, kept, saved, folder, limits):
    study = run(tmp_path, kept, limits)
    answers = [message for _, message in study.hub.received]
    assert {message.kind for message in answers} == {
        "register", "training", "compute", "measure", "finish",
    }  # fmt: skip
    arrays = [field.array for message in answers for field in message.fields]
    content = [array.tobytes() for array in arrays]
    # Private weights and moments of Adam, each after every round.
    secrets = [array for _, _, state in saved for array in state if array.size > 1]
    assert len(saved) == 6 and len(secrets) >= 6 * 6
    changed = [secret for secret in secrets if np.any(secret)]
    assert len(changed) > 30
    shapes = {array.shape for array in secrets}
    # The task block's kernel and bias, and Adam's moments of it and of the representation.
    assert shapes == {(900, 2), (2,), (1802,), (40,)}
    for secret in changed:
        assert not any(secret.tobytes() in each for each in content)
        assert not any(len(each) >= 32 and each in secret.tobytes() for each in content)
    assert not any(array.shape in shapes for array in arrays)
    for image in pixels(kept.data):
        row = image[image.shape[0] // 2].tobytes()
        assert not any(row in each for each in content)
    # The updates are there, or the test would prove nothing.
    kernel = kept.plan.initial_weights()[0].shape
    assert sum(array.shape == kernel for array in arrays) == 6


@pytest.mark.parametrize("limits", [DEFAULTS, runs.Limits()])
def test_no_text_names_a_file_or_a_patient(tmp_path, kept, folder, limits):
    study = run(tmp_path, kept, limits)
    for _, message in study.hub.received:
        names = [field.name for field in message.fields]
        text = json.dumps([message.kind, dict(message.about), names])
        assert not PATIENT.search(text)
        for part in (str(folder), folder.name, str(tmp_path), "/tmp", ".png", ".npz", "tfrecord"):
            assert part not in text


def test_with_default_limits_nothing_is_told_of_single_images(tmp_path, kept):
    study = run(tmp_path, kept, DEFAULTS)
    images = {"north": {12, 6}, "south": {8, 6}}
    for site, message in study.hub.received:
        for field in message.fields:
            assert not images[site] & set(field.array.shape)
        if message.kind == "measure":
            assert not message.fields
            # Six images to validate on, less than ten.
            assert message.about["images"] == {site: None}
            assert set(message.about["measured"][site].values()) == {None}
            assert set(message.about["counts"][site].values()) == {None}
    counts = {
        site: message.about["clients"][site]["train"]["images"]
        for site, message in study.hub.received
        if message.kind == "register"
    }
    assert counts == {"north": 12, "south": None}
    with open(study.folder / "rounds.csv", encoding="utf-8") as file:
        assert "Opacity/auroc" in file.readline()


def test_with_scores_the_coordinator_measures_as_in_one_place(tmp_path, kept):
    study = run(tmp_path, kept, runs.Limits(smallest_count=100))
    found = [message for _, message in study.hub.received if message.kind == "measure"]
    assert len(found) == 6 and all(len(message.fields) == 3 for message in found)
    assert all(field.array.shape[0] == 6 for message in found for field in message.fields)


def test_too_few_images_give_no_update(tmp_path, kept):
    limits = runs.Limits(fewest_images=10)  # North has 12, South 8.
    study = runs.Study(tmp_path / "hospitals", kept, limits=limits, quorum=1)
    end = study.run()
    assert runs.left_out(study.folder) == {
        (n, "south"): questions.TOO_FEW_IMAGES for n in (1, 2, 3)
    }
    assert not [
        message
        for site, message in study.hub.received
        if site == "south" and message.kind == "compute" and message.fields
    ]
    assert int(end.state["clients"]["south"]) == 0
    assert not math.isnan(float(end.rounds[0]["train_loss"]))


def test_only_single_numbers_of_results_at_clients_leave(kept):
    process = kept.training(runs.Recorded(("north",), {})).process_of(kept.plan.stages[0])
    of_client = process.next.type_signature.result[3].member
    state = process.initialize_client.type_signature.result

    def collected(type_spec) -> Any:
        source = types.SimpleNamespace(type_spec=type_spec)
        return types.SimpleNamespace(is_collected=True, source=source)

    assert not questions.stays(collected(of_client), state)
    assert questions.stays(collected(state), state)
    assert questions.stays(collected(state["trainable"]), state)


class Noting:
    """A link whose coordinator begins at once."""

    def __init__(self):
        self.said = []

    def doing(self, what):
        self.said.append(what)

    def call(self, message):
        self.said.append(message)
        return wire.Message(message.kind)


@pytest.mark.parametrize(
    ("counts", "reported"),
    [
        ((40, 30, 20), (40, 30, 20)),
        # 5 is 75 less 40 less 30, unless one of these is left out.
        ((40, 30, 5), (40, None, None)),
        ((40, 6, 5), (40, None, None)),  # Of 11 together.
        ((40, 35, 0), (40, 35, None)),
        ((3, 2, 1), (None, None, None)),
    ],
)
def test_small_counts_are_not_reported_nor_can_be_computed(tmp_path, counts, reported):
    labels = ("present", "absent", "unknown")
    link: Any = Noting()
    of_split = {"images": sum(counts), "labels": {"Opacity": dict(zip(labels, counts))}}
    member.Member(link, DEFAULTS, tmp_path, {}, runs.signer("north")).register(
        {"north": {"test": of_split}}
    )
    found = link.said[-1].about["clients"]["north"]["test"]
    assert found["labels"]["Opacity"] == dict(zip(labels, reported))
    assert found["images"] == (sum(counts) if sum(counts) >= 10 else None)


def test_a_hospital_with_too_few_images_does_not_take_part(tmp_path):
    limits = runs.Limits(fewest_images=12)
    link = in_memory.Link(in_memory.Hub(), "north")
    part = member.Member(link, limits, tmp_path, {"north": ()}, runs.signer("north"))
    part.check_images({"north": 12})
    with pytest.raises(RunError, match="client south: policy.toml wants at least 12 .* found 8"):
        part.check_images({"north": 12, "south": 8})
