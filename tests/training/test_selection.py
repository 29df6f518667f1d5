"""Which round is reported and when training ends, on numbers that one can follow by hand."""

import math

import pytest

from tests.training import example
from tffcxr.evaluation import registry
from tffcxr.training import loop, selection
from tffcxr.training.plan import Plan

NAN = float("nan")
MEASURED = ("Opacity/loss", "Opacity/auroc", "Opacity/aupr")


def _rows(**columns):
    names = {name.replace("_", "/"): values for name, values in columns.items()}
    count = len(next(iter(names.values())))
    return [
        {"round": str(i + 1), **{name: str(values[i]) for name, values in names.items()}}
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("metric", "columns", "expected"),
    [
        (registry.JACCARD, {"Lungs_jaccard": [0.5, 0.9, 0.9, 0.7]}, 2),
        (registry.LOSS, {"Lungs_loss": [0.5, 0.2, 0.3, 0.2]}, 2),
        (registry.JACCARD, {"Lungs_jaccard": [NAN, 0.1, NAN, 0.05]}, 2),
        (registry.JACCARD, {"Lungs_jaccard": [NAN] * 3}, 3),
        # Of equal rounds, the least loss; the loss of the others does not matter.
        (registry.AUROC, {"A_auroc": [0.9, 0.9, 0.8], "A_loss": [0.4, 0.3, 0.1]}, 2),
        # The mean over findings: 0.80, 0.85, 0.75. The first finding alone is best in round 1.
        (registry.AUROC, {"A_auroc": [0.9, 0.8, 0.7], "B_auroc": [0.7, 0.9, 0.8]}, 2),
        # A finding without a value, as at a site that does not label it, does not count.
        (registry.AUROC, {"A_auroc": [0.7, 0.9, 0.8], "B_auroc": [NAN] * 3}, 2),
    ],
)
def test_the_best_round(metric, columns, expected):
    assert selection.best_round(_rows(**columns), metric) == expected


@pytest.mark.parametrize(
    ("values", "expected"), [([NAN, 0.1, NAN], True), ([NAN] * 3, False)], ids=["some", "none"]
)
def test_whether_the_metric_is_known_in_any_round(values, expected):
    assert selection.is_known(_rows(Lungs_jaccard=values), registry.JACCARD) is expected
    # Each finding is unknown in some round, so no round has a mean over both.
    both = _rows(A_auroc=[0.7, NAN], B_auroc=[NAN, 0.7])
    assert not selection.is_known(both, registry.AUROC)
    assert selection.best_round(both, registry.AUROC) == 2


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([3.0, 2.0, 2.5, 2.5], 2, True),
        ([3.0, 2.0, 2.5, 2.5], 3, False),
        ([3.0, 2.0, 2.0, 2.0], 2, True),  # Equal is not lower.
        ([3.0, 2.0, 2.5, 1.9], 2, False),
        ([3.0, NAN, NAN], 2, True),
        ([NAN] * 9, 2, False),  # Nothing is measured.
        ([1.0, 2.0, 3.0], 0, False),
        ([], 1, False),
    ],
)
def test_when_a_stage_ends(losses, patience, expected):
    assert selection.stops(losses, patience) is expected


def test_the_loss_of_a_round_leaves_out_what_is_undefined():
    assert selection.validation_loss({"A/loss": 0.5, "B/loss": NAN, "C/loss": "1.0"}) == 0.75
    assert math.isnan(selection.validation_loss({"A/loss": NAN, "A/auroc": 9.0}))


class _Rising(example.FakeTraining):
    """Its loss falls in the head stage and to round 3, then rises."""

    def advance(self, state, round_number, stage, learning_rate):
        state, result = super().advance(state, round_number, stage, learning_rate)
        loss = (0.9, 0.8, 0.5, 0.6, 0.7, 0.8)[round_number - 1]
        values = {**result.validation, "Opacity/loss": loss}
        return state, loop.RoundResult(result.clients, loss, values, {})


@pytest.mark.parametrize("kill_in", [None, 2, 4, 5])
def test_a_training_stops_early_and_so_does_a_resumed_one(tmp_path, kill_in):
    journal = loop.Journal(
        tmp_path / "rounds.csv", None, tmp_path / "checkpoints", best=registry.AUROC
    )
    plan = example.fake_plan(patience=2)
    if kill_in:
        with pytest.raises(example.Killed):
            loop.run(_Rising(kill_in), plan, MEASURED, journal)
    end = loop.run(_Rising(), plan, MEASURED, journal)
    # The least loss is that of round 3; two rounds later there is none lower.
    assert (end.number, int(end.state["rounds"])) == (5, 5)
    # A finished training is known as finished, though the plan has a sixth round.
    assert loop.run(_Rising(kill_in=6), plan, MEASURED, journal).number == 5
    number, state = loop.load_best(_Rising(), plan, MEASURED, journal)
    assert (number, int(state["rounds"])) == (1, 1)  # AUROC is 1 / round.


def test_the_head_stage_does_not_end_early():
    head, rest = example.fake_plan(patience=1).stages
    with pytest.raises(ValueError, match="last stage"):
        Plan(example.spec(), (rest, head), example.fake_plan().loss_fn)
