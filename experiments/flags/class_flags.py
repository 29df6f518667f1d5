"""Recipes of mutually exclusive classes: flags, checks and the study that they make."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import (
    checks,
    external_flags,
    federation_flags,
    fraction_flags,
    network_flags,
    plan_flags,
    recipe,
    study_flags,
    test_images_flag,
)
from tffcxr import options

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.studies.classes.class_study import ClassStudy
    from tffcxr.studies.classes.variants import Variant
    from tffcxr.training.plan import Plan

FLAGS = flags.FLAGS


def networks() -> tuple[str, ...]:
    """The networks of `--model`, in the order of `options.CLASSIFIERS`.

    Raises:
      InputError: an unknown network, none, or one twice.
    """
    return checks.names("model", FLAGS.model, options.CLASSIFIERS)


@dataclasses.dataclass(frozen=True)
class ClassRecipe(recipe.Recipe):
    """A recipe of classes.

    Attributes:
      task: name of the task in tables.
      classes: in the order of the outputs.
      stratify: the class that splits are stratified by, and uneven partitions are made from.
      explained: the classes whose images are explained.
      explanation: "gradcam" or "gradcam++".
      phantoms: the phantom hospital used without `--site`.
      own_test: whether a source's own test images stay test images.
      with_train_scores: whether the training images are also measured.
    """

    task: str
    classes: tuple[str, ...]
    stratify: str
    explained: tuple[str, ...]
    phantoms: study_flags.PhantomSite
    explanation: str = "gradcam"
    own_test: bool = False
    with_train_scores: bool = False

    def check(self) -> None:
        """See `Recipe`."""
        study_flags.check_shared_task()
        checks.at_least(0, "heatmaps")
        network_flags.check(self.trained_networks(), study_flags.check_shared_task)

    def make_study(self, run_folder: pathlib.Path) -> ClassStudy:
        """See `Recipe`."""
        sites = study_flags.given_sites(with_finding=False)
        clients = self._load_clients(sites) if sites else None
        external = external_flags.load_shared_task(sites, self._keep_elsewhere, self.classes)
        from tffcxr.studies.classes.class_study import ClassStudy

        plans = self.plans()
        # Drawing phantoms, or waiting for hospitals, takes a while: the models are checked first.
        if federation_flags.is_coordinator():
            clients = federation_flags.client_records()
        clients = clients or self._load_clients(
            study_flags.make_phantoms(run_folder, [self.phantoms])
        )
        return ClassStudy(
            study_flags.settings(
                self.name, run_folder, fraction_flags.measured_split(), "temperature"
            ),
            clients,
            external=external,
            task=self.task_of(clients),
            classes=self.classes,
            variants=self.variants(plans),
            plans=plans,
            explained=self.explained,
            heatmaps=FLAGS.heatmaps,
            explanation=self.explanation,
            class_balance=FLAGS.class_balance,
            with_train_scores=self.with_train_scores,
            segmentation_model=(
                FLAGS.segmentation_model if "segmentation_model" in FLAGS else None
            ),
            heat_metrics=FLAGS.heat_metrics if "heat_metrics" in FLAGS else False,
        )

    def plans(self) -> dict[tuple[str, str], Plan]:
        """How each network is trained, by its name and one of `variants.TRAININGS`.

        By default: `--model` across the clients, and with `--baseline=pooled` also on all images
        pooled, with `pooled_epochs` passes in place of a round's local epochs.

        Raises:
          InputError: see `plan_flags.make_plan`.
        """
        from tffcxr.studies import trainings

        plans = {}
        for name in networks():
            plans[name, trainings.FEDERATED] = plan = self.plan(name)
            if FLAGS.baseline == "pooled":
                pooled = dataclasses.replace(plan, local_epochs=self.pooled_epochs(plan))
                plans[name, trainings.POOLED] = pooled
        return plans

    def plan(self, network: str) -> Plan:
        """How a network is trained by the flags.

        Raises:
          InputError: see `plan_flags.make_plan`.
        """
        from tffcxr.studies.classes import class_study

        with network_flags.of_network(network):
            spec = plan_flags.model_spec(network, len(self.classes))
            return plan_flags.make_plan(spec, class_study.LOSS)

    def pooled_epochs(self, plan: Plan) -> int:
        """See `plans`; by default as many as a client of the federated plan makes."""
        return plan.local_epochs

    def trained_networks(self) -> tuple[str, ...]:
        """The networks that have a plan; by default those of `--model`.

        Raises:
          InputError: see `networks`.
        """
        return networks()

    def variants(self, plans: dict[tuple[str, str], Plan]) -> tuple[Variant, ...]:
        """What is compared; by default the networks that have a plan."""
        from tffcxr.studies.classes.variants import Variant

        trained = {network for network, _ in plans}
        return tuple(Variant(name) for name in options.CLASSIFIERS if name in trained)

    def task_of(self, clients: ClientRecords) -> str:
        """Name of the task of these clients in tables."""
        del clients
        return self.task

    def prepare(self, table: pd.DataFrame, site: Site) -> pd.DataFrame:
        """Converts a site's table to columns of classes; by default it has them already.

        Raises:
          InputError: the site lacks something that the flags need.
        """
        del site
        return table

    def _keep(self, table: pd.DataFrame, site: Site) -> pd.DataFrame:
        from tffcxr.clients import site_tables

        return site_tables.keep_classes(self.prepare(table, site), site, self.classes)

    def _keep_elsewhere(self, table: pd.DataFrame, site: Site) -> pd.DataFrame:
        """The same of a site that need not have all classes, since it trains none."""
        from tffcxr.clients import site_tables

        table = site_tables.with_all_classes(self.prepare(table, site), self.classes)
        return site_tables.keep_classes(table, site, self.classes)

    def _load_clients(self, sites: Sequence[Site]) -> ClientRecords:
        return study_flags.load_shared_task(
            sites,
            self._keep,
            stratify=self.stratify,
            own_test=self.own_test,
            test_images=test_images_flag.counts(self.classes),
        )


def centralised(
    plan: Plan, optimizer: str, learning_rate: float, momentum: float, epochs: int
) -> Plan:
    """Changes a plan to passes over all images pooled, each of them a round.

    A stage that trains the task block first stays as it is. Schedule, weight decay and gradient
    clipping stay, Nesterov's momentum too if there is momentum.

    Raises:
      InputError: a value is out of range.
    """
    plan = plan.in_epochs(epochs)
    *first, stage = plan.stages
    schedule = dataclasses.replace(stage.schedule, learning_rate=learning_rate)
    return dataclasses.replace(
        plan,
        stages=(*first, dataclasses.replace(stage, schedule=schedule)),
        optimizer=optimizer,
        momentum=momentum,
        nesterov=plan.nesterov and momentum > 0,
    )
