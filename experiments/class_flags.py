"""What the flags mean for recipes of classes that exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from absl import flags

from experiments import classes, classification, training_flags
from experiments.class_study import POOLED
from experiments.study import FEDERATED
from tffcxr.training.plan import Plan

FLAGS = flags.FLAGS


def make_plans(
    networks: Sequence[str], outputs: int, with_pooled: bool
) -> dict[tuple[str, str], Plan]:
    """How each network is trained, by its name and training; all alike.

    Args:
      networks: names of `tffcxr.models.names.CLASSIFIERS`.
      outputs: number of classes.
      with_pooled: whether each is also trained on all images in one place.

    Raises:
      InputError: see `tffcxr.models.build.build`; a flag of the training is out of range.
    """
    trainings = (FEDERATED, POOLED)[: 1 + with_pooled]
    plans = {name: make_plan(name, outputs) for name in networks}
    return {(name, training): plans[name] for name in networks for training in trainings}


def make_plan(network: str, outputs: int) -> Plan:
    """How a network is trained by the flags; arguments and errors as of `make_plans`."""
    return training_flags.make_plan(
        classification.model_builder(
            network,
            FLAGS.image_size,
            outputs,
            FLAGS.weights,
            FLAGS.batch_norm,
            FLAGS.seed,
            FLAGS.precision,
        ),
        classes.LOSS,
        findings=1,
    )


def centralised(
    plan: Plan, optimizer: str, learning_rate: float, momentum: float, epochs: int
) -> Plan:
    """A plan of one stage, changed to passes over all images in one place, each of them a round.

    Schedule, weight decay and gradient clipping stay; Nesterov's momentum does where there is any.

    Raises:
      InputError: a value is out of range.
    """
    (stage,) = plan.stages
    schedule = dataclasses.replace(stage.schedule, learning_rate=learning_rate, rounds=epochs)
    return dataclasses.replace(
        plan,
        stages=(dataclasses.replace(stage, rounds=epochs, schedule=schedule),),
        local_epochs=1,
        optimizer=optimizer,
        momentum=momentum,
        nesterov=plan.nesterov and momentum > 0,
    )
