"""How updates are combined, where TFF's defaults would not do."""

import numpy as np
import pytest

from tffcxr.learning import aggregators


@pytest.mark.parametrize("clients", [2.0, 1000.0])
def test_noise_for_privacy_works_with_few_clients_too(clients):
    tff = pytest.importorskip("tensorflow_federated")
    factory = aggregators.differentially_private(0.5, clients)
    process = factory.create(tff.types.to_type([(np.float32, (3,))]))
    assert process.is_weighted is False
