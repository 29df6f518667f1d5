"""The federated process of a user's Keras model, as this project's and as TFF's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tffcxr import errors, options
from tffcxr.errors import InputError
from tffcxr.learning import process
from tffcxr.own_model import settings
from tffcxr.own_model.compiled_model import CompiledModel
from tffcxr.own_model.dataset_clients import Clients


@dataclasses.dataclass(frozen=True, kw_only=True)
class Federation:
    """How the clients' models are trained and combined.

    Attributes:
      private: names of the layers whose weights never leave the client, top-level or inner ones; a
        name must be that of one layer.
      optimizer: of local training: "sgd", "adam", "adamw", "adagrad", one of
        `tff.learning.optimizers`, or Keras' SGD, Adam, AdamW or Adagrad.
      learning_rate: of local training: a number, a function of the round (counted from 1), or None
        for that of the optimizer, or 0.001.
      server_optimizer: "average", "momentum", "adam", "yogi", "adagrad", or one of
        `tff.learning.optimizers`; moves the shared weights along the mean update.
      server_learning_rate: where the server optimizer is a name; None for the usual one, which is
        1 for "average": FedAvg.
      aggregator: "mean", "robust", "median", "trimmed_mean", "krum", "geometric_median",
        "compression", "secure" (clips and rounds; with clients in one
        place, as here, its sums are in the clear) or any factory of `tff.aggregators`.
      weighting: of the clients in the mean, "examples" or "uniform".
      proximal: mu of FedProx; 0 for none.
      keep_optimizer: whether each client keeps its optimizer's state, such as Adam's moments, from
        round to round; otherwise that starts afresh.
      recompute_batch_norm: whether batch norm's statistics of the averaged model are re-estimated
        after every round, by one more pass over the clients' images, instead of averaged.
    """

    private: Sequence[str] = ()
    optimizer: Any = "adam"
    learning_rate: float | Callable[[int], float] | None = None
    server_optimizer: Any = "average"
    server_learning_rate: float | None = None
    aggregator: Any = "mean"
    weighting: str = "examples"
    proximal: float = 0.0
    keep_optimizer: bool = False
    recompute_batch_norm: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.private, (list, tuple, set, frozenset)) or not all(
            isinstance(name, str) for name in self.private
        ):
            raise InputError(f"private: expected a list of names of layers, found {self.private!r}")
        if self.weighting not in options.WEIGHTINGS:
            raise InputError(
                f"weighting: expected one of {', '.join(options.WEIGHTINGS)}, found "
                f"{self.weighting!r}"
            )
        for name in ("keep_optimizer", "recompute_batch_norm"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}: expected True or False, found {getattr(self, name)!r}")
        if not settings.is_number(self.proximal) or not 0 <= self.proximal < math.inf:
            raise InputError(f"proximal: expected a number from 0, found {self.proximal!r}")

    def build(
        self, model: CompiledModel, element_spec: Any, learning_rate: float | None = None
    ) -> process.FederatedProcess:
        """The process of a model.

        Args:
          model: the compiled model.
          element_spec: of the clients' batches.
          learning_rate: of the first round; None for that of the federation.

        Raises:
          InputError: a layer or setting that cannot be used.
        """
        rate: Any = self.learning_rate if learning_rate is None else learning_rate
        optimizer, rate = settings.client_optimizer(self.optimizer, rate, model.scales_loss)
        try:
            return self._build(model, element_spec, optimizer, rate)
        except ValueError as error:
            if "graph-level seed" not in str(error):
                raise
            raise InputError(
                f"model {model.keras.name!r}: expected random numbers of layers such as Dropout, "
                "found an operation such as tf.random.normal under tf.random.set_seed"
            ) from error

    def _build(
        self, model: CompiledModel, element_spec: Any, optimizer: Any, rate: float
    ) -> process.FederatedProcess:
        return process.build_process(
            model.keras,
            model.initial_weights,
            private_layers=self.private,
            batch_spec=element_spec,
            loss_fn=model.batch_loss,
            client_optimizer=optimizer,
            server_optimizer=settings.server_optimizer(
                self.server_optimizer, self.server_learning_rate
            ),
            learning_rate=rate,
            aggregator=settings.aggregator(self.aggregator),
            weighting=self.weighting,
            proximal=self.proximal,
            keeps_optimizer=self.keep_optimizer,
            recompute_statistics=self.recompute_batch_norm,
        )


def known_settings(kind: type, given: Mapping[str, Any], function: str) -> Mapping[str, Any]:
    """The settings of a call, if all are attributes of a dataclass.

    Raises:
      InputError: one is not.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in names:
            raise InputError(
                f"{function}: expected one of the settings {', '.join(sorted(names))}; found "
                f"{name!r}{errors.did_you_mean(name, names)}"
            )
    return given


def first_batch(clients: Clients) -> Any:
    """A batch of some client, to build a model with."""
    return next(iter(clients.train_dataset(clients.ids[0], 1, 1)))


def learning_process(
    model: tf.keras.Model,
    clients: Clients,
    *,
    loss: Any = None,
    loss_weights: Any = None,
    **federation: Any,
) -> tff.learning.templates.LearningProcess:
    """FedAvg of a Keras model as TFF's own `LearningProcess`, for those who drive TFF themselves.

    Its `next` takes `[clients.train_dataset(client, round, local_epochs), …]`, or any datasets with
    the same batches. All weights are shared: TFF's interface keeps nothing at clients.

    Args:
      model: see `train`.
      clients: supply the specification of the batches.
      loss: see `train`.
      loss_weights: see `train`.
      **federation: any of the attributes of `Federation` but for `private`, `keep_optimizer` and
        `recompute_batch_norm`.

    Raises:
      InputError: see `train`; or something stays at clients.
    """
    kept = Federation(**known_settings(Federation, federation, "learning_process"))
    if callable(kept.learning_rate):
        raise InputError(
            "learning_rate: expected a number, since TFF's LearningProcess has one for all rounds; "
            "found a function"
        )
    for name in ("private", "keep_optimizer", "recompute_batch_norm"):
        if getattr(kept, name):
            raise InputError(
                f"{name}: TFF's LearningProcess keeps nothing at clients, expected the default; "
                f"found {name}={getattr(kept, name)!r} (tffcxr.Training takes it)"
            )
    compiled = CompiledModel(model, first_batch(clients), loss, None, loss_weights)
    built = kept.build(compiled, clients.element_spec)
    return process.as_learning_process(built)
