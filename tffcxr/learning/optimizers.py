"""Client and server optimizers by name, all of them `tff.learning.optimizers`.

The server side is the family of Reddi et al., "Adaptive Federated Optimization" (ICLR 2021): the
weighted mean of the clients' updates is a pseudo-gradient, and plain averaging (FedAvg, McMahan et
al. 2017) is gradient descent on it with a learning rate of one.
"""

from __future__ import annotations

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.learning.loss_scale import LossScaling


class _Wrapper(tff.learning.optimizers.Optimizer):
    """An optimizer that gives an inner one other gradients, without a state of its own."""

    def __init__(self, inner: tff.learning.optimizers.Optimizer):
        self._inner = inner

    def initialize(self, specs: Any) -> Any:
        return self._inner.initialize(specs)

    def get_hparams(self, state: Any) -> Any:
        return self._inner.get_hparams(state)

    def set_hparams(self, state: Any, hparams: Any) -> Any:
        return self._inner.set_hparams(state, hparams)


class _WithL2(_Wrapper):
    """Adds `decay * weights` to the gradients before an inner optimizer sees them.

    This is what PyTorch calls `weight_decay` in `torch.optim.Adam` and `torch.optim.SGD`: an L2
    penalty of `decay / 2 * |w|^2`, unlike the decoupled decay of AdamW (Loshchilov & Hutter 2019).
    """

    def __init__(self, inner: tff.learning.optimizers.Optimizer, decay: float):
        super().__init__(inner)
        self._decay = decay

    def next(self, state: Any, weights: Any, gradients: Any) -> tuple[Any, Any]:
        decayed = tf.nest.map_structure(lambda g, w: g + self._decay * w, gradients, weights)
        return self._inner.next(state, weights, decayed)


class _Clipped(_Wrapper):
    """Scales the gradients so that their norm over all weights is at most a limit."""

    def __init__(self, inner: tff.learning.optimizers.Optimizer, limit: float):
        super().__init__(inner)
        self._limit = limit

    def next(self, state: Any, weights: Any, gradients: Any) -> tuple[Any, Any]:
        squares = [tf.reduce_sum(tf.square(g)) for g in tf.nest.flatten(gradients)]
        # As PyTorch's `clip_grad_norm_`; a norm that is not finite stays so, and is noticed.
        factor = tf.minimum(1.0, self._limit / (tf.sqrt(tf.add_n(squares)) + 1e-6))
        clipped = tf.nest.map_structure(lambda g: g * factor, gradients)
        return self._inner.next(state, weights, clipped)


class _Nesterov(tff.learning.optimizers.Optimizer):
    """Nesterov's momentum as in PyTorch: descent along `g + m v` with `v = m v + g`."""

    def __init__(self, inner: tff.learning.optimizers.Optimizer, momentum: float):
        self._inner = inner  # Without momentum.
        self._momentum = momentum

    def initialize(self, specs: Any) -> Any:
        velocity = tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), specs)
        return collections.OrderedDict(velocity=velocity, inner=self._inner.initialize(specs))

    def next(self, state: Any, weights: Any, gradients: Any) -> tuple[Any, Any]:
        m = self._momentum
        velocity = tf.nest.map_structure(lambda v, g: m * v + g, state["velocity"], gradients)
        ahead = tf.nest.map_structure(lambda v, g: g + m * v, velocity, gradients)
        inner, weights = self._inner.next(state["inner"], weights, ahead)
        return collections.OrderedDict(velocity=velocity, inner=inner), weights

    def get_hparams(self, state: Any) -> Any:
        return self._inner.get_hparams(state["inner"])

    def set_hparams(self, state: Any, hparams: Any) -> Any:
        inner = self._inner.set_hparams(state["inner"], hparams)
        return collections.OrderedDict(velocity=state["velocity"], inner=inner)


def client_optimizer(
    name: str,
    learning_rate: float,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    adam_epsilon: float = options.KERAS_EPSILON,
    scales_loss: bool = False,
) -> tff.learning.optimizers.Optimizer:
    """The optimizer of local training.

    Args:
      name: one of `options.CLIENT_OPTIMIZERS`.
      learning_rate: the rate of the first round; schedules change it between rounds.
      momentum: for "sgd" only, in [0, 1).
      nesterov: whether that momentum is Nesterov's.
      weight_decay: L2 as in PyTorch, for "adamw" decoupled.
      clip_norm: maximum global norm of the gradients, before weight decay; 0 for no limit.
      adam_epsilon: of "adam" and "adamw", above 0. It is added to the root of the mean square as
        it is, as in Keras; PyTorch corrects the bias of the mean square first, so that its epsilon
        counts less in the first steps, by √(1 - 0.999^t) in step t.
      scales_loss: whether its gradients are those of a scaled loss, for float16.

    Raises:
      InputError: an unknown name, or a value out of range.
    """
    _check_client(name, momentum, nesterov, weight_decay, clip_norm)
    if not adam_epsilon > 0.0:
        raise InputError(f"Adam's epsilon: expected above 0, found {adam_epsilon}")
    if name == "adamw":
        optimizer = tff.learning.optimizers.build_adamw(
            learning_rate, epsilon=adam_epsilon, weight_decay=weight_decay
        )
    elif name == "sgd" and nesterov:
        optimizer = _Nesterov(tff.learning.optimizers.build_sgdm(learning_rate), momentum)
    elif name == "sgd":
        optimizer = tff.learning.optimizers.build_sgdm(learning_rate, momentum or None)
    elif name == "adam":
        optimizer = tff.learning.optimizers.build_adam(learning_rate, epsilon=adam_epsilon)
    else:
        # As in PyTorch: accumulators start at 0, and 1e-10 is added to their root.
        optimizer = tff.learning.optimizers.build_adagrad(learning_rate, 0.0, epsilon=1e-20)
    if weight_decay and name != "adamw":
        optimizer = _WithL2(optimizer, weight_decay)
    if clip_norm:
        optimizer = _Clipped(optimizer, clip_norm)
    return LossScaling(optimizer) if scales_loss else optimizer


def _check_client(
    name: str, momentum: float, nesterov: bool, weight_decay: float, clip_norm: float
) -> None:
    if name not in options.CLIENT_OPTIMIZERS:
        raise InputError(
            f"client optimizer: expected one of {options.CLIENT_OPTIMIZERS}, found {name!r}"
        )
    if not 0.0 <= momentum < 1.0:
        raise InputError(f"momentum: expected a number in [0, 1), found {momentum}")
    if momentum and name != "sgd":
        raise InputError(f"momentum {momentum} goes with the optimizer 'sgd', found {name!r}")
    if nesterov and not momentum:
        raise InputError("Nesterov's momentum: expected a momentum above 0, found 0")
    if clip_norm < 0.0:
        raise InputError(f"clip norm: expected a number of at least 0, found {clip_norm}")
    if weight_decay < 0.0:
        raise InputError(f"weight decay: expected a number of at least 0, found {weight_decay}")


def default_server_rate(name: str) -> float:
    """1 for "average" and "momentum"; 0.01 for the rest, whose steps are about the rate."""
    return 1.0 if name in ("average", "momentum") else 0.01


def server_optimizer(
    name: str, learning_rate: float | None = None, *, momentum: float = 0.9
) -> tff.learning.optimizers.Optimizer:
    """The optimizer that moves the shared weights along the clients' mean update.

    Args:
      name: one of `options.SERVER_OPTIMIZERS`; "average" with rate 1 is FedAvg.
      learning_rate: the server's rate; None takes 1 for "average" and "momentum", and 0.01 for
        the adaptive ones, which move every weight by about the rate in each round.
      momentum: for "momentum" only.

    Raises:
      InputError: an unknown name, or a rate that is not positive.
    """
    if name not in options.SERVER_OPTIMIZERS:
        raise InputError(
            f"server optimizer: expected one of {options.SERVER_OPTIMIZERS}, found {name!r}"
        )
    if learning_rate is None:
        learning_rate = default_server_rate(name)
    if not learning_rate > 0.0:
        raise InputError(f"server learning rate: expected above 0, found {learning_rate}")
    if name == "average":
        return tff.learning.optimizers.build_sgdm(learning_rate)
    if name == "momentum":
        return tff.learning.optimizers.build_sgdm(learning_rate, momentum)
    # Reddi et al. use an adaptivity (epsilon) of 1e-3, much larger than in centralised training.
    if name == "adam":
        return tff.learning.optimizers.build_adam(learning_rate, beta_2=0.99, epsilon=1e-3)
    if name == "yogi":
        return tff.learning.optimizers.build_yogi(learning_rate, beta_2=0.99, epsilon=1e-3)
    # TFF adds epsilon below the root, so it is the square of the adaptivity here.
    return tff.learning.optimizers.build_adagrad(learning_rate, 1e-6, epsilon=1e-6)
