"""What the flags mean for recipes of classes that exclude each other."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from experiments import classes, classification, training_flags
from tffcxr.training.plan import Plan

FLAGS = flags.FLAGS


def make_plans(networks: Sequence[str], outputs: int) -> dict[str, Plan]:
    """How each network is trained, by its name; all alike.

    Args:
      networks: names of `tffcxr.models.names.CLASSIFIERS`.
      outputs: number of classes.

    Raises:
      InputError: see `tffcxr.models.build.build`; a flag of the training is out of range.
    """
    return {
        name: training_flags.make_plan(
            classification.model_builder(
                name,
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
        for name in networks
    }
