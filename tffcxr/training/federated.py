"""Federated training of one plan over clients."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tffcxr.clients.sampling import Sampler
from tffcxr.evaluation import registry
from tffcxr.learning import failure, optimizers, process
from tffcxr.learning.weight_groups import Group, WeightPartition, batch_norm_layers
from tffcxr.models.blocks import CxrModel
from tffcxr.runtime import parts, placed
from tffcxr.training import suspicion, update_rows
from tffcxr.training.attack import Attackers
from tffcxr.training.evaluators.validation import Evaluator, Scores
from tffcxr.training.loop import ClientResult, RoundResult, TrainingFailed
from tffcxr.training.noise_key import NoiseKey
from tffcxr.training.plan import Plan, Rounds, Stage
from tffcxr.training.privacy_ledger import Ledger
from tffcxr.training.quarantine import Quarantine

_JACCARD = f"/{registry.JACCARD.name}"  # Of masks.


class TrainingData(Protocol):
    """The clients' training data, as `clients.client_data.ClientData` has them."""

    @property
    def element_spec(self) -> Any:
        """The `tf.TensorSpec`s of a batch."""

    def train_images(self, client: str, /) -> int:
        """How many images one client trains on.

        Decides who computes it, and how long an update its images explain; no result otherwise.
        """

    def train_dataset(self, client: str, round_number: int, passes: int, /) -> tf.data.Dataset:
        """The batches of one client for one round, with so many passes over its images."""


class FederatedTraining:
    """A `loop.Training` whose rounds are calls of a federated process.

    The state is `<server, clients>`; `clients` maps every client's id to its private weights,
    which stand here for what a real hospital would keep on its own disk.

    Args:
      plan: its rounds.
      client_data: the clients' images.
      sampler: which clients take part in a round.
      evaluator: measures every client's model on its images after each round.
      build: makes the process of a stage; needed where the plan is no `Plan`.
      noise_key: decides the noise of an aggregator that adds some; None for a new one, with which
        a training that is resumed has other noise.
      attackers: clients that do harm, as a rehearsal; not together with `build`.
      quarantine: leaves clients out; None for none.
    """

    def __init__(
        self,
        plan: Rounds,
        client_data: TrainingData,
        sampler: Sampler,
        evaluator: Evaluator,
        build: Callable[[Stage], process.FederatedProcess] | None = None,
        noise_key: NoiseKey | None = None,
        attackers: Attackers | None = None,
        quarantine: Quarantine | None = None,
    ):
        if build is None:
            assert isinstance(plan, Plan)
            build = functools.partial(
                _build,
                plan,
                plan.initial_weights(),
                client_data,
                attackers is not None and attackers.tampers,
            )
        self._plan = plan
        self._data = client_data
        self._sampler = sampler
        self._evaluator = evaluator
        self._client_ids = tuple(sorted(sampler.client_ids))
        self._processes: dict[str, process.FederatedProcess] = {}
        self._build = build
        self._noise_key = noise_key or NoiseKey()
        self._attackers = attackers
        self._quarantine = quarantine

    def initial_state(self, round_number: int) -> Any:
        """See `loop.Training`."""
        _, stage = self._plan.stage_of(round_number)
        stage_process = self.process_of(stage)
        private = stage_process.initialize_client()
        return collections.OrderedDict(
            server=stage_process.initialize(),
            clients=dict.fromkeys(self._client_ids, private),
        )

    def advance(
        self, state: Any, round_number: int, stage: Stage, learning_rate: float
    ) -> tuple[Any, RoundResult]:
        """See `loop.Training`.

        Raises:
          TrainingFailed: no client of the round has a finite update, or one cannot be computed.
        """
        before, _ = self._plan.stage_of(round_number)
        if before and round_number == before + 1:
            _, previous = self._plan.stage_of(before)
            state = self.carry_over(state, self.process_of(previous), self.process_of(stage))
        sampled = (self._quarantine or self._sampler).sample(round_number)
        state, results, loss = self.train(state, round_number, stage, learning_rate, sampled)
        together, by_client, orders = self.measure(state, round_number, stage)
        if self._quarantine:
            compares = any(column.endswith(_JACCARD) for column in self._evaluator.columns)
            images = {
                # None at a coordinator, where a hospital tells no small count.
                client: (self._data.train_images(client) or 0) * self._plan.local_epochs
                for client in sampled
            }
            results = update_rows.with_suspicions(results, images, orders, compares)
        return state, RoundResult(results, loss, together, by_client)

    def train(
        self,
        state: Any,
        round_number: int,
        stage: Stage,
        learning_rate: float,
        clients: Sequence[str],
    ) -> tuple[Any, tuple[ClientResult, ...], float]:
        """Trains some clients for a round, and recomputes statistics where that is wanted.

        Args:
          state: of the stage.
          round_number: counted from 1.
          stage: of the round.
          learning_rate: of the clients.
          clients: who takes part, sorted.

        Returns:
          The state after it, each client's part, and the mean loss over labels.

        Raises:
          TrainingFailed: see `advance`.
        """
        stage_process = self.process_of(stage)
        server = stage_process.with_learning_rate(state["server"], learning_rate)
        seed = functools.partial(self._noise_key.seed, round_number)
        with self.asked(clients):
            values = self._client_values(
                self.with_noise_seeds(state["clients"], round_number, stage_process),
                clients,
                round_number,
                self._plan.local_epochs,
            )
            if self._attackers and self._attackers.tampers:
                for client, value in zip(clients, values):
                    value["tampering"] = self._attackers.tampering(client, round_number)
            server, private, metrics, per_client = stage_process.next(
                stage_process.with_noise_seed(server, seed), values
            )
        results = tuple(
            _client_result(client, measured, stage_process, of_update)
            for client, measured, of_update in zip(
                clients, per_client, update_rows.of(metrics, len(clients))
            )
        )
        if not any(result.status == "ok" for result in results):
            causes = "; ".join(f"{result.client}: {result.status}" for result in results)
            raise TrainingFailed(
                f"round {round_number}: every client failed ({causes}); a lower learning rate "
                "may help"
            )
        states = {**state["clients"], **dict(zip(clients, private))}
        if stage_process.recompute is not None:
            with self.asked(clients):
                server = stage_process.with_recomputed_statistics(
                    server, self._client_values(states, clients, round_number, passes=1)
                )
        after = collections.OrderedDict(server=server, clients=states)
        return after, results, float(metrics["round"]["loss"])

    def with_noise_seeds(
        self, states: Mapping[str, Any], round_number: int, stage_process: process.FederatedProcess
    ) -> Mapping[str, Any]:
        """The clients' states with the seeds of a round, where clients add noise themselves."""
        return {
            client: stage_process.with_client_noise_seed(
                state, functools.partial(self.noise_seed, round_number, client)
            )
            for client, state in states.items()
        }

    def noise_seed(self, round_number: int, client: str) -> np.ndarray:
        """The seed of a client's noise in a round, see `NoiseKey.seed`."""
        return self._noise_key.seed(round_number, client)

    @contextlib.contextmanager
    def asked(self, clients: Sequence[str]) -> Iterator[None]:
        """Says how large the clients of a call are, and which of them has failed."""
        with parts.sized([self._data.train_images(client) for client in clients]):
            try:
                yield
            except placed.ClientError as error:
                raise TrainingFailed(f"client {clients[error.client]}: {error.reason}") from error

    def _client_values(
        self, private: Mapping[str, Any], clients: Sequence[str], round_number: int, passes: int
    ) -> list[Any]:
        return [
            self.client_value(client, private[client], round_number, passes) for client in clients
        ]

    def client_value(self, client: str, private: Any, round_number: int, passes: int) -> Any:
        """What a client brings to a round: private weights, and so many passes of its images."""
        data = self._data.train_dataset(client, round_number, passes)
        if self._attackers:
            data = self._attackers.poisoned(client, data)
        return collections.OrderedDict(state=private, data=data)

    def client_weights(self, state: Any, round_number: int) -> dict[str, list[np.ndarray]]:
        """Every client's model after a round, each in the order of `model.weights`."""
        _, stage = self._plan.stage_of(round_number)
        return {
            client: self.process_of(stage).model_weights(state["server"], private)
            for client, private in state["clients"].items()
        }

    def measure(
        self, state: Any, round_number: int, stage: Stage
    ) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, suspicion.Order]]:
        """Measures every client's model after a round on the client's own images.

        Returns:
          The evaluator's metrics of all images together, those of each client, and how well the
          scores of each client's images fit what it says of their labels, where that is known.
        """
        del round_number
        stage_process = self.process_of(stage)
        by_client = {
            client: self._evaluator.score(
                stage_process.model_weights(state["server"], private), client
            )
            for client, private in state["clients"].items()
        }
        of_each = {
            client: self._evaluator.metrics([scores]) for client, scores in by_client.items()
        }
        return self._evaluator.metrics(list(by_client.values())), of_each, self._orders(by_client)

    def _orders(self, by_client: Mapping[str, Any]) -> dict[str, suspicion.Order]:
        """See `measure`; nothing where no scores are measured, or nobody is judged by them."""
        parts = list(by_client.values())
        if self._quarantine is None or not all(isinstance(part, Scores) for part in parts):
            return {}
        told = Scores.join(parts)
        labels = [
            self._attackers.labels_told(client, scores.labels) if self._attackers else scores.labels
            for client, scores in by_client.items()
        ]
        return suspicion.orders(told.clients, np.concatenate(labels), told.scores)

    def carry_over(
        self, state: Any, old: process.FederatedProcess, new: process.FederatedProcess
    ) -> Any:
        """The state of a stage that begins, from that after the stage before."""
        server, clients = new.initialize(), {}
        for client, private in state["clients"].items():
            weights = old.model_weights(state["server"], private)
            server, clients[client] = new.with_model_weights(server, weights)
        return collections.OrderedDict(server=server, clients=clients)

    def process_of(self, stage: Stage) -> process.FederatedProcess:
        """The process of a stage, built once."""
        if stage.name not in self._processes:
            self._processes[stage.name] = self._build(stage)
        return self._processes[stage.name]


def _client_result(
    client: str,
    measured: Any,
    stage_process: process.FederatedProcess,
    of_update: update_rows.OfUpdate,
) -> ClientResult:
    failed = failure.decode(int(measured["failed"]))
    status = failed.describe(stage_process.partition) if failed else "ok"
    if not failed and not measured["images"]:
        status = "no images"
    labels = float(measured["labels"])
    loss = float(measured["loss"]) / labels if labels else float("nan")
    return ClientResult(client, int(measured["images"]), loss, status, *of_update)


def ledger_of(plan: Plan, sampler: Sampler) -> Ledger | None:
    """What accounts for the privacy of a plan's rounds; None without differential privacy.

    A stage that shares no weight, such as one of private task blocks alone, costs none.

    Raises:
      InputError: see `Ledger`.
    """
    if plan.privacy is None:
        return None

    @functools.cache
    def is_shared(stage: Stage) -> bool:
        model = plan.structure(stage.frozen)
        partition = WeightPartition.of(model.keras, _private_layers(plan, model))
        groups = Group.SHARED_TRAINABLE, Group.SHARED_STATISTICS
        return any(partition.indices(group) for group in groups)

    return Ledger(
        plan.privacy, sampler, plan.rounds, lambda number: is_shared(plan.stage_of(number)[1])
    )


def _private_layers(plan: Plan, model: CxrModel) -> list[str]:
    """The layers whose weights stay at each client."""
    private = set(model.task) if plan.share == "representation" else set()
    if plan.model.batch_norm == "local":
        private.update(batch_norm_layers(model.keras))
    return sorted(private)


def _build(
    plan: Plan,
    initial_weights: Sequence[np.ndarray],
    data: TrainingData,
    has_attackers: bool,
    stage: Stage,
) -> process.FederatedProcess:
    """The process of a stage of a plan."""
    model = plan.structure(stage.frozen)
    rate = stage.schedule.learning_rate
    return process.build_process(
        model.keras,
        initial_weights,
        private_layers=_private_layers(plan, model),
        batch_spec=data.element_spec,
        loss_fn=plan.loss_fn,
        client_optimizer=plan.client_optimizer(rate),
        server_optimizer=optimizers.server_optimizer(
            plan.server_optimizer, plan.server_learning_rate
        ),
        learning_rate=rate,
        aggregator=plan.aggregator,
        weighting=plan.weighting,
        proximal=plan.proximal,
        keeps_optimizer=plan.keeps_optimizer,
        recompute_statistics=plan.model.batch_norm == "recompute",
        has_attackers=has_attackers,
        measures_updates=plan.sees_updates,
        dp_sgd=plan.dp_sgd,
    )
