"""However a run is interrupted, it ends as if it had not been."""

import csv
import dataclasses
import errno

import numpy as np
import pytest

from tests.training import example
from tffcxr.errors import InputError
from tffcxr.evaluation import registry
from tffcxr.training import checkpoints, loop, round_log


def _journal(folder, *observers, best=None):
    return loop.Journal(
        folder / "rounds.csv", folder / "clients.csv", folder / "checkpoints", best, observers
    )


MEASURED = ("Opacity/loss", "Opacity/auroc", "Opacity/aupr")


def _run(folder, training=None, *observers):
    return loop.run(
        training or example.FakeTraining(),
        example.fake_plan(),
        MEASURED,
        _journal(folder, *observers),
    ).state


def _rows(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.pop("seconds", None)
    return rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, _run(folder)


def _assert_same(folder, state, whole):
    expected_folder, expected_state = whole
    for name in ("rounds.csv", "clients.csv"):
        assert _rows(folder / name) == _rows(expected_folder / name)
    np.testing.assert_array_equal(state["weights"], expected_state["weights"])
    assert state["rounds"] == 6


def test_the_columns_and_numbers_of_the_rounds(whole):
    folder, _ = whole
    with open(folder / "rounds.csv") as file:
        assert file.readline().strip().split(",") == loop.round_columns(MEASURED)
    rows = _rows(folder / "rounds.csv")
    assert [row["stage"] for row in rows] == ["head"] * 2 + ["all"] * 4
    assert {row["images"] for row in rows} == {"10"}
    assert {(row["clients"], row["failed_clients"]) for row in rows} == {("1", "1")}
    assert rows[3]["Opacity/auroc"] == "0.25"
    assert rows[0]["learning_rate"] == "1.0"
    clients = _rows(folder / "clients.csv")
    assert clients[1] == {
        "round": "1",
        "client": "south",
        "images": "5",
        "train_loss": "nan",
        "status": "layer conv1 is not finite",
    }


def test_the_schedule_counts_from_its_own_stage(whole):
    folder, _ = whole
    losses = [float(row["train_loss"]) for row in _rows(folder / "rounds.csv")]
    rates = [float(row["learning_rate"]) for row in _rows(folder / "rounds.csv")]
    schedule = example.fake_plan().stages[1].schedule
    assert rates[2:] == [schedule.rate(losses[2 : 2 + done]) for done in range(4)]
    assert len(set(rates[2:])) > 1


@pytest.mark.parametrize("number", range(1, 7))
def test_killed_in_a_round(tmp_path, whole, number):
    with pytest.raises(example.Killed):
        _run(tmp_path, example.FakeTraining(kill_in=number))
    _assert_same(tmp_path, _run(tmp_path), whole)


def _kill_at_call(monkeypatch, owner, name, calls, before):
    """Kills at one call of a method, before or after it has done its work."""
    original, count = getattr(owner, name), [0]

    def killed(*args, **kwargs):
        count[0] += 1
        if count[0] == calls and before:
            raise example.Killed
        result = original(*args, **kwargs)
        if count[0] == calls:
            raise example.Killed
        return result

    monkeypatch.setattr(owner, name, killed)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("call", range(1, 13))
def test_killed_around_every_write_of_the_csv_files(tmp_path, whole, monkeypatch, call, before):
    with monkeypatch.context() as patch, pytest.raises(example.Killed):
        _kill_at_call(patch, round_log.RoundLog, "append", call, before)
        _run(tmp_path)
    _assert_same(tmp_path, _run(tmp_path), whole)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("call", range(1, 7))
def test_killed_around_every_checkpoint(tmp_path, whole, monkeypatch, call, before):
    with monkeypatch.context() as patch, pytest.raises(example.Killed):
        _kill_at_call(patch, checkpoints.Checkpoints, "save", call, before)
        _run(tmp_path)
    _assert_same(tmp_path, _run(tmp_path), whole)


def test_killed_again_and_again(tmp_path, whole, monkeypatch):
    for number in (2, 2, 3, 5, 6):
        with pytest.raises(example.Killed):
            _run(tmp_path, example.FakeTraining(kill_in=number))
    _assert_same(tmp_path, _run(tmp_path), whole)


@pytest.mark.parametrize("number", [2, 3, 6])
def test_a_damaged_checkpoint_costs_one_round(tmp_path, whole, number):
    with pytest.raises(example.Killed):
        _run(tmp_path, example.FakeTraining(kill_in=number + 1)) if number < 6 else _end(tmp_path)
    path = tmp_path / "checkpoints" / f"round_{number:06d}.npz"
    path.write_bytes(path.read_bytes()[:100])
    if number == 2:
        assert (tmp_path / "checkpoints" / "round_000001.npz").exists()
    _assert_same(tmp_path, _run(tmp_path), whole)


def _end(folder):
    _run(folder)
    raise example.Killed


def test_a_finished_training_is_not_run_again(tmp_path, whole):
    _run(tmp_path)
    before = (tmp_path / "rounds.csv").read_bytes()
    state = _run(tmp_path, example.FakeTraining(kill_in=6))
    assert (tmp_path / "rounds.csv").read_bytes() == before
    _assert_same(tmp_path, state, whole)


def test_rows_that_somebody_deleted_are_missed(tmp_path):
    with pytest.raises(example.Killed):
        _run(tmp_path, example.FakeTraining(kill_in=5))
    (tmp_path / "rounds.csv").unlink()
    with pytest.raises(InputError, match="a row for each of the rounds 1 to 4.*found 0 rows"):
        _run(tmp_path)


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path, whole, monkeypatch):
    original = round_log.RoundLog.append

    def full(self, rows):
        if int(rows[0]["round"]) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        original(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(round_log.RoundLog, "append", full)
        with pytest.raises(loop.TrainingFailed, match="No space left.*rounds.csv.*free some space"):
            _run(tmp_path)
    _assert_same(tmp_path, _run(tmp_path), whole)


def test_observers_see_every_round_after_it_is_saved(tmp_path):
    seen = []

    def observe(row, result, state):
        saved = max((tmp_path / "checkpoints").iterdir()).name
        seen.append((row["round"], saved, len(state["weights"]), result.clients[0].client))

    _run(tmp_path, None, observe)
    assert [entry[0] for entry in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[1] == (2, "round_000002.npz", 2, "north")
    assert seen[2] == (3, "round_000003.npz", 3, "north")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("call", range(1, 7))
def test_a_round_that_was_saved_is_in_all_tables(tmp_path, monkeypatch, call, before):
    """Whatever is written after a checkpoint would be missing where the run is killed then."""
    table: dict[int, str] = {}
    journal = dataclasses.replace(
        _journal(tmp_path), tables=[lambda row, *_: table.update({row["round"]: row["stage"]})]
    )
    plan = example.fake_plan()
    with monkeypatch.context() as patch, pytest.raises(example.Killed):
        _kill_at_call(patch, checkpoints.Checkpoints, "save", call, before)
        loop.run(example.FakeTraining(), plan, MEASURED, journal)
    loop.run(example.FakeTraining(), plan, MEASURED, journal)
    assert table == dict(zip(range(1, 7), ["head"] * 2 + ["all"] * 4))


@pytest.mark.parametrize("kill_in", [None, 4, 6])
def test_the_best_rounds_state_is_kept_however_old_it_is(tmp_path, kill_in):
    journal = _journal(tmp_path, best=registry.AUROC)  # which falls: 1 / round
    if kill_in:
        with pytest.raises(example.Killed):
            loop.run(example.FakeTraining(kill_in), example.fake_plan(), MEASURED, journal)
    training = example.FakeTraining()
    loop.run(training, example.fake_plan(), MEASURED, journal)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [f"round_{number:06d}.npz" for number in (1, 5, 6)]
    number, state = loop.load_best(training, example.fake_plan(), MEASURED, journal)
    assert (number, state["rounds"]) == (1, 1)
    expected, _ = training.advance(
        training.initial_state(1), 1, example.fake_plan().stages[0], learning_rate=1.0
    )
    np.testing.assert_array_equal(state["weights"], expected["weights"])


def test_a_damaged_checkpoint_of_the_best_round_is_named(tmp_path):
    journal = _journal(tmp_path, best=registry.AUROC)
    training = example.FakeTraining()
    loop.run(training, example.fake_plan(), MEASURED, journal)
    (tmp_path / "checkpoints" / "round_000001.npz").write_bytes(b"half")
    with pytest.raises(InputError, match="round_000001.npz: expected the checkpoint of the best"):
        loop.load_best(training, example.fake_plan(), MEASURED, journal)
