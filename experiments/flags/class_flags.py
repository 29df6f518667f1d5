"""What the flags mean for recipes of classes that exclude each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import study_flags, training_flags
from tffcxr import environment, options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.training.plan import Plan

FLAGS = flags.FLAGS

# Flags at most so large make steps that `environment.prepare_for_small_steps` speeds up.
_SMALL_STEPS = {"image_size": 64, "width": 0.25, "batch_size": 16}


def define_width(of_phantoms: float = 1.0) -> None:
    """Defines the flag `--width`; `of_phantoms` is what `apply_width` gives it without sites."""
    without = "" if of_phantoms == 1 else f" Without --site the default else is {of_phantoms:g}."
    flags.DEFINE_float(
        "width",
        1.0,
        "About the part of its published channels that every layer of a classifier gets; 0.5 is a "
        f"quarter of the work and of the weights. Not with --weights=imagenet.{without}",
    )


def apply_width(of_phantoms: float) -> None:
    """Gives `--width`, if it was not given, the value for phantoms where there is no `--site`.

    ImageNet's weights are of whole networks, so that with them it stays 1.
    """
    is_whole = FLAGS.site or FLAGS.weights == "imagenet"
    FLAGS.set_default("width", 1.0 if is_whole else of_phantoms)


def check() -> None:
    """Checks the flags that all these recipes have.

    Raises:
      InputError: see `study_flags.check_shared_task`; an unknown network; a width out of range, or
        with ImageNet's weights.
    """
    study_flags.check_shared_task()
    if not 0 < FLAGS.width <= 1:
        raise InputError(f"--width: expected above 0 and at most 1, found {FLAGS.width}")
    if FLAGS.width != 1 and FLAGS.weights == "imagenet":
        raise InputError(f"--weights=imagenet: expected --width=1 with it, found {FLAGS.width}")
    training_flags.check_at_least(0, "heatmaps")
    networks()


def networks() -> tuple[str, ...]:
    """The networks of `--model`, in the order of `options.CLASSIFIERS`; errors as of `check`."""
    return study_flags.parse_names("model", FLAGS.model, options.CLASSIFIERS)


def load_clients(
    sites: Sequence[Site],
    classes: Sequence[str],
    *,
    stratify: str,
    prepare: Callable[[pd.DataFrame, Site], pd.DataFrame] = lambda table, site: table,
    own_test: bool = False,
) -> ClientRecords:
    """The images of known class.

    Args:
      sites: this and the others as of `sites.load_shared_task`.
      classes: that exclude each other.
      stratify: see there.
      prepare: from a site's table to one whose columns are the classes.
      own_test: see there.

    Raises:
      InputError: see there and `site_tables.keep_classes`.
    """
    from tffcxr.clients import site_tables

    def keep(table: pd.DataFrame, site: Site) -> pd.DataFrame:
        return site_tables.keep_classes(prepare(table, site), site, classes)

    return study_flags.load_shared_task(sites, keep, stratify=stratify, own_test=own_test)


def settings(recipe: str, run_folder: pathlib.Path, clients: ClientRecords) -> dict[str, Any]:
    """The arguments of `ClassStudy` that are alike in all recipes; see `study_flags.settings`."""
    return {
        **study_flags.settings(
            recipe, run_folder, clients.records, clients.site_of, clients.source_of
        ),
        "split": study_flags.measured_split(),
        "heatmaps": FLAGS.heatmaps,
        "class_balance": FLAGS.class_balance,
        "width": FLAGS.width,
    }


def make_plans(outputs: int, pooled_epochs: int = 0) -> dict[tuple[str, str], Plan]:
    """How each network of `--model` is trained, by its name and training.

    Args:
      outputs: number of classes.
      pooled_epochs: passes over all images in one place that take the place of a round's local
        epochs when each network is also trained there; 0 for no such training.

    Raises:
      InputError: see `tffcxr.models.build.build`; a flag of the training is out of range.
    """
    from tffcxr.studies.classes.variants import POOLED
    from tffcxr.studies.study import FEDERATED

    if all(FLAGS[name].value <= most for name, most in _SMALL_STEPS.items()):
        environment.prepare_for_small_steps()
    plans = {}
    for name in networks():
        plans[name, FEDERATED] = plan = make_plan(name, outputs)
        if pooled_epochs:
            plans[name, POOLED] = dataclasses.replace(plan, local_epochs=pooled_epochs)
    return plans


def make_plan(network: str, outputs: int) -> Plan:
    """How a network is trained by the flags.

    Args:
      network: a name of `tffcxr.options.CLASSIFIERS`.
      outputs: number of classes.

    Raises:
      InputError: as of `make_plans`.
    """
    from tffcxr.studies.classes import class_study
    from tffcxr.studies.findings import findings_study

    return training_flags.make_plan(
        findings_study.model_builder(
            network,
            FLAGS.image_size,
            outputs,
            FLAGS.weights,
            FLAGS.batch_norm,
            FLAGS.seed,
            FLAGS.precision,
            FLAGS.width,
        ),
        class_study.LOSS,
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
