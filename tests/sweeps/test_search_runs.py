"""The trials of a search: which are pruned, and that no interruption changes any of them."""

import math

from optuna.storages import journal
import pytest

from tests.sweeps import fake_search
from tffcxr.errors import InputError

TRIALS = 10


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory):
    """A search that nothing interrupts, and what it notes."""
    notes: list[str] = []
    path = tmp_path_factory.mktemp("search")
    return fake_search.search(path, TRIALS, notes=notes), notes


def test_bad_trials_are_pruned_and_good_ones_are_not(whole):
    trials, notes = whole
    assert [trial.number for trial in trials] == list(range(1, TRIALS + 1))
    final = {t.number: fake_search.quality(dict(t.settings), fake_search.ROUNDS) for t in trials}
    assert {t.status for t in trials[:3]} == {"complete"}
    pruned = [trial for trial in trials if trial.status == "pruned"]
    assert pruned
    for trial in trials[3:]:
        # Curves never cross here, so the median of the final values decides, in the second round.
        before = [final[t.number] for t in trials[: trial.number - 1] if t.status == "complete"]
        median = sorted(before)[len(before) // 2]
        low = sorted(before)[(len(before) - 1) // 2]
        is_bad = final[trial.number] < (median + low) / 2
        assert (trial.status, trial.pruned_round) == (
            ("pruned", 2) if is_bad else ("complete", None)
        )
        assert list(trial.values) == ([1, 2] if is_bad else [1, 2, 3, 4, 5, 6])
        assert math.isnan(trial.value) == is_bad
    assert all(
        trial.value == pytest.approx(final[trial.number])
        for trial in trials
        if trial.status == "complete"
    )
    first = pruned[0].number
    assert notes[0].startswith("trial 1/10: rate=")
    assert f"trial {first}/10: pruned after round 2; " in notes[2 * first - 1]


def test_run_that_is_faster_than_the_looks_is_judged_alike(tmp_path, whole):
    trained = fake_search.FakeRunner(tmp_path, looks=False)
    assert fake_search.search(tmp_path, TRIALS, trained) == whole[0]


def test_without_pruning_all_are_complete(tmp_path):
    trials = fake_search.search(tmp_path, 6, prunes=False)
    assert {trial.status for trial in trials} == {"complete"}


@pytest.mark.parametrize("step", [2, 7])
def test_kills_change_nothing(tmp_path, whole, monkeypatch, step):
    """Every `step`th line of the journal is cut short, and the search starts again."""
    append = journal.JournalFileBackend.append_logs
    written = [0]

    def killed(self, logs):
        written[0] += 1
        append(self, logs)
        if written[0] % step == 0:
            path = tmp_path / "search.journal"
            path.write_bytes(path.read_bytes()[:-5])
            raise KeyboardInterrupt

    monkeypatch.setattr(journal.JournalFileBackend, "append_logs", killed)
    trained: list[str] = []
    kills = 0
    while True:
        runner = fake_search.FakeRunner(tmp_path)
        try:
            trials = fake_search.search(tmp_path, TRIALS, runner)
            break
        except KeyboardInterrupt:
            kills += 1
        finally:
            trained += runner.trained
    assert trials == whole[0]
    assert kills >= 5
    assert len(set(trained)) == len(trained)  # No round twice.


def test_interrupted_run_is_resumed_and_more_trials_extend_the_search(tmp_path, whole):
    def curve(settings, number):
        if len(runner.trained) == 9:
            raise KeyboardInterrupt
        return fake_search.quality(settings, number)

    runner = fake_search.FakeRunner(tmp_path, curve)
    with pytest.raises(KeyboardInterrupt):
        fake_search.search(tmp_path, 4, runner)
    resumed = fake_search.FakeRunner(tmp_path)
    assert fake_search.search(tmp_path, 4, resumed) == whole[0][:4]
    assert resumed.trained[0] == "runs/trial_0002/repeat_1 4"
    extended = fake_search.FakeRunner(tmp_path)
    notes: list[str] = []
    assert fake_search.search(tmp_path, TRIALS, extended, notes=notes) == whole[0]
    assert notes[0] == "4 of 10 trials have ended already"
    assert extended.trained[0].startswith("runs/trial_0005/")
    idle = fake_search.FakeRunner(tmp_path)
    assert fake_search.search(tmp_path, TRIALS, idle) == whole[0]
    assert not idle.trained


def test_failed_trial_stops_no_other_and_is_not_run_again(tmp_path):
    def curve(settings, number):
        if settings["norm"] == "bad":
            raise ValueError("every client failed")
        return fake_search.quality(settings, number)

    trials = fake_search.search(tmp_path, 6, fake_search.FakeRunner(tmp_path, curve))
    by_norm = {(dict(trial.settings)["norm"], trial.status, trial.error) for trial in trials}
    assert ("bad", "failed", "every client failed") in by_norm
    assert {status for norm, status, _ in by_norm if norm == "good"} <= {"complete", "pruned"}
    again = fake_search.FakeRunner(tmp_path)
    assert fake_search.search(tmp_path, 6, again) == trials
    assert not again.trained


def test_metric_that_no_run_has_ends_the_search_at_once(tmp_path):
    runner = fake_search.FakeRunner(tmp_path)
    with pytest.raises(InputError, match="expected one of x/auroc, y/auroc, auroc of rounds.csv"):
        fake_search.search(tmp_path, 6, runner, metric="jaccard")
    assert runner.trained == ["runs/trial_0001/repeat_1 1"]
    # Nothing is lost: the right one continues that run.
    right = fake_search.FakeRunner(tmp_path)
    fake_search.search(tmp_path, 1, right)
    assert right.trained[0] == "runs/trial_0001/repeat_1 2"


def test_metric_that_is_never_defined(tmp_path):
    undefined = fake_search.FakeRunner(tmp_path / "a", lambda *_: math.nan)
    with pytest.raises(InputError, match="auroc is undefined in every round"):
        fake_search.search(tmp_path / "a", 6, undefined)

    def curve(settings, number):
        is_first = runner.trained == [] or runner.trained[-1].startswith("runs/trial_0001/")
        is_first = is_first and len(runner.trained) < fake_search.ROUNDS
        return 0.5 if is_first else math.nan

    runner = fake_search.FakeRunner(tmp_path / "b", curve)
    trials = fake_search.search(tmp_path / "b", 2, runner)
    assert [trial.status for trial in trials] == ["complete", "failed"]
    assert trials[1].error == "auroc is undefined in every round"
