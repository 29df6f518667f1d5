"""Makes the model, the training plan and the learning-rate schedules from the flags."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import privacy_flags, reporting_flags, weights_flag
from tffcxr import environment, options

if TYPE_CHECKING:
    from tffcxr.learning.local_training import LossFn
    from tffcxr.learning.schedules import Schedule
    from tffcxr.models.spec import ModelSpec
    from tffcxr.training.plan import ModelSource, Plan

FLAGS = flags.FLAGS

# Up to these values, `environment.prepare_for_small_steps` speeds up the steps.
_SMALL_STEPS = {"image_size": 64, "width": 0.5, "batch_size": 16}


def model_spec(network: str, outputs: int = 1, channels: int = 1) -> ModelSpec:
    """The model that the flags describe.

    Args:
      network: a name of `options.CLASSIFIERS` or `options.SEGMENTERS`.
      outputs: number of findings or classes.
      channels: of the images.

    Raises:
      InputError: see `ModelSpec`.
    """
    from tffcxr.models.spec import ModelSpec

    return ModelSpec(
        network,
        FLAGS.image_size,
        outputs,
        batch_norm=FLAGS.batch_norm,
        precision=FLAGS.precision,
        width=FLAGS.width,
        weights=weights_flag.of(network),
        seed=FLAGS.seed,
        channels=channels,
        initialization=FLAGS.initialization,
    )


def make_plan(model: ModelSource, loss_fn: LossFn, groups: int = 1) -> Plan:
    """The training plan of the flags.

    The function reads the model's weights, so that a file that does not fit is reported before
    images are decoded.

    Args:
      model: what is trained.
      loss_fn: see `Plan`.
      groups: see `server_learning_rate`.

    Raises:
      InputError: a flag is out of range, or weights cannot be read or downloaded.
    """
    from tffcxr.learning import aggregators
    from tffcxr.training.plan import Plan, Stage

    if all(FLAGS[name].value <= most for name, most in _SMALL_STEPS.items()):
        environment.prepare_for_small_steps()
    head = head_schedule()
    share: Any = FLAGS.share if "share" in FLAGS else "all"
    stages = []
    if head:
        stages.append(Stage("head", FLAGS.head_rounds, head, "representation"))
    patience = reporting_flags.patience()
    stages.append(Stage("all", FLAGS.rounds, schedule(), patience=patience))
    privacy = privacy_flags.privacy()
    plan = Plan(
        model=model,
        stages=tuple(stages),
        loss_fn=loss_fn,
        local_epochs=FLAGS.local_epochs,
        optimizer=FLAGS.optimizer,
        momentum=FLAGS.momentum,
        nesterov=FLAGS.nesterov,
        weight_decay=FLAGS.weight_decay,
        clip_norm=FLAGS.clip_norm,
        adam_epsilon=FLAGS.adam_epsilon,
        server_optimizer=FLAGS.server_optimizer,
        server_learning_rate=server_learning_rate(
            FLAGS.server_learning_rate,
            FLAGS.server_optimizer,
            share,
            FLAGS.clients_per_round,
            groups,
        ),
        share=share,
        proximal=FLAGS.proximal,
        keeps_optimizer=FLAGS.keep_optimizer,
        weighting=FLAGS.weighting,
        # The noise follows from who takes part, which is not known yet.
        aggregator=None
        if privacy
        else aggregators.make(FLAGS.aggregator, hostile=FLAGS.hostile_clients),
        privacy=privacy,
        dp_sgd=privacy_flags.dp_sgd(),
        delta=FLAGS.dp_delta,
        sees_updates=FLAGS.aggregator not in options.HIDING_UPDATES,
        quarantine=FLAGS.quarantine,
    )
    plan.initial_weights()
    return plan


def server_learning_rate(
    given: float | None, optimizer: str, share: str, clients_per_round: str, groups: int
) -> float:
    """The server's learning rate, with its default.

    Sites that label different findings make unrelated updates. The mean over F such groups of sites
    is shorter than each update by the root of F, so the shared block would learn more slowly than
    at each site alone. The default restores the length of the updates; with one group it is FedAvg.

    Args:
      given: --server_learning_rate.
      optimizer: --server_optimizer.
      share: --share.
      clients_per_round: --clients_per_round; a round of some clients has fewer groups.
      groups: F, groups of sites none of which labels a finding of another group.
    """
    from tffcxr.learning import optimizers

    is_mean_of_all = optimizer == "average" and clients_per_round == "all"
    if given is not None:
        return given
    if not is_mean_of_all or share == "all":
        return optimizers.default_server_rate(optimizer)
    return math.sqrt(groups)


def head_schedule() -> Schedule | None:
    """The learning rates of the --head_rounds; None without any."""
    from tffcxr.learning.schedules import Schedule

    if "head_rounds" not in FLAGS or not FLAGS.head_rounds:
        return None
    return Schedule("constant", FLAGS.head_learning_rate, FLAGS.head_rounds)


def schedule() -> Schedule:
    """The learning rates of all other rounds."""
    from tffcxr.learning.schedules import Schedule

    return Schedule(
        FLAGS.schedule,
        FLAGS.learning_rate,
        FLAGS.rounds,
        factor=FLAGS.plateau_factor,
        patience=FLAGS.plateau_patience,
    )
