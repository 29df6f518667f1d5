"""Who has taken part decides epsilon, and when a budget is spent."""

from __future__ import annotations

import json

import pytest

from tests.training import example
from tffcxr.clients.sampling import Sampler
from tffcxr.errors import InputError
from tffcxr.learning import privacy_accounting
from tffcxr.learning.schedules import Schedule
from tffcxr.training import federated, loop
from tffcxr.training.plan import Stage
from tffcxr.training.privacy_ledger import Ledger, Privacy

FIVE = Sampler(tuple("abcde"))
DELTA = 1e-5


def rows(*rounds, status="ok"):
    """Rows of `clients.csv`, as they are read from it."""
    return [
        {"round": str(number), "client": client, "status": status}
        for number, clients in enumerate(rounds, 1)
        for client in clients
    ]


def of(noise, rounds):
    return privacy_accounting.epsilon({noise: rounds}, DELTA)


def test_the_client_with_most_rounds_counts():
    ledger = Ledger(Privacy(3.0), FIVE, 10)
    assert ledger.epsilon([]) == 0
    assert ledger.epsilon(rows("ab", "ac", "ade")) == of(3.0, 3)
    # A failed update is in the sum as zeros; a client that was left out is not in it.
    failed = [*rows("ab"), {"round": 2, "client": "a", "status": "loss is not finite"}]
    assert ledger.epsilon(failed) == of(3.0, 2)
    away = [*rows("ab"), {"round": 2, "client": "a", "status": "left out: not connected"}]
    assert ledger.epsilon(away) == of(3.0, 1)


def test_a_round_that_shares_nothing_costs_nothing():
    ledger = Ledger(Privacy(3.0), FIVE, 4, lambda number: number > 2)
    assert ledger.epsilon(rows("abcde", "abcde")) == 0
    assert ledger.epsilon(rows("abcde", "abcde", "abcde")) == of(3.0, 1)


def test_a_target_counts_the_rounds_that_a_client_will_take_part_in():
    sampler = Sampler(tuple("abcde"), 2, seed=3)
    drawn = [client for number in range(1, 21) for client in sampler.sample(number)]
    most = max(drawn.count(client) for client in "abcde")
    ledger = Ledger(Privacy(None, target_epsilon=8.0), sampler, 20)
    assert ledger.noise_multiplier == privacy_accounting.noise_for(8.0, most, DELTA)
    played = rows(*(sampler.sample(number) for number in range(1, 20)))
    assert not ledger.is_spent(played, 20)
    whole = rows(*(sampler.sample(number) for number in range(1, 21)))
    assert 7.99 < ledger.epsilon(whole) <= 8.0
    assert f"at most {most} rounds, which is epsilon 8 at delta 1e-05" in ledger.plan


def test_a_budget_ends_before_it_is_exceeded():
    budget = of(3.0, 4) + 1e-6
    ledger = Ledger(Privacy(3.0, budget=budget), FIVE, 10)
    assert not ledger.is_spent(rows(*["abcde"] * 3), 4)
    assert ledger.is_spent(rows(*["abcde"] * 4), 5)
    # Who was away has rounds left, but the others have not.
    assert ledger.is_spent(rows(*["abcd"] * 4), 5)
    assert not Ledger(Privacy(3.0), FIVE, 10).is_spent(rows(*["abcde"] * 9), 10)
    with pytest.raises(InputError, match="--epsilon_budget: expected at least 2.753, the epsilon"):
        Ledger(Privacy(3.0, budget=1.0), FIVE, 10)


def test_a_training_stops_at_its_budget_also_after_a_kill(tmp_path):
    two = Sampler(("north", "south"))
    ledger = Ledger(Privacy(3.0, budget=of(3.0, 4) + 1e-6), two, 6)

    def run(folder, training):
        journal = loop.Journal(
            folder / "rounds.csv", folder / "clients.csv", folder / "checkpoints", ledger=ledger
        )
        return loop.run(training, example.fake_plan(), ("Opacity/loss",), journal)

    class Measured(example.FakeTraining):
        def advance(self, *args):
            state, result = super().advance(*args)
            return state, loop.RoundResult(
                result.clients, result.train_loss, {"Opacity/loss": 1.0}, {}
            )

    whole = run(tmp_path / "whole", Measured())
    with pytest.raises(example.Killed):
        run(tmp_path / "killed", Measured(kill_in=4))
    resumed = run(tmp_path / "killed", Measured())
    for end in (whole, resumed):
        assert end.number == 4
        assert ledger.is_spent(end.clients, 5)
        found = [float(row["epsilon"]) for row in end.rounds]
        assert found == [of(3.0, rounds) for rounds in (1, 2, 3, 4)]


@pytest.mark.parametrize(("share", "released"), [("representation", 1), ("all", 3)])
def test_a_head_that_stays_at_clients_costs_nothing(share, released):
    rate = Schedule("constant", 1e-3, 2)
    plan = example.plan(
        Stage("head", 2, rate, "representation"),
        Stage("all", 1, rate),
        share=share,
        privacy=Privacy(3.0),
    )
    ledger = federated.ledger_of(plan, FIVE)
    assert ledger is not None
    assert ledger.epsilon(rows(*["abcde"] * 3)) == of(3.0, released)
    assert federated.ledger_of(example.plan(), FIVE) is None


def test_the_file_has_every_training_and_all_together(tmp_path):
    sampler = Sampler(tuple("abcde"), 2, seed=3)
    first, second = Ledger(Privacy(3.0), sampler, 3), Ledger(Privacy(4.0), sampler, 3)
    first.write(tmp_path, "one", rows("ab", "ac", "de"))
    second.write(tmp_path, "two", rows("bc", "bd", "bc"), is_stopped=True)
    found = json.loads((tmp_path / "privacy.json").read_text())
    one, two = found["trainings"]["one"], found["trainings"]["two"]
    assert (one["epsilon"], two["epsilon"]) == (of(3.0, 2), of(4.0, 3))
    assert (one["stopped_by_budget"], two["stopped_by_budget"]) == (False, True)
    assert one["taken_part"] == {"a": 2, "b": 1, "c": 1, "d": 1, "e": 1}
    # Client b has one round in the first and three in the second.
    assert found["together"]["epsilon"] == privacy_accounting.epsilon({3.0: 1, 4.0: 3}, DELTA)
    assert one["epsilon_of_secret_samples"] == privacy_accounting.epsilon_of_secret_samples(
        3.0, 5, 2, 3, DELTA
    )
    assert one["noise_multiplier_of_updates"] ** -2 + (2 * one["noise_of_count"]) ** -2 == (
        pytest.approx(3.0**-2)
    )
