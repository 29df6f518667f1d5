"""Trains a user's Keras model across clients, in one call or round by round."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import numbers
import os
import pathlib
import sys
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import tensorflow as tf

from tffcxr import run_tables
from tffcxr.clients.sampling import Sampler
from tffcxr.errors import InputError
from tffcxr.learning import process
from tffcxr.own_model import batches, dataset_clients, descriptions, process_of_model, settings
from tffcxr.own_model.compiled_model import CompiledModel
from tffcxr.own_model.dataset_clients import Clients
from tffcxr.own_model.measuring import KerasEvaluator
from tffcxr.own_model.process_of_model import Federation
from tffcxr.training import loop
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Stage
from tffcxr.training.run_directory import RunDirectory

Validation: TypeAlias = tf.data.Dataset | Mapping[str, tf.data.Dataset] | None


@dataclasses.dataclass(frozen=True)
class Result:
    """What federated training has led to so far.

    Attributes:
      clients: their names.
      history: a row per round. Columns: `round`, `seconds`, `images` and `clients` of those that
        succeeded, `failed_clients`, `learning_rate`, `train_loss` (mean over the images of the
        round, while the weights moved), and `validation/<metric>`, or `training/<metric>` where
        there are no validation data.
      client_history: a row per round and client that took part: `round`, `client`, `images`,
        `train_loss`, and `status`: "ok", or why its update was left out.
    """

    clients: tuple[str, ...]
    history: pd.DataFrame
    client_history: pd.DataFrame
    _weights: Callable[[str], list[np.ndarray]]
    _copy: Callable[[list[np.ndarray]], tf.keras.Model]
    _private: tuple[str, ...]

    @property
    def rounds(self) -> int:
        """How many rounds have been trained."""
        return len(self.history)

    def model(self, client: str | None = None) -> tf.keras.Model:
        """A new Keras model, compiled: the shared layers and the client's own.

        Args:
          client: its name; may be left out if all layers are shared.

        Raises:
          InputError: no such client, or none where layers are private.
        """
        if client is None and self._private:
            raise InputError(
                f"model: expected one of the clients {', '.join(self.clients)}, since "
                f"each has its own {', '.join(self._private)}; found none"
            )
        client = self.clients[0] if client is None else client
        if client not in self.clients:
            raise InputError(
                f"model: expected one of the clients {', '.join(self.clients)}, found {client!r}"
            )
        return self._copy(self._weights(client))


@dataclasses.dataclass(frozen=True)
class Training(Federation):
    """A training of a Keras model across clients.

    Iterating over it trains, and gives the `Result` so far after every round.

    >>> for result in Training(model, clients, loss="binary_crossentropy", rounds=10):
    ...     print(result.history.iloc[-1]["train_loss"])

    Attributes:
      model: functional, sequential, or a subclass that Keras can copy. It is left as it is, but
        built if it was not, and gives the initial weights. It may have several inputs and outputs.
      clients: of `clients_from_datasets` or `clients_from_folders`.
      loss: as `tf.keras.Model.compile` takes it: a name, an object or a function, or these by
        output. None only for a model with a loss of its own, by `add_loss` or `compute_loss`. What
        the model was compiled with (loss, metrics, optimizer) is not used.
      metrics: as `tf.keras.Model.compile` takes them, and names such as "auc".
      loss_weights: as `tf.keras.Model.compile` takes them.
      rounds: how many; in an `output_dir`, those of earlier calls included.
      local_epochs: passes over its own images that a client makes in a round.
      clients_per_round: None for all; a count, or a fraction in (0, 1].
      validation: what the new models are measured on after every round: a dataset of batches, or a
        mapping from clients to datasets. None takes the clients' own validation data. If they have
        none, and there are metrics, the training data are measured, in one more pass per round.
        Where layers are private, each client's model is measured.
      output_dir: a folder for `rounds.csv`, `clients.csv` and checkpoints, from which the same
        training is resumed; None for none. Without a folder, every iteration starts again.
      seed: which clients take part in which round follows from it.
      verbose: whether a line per round goes to the standard error.
      private: names of layers whose weights never leave the client, top-level or inner ones.

    Optimizers, aggregation and further settings are those of `tffcxr.Federation`.
    """

    model: tf.keras.Model
    clients: Clients
    _: dataclasses.KW_ONLY
    loss: Any = None
    metrics: Any = None
    loss_weights: Any = None
    rounds: int = 10
    local_epochs: int = 1
    clients_per_round: int | float | None = None
    validation: Validation = None
    output_dir: str | os.PathLike[str] | None = None
    seed: int = 0
    verbose: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("rounds", 1), ("local_epochs", 1), ("seed", 0)):
            value = getattr(self, name)
            is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
            if not is_whole or value < least:
                raise InputError(f"{name}: expected a whole number from {least}, found {value!r}")
        if not (self.clients_per_round is None or settings.is_number(self.clients_per_round)):
            raise InputError(
                "clients_per_round: expected None for all, a count or a fraction, found "
                f"{self.clients_per_round!r}"
            )
        if not all(hasattr(self.clients, name) for name in ("ids", "train_dataset")):
            raise InputError(
                "clients: expected those of tffcxr.clients_from_datasets or clients_from_folders, "
                f"found {type(self.clients).__name__}"
            )

    def __iter__(self) -> Iterator[Result]:
        """Trains, and gives the result so far after every round.

        Raises:
          InputError: something does not fit; the message says what was expected and what was found.
          RunError: no client of a round has a finite update, or the disk is full.
        """
        standings = self.standings()
        next(standings)
        return standings

    def standings(self) -> Generator[Result, None, None]:
        """As iterating, with the result before the first round that is still to be trained."""
        clients = self.clients
        compiled = CompiledModel(
            self.model,
            process_of_model.first_batch(clients),
            self.loss,
            self.metrics,
            self.loss_weights,
            self.private,
        )
        evaluator = KerasEvaluator(compiled, *self._measured())
        plan = _Plan(self.rounds, self.local_epochs, self._schedule(compiled))
        sampler = Sampler(clients.ids, self.clients_per_round, self.seed)

        def build(stage: Stage) -> process.FederatedProcess:
            return self.build(compiled, clients.element_spec, stage.schedule.learning_rate)

        training = FederatedTraining(plan, clients, sampler, evaluator, build)
        directory = self._open_directory(compiled)
        try:
            observers = [self._print] if self.verbose else []
            journal = _journal(directory, observers)
            for standing in loop.iterate(training, plan, evaluator.columns, journal):
                yield Result(
                    clients.ids,
                    _table(standing.rounds, loop.round_columns(evaluator.columns)[:-1]),
                    _table(standing.clients, run_tables.CLIENTS.always),
                    functools.partial(_weights_of, training, standing),
                    compiled.copy,
                    tuple(self.private),
                )
        finally:
            if directory is not None:
                directory.close()

    def _schedule(self, compiled: CompiledModel) -> _Rates:
        if isinstance(self.learning_rate, tf.keras.optimizers.schedules.LearningRateSchedule):
            raise InputError(
                "learning_rate: expected a number or a function of the round, counted from 1; "
                f"found {type(self.learning_rate).__name__}, which counts steps"
            )
        if callable(self.learning_rate):
            return _Rates(self.learning_rate)
        _, rate = settings.client_optimizer(
            self.optimizer, self.learning_rate, compiled.scales_loss
        )
        return _Rates(lambda round_number: rate)

    def _measured(self) -> tuple[Mapping[str, tf.data.Dataset], str]:
        """What each client's model is measured on, and which images these are."""
        clients, given = self.clients, self.validation
        if not (given is None or isinstance(given, (tf.data.Dataset, Mapping))):
            raise InputError(
                "validation: expected a tf.data.Dataset of batches, or a mapping from clients to "
                f"such, found {type(given).__name__}"
            )
        if given is None and not clients.validation:
            if not self.metrics:
                return {}, "training"
            return {
                client: clients.train_dataset(client, 1, 1) for client in clients.ids
            }, "training"
        data = clients.validation if given is None else given
        if isinstance(data, tf.data.Dataset):
            # One model for all is measured once.
            data = dict.fromkeys(clients.ids if self.private else clients.ids[:1], data)
        unknown = sorted(set(data) - set(clients.ids))
        if unknown:
            raise InputError(
                f"validation: expected the clients {', '.join(clients.ids)}, found {unknown[0]!r}"
            )
        for client, dataset in data.items():
            whose = f"validation data of client {client!r}"
            # With or without sample weights, as in training or not.
            expected, found = clients.element_spec[:2], batches.spec_of(dataset, whose)[:2]
            batches.check_same(found, expected, whose, "training")
            dataset_clients.check_finite(dataset, whose)
            if next(iter(dataset.take(1)), None) is None:
                raise InputError(f"{whose}: expected batches, found an empty dataset")
        return data, "validation"

    def _open_directory(self, compiled: CompiledModel) -> RunDirectory | None:
        if self.output_dir is None:
            return None
        path = pathlib.Path(self.output_dir)
        described = {
            "clients": list(self.clients.ids),
            "batches": batches.describe(self.clients.element_spec),
            "model": descriptions.of_model(compiled.keras),
            "private": sorted(self.private),
            "learning_rate": self._schedule(compiled).learning_rate,
            **{name: descriptions.of(getattr(self, name)) for name in _RECORDED},
        }
        try:
            directory = RunDirectory.open(path, "tffcxr.train", described, {})
            directory.record_data("given by a program", [])
        except InputError as error:
            raise InputError(str(error).replace("--output_dir", "output_dir")) from error
        return directory

    def _print(self, row: Mapping[str, Any], result: loop.RoundResult, state: Any) -> None:
        """Reports a round on the standard error."""
        del state
        measured = [f"{name} {value:.4f}" for name, value in result.validation.items()]
        parts = [
            f"round {row['round']}/{self.rounds}",
            f"train_loss {row['train_loss']:.4f}",
            *measured,
            f"{row['seconds']:.1f} s",
        ]
        print("  ".join(parts), file=sys.stderr, flush=True)
        for client in result.clients:
            if client.status != "ok":
                print(f"left out {client.client}: {client.status}", file=sys.stderr, flush=True)


def train(
    model: tf.keras.Model,
    clients: Clients,
    *,
    callbacks: Iterable[Callable[[Result], bool | None]] = (),
    **settings: Any,
) -> Result:
    """Trains a Keras model across clients; only the weights of layers that are shared leave them.

    Args:
      model: see `Training`.
      clients: see `Training`.
      callbacks: called after each round with the `Result` so far; training ends early if one of
        them returns False.
      **settings: `loss`, `metrics`, `rounds`, `private` and all other attributes of `Training`.

    Returns:
      The history, and the clients' models.

    Raises:
      InputError: something does not fit; the message says what was expected and what was found.
      RunError: no client of a round has a finite update, or the disk is full.
    """
    known = process_of_model.known_settings(Training, settings, "train")
    callbacks = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
    if not all(callable(callback) for callback in callbacks):
        raise InputError(f"callbacks: expected functions of a result, found {callbacks!r}")
    standings = Training(model, clients, **known).standings()
    try:
        result = next(standings)
        for result in standings:
            answers = [callback(result) for callback in callbacks]
            if any(answer is False for answer in answers):
                break
    finally:
        standings.close()  # Also if a callback fails: the folder is free again.
    return result


@dataclasses.dataclass(frozen=True)
class _Rates:
    """A `schedules.Schedule` that is a function of the round, counted from 1."""

    of_round: Callable[[int], float]

    @property
    def learning_rate(self) -> float:
        return self._of(1)

    def rate(self, validation_losses: list[float]) -> float:
        return self._of(len(validation_losses) + 1)

    def _of(self, round_number: int) -> float:
        rate = self.of_round(round_number)
        settings.check_rate(rate, f"learning_rate of round {round_number}")
        return float(rate)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The `plan.Rounds` of a training in one stage."""

    rounds: int
    local_epochs: int
    schedule: Any

    def stage_of(self, round_number: int) -> tuple[int, Stage]:
        return 0, Stage("all", self.rounds, self.schedule)


# What a training that is resumed must have in common with the one before, by their texts.
_RECORDED = (
    "loss", "metrics", "optimizer", "server_optimizer", "server_learning_rate", "aggregator",
    "loss_weights", "local_epochs", "clients_per_round", "seed", "weighting", "proximal",
    "keep_optimizer", "recompute_batch_norm",
)  # fmt: skip


def _journal(directory: RunDirectory | None, observers: list[Any]) -> loop.Journal:
    if directory is None:
        return loop.Journal(None, None, None, observers=observers)
    path = directory.path
    return loop.Journal(
        path / run_tables.ROUNDS.file,
        path / run_tables.CLIENTS.file,
        path / "checkpoints",
        observers=observers,
    )


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a table of numbers, also where they were read from a file."""
    table = pd.DataFrame([dict(row) for row in rows], columns=list(columns))
    texts = [name for name in ("client", "status") if name in table]
    return table.astype({name: float for name in table if name not in texts}).astype(
        {name: int for name in ("round", "images", "clients", "failed_clients") if name in table}
    )


def _weights_of(
    training: FederatedTraining, standing: loop.Standing, client: str
) -> list[np.ndarray]:
    return training.client_weights(standing.state, max(1, standing.number))[client]
