"""Two steps of every optimizer, worked out with Python floats."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.learning import optimizers

GRADIENTS = (2.0, -1.0)


def _steps(optimizer, start=1.0, gradients=GRADIENTS):
    state = optimizer.initialize((tf.TensorSpec([], tf.float32),))
    weights, path = (tf.constant(start),), []
    for gradient in gradients:
        state, weights = optimizer.next(state, weights, (tf.constant(gradient),))
        path.append(float(weights[0]))
    return path


def _adam(rate, gradients, epsilon, beta2=0.999, start=1.0):
    """Kingma & Ba 2015, algorithm 1, with epsilon added to the corrected root as TFF does."""
    w, m, v, path = start, 0.0, 0.0, []
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, beta2 * v + (1 - beta2) * g * g
        scale = rate * math.sqrt(1 - beta2**t) / (1 - 0.9**t)
        w -= scale * m / (math.sqrt(v) + epsilon)
        path.append(w)
    return path


class TestClient:
    def test_sgd(self):
        path = _steps(optimizers.client_optimizer("sgd", 0.1))
        assert path == pytest.approx([1 - 0.2, 0.8 + 0.1])

    def test_momentum_as_in_pytorch(self):
        # v = 2, then 0.5 * 2 - 1 = 0.
        path = _steps(optimizers.client_optimizer("sgd", 0.1, momentum=0.5))
        assert path == pytest.approx([0.8, 0.8])

    def test_nesterov_as_in_pytorch(self):
        # v = 2, step 2 + 0.5 * 2; then v = 0.5 * 2 - 1 = 0, step -1 + 0.5 * 0.
        optimizer = optimizers.client_optimizer("sgd", 0.1, momentum=0.5, nesterov=True)
        assert _steps(optimizer) == pytest.approx([1 - 0.3, 0.7 + 0.1])

    def test_nesterov_takes_the_rate_of_the_round_and_weight_decay(self):
        optimizer = optimizers.client_optimizer(
            "sgd", 0.1, momentum=0.5, nesterov=True, weight_decay=0.5
        )
        state = optimizer.initialize((tf.TensorSpec([], tf.float32),))
        state = optimizer.set_hparams(state, {**optimizer.get_hparams(state), "learning_rate": 1.0})
        _, (weight,) = optimizer.next(state, (tf.constant(1.0),), (tf.constant(2.0),))
        # The gradient is 2 + 0.5 * 1; the step is that and half of it again.
        assert float(weight) == pytest.approx(1 - 1.5 * 2.5)

    def test_nesterov_without_momentum_is_refused(self):
        with pytest.raises(InputError, match="expected a momentum above 0, found 0"):
            optimizers.client_optimizer("sgd", 0.1, nesterov=True)

    def test_clipping_is_by_the_norm_over_all_weights(self):
        optimizer = optimizers.client_optimizer("sgd", 1.0, clip_norm=1.0)
        weights = (tf.zeros([]), tf.zeros([]))
        state = optimizer.initialize(tf.nest.map_structure(lambda w: tf.TensorSpec([]), weights))
        _, moved = optimizer.next(state, weights, (tf.constant(3.0), tf.constant(-4.0)))
        assert [float(w) for w in moved] == pytest.approx([-3 / 5, 4 / 5], rel=1e-5)
        _, moved = optimizer.next(state, weights, (tf.constant(0.3), tf.constant(0.4)))
        assert [float(w) for w in moved] == pytest.approx([-0.3, -0.4], rel=1e-5)
        with pytest.raises(InputError, match="clip norm: expected .* at least 0, found -1"):
            optimizers.client_optimizer("sgd", 1.0, clip_norm=-1)

    def test_adam(self):
        path = _steps(optimizers.client_optimizer("adam", 0.1))
        assert path == pytest.approx(_adam(0.1, GRADIENTS, 1e-7), abs=1e-5)
        assert path[0] == pytest.approx(0.9, abs=1e-5)

    @pytest.mark.parametrize("name", ["adam", "adamw"])
    def test_epsilon_of_adam(self, name):
        path = _steps(optimizers.client_optimizer(name, 0.1, adam_epsilon=0.25))
        assert path == pytest.approx(_adam(0.1, GRADIENTS, 0.25), abs=1e-5)
        with pytest.raises(InputError, match="epsilon: expected above 0, found 0"):
            optimizers.client_optimizer(name, 0.1, adam_epsilon=0.0)

    def test_weight_decay_of_adam_is_in_the_gradient(self):
        # As torch.optim.Adam: the gradients become 2 + 0.5 * 1 and -1 + 0.5 * 0.9.
        path = _steps(optimizers.client_optimizer("adam", 0.1, weight_decay=0.5))
        expected = _adam(0.1, (2.5, -1 + 0.5 * 0.9), 1e-7)
        assert path == pytest.approx(expected, abs=1e-5)

    def test_weight_decay_of_adamw_is_not(self):
        # The first step of Adam has the length of the rate; the decay comes on top: 0.1 * 0.5 * 1.
        path = _steps(optimizers.client_optimizer("adamw", 0.1, weight_decay=0.5), gradients=(2.0,))
        assert path == pytest.approx([1 - 0.1 - 0.05], abs=1e-5)

    def test_adagrad_as_in_pytorch(self):
        path = _steps(optimizers.client_optimizer("adagrad", 0.1))
        assert path == pytest.approx([0.9, 0.9 + 0.1 / math.sqrt(4 + 1)], abs=1e-6)

    @pytest.mark.parametrize("name", options.CLIENT_OPTIMIZERS)
    def test_the_rate_can_be_changed_between_rounds(self, name):
        decay = 0.1
        optimizer = optimizers.client_optimizer(name, 1.0, weight_decay=decay)
        state = optimizer.initialize((tf.TensorSpec([], tf.float32),))
        hyperparameters = {**optimizer.get_hparams(state), "learning_rate": 0.25}
        changed = optimizer.set_hparams(state, hyperparameters)
        step = (tf.constant(1.0),), (tf.constant(2.0),)
        _, (slow,) = optimizer.next(changed, *step)
        expected = _steps(
            optimizers.client_optimizer(name, 0.25, weight_decay=decay), gradients=(2.0,)
        )
        assert float(slow) == pytest.approx(expected[0])

    @pytest.mark.parametrize(
        "name,options,message",
        [
            ("rmsprop", {}, "client optimizer: expected one of .*found 'rmsprop'"),
            ("sgd", {"momentum": 1.0}, r"momentum: expected a number in \[0, 1\), found 1.0"),
            ("adam", {"momentum": 0.9}, "momentum 0.9 goes with the optimizer 'sgd', found 'adam'"),
            ("adam", {"weight_decay": -0.1}, "weight decay: expected .* found -0.1"),
        ],
    )
    def test_bad_values_are_refused(self, name, options, message):
        with pytest.raises(InputError, match=message):
            optimizers.client_optimizer(name, 0.1, **options)


class TestServer:
    """Reddi et al. 2021, algorithm 2, on the pseudo-gradients."""

    def test_average_lands_on_the_clients_mean(self):
        assert _steps(optimizers.server_optimizer("average"), gradients=(2.0,)) == [-1.0]

    def test_momentum(self):
        path = _steps(optimizers.server_optimizer("momentum", 0.1, momentum=0.9))
        assert path == pytest.approx([1 - 0.2, 0.8 - 0.1 * (0.9 * 2 - 1)])

    def test_adam(self):
        path = _steps(optimizers.server_optimizer("adam", 0.1))
        assert path == pytest.approx(_adam(0.1, GRADIENTS, 1e-3, beta2=0.99), abs=1e-5)

    def test_yogi_is_adam_with_a_signed_second_moment(self):
        w, m, v, expected = 1.0, 0.0, 1e-6, []
        for t, g in enumerate(GRADIENTS, 1):
            m = 0.9 * m + 0.1 * g
            v += 0.01 * g * g * np.sign(g * g - v)
            scale = 0.1 * math.sqrt(1 - 0.99**t) / (1 - 0.9**t)
            w -= scale * m / (math.sqrt(v) + 1e-3)
            expected.append(w)
        path = _steps(optimizers.server_optimizer("yogi", 0.1))
        assert path == pytest.approx(expected, abs=1e-4)

    def test_adagrad_has_an_adaptivity_of_a_thousandth(self):
        # A pseudo-gradient of that size: accumulator and adaptivity are 1e-6 each before it.
        path = _steps(optimizers.server_optimizer("adagrad", 0.1), gradients=(1e-3,))
        assert path == pytest.approx([1 - 0.1 * 1e-3 / math.sqrt(3e-6)], abs=1e-5)

    @pytest.mark.parametrize("name,step", [("average", 1.0), ("adam", 0.01), ("yogi", 0.01)])
    def test_the_usual_rate_depends_on_the_optimizer(self, name, step):
        path = _steps(optimizers.server_optimizer(name), gradients=(1.0,))
        assert path == pytest.approx([1 - step], rel=2e-3)

    @pytest.mark.parametrize(
        "name,rate,message",
        [
            ("sgd", 1.0, "server optimizer: expected one of .*found 'sgd'"),
            ("average", 0.0, "server learning rate: expected above 0, found 0.0"),
        ],
    )
    def test_bad_values_are_refused(self, name, rate, message):
        with pytest.raises(InputError, match=message):
            optimizers.server_optimizer(name, rate)
