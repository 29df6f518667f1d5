"""Federated training whose clients are at hospitals: the coordinator's side."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import logging
import math
import sys
from typing import Any, Protocol

import numpy as np

from tffcxr import run_tables
from tffcxr.clients.sampling import Sampler
from tffcxr.errors import InputError
from tffcxr.hospitals import coordinator, measures, questions, wire
from tffcxr.hospitals.questions import AtClient
from tffcxr.learning import process
from tffcxr.runtime import compiling
from tffcxr.training import suspicion
from tffcxr.training.evaluators.validation import Evaluator
from tffcxr.training.federated import FederatedTraining, TrainingData
from tffcxr.training.loop import ClientResult, TrainingFailed
from tffcxr.training.noise_key import NoiseKey
from tffcxr.training.plan import Plan, Stage
from tffcxr.training.quarantine import Quarantine

AWAY = "not connected"
_PASSING = (AWAY, questions.LATE)


class Hospitals(Protocol):
    """What the training needs of the coordinator; see `coordinator.Coordinator`."""

    @property
    def site_of(self) -> Mapping[str, str]:
        """Client to its hospital."""

    def await_quorum(self, name: str, clients: Sequence[str]) -> list[str]:
        """Waits until enough hospitals serve a training; which of the clients are there."""

    def is_quorum(self, clients: Sequence[str], of_clients: Sequence[str]) -> bool:
        """Whether clients that are left are enough for a round of `of_clients`."""

    def round(
        self, name: str, round_number: int
    ) -> contextlib.AbstractContextManager[questions.Questions]:
        """In it, computations ask the hospitals."""

    def measured(
        self, name: str, round_number: int, states: dict[str, int], fields: Sequence[wire.Field]
    ) -> dict[str, wire.Message]:
        """Has the hospitals that are there measure a model; what they say of it, by site."""


class CoordinatedTraining(FederatedTraining):
    """A `loop.Training` over hospitals.

    The state is `<server, clients>`; `clients` maps every client's id to the round after which its
    private state counts, 0 before its first.

    Args:
      plan: its rounds.
      client_data: for the shape of a batch, and what hospitals said of their images' numbers.
      sampler: which clients take part in a round.
      evaluator: knows what is measured; it scores nothing here.
      hospitals: reaches them.
      name: of the training, which the hospitals know it by.
      checkpoints: the rounds that the training may return to.
      noise_key: see `FederatedTraining`, as the next.
      quarantine: leaves clients out.
    """

    def __init__(
        self,
        plan: Plan,
        client_data: TrainingData,
        sampler: Sampler,
        evaluator: Evaluator,
        hospitals: Hospitals,
        name: str,
        checkpoints: Callable[[], Sequence[int]],
        noise_key: NoiseKey | None = None,
        quarantine: Quarantine | None = None,
    ) -> None:
        super().__init__(
            plan, client_data, sampler, evaluator, noise_key=noise_key, quarantine=quarantine
        )
        self._hospitals = hospitals
        self._name = name
        self._checkpoints = checkpoints
        self._clients = tuple(sorted(sampler.client_ids))
        self._columns = evaluator.columns
        self._measured_by = evaluator

    def check_draws(self, site_of: Mapping[str, str]) -> None:
        """Checks that no round draws clients of one hospital alone for a secure sum.

        Args:
          site_of: client to its hospital.

        Raises:
          InputError: one does.
        """
        for number in range(1, self._plan.rounds + 1):
            sites = {site_of[client] for client in self._sampler.sample(number)}
            if len(sites) >= questions.FEWEST_HOSPITALS:
                continue
            _, stage = self._plan.stage_of(number)
            if compiling.has_secure_sums(self.process_of(stage).next):
                raise InputError(
                    f"--clients_per_round: expected clients of {questions.FEWEST_HOSPITALS} "
                    f"hospitals in every round for --aggregator=secure, found round {number} with "
                    f"those of {', '.join(sites)} alone"
                )

    def initial_state(self, round_number: int) -> Any:
        """See `loop.Training`."""
        state = super().initial_state(round_number)
        return collections.OrderedDict(state, clients=dict.fromkeys(self._clients, np.int64(0)))

    def train(
        self,
        state: Any,
        round_number: int,
        stage: Stage,
        learning_rate: float,
        clients: Sequence[str],
    ) -> tuple[Any, tuple[ClientResult, ...], float]:
        """See `FederatedTraining`; a client whose hospital does not answer is left out.

        The round is tried again without it, which gives what a round of the others alone gives.
        Secure sums are masked with other keys then, and have no client of its hospital.
        """
        while True:
            present = self._hospitals.await_quorum(self._name, clients)
            absent = {client: AWAY for client in clients if client not in present}
            started_again: set[str] = set()
            with self._hospitals.round(self._name, round_number):
                while self._hospitals.is_quorum(present, clients):
                    try:
                        after, results, loss = super().train(
                            state, round_number, stage, learning_rate, present
                        )
                    except _LeftOutError as error:
                        if error.reason == questions.NO_KEY and error.client not in started_again:
                            started_again.add(error.client)  # A new attempt has new keys.
                            continue
                        left = self._left_with(error.client, stage)
                        absent |= {client: error.reason for client in present if client in left}
                        present = [client for client in present if client not in left]
                        continue
                    left_out = [
                        ClientResult(client, 0, math.nan, run_tables.LEFT_OUT + reason)
                        for client, reason in absent.items()
                    ]
                    of_all = sorted([*results, *left_out], key=lambda result: result.client)
                    states = {c: np.int64(_state(of)) for c, of in after["clients"].items()}
                    return collections.OrderedDict(after, clients=states), tuple(of_all), loss
            causes = {client: why for client, why in absent.items() if why not in _PASSING}
            if causes:
                listed = "; ".join(f"{client}: {why}" for client, why in sorted(causes.items()))
                raise TrainingFailed(
                    f"round {round_number}: too few hospitals take part ({listed})"
                )
            late = ", ".join(client for client, why in sorted(absent.items()) if why != AWAY)
            print(f"round {round_number} begins again: {questions.LATE} of {late}", file=sys.stderr)

    def _left_with(self, client: str, stage: Stage) -> set[str]:
        """Who has no part in a round without a client: see `masks.py` of secure sums."""
        if not compiling.has_secure_sums(self.process_of(stage).next):
            return {client}
        site_of = self._hospitals.site_of
        return {other for other, site in site_of.items() if site == site_of[client]}

    @contextlib.contextmanager
    def asked(self, clients: Sequence[str]) -> Iterator[None]:
        """See `FederatedTraining`."""
        try:
            yield
        except questions.Absent as error:
            raise _LeftOutError(clients[error.client], error.reason) from error

    def with_noise_seeds(
        self, states: Mapping[str, Any], round_number: int, stage_process: process.FederatedProcess
    ) -> Mapping[str, Any]:
        """See `FederatedTraining`; each hospital has the seeds of its own clients."""
        del round_number, stage_process
        return states

    def client_value(self, client: str, private: Any, round_number: int, passes: int) -> Any:
        """See `FederatedTraining`; the hospital has the rest, and knows its passes itself."""
        del passes
        # The round before this, too: the round may be tried again without a client that has
        # trained, but does not answer when statistics are recomputed.
        kept = tuple(sorted({*self._checkpoints(), round_number - 1}))
        return AtClient(client, round_number, _state(private), kept)

    def measure(
        self, state: Any, round_number: int, stage: Stage
    ) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, suspicion.Order]]:
        """See `FederatedTraining`; each hospital measures its own clients, and keeps scores."""
        states = {client: int(after) for client, after in state["clients"].items()}
        fields = shared_fields(self.process_of(stage), state["server"])
        nothing = dict.fromkeys(self._columns, math.nan)
        answers = self._hospitals.measured(self._name, round_number, states, fields)
        reported = []
        for site, message in answers.items():
            try:
                reported.append(measures.read(self._measured_by, message))
            except wire.MessageError as error:
                logging.warning("round %d: %s: %s", round_number, site, error)
        try:
            together, by_client = measures.together(self._measured_by, reported)
        except wire.MessageError as error:
            logging.warning("round %d: %s", round_number, error)
            together, by_client = nothing, {}
        return together, {client: by_client.get(client, nothing) for client in self._clients}, {}

    def carry_over(
        self, state: Any, old: process.FederatedProcess, new: process.FederatedProcess
    ) -> Any:
        """See `FederatedTraining`; hospitals carry their private states over themselves."""
        weights = old.model_weights(state["server"], old.initialize_client())
        server, _ = new.with_model_weights(new.initialize(), weights)
        return collections.OrderedDict(state, server=server)

    def end(
        self, last: Any, rounds: int, reported: Any, reported_round: int, is_chosen: bool
    ) -> wire.Message:
        """What tells the hospitals that the training has ended, see `Coordinator.finish`.

        Args:
          last: the state after the last round.
          rounds: how many there were.
          reported: the state after the round that is reported.
          reported_round: its number.
          is_chosen: whether that was chosen by a metric.
        """
        fields = [
            field
            for state, number in ((last, rounds), (reported, reported_round))
            for field in shared_fields(
                self.process_of(self._plan.stage_of(number)[1]), state["server"]
            )
        ]
        states, reported_states = (
            {client: int(after) for client, after in state["clients"].items()}
            for state in (last, reported)
        )
        about = {
            "training": self._name,
            "rounds": rounds,
            "planned": self._plan.rounds,
            "round": reported_round,
            "is_chosen": is_chosen,
            "states": states,
            "reported_states": reported_states,
        }
        return wire.Message(coordinator.FINISH, about, tuple(fields))

    def client_weights(self, state: Any, round_number: int) -> dict[str, list[np.ndarray]]:
        """See `FederatedTraining`; private weights stand as they began."""
        _, stage = self._plan.stage_of(round_number)
        stage_process = self.process_of(stage)
        private = stage_process.initialize_client()
        return dict.fromkeys(self._clients, stage_process.model_weights(state["server"], private))


class _LeftOutError(Exception):
    """A client that has no part in the round."""

    def __init__(self, client: str, reason: str) -> None:
        super().__init__(client, reason)
        self.client = client
        self.reason = reason


def _state(private: Any) -> int:
    """The round after which a client's private state is meant."""
    return private.state if isinstance(private, AtClient) else int(private)


def shared_fields(stage_process: process.FederatedProcess, server_state: Any) -> list[wire.Field]:
    """The shared weights of a server state, in the order of `WeightPartition.server_weights`."""
    return [
        wire.Field(f"{group}/{place}", np.asarray(value))
        for group in stage_process.partition.server_weights(stage_process.partition.weights)
        for place, value in enumerate(server_state["weights"][group])
    ]
