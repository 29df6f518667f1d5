"""Settings that the flags leave to the recipe."""

import pytest

from experiments.flags import plan_flags


@pytest.mark.parametrize(
    ("given", "optimizer", "share", "per_round", "findings", "expected"),
    [
        (None, "average", "representation", "all", 1, 1.0),
        (None, "average", "representation", "all", 4, 2.0),
        (None, "average", "representation", "0.5", 4, 1.0),
        (None, "average", "all", "all", 4, 1.0),
        (None, "adam", "representation", "all", 4, 0.01),
        (0.5, "average", "representation", "all", 4, 0.5),
    ],
)
def test_the_mean_over_findings_keeps_the_length_of_an_update(
    given, optimizer, share, per_round, findings, expected
):
    rate = plan_flags.server_learning_rate(given, optimizer, share, per_round, findings)
    assert rate == expected
