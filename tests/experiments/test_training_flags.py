"""Settings that the flags leave to the recipe."""

import numpy as np
import pytest

from experiments import training_flags


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
    rate = training_flags.server_learning_rate(given, optimizer, share, per_round, findings)
    assert rate == expected


@pytest.mark.parametrize("clients", [2.0, 1000.0])
def test_noise_for_privacy_works_with_few_clients_too(clients):
    tff = pytest.importorskip("tensorflow_federated")
    factory = training_flags._dp_aggregator(0.5, clients)
    process = factory.create(tff.types.to_type([(np.float32, (3,))]))
    assert process.is_weighted is False
