"""Adaptive clipping and Gaussian noise for differential privacy, decided by a secret seed.

Andrew et al., "Differentially Private Learning with Adaptive Clipping", NeurIPS 2021. TensorFlow
Privacy draws its noise with a generator that takes no seed. Here the noise is a function of a
round's seed and of the sums that it is added to.

The seed must be known to the server alone: whoever knows it can take the noise off again. It is
set before each round (`with_seed`), is zero in the state after it, and reaches no client.

The sums are part of the function so that no noise serves two sums. A round that is repeated after
a kill gives the same bits if the same clients send the same updates. If others take part, its noise
is independent of the first try's; with the same noise, the difference of both tries' results would
be the difference of the updates, without any noise (the reason of RFC 6979 for signatures).
"""

from __future__ import annotations

import collections
from typing import Any, NamedTuple

import dp_accounting
import numpy as np
import tensorflow as tf
import tensorflow_privacy as tfp


class _State(NamedTuple):
    """The server's state: that of the query without noise, and the seed of the next round."""

    query: Any
    noise_seed: Any


class _Noise:
    """The noise of one result, while its graph is traced."""

    def __init__(self) -> None:
        self._seeds: list[tf.Tensor] = []

    def start(self, seed: tf.Tensor) -> None:
        """Begins a result: int64 [2], of which a seed for each sum is made."""
        self._seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))

    def add(self, total: Any, stddev: tf.Tensor) -> Any:
        """Adds independent noise to each tensor of a sum."""
        tensors = tf.nest.flatten(total)
        seeds = tf.random.experimental.stateless_split(self._seeds.pop(), max(1, len(tensors)))
        noised = [
            tensor
            + tf.cast(tf.random.stateless_normal(tf.shape(tensor), seed) * stddev, tensor.dtype)
            for tensor, seed in zip(tensors, tf.unstack(seeds))
        ]
        return tf.nest.pack_sequence_as(total, noised)


class _GaussianSum(tfp.GaussianSumQuery):
    """A sum with the noise of a `_Noise`."""

    def __init__(self, l2_norm_clip: float, stddev: float, noise: _Noise) -> None:
        super().__init__(l2_norm_clip, stddev)
        self._noise = noise

    def get_noised_result(self, sample_state: Any, global_state: Any) -> tuple[Any, Any, Any]:
        """See `tfp.DPQuery`."""
        result = self._noise.add(sample_state, global_state.stddev)
        event = dp_accounting.GaussianDpEvent(global_state.stddev / global_state.l2_norm_clip)
        return result, global_state, event


class _QuantileEstimator(tfp.QuantileEstimatorQuery):
    """The clipping norm's adaptation, whose count has the noise of a `_Noise`."""

    def __init__(self, noise: _Noise, *args: Any, **kwargs: Any) -> None:
        self._noise = noise
        super().__init__(*args, **kwargs)

    def _construct_below_estimate_query(self, below_estimate_stddev, expected_num_records):
        # As in the base class: counts are shifted by a half, which halves their sensitivity.
        count = _GaussianSum(0.5, below_estimate_stddev, self._noise)
        return tfp.NormalizedQuery(count, denominator=expected_num_records)


class _AdaptiveClipSum(tfp.QuantileAdaptiveClipSumQuery):
    """A sum of updates that are clipped to the median of their norms."""

    def __init__(
        self,
        clip: float,
        noise_multiplier: float,
        count_stddev: float,
        clients: float,
        noise: _Noise,
    ) -> None:
        quantile, rate = 0.5, 0.2  # Both as the paper recommends.
        super().__init__(clip, noise_multiplier, quantile, rate, count_stddev, clients)
        self._sum_query = _GaussianSum(clip, noise_multiplier * clip, noise)
        self._quantile_estimator_query = _QuantileEstimator(
            noise, clip, quantile, rate, count_stddev, clients, geometric_update=True
        )


class KeyedAdaptiveClipQuery(tfp.SumAggregationDPQuery):
    """The mean of clipped updates with noise that a seed decides.

    A result is NaN if no seed was set: it is not given away without noise, or with known noise.

    Args:
      clip: the clipping norm of the first round.
      noise_multiplier: standard deviation of the sum's noise, relative to the clipping norm.
      count_stddev: standard deviation of the noise of the count of updates below the norm.
      clients: that take part in a round.
    """

    def __init__(
        self, clip: float, noise_multiplier: float, count_stddev: float, clients: float
    ) -> None:
        self._noise = _Noise()
        total = _AdaptiveClipSum(clip, noise_multiplier, count_stddev, clients, self._noise)
        self._query = tfp.NormalizedQuery(total, denominator=clients)

    def initial_global_state(self) -> _State:
        """See `tfp.DPQuery`."""
        return _State(self._query.initial_global_state(), tf.zeros([2], tf.int64))

    def derive_sample_params(self, global_state: _State) -> Any:
        """See `tfp.DPQuery`: what clients get, which is the clipping norm."""
        return self._query.derive_sample_params(global_state.query)

    def initial_sample_state(self, template: Any = None) -> Any:
        """See `tfp.DPQuery`."""
        return self._query.initial_sample_state(template)

    def preprocess_record(self, params: Any, record: Any) -> Any:
        """See `tfp.DPQuery`."""
        return self._query.preprocess_record(params, record)

    def get_noised_result(self, sample_state: Any, global_state: _State) -> tuple[Any, Any, Any]:
        """See `tfp.DPQuery`."""
        seed = global_state.noise_seed
        self._noise.start(tf.bitwise.bitwise_xor(seed, digest(sample_state)))
        result, query, event = self._query.get_noised_result(sample_state, global_state.query)
        is_set = tf.reduce_any(tf.not_equal(seed, 0))
        result = tf.nest.map_structure(
            lambda value: tf.where(is_set, value, tf.cast(np.nan, value.dtype)), result
        )
        return result, _State(query, tf.zeros_like(seed)), event

    def derive_metrics(self, global_state: _State) -> collections.OrderedDict:
        """See `tfp.DPQuery`: the clipping norm."""
        return self._query.derive_metrics(global_state.query)


def takes_seed(state: Any) -> bool:
    """Whether an aggregator's state, as TFF returns it, has a seed to be set."""
    return isinstance(_query_state(state), _State)


def with_seed(state: Any, seed: np.ndarray) -> Any:
    """The state of an aggregator that takes a seed, with that of the next round.

    Args:
      state: as TFF returns it.
      seed: int64 [2], not both zero.
    """
    return state._replace(query_state=_query_state(state)._replace(noise_seed=seed))


def _query_state(state: Any) -> Any:
    return getattr(state, "query_state", None)


def digest(total: Any) -> tf.Tensor:
    """64 bits in which two different sums differ: int64 []."""
    of_each = [
        tf.fingerprint(tf.reshape(tensor, [1, -1]))  # uint8 [1, 8]
        for tensor in tf.nest.flatten(total)
    ]
    return tf.bitcast(tf.fingerprint(tf.concat(of_each, axis=1)), tf.int64)[0]
