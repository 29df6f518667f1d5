"""What a coordinator sees of a round: made by the run's own local training and TFF's aggregators.

The coordinator is honest but curious: it has the network's code, the settings, the shared weights
before and after the round, and what reaches it. Under each protection that is:

    nothing   the update of one client, as it is
    clipping  the same, clipped and zeroed as --aggregator=robust does at the client
    dp        the noised mean of the round's clients (--aggregator=dp). The coordinator adds that
              noise itself, and sees clipped updates before: this is the view of everybody else who
              gets the weights of two rounds
    dp_sgd    the update of one client that has noised its own steps (--dp_sgd_noise)
    secure    the mean of the round's clients, from their quantised sum (--aggregator=secure with
              sums that are computed on masked integers)
    both      the same of clients that have noised their own steps ("secure" with "dp_sgd")
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tffcxr.audit.audited_run import AuditedRun, Images
from tffcxr.clients import seeds
from tffcxr.clients.sampling import Sampler
from tffcxr.errors import InputError
from tffcxr.learning import aggregators
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.learning.weight_groups import Group
from tffcxr.training.evaluators.validation import FindingsEvaluator, Scorer
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Plan

NOTHING, CLIPPING, DP, DP_SGD, SECURE, BOTH = (
    "nothing", "clipping", "dp", "dp_sgd", "secure", "both",
)  # fmt: skip
# Weights after a round are this times further from those before it than the update says, so that
# their difference has all its digits.
_APART = 1000.0


@dataclasses.dataclass(frozen=True)
class Protection:
    """What a round is protected by.

    Attributes:
      name: one of the module's.
      noise: of "dp", "dp_sgd" and "both", relative to the clipping norm.
      clip: the clipping norm of "dp_sgd" and "both".
    """

    name: str
    noise: float = 0.0
    clip: float = 1.0

    @property
    def is_of_sum(self) -> bool:
        """Whether only the clients' sum is seen, not the update of each."""
        return self.name in (DP, SECURE, BOTH)

    @property
    def noises_steps(self) -> bool:
        """Whether clients train by DP-SGD."""
        return self.name in (DP_SGD, BOTH)

    @property
    def title(self) -> str:
        """What a reader calls it."""
        return {
            NOTHING: "nothing",
            CLIPPING: "clipping",
            DP: f"client-level DP, noise {self.noise:g}",
            DP_SGD: f"DP-SGD, noise {self.noise:g}",
            SECURE: "secure sum",
            BOTH: f"secure sum and DP-SGD, noise {self.noise:g}",
        }[self.name]

    def view(self, clients: int) -> str:
        """What of a round is attacked, in words.

        Args:
          clients: that take part in it.
        """
        return {
            NOTHING: "The coordinator sees each client's update as it is.",
            CLIPPING: "The coordinator sees each client's update, clipped and zeroed as "
            "--aggregator=robust does at the client.",
            DP: f"The mean of {clients} clients' clipped updates with Gaussian noise "
            f"(--aggregator=dp --dp_noise_multiplier={self.noise:g}), as everybody sees it who "
            "gets the weights of two rounds. The coordinator adds the noise: it sees clipped "
            "updates, and for it this protection is no more than clipping.",
            DP_SGD: "The coordinator sees each client's update, whose steps the client has noised "
            f"(--dp_sgd_noise={self.noise:g} --dp_sgd_clip={self.clip:g}).",
            SECURE: f"The coordinator sees the quantised sum of {clients} clients' updates, and "
            "none of them (--aggregator=secure, where sums are computed on masked integers).",
            BOTH: f"The coordinator sees the quantised sum of {clients} clients' updates, whose "
            f"steps the clients have noised (--aggregator=secure --dp_sgd_noise={self.noise:g} "
            f"--dp_sgd_clip={self.clip:g}).",
        }[self.name]

    def apply(self, plan: Plan, batch_size: int, clients: int) -> Plan:
        """The plan with this protection.

        Args:
          plan: without any.
          batch_size: images of a step.
          clients: that take part in a round.
        """
        if self.name == CLIPPING:
            return dataclasses.replace(plan, aggregator=aggregators.make("robust"))
        if self.name == DP:
            aggregator = aggregators.make("dp", self.noise, float(clients))
            return dataclasses.replace(plan, aggregator=aggregator)
        if self.noises_steps:
            plan = dataclasses.replace(plan, dp_sgd=DpSgd(self.noise, self.clip, batch_size))
        if self.name in (SECURE, BOTH):
            plan = dataclasses.replace(plan, aggregator=aggregators.make("secure"))
        return plan


class Round:
    """A round of the run's training, of which one can see what is sent.

    Args:
      run: the run.
      protection: of the round.
      batch_size: images of a step.
      clients: that take part; 1 unless only their sum is seen.
      seed: of the noise, which a real run draws in secret.

    Raises:
      InputError: the network cannot be trained with the protection.
    """

    def __init__(
        self, run: AuditedRun, protection: Protection, batch_size: int, clients: int, seed: int
    ) -> None:
        plan = dataclasses.replace(
            protection.apply(run.plan, batch_size, clients),
            server_optimizer="average",
            server_learning_rate=_APART,
        )
        self._seed = seed
        self._names = [f"client_{number}" for number in range(clients)]
        data = run.data(batch_size)
        evaluator = FindingsEvaluator(Scorer(plan.model.measuring_model().keras, data), ())
        training = FederatedTraining(plan, data, Sampler(self._names), evaluator)
        try:
            self._process = training.process_of(plan.stages[0])
        except ValueError as error:
            raise InputError(str(error)) from error
        self._spec = data.element_spec
        self._server = self._process.initialize()

    def sees(
        self, weights: Sequence[np.ndarray], data: Sequence[tf.data.Dataset], number: int
    ) -> list[np.ndarray]:
        """The change of the shared trainable weights that a round of these clients shows.

        Args:
          weights: before the round, in the order of `model.weights`.
          data: the batches of each client, one element each.
          number: of the round, for its noise.
        """
        server, private = self._process.with_model_weights(self._server, weights)
        server = self._process.with_noise_seed(server, functools.partial(self._noise, number, ""))
        values = [
            collections.OrderedDict(
                state=self._process.with_client_noise_seed(
                    private, functools.partial(self._noise, number, name)
                ),
                data=batches,
            )
            for name, batches in zip(self._names, data)
        ]
        after, _, _, _ = self._process.next(server, values)
        before = server["weights"]["trainable"]
        return [
            (np.asarray(new, np.float64) - np.asarray(old, np.float64)) / _APART
            for new, old in zip(after["weights"]["trainable"], before)
        ]

    def step_on(self, images: Images) -> tf.data.Dataset:
        """The data of a client that makes one step on these images."""
        batch = {"images": images.pixels, "labels": images.labels}
        variant = tf.data.experimental.to_variant(tf.data.Dataset.from_tensors(batch))
        return tf.data.experimental.from_variant(variant, self._spec)

    @property
    def shared(self) -> tuple[int, ...]:
        """Places in `model.weights` of the weights that are seen."""
        return self._process.partition.indices(Group.SHARED_TRAINABLE)

    def _noise(self, number: int, client: str) -> np.ndarray:
        return np.array(seeds.derive_seed(self._seed, "audit", number, client), np.int64)
