"""Client and server optimizers by name, all of them `tff.learning.optimizers`.

The server side is the family of Reddi et al., "Adaptive Federated Optimization" (ICLR 2021): the
weighted mean of the clients' updates is a pseudo-gradient, and plain averaging (FedAvg, McMahan et
al. 2017) is gradient descent on it with a learning rate of one.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.errors import InputError
from tffcxr.learning.loss_scale import LossScaling

CLIENT_OPTIMIZERS = ("sgd", "adam", "adamw", "adagrad")
SERVER_OPTIMIZERS = ("average", "momentum", "adam", "yogi", "adagrad")


class _WithL2(tff.learning.optimizers.Optimizer):
    """Adds `decay * weights` to the gradients before an inner optimizer sees them.

    This is what PyTorch calls `weight_decay` in `torch.optim.Adam` and `torch.optim.SGD`: an L2
    penalty of `decay / 2 * |w|^2`, unlike the decoupled decay of AdamW (Loshchilov & Hutter 2019).
    """

    def __init__(self, inner: tff.learning.optimizers.Optimizer, decay: float):
        self._inner = inner
        self._decay = decay

    def initialize(self, specs: Any) -> Any:
        return self._inner.initialize(specs)

    def next(self, state: Any, weights: Any, gradients: Any) -> tuple[Any, Any]:
        decayed = tf.nest.map_structure(lambda g, w: g + self._decay * w, gradients, weights)
        return self._inner.next(state, weights, decayed)

    def get_hparams(self, state: Any) -> Any:
        return self._inner.get_hparams(state)

    def set_hparams(self, state: Any, hparams: Any) -> Any:
        return self._inner.set_hparams(state, hparams)


def client_optimizer(
    name: str,
    learning_rate: float,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    scales_loss: bool = False,
) -> tff.learning.optimizers.Optimizer:
    """The optimizer of local training; its state starts anew in every round.

    Args:
      name: one of `CLIENT_OPTIMIZERS`.
      learning_rate: the rate of the first round; schedules change it between rounds.
      momentum: for "sgd" only, in [0, 1).
      weight_decay: L2 as in PyTorch, for "adamw" decoupled.
      scales_loss: whether it is given gradients of a scaled loss, for float16.

    Raises:
      InputError: an unknown name, or a value out of range.
    """
    if name not in CLIENT_OPTIMIZERS:
        raise InputError(f"client optimizer: expected one of {CLIENT_OPTIMIZERS}, found {name!r}")
    if not 0.0 <= momentum < 1.0:
        raise InputError(f"momentum: expected a number in [0, 1), found {momentum}")
    if momentum and name != "sgd":
        raise InputError(f"momentum {momentum} goes with the optimizer 'sgd', found {name!r}")
    if weight_decay < 0.0:
        raise InputError(f"weight decay: expected a number of at least 0, found {weight_decay}")
    if name == "adamw":
        optimizer = tff.learning.optimizers.build_adamw(learning_rate, weight_decay=weight_decay)
    elif name == "sgd":
        optimizer = tff.learning.optimizers.build_sgdm(learning_rate, momentum or None)
    elif name == "adam":
        optimizer = tff.learning.optimizers.build_adam(learning_rate)
    else:
        # As in PyTorch: accumulators start at 0, and 1e-10 is added to their root.
        optimizer = tff.learning.optimizers.build_adagrad(learning_rate, 0.0, epsilon=1e-20)
    if weight_decay and name != "adamw":
        optimizer = _WithL2(optimizer, weight_decay)
    return LossScaling(optimizer) if scales_loss else optimizer


def default_server_rate(name: str) -> float:
    """1 for "average" and "momentum"; 0.01 for the rest, whose steps are about the rate."""
    return 1.0 if name in ("average", "momentum") else 0.01


def server_optimizer(
    name: str, learning_rate: float | None = None, *, momentum: float = 0.9
) -> tff.learning.optimizers.Optimizer:
    """The optimizer that moves the shared weights along the clients' mean update.

    Args:
      name: one of `SERVER_OPTIMIZERS`; "average" with rate 1 is FedAvg.
      learning_rate: the server's rate; None takes 1 for "average" and "momentum", and 0.01 for
        the adaptive ones, which move every weight by about the rate in each round.
      momentum: for "momentum" only.

    Raises:
      InputError: an unknown name, or a rate that is not positive.
    """
    if name not in SERVER_OPTIMIZERS:
        raise InputError(f"server optimizer: expected one of {SERVER_OPTIMIZERS}, found {name!r}")
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
