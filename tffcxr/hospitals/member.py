"""A hospital's part in a run: it computes its clients' parts, measures, keeps what is private.

    register ──► serve a training: compute, measure, …, finish ──► (the next training) ──► results

Between these the hospital runs the same study on its own images as a program in one place does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import functools
import hashlib
import pathlib
from typing import Any

import numpy as np

from tffcxr.errors import RunError, one_line
from tffcxr.hospitals import (
    coordinator,
    exchange,
    exchanged_results,
    masked_fields,
    masks,
    measures,
    member_values,
    questions,
    reported_results,
    values_as_fields,
    wire,
)
from tffcxr.hospitals.invocations import Invocations
from tffcxr.hospitals.noised_rounds import NoisedRounds
from tffcxr.hospitals.private_states import PrivateStates
from tffcxr.hospitals.round_keys import Signer
from tffcxr.hospitals.serving import ClientTurn, Finished, Limits, Served
from tffcxr.hospitals.work import CannotError, Compute, Work
from tffcxr.learning import process
from tffcxr.runtime import device, masking, sequences


class Member:
    """A hospital in a run.

    Args:
      link: to the coordinator.
      limits: what may leave.
      folder: for private states; this run's alone.
      findings_of: of the study's hospitals, in order; none where all have the same task.
      signer: signs this hospital's keys for secure sums.
    """

    def __init__(
        self,
        link: exchange.Link,
        limits: Limits,
        folder: pathlib.Path,
        findings_of: Mapping[str, tuple[str, ...]],
        signer: Signer,
    ) -> None:
        self.findings_of = dict(findings_of)
        self._link = link
        self._limits = limits
        self._folder = folder
        self._invocations = Invocations()
        self._turns: dict[str, ClientTurn] = {}
        self._masks = masks.Masks(signer, limits.fewest_hospitals)
        self._computed: dict[str, tuple[Any, member_values.Part]] = {}

    @property
    def smallest_count(self) -> int:
        """Images, below which the policy lets neither their number nor a metric of them leave."""
        return self._limits.smallest_count

    def check_images(self, images: Mapping[str, int]) -> None:
        """Checks, before the hospital takes part, that its updates may leave.

        Args:
          images: training images of each client.

        Raises:
          RunError: a client has too few for the policy.
        """
        for client, found in images.items():
            if found < self._limits.fewest_images:
                raise RunError(
                    f"client {client}: policy.toml wants at least {self._limits.fewest_images} "
                    f"training images behind an update, found {found}"
                )

    def register(self, clients: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """Says what the hospital has, and waits until the run begins.

        Args:
          clients: client to split to `images` and `labels`, see `shard_store.ShardStore`.

        Raises:
          RunError: the coordinator refuses it.
        """
        self._link.doing("waiting for the start")
        large = {
            client: {split: self._countable(of_split) for split, of_split in splits.items()}
            for client, splits in clients.items()
        }
        answer = self._link.call(wire.Message(coordinator.REGISTER, {"clients": large}))
        if answer.kind == "refused":
            raise RunError(str(answer.about["reason"]))

    def _countable(self, of_split: Mapping[str, Any]) -> dict[str, Any]:
        """The counts of a split, without those that are too small to be reported."""
        least = self._limits.smallest_count
        images = of_split["images"]
        return {
            "images": images if images >= least else None,
            "labels": {
                name: _large_counts(counts, least) for name, counts in of_split["labels"].items()
            },
        }

    def serve(self, served: Served) -> Finished:
        """Takes part in a training until its end.

        Raises:
          RunError: the coordinator has ended the run.
        """
        states = PrivateStates(self._states_folder(served))
        self._link.doing(coordinator.serving(served.name))
        standing = self._link.call(wire.Message(coordinator.TRAINING, {"training": served.name}))
        if standing.kind == coordinator.FINISH:
            self._link.doing(coordinator.MEASURING)
            return self._finished(served, states, standing)
        devices = device.current_workers()
        with Work(self._link, served.clients, devices, self._invocations.stop) as work:
            return self._work(served, states, work)

    def _work(self, served: Served, states: PrivateStates, work: Work) -> Finished:
        """Does the tasks of a training until its end."""
        while True:
            task, message = self._link.next_task()
            if message.about.get("training") != served.name:  # Of a training that has ended.
                self._link.answer(task, wire.Message(message.kind))
                continue
            if message.kind == coordinator.FINISH:
                work.wait()
                finished = self._finished(served, states, message)
                self._link.answer(task, wire.Message(message.kind))
                self._link.doing(coordinator.MEASURING)
                return finished
            if message.kind == questions.COMPUTE:
                begin = functools.partial(self._begin_computing, served, states, message)
                work.do_beside(task, message.kind, str(message.about.get("client")), begin)
            elif message.kind == questions.KEY:
                work.do_at_once(task, message.kind, functools.partial(self._masks.key, message))
            else:
                make = functools.partial(self._answer, served, states, work, message)
                work.do(task, message.kind, make)

    def gathered(self, what: str, of_clients: Mapping[str, Any]) -> dict[str, Any]:
        """What all clients of the study say of their images, nnU-Net's fingerprint in fact.

        Args:
          what: its name.
          of_clients: this hospital's, JSON values by client.

        Raises:
          RunError: this hospital's policy does not let it leave, or the coordinator refuses.
        """
        if not self._limits.fingerprints:
            raise RunError(
                "policy.toml: expected fingerprints = true for nnU-Net, which plans from counts of "
                "image sizes and a histogram of intensities, found false"
            )
        self._link.doing(f"sharing its {what}")
        message = wire.Message(coordinator.GATHER, {"what": what, "of_clients": dict(of_clients)})
        return dict(self._link.call(message).about["of_clients"])

    def results(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Sends what the hospital has measured at the end, as far as its policy lets it."""
        self._link.doing("reporting results")
        reported = reported_results.reported(rows, self._limits.smallest_count)
        self._link.call(wire.Message(coordinator.RESULTS, {"rows": reported}))
        exchanged_results.note_reported(self._folder)

    def _answer(
        self, served: Served, states: PrivateStates, work: Work, message: wire.Message
    ) -> wire.Message:
        if message.kind == coordinator.MEASURE:
            return self._measure(served, states, work, message)
        raise wire.MessageError(f"expected a task, found {message.kind!r}")

    def _begin_computing(
        self, served: Served, states: PrivateStates, message: wire.Message
    ) -> Compute:
        """Begins a client's part of a round; what is returned may be called by another thread."""
        about = message.about
        client = str(about["client"])
        self._check_client(served, client)
        make = functools.partial(self._begin_part, served, states, message)
        if "masking" not in about:
            compute = make()
            return lambda device_name: _answer(compute(device_name), ())
        content = masks.content(message)
        pairs = self._masks.agree(message, content, client, served.clients)
        unmasked = {name: value for name, value in about.items() if name != "masking"}
        question = content, unmasked
        known, part = self._computed.get(client, (None, None))
        if part is not None and known == question:  # Another attempt at the round: other masks.
            return lambda _: _answer(part, pairs)
        compute = make()

        def compute_and_keep(device_name: str) -> wire.Message:
            part = compute(device_name)
            self._computed[client] = question, part
            return _answer(part, pairs)

        return compute_and_keep

    def _begin_part(
        self, served: Served, states: PrivateStates, message: wire.Message
    ) -> Callable[[str], member_values.Part]:
        """Begins what is to be computed for a question, whoever it will be added with."""
        about = message.about
        client, number = str(about["client"]), int(about["round_number"])
        if not 1 <= number <= served.plan.rounds:
            raise wire.MessageError(
                f"expected a round from 1 to {served.plan.rounds}, found {number}"
            )
        stage_process = self._process(served, number)
        comp = member_values.computation(stage_process, str(about["computation"]))
        block = device.compiled_form(comp)
        of_state = questions.state_type(block)
        counts = int(about["state"])
        private = self._private(served, states, client, counts, number)
        if len(about["walks"]) == 1:  # A later walk comes after the round's state was saved.
            states.settle(client, counts, [int(n) for n in about["kept"]])
        if stage_process.has_noise_at_clients:
            NoisedRounds(self._states_folder(served)).begin(client, number, message)
            # The seed is the last of a client's state.
            private = [*private[:-1], served.training.noise_seed(number, client)]
        # The study's, not the coordinator's: more passes of one client would outweigh a sum.
        passes = 1 if comp is stage_process.recompute else served.plan.local_epochs
        dataset = served.data.train_dataset(client, number, passes)
        own = [
            (
                member_values.packed(private, of_state),
                sequences.ingest(dataset, member_values.data_type(block)),
            )
        ]

        def compute(device_name: str) -> member_values.Part:
            found = self._invocations.compute(client, device_name, message, block, own)
            part = member_values.Part()
            for place, (aggregation, value) in enumerate(found):
                type_spec = masked_fields.type_of(aggregation)
                if not questions.stays(aggregation, of_state):
                    sent = values_as_fields.fields(value, type_spec, f"update/{place}")
                    if aggregation.is_collected:  # The client's metrics of a round.
                        self._turns[client] = member_values.turn(sent)
                    part.add(sent, aggregation.summands)
                elif type_spec.is_equivalent_to(of_state):
                    states.save(client, number, values_as_fields.flat(value))
            return part

        return compute

    def _check_client(self, served: Served, client: str) -> None:
        if client not in served.clients:
            raise wire.MessageError(f"expected a client of this hospital, found {client!r}")
        images = served.data.train_images(client)
        if images < self._limits.fewest_images:
            raise CannotError(
                questions.TOO_FEW_IMAGES,
                f"client {client}: policy.toml wants at least {self._limits.fewest_images} "
                f"training images behind an update, found {images}",
            )

    def _measure(
        self, served: Served, states: PrivateStates, work: Work, message: wire.Message
    ) -> wire.Message:
        """Measures the model of a round on the hospital's images."""
        number = int(message.about["round_number"])
        weights = self._weights(served, states, message.fields, message.about["states"], number)
        scores = {
            client: served.evaluator.score(of_client, client)
            for client, of_client in sorted(weights.items())
        }
        measured = served.evaluator.metrics(list(scores.values()))
        served.note(number, work.take_seconds(), self._turns, measured)
        self._turns = {}
        self._computed = {}
        self._masks.forget()
        about, fields = measures.report(
            served.evaluator,
            scores,
            of_images=self._limits.scores_per_image,
            smallest_count=self._limits.smallest_count,
        )
        return wire.Message(coordinator.MEASURE, about, fields)

    def _finished(self, served: Served, states: PrivateStates, message: wire.Message) -> Finished:
        """The weights of this hospital's clients at the end.

        Raises:
          RunError: the message holds other values, or a private state is not there.
        """
        about = message.about
        half = len(message.fields) // 2
        try:
            rounds, reported = int(about["rounds"]), int(about["round"])
            last = self._weights(served, states, message.fields[:half], about["states"], rounds)
            best = self._weights(
                served, states, message.fields[half:], about["reported_states"], reported
            )
            planned, is_chosen = int(about["planned"]), bool(about["is_chosen"])
            return Finished(last, best, reported, rounds, planned, is_chosen)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RunError(
                f"expected the end of {served.name}, found other values: {one_line(error)}"
            ) from error

    def _weights(
        self,
        served: Served,
        states: PrivateStates,
        fields: Sequence[wire.Field],
        after: Mapping[str, int],
        round_number: int,
    ) -> dict[str, list[np.ndarray]]:
        """The models of this hospital's clients, from shared weights and its private ones."""
        stage_process = self._process(served, round_number)
        server = member_values.with_shared(stage_process, fields)
        found = {}
        for client in served.clients:
            private = self._private(served, states, client, int(after.get(client, 0)), round_number)
            of_state = stage_process.initialize_client.type_signature.result
            state = member_values.named(member_values.packed(private, of_state), of_state)
            found[client] = stage_process.model_weights(server, state)
        return found

    def _private(
        self,
        served: Served,
        states: PrivateStates,
        client: str,
        after: int,
        round_number: int,
    ) -> list[np.ndarray]:
        """A client's private state after a round, carried over to the stage of another."""
        now = self._process(served, round_number)
        if not after:
            return values_as_fields.flat(now.initialize_client())
        found = states.load(client, after)
        before = self._process(served, after)
        if before is now:
            return found
        of_state = before.initialize_client.type_signature.result
        state = member_values.named(member_values.packed(found, of_state), of_state)
        weights = before.model_weights(before.initialize(), state)
        _, private = now.with_model_weights(now.initialize(), weights)
        return values_as_fields.flat(private)

    def _states_folder(self, served: Served) -> pathlib.Path:
        return self._folder / hashlib.sha256(served.name.encode()).hexdigest()[:12]

    def _process(self, served: Served, round_number: int) -> process.FederatedProcess:
        _, stage = served.plan.stage_of(max(1, round_number))
        return served.training.process_of(stage)


def _answer(part: member_values.Part, pairs: Sequence[masking.Pair]) -> wire.Message:
    return wire.Message(questions.COMPUTE, {}, part.fields(pairs))


def _large_counts(counts: Mapping[str, int], least: int) -> dict[str, int | None]:
    """The counts of a finding's labels without small ones, also not by the difference to all."""
    large = {label: count for label, count in counts.items() if count >= least}
    if large and 0 < sum(counts.values()) - sum(large.values()) < least:
        del large[min(large, key=lambda label: large[label])]
    return {label: large.get(label) for label in counts}
