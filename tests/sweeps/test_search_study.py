"""What a search tries next and what it gives up, and that its journal survives a kill."""

import math

import pytest

from tests.sweeps import fake_search
from tffcxr.errors import InputError
from tffcxr.sweeps import search_study

LISTS = ("a=1,2,3", "b=x,y")


def _complete(study, *values):
    """Ends a trial with these values, round by round."""
    study.next()
    by_round = dict(enumerate(values, 1))
    study.report(by_round)
    study.end("complete", values[-1])


def _settings(study):
    return [trial.settings for trial in study.trials()]


def test_median_rule_by_hand(tmp_path):
    study = fake_search.study(tmp_path)
    _complete(study, 0.5, 0.60, 0.70, 0.80)
    _complete(study, 0.5, 0.64, 0.74, 0.84)
    study.next()
    bad = {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1}
    assert study.pruned_round(bad, 4) is None  # Two complete trials are too few to judge by.
    study.end("failed", error="x")
    _complete(study, 0.5, 0.62, 0.72, 0.60)
    study.next()
    # The medians are 0.5, 0.62, 0.72 and 0.8.
    assert study.pruned_round(bad, 4) == 1
    assert study.pruned_round({1: 0.5, 2: 0.62, 3: 0.72, 4: 0.1}, 4) is None  # The last is run.
    assert study.pruned_round({1: 0.51, 2: 0.61, 3: 0.9}, 4) == 2
    assert study.pruned_round({1: 0.63, 2: 0.1, 3: 0.1}, 4) == 3  # Its best until then counts.
    # In the first quarter of eight rounds, nobody is judged.
    assert study.pruned_round({1: 0.1}, 8) is None
    assert study.pruned_round({1: 0.1, 2: 0.1}, 8) == 2
    # What is undefined, or not there yet, prunes nobody.
    assert study.pruned_round({}, 4) is None


def test_losses_are_pruned_where_they_are_large(tmp_path):
    study = fake_search.study(tmp_path, metric="loss")
    for _ in range(3):
        _complete(study, 0.5, 0.4)
    study.next()
    assert study.pruned_round({1: 0.6}, 4) == 1
    assert study.pruned_round({1: 0.4}, 4) is None


def test_estimator_learns_which_way_is_better(tmp_path):
    for metric, expected in (("auroc", "good"), ("loss", "bad")):
        study = fake_search.study(tmp_path, metric=metric, grid=("norm=good,bad", "x=0.0..1.0"))
        for _ in range(20):
            norm = dict(study.next().settings)["norm"]
            study.report({1: 0.9 if norm == "good" else 0.1})
            study.end("complete", 0.9 if norm == "good" else 0.1)
        late = [dict(trial.settings)["norm"] for trial in study.trials()[10:]]
        assert late.count(expected) >= 7
        (tmp_path / search_study.FILE).unlink()


def test_settings_depend_on_seed_number_and_history_alone(tmp_path):
    def tried(folder, seed, value):
        study = fake_search.study(tmp_path / folder, seed=seed)
        for _ in range(6):
            _complete(study, value(study))
        return _settings(study)

    def alike(_):
        return 0.5

    first = tried("a", 0, alike)
    assert tried("b", 0, alike) == first
    assert tried("c", 1, alike) != first
    # The first four are drawn at random, whatever came of them.
    other = tried("d", 0, lambda study: len(study.trials()) / 10)
    assert other[:4] == first[:4] and other[4:] != first[4:]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_no_settings_twice_and_all_in_the_end(tmp_path, sampler):
    study = fake_search.study(tmp_path, grid=LISTS, sampler=sampler)
    for _ in range(6):
        _complete(study, 0.5)
    assert len(set(_settings(study))) == 6
    if sampler == "grid":
        assert [tuple(text for _, text in settings) for settings in _settings(study)] == [
            (a, b) for a in "123" for b in "xy"
        ]


def test_trial_that_has_not_ended_is_the_next_one(tmp_path):
    before = fake_search.study(tmp_path).next()
    after = fake_search.study(tmp_path).next()
    assert before == after
    assert after.number == 1 and after.status == "pending"


def test_kill_while_the_journal_is_written(tmp_path):
    study = fake_search.study(tmp_path)
    _complete(study, 0.5, 0.6)
    trial = study.next()
    journal = tmp_path / search_study.FILE
    whole = journal.read_bytes()
    (tmp_path / f"{search_study.FILE}.lock").symlink_to(journal)  # It held the lock.
    journal.write_bytes(whole[:-7])
    study = fake_search.study(tmp_path)
    assert [each.status for each in study.trials()] == ["complete"]
    assert study.next() == trial


def test_damaged_journal_is_told_in_one_line(tmp_path):
    fake_search.study(tmp_path).next()
    journal = tmp_path / search_study.FILE
    journal.write_bytes(b"{\n" + journal.read_bytes())
    with pytest.raises(InputError, match="search.journal: expected a search, found"):
        fake_search.study(tmp_path)


def test_search_by_another_metric(tmp_path):
    study = fake_search.study(tmp_path, metric="jaccard")
    first = study.next()
    # Nothing has ended by it, as if it were misspelt: it may be corrected.
    study = fake_search.study(tmp_path, metric="loss")
    assert study.next() == first
    study.end("failed", error="x")
    with pytest.raises(InputError, match="holds a search by 'loss', found 'auroc'"):
        fake_search.study(tmp_path, metric="auroc")


def test_importances(tmp_path):
    grid = ("norm=good,bad", "rate=0.0..1.0")
    study = fake_search.study(tmp_path, grid=grid, sampler="random")
    for count in range(16):
        if count == 7:
            told = study.importances()
            assert told.endswith("estimated from 8 complete trials on; there are 7.")
        norm = dict(study.next().settings)["norm"]
        study.end("complete", 0.9 if norm == "good" else 0.1)
    found = study.importances()
    assert math.isclose(sum(found.values()), 1.0)
    assert found["norm"] > 0.9
    alone = fake_search.study(tmp_path / "alone", grid=("rate=0.0..1.0",))
    assert "single flag" in alone.importances()
    equal = fake_search.study(tmp_path / "equal", grid=grid)
    for _ in range(8):
        _complete(equal, 0.5)
    assert "undefined" in equal.importances()
