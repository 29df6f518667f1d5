"""How updates are combined, where TFF's defaults would not do."""

import dp_accounting
from dp_accounting import rdp
import numpy as np
import pytest
import tensorflow as tf

from tffcxr.learning import aggregators, keyed_noise


@pytest.mark.parametrize("clients", [2.0, 1000.0])
def test_noise_for_privacy_works_with_few_clients_too(clients):
    tff = pytest.importorskip("tensorflow_federated")
    factory = aggregators.differentially_private(0.5, clients)
    process = factory.create(tff.types.to_type([(np.float32, (3,))]))
    assert process.is_weighted is False


def test_the_clipping_norm_of_the_first_round_is_as_asked_and_follows_the_median():
    tff = pytest.importorskip("tensorflow_federated")
    factory = aggregators.differentially_private(1e-6, 1.0, clip=5.0)
    process = factory.create(tff.types.to_type([(np.float32, (2,))]))

    def norm(state):
        return float(state.query_state.query.numerator_state.sum_state.l2_norm_clip)

    state = process.initialize()
    assert norm(state) == 5.0
    seeded = keyed_noise.with_seed(state, np.array([1, 2], np.int64))
    after = process.next(seeded, [[np.array([3.0, 4.0], np.float32) / 10]])
    np.testing.assert_allclose(after.result[0], [0.3, 0.4], atol=1e-3)  # Of norm 0.5: whole.
    assert norm(after.state) < 5.0


@pytest.mark.parametrize(("multiplier", "clients"), [(0.5, 5.0), (3.0, 4.0), (0.8, 100.0)])
def test_updates_and_count_together_cost_what_the_noise_multiplier_says(multiplier, clients):
    updates, count = aggregators.split_noise(multiplier, clients)
    query = keyed_noise.KeyedAdaptiveClipQuery(0.1, updates, count, clients)
    state = query.initial_global_state()._replace(noise_seed=tf.constant([1, 2], tf.int64))
    params = query.derive_sample_params(state)
    # Updates of opposite directions, one below the norm and one far above it.
    small, large = (
        query.preprocess_record(params, tf.constant(value)) for value in ([0.1, 0.0], [-7.0, 0.0])
    )
    difference = np.subtract(small.sum_state, large.sum_state)
    assert np.linalg.norm(difference) == pytest.approx(2 * 0.1)
    of_count = tf.nest.flatten(small.quantile_estimator_state)[0]
    assert of_count - tf.nest.flatten(large.quantile_estimator_state)[0] == 1.0

    # What the query says that it has released, against one Gaussian of the multiplier.
    _, _, event = query.get_noised_result(small, state)
    accountants = rdp.RdpAccountant(), rdp.RdpAccountant()
    parts = [float(part.noise_multiplier) for part in event.events]
    assert parts == pytest.approx([updates, 2 * count])
    for part in parts:
        accountants[0].compose(dp_accounting.GaussianDpEvent(part))
    accountants[1].compose(dp_accounting.GaussianDpEvent(multiplier))
    np.testing.assert_allclose(accountants[0].rdp, accountants[1].rdp, rtol=1e-5)
