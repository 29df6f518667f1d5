"""Settings that the flags leave to the recipe."""

import pytest

from experiments import training_flags


@pytest.mark.parametrize(
    ("given", "optimizer", "share", "findings", "expected"),
    [
        (None, "average", "representation", 1, 1.0),
        (None, "average", "representation", 4, 2.0),
        (None, "average", "all", 4, None),
        (None, "adam", "representation", 4, None),
        (0.5, "average", "representation", 4, 0.5),
    ],
)
def test_the_mean_over_findings_keeps_the_length_of_an_update(
    given, optimizer, share, findings, expected
):
    rate = training_flags.server_learning_rate(given, optimizer, share, findings)
    assert rate == expected
