"""A study of mutually exclusive classes: several models, on full images or on the lungs alone.

clients' records → lungs → shards → federated training of every variant → tables, heat maps, report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import pathlib
import sys
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from tffcxr.clients.client_data import ClientData
from tffcxr.clients.external_sites import ExternalSites
from tffcxr.clients.sampling import Sampler
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore
from tffcxr.datasets.imaging.likeness import Likeness
from tffcxr.errors import InputError
from tffcxr.evaluation import calibration, registry
from tffcxr.models import losses
from tffcxr.models.blocks import CxrModel
from tffcxr.report.kinds import classes_kind
from tffcxr.studies import external as external_lib
from tffcxr.studies import heat_tables, parameters, predicted_lungs, trainings
from tffcxr.studies import study as study_lib
from tffcxr.studies.classes import (
    class_backdoor,
    class_explanations,
    class_heat,
    class_results,
    class_scores,
    class_subgroups,
)
from tffcxr.studies.classes.variants import SEGMENTED, TRAININGS, Result, Variant
from tffcxr.training.evaluators.class_validation import ClassEvaluator
from tffcxr.training.evaluators.validation import Scorer
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory

LOSS = losses.class_batch_loss


@dataclasses.dataclass(frozen=True)
class ClassStudy(study_lib.Study):
    """One run of a recipe of classes; its records have a column per class.

    Attributes:
      task: name of the task in tables.
      classes: their names, in the order of the outputs.
      variants: what is compared, in order.
      plans: how each network is trained, by its name and one of `TRAININGS`: across the clients, or
        on pooled images. A missing pair is not trained. Each network has at least one plan, and at
        least one network is trained across the clients. Everything is shared.
      with_train_scores: whether the training images are also measured at the end.
      explained: the classes whose images are explained.
      explanation: "gradcam" or "gradcam++".
      heatmaps: test images to explain, of each of these classes.
      class_balance: "none", "weights" (of the loss, from the images of all clients) or "sampling"
        (of the images of each client).
      segmentation_model: what `predicted_lungs.segment` takes, or None for outlines that come with
        the data.
    """

    kind = classes_kind.KIND.name
    has_classes = True
    task: str
    classes: tuple[str, ...]
    variants: tuple[Variant, ...]
    plans: Mapping[tuple[str, str], Plan]
    explained: tuple[str, ...]
    heatmaps: int
    explanation: str = "gradcam"
    class_balance: str = "none"
    with_train_scores: bool = False
    segmentation_model: str | None = None
    heat_metrics: bool = False

    def plans_of(self, variant: Variant) -> dict[str, Plan]:
        """How a variant is trained, by training."""
        return {
            training: self.plans[variant.model, training]
            for training in TRAININGS
            if (variant.model, training) in self.plans
        }

    def trained(self, training: str) -> list[Variant]:
        """The variants that are trained in a way, in order."""
        return [variant for variant in self.variants if training in self.plans_of(variant)]

    def _run(self, directory: RunDirectory, sampler: Sampler) -> list[study_lib.Row]:
        outlined = self.clients.records
        records, about_lungs = self._with_lungs(directory.path)
        clients = self.clients.with_records(records)
        study = dataclasses.replace(self, clients=clients, external=self._external_with_lungs())
        return study._run_on_lungs(directory, sampler, outlined, about_lungs)

    def _run_on_lungs(
        self,
        directory: RunDirectory,
        sampler: Sampler,
        outlined: Mapping[str, pd.DataFrame],
        about_lungs: dict[str, Any] | None,
    ) -> list[study_lib.Row]:
        """The steps after the lungs are known, if these are needed.

        Args:
          directory: the run's.
          sampler: which clients take part in a round.
          outlined: the records with the outlines that came with the data.
          about_lungs: how cutting out went, for `config.json`.
        """
        # Of each network one model measures it and explains it.
        measuring = functools.cache(self._measuring_model)
        stores, external, weights = self._begin(directory, measuring, about_lungs)
        # `predict` cuts no lungs out, so that nothing is ever compared with such images.
        likenesses = {
            images: self.likeness(self._client_data(store))
            for images, store in stores.items()
            if images != SEGMENTED
        }
        results: list[Result] = []
        for variant in self.variants:
            images = variant.images
            model = measuring(variant.model)
            results += self._train(
                variant,
                model,
                stores[images],
                external.get(images),
                weights.get(images),
                sampler,
                directory,
                likenesses.get(images),
            )
        class_results.join_logs(directory.path, self)
        class_results.write_predictions(directory.path, self, results)
        class_subgroups.write(directory.path, self, results)
        rows = [
            row for result in results for row in class_results.rows(self, directory.path, result)
        ]
        class_explanations.write(directory.path, self, outlined, results, measuring)
        if self.heat_metrics:
            data = {images: self._client_data(store) for images, store in stores.items()}
            class_heat.write(directory.path, self, outlined, results, measuring, data)
        return rows

    def _coordinate(self, directory: RunDirectory, sampler: Sampler) -> None:
        measuring = functools.cache(self._measuring_model)
        stores, *_ = self._begin(directory, measuring, None)
        for variant in self.trained(trainings.FEDERATED):
            model = measuring(variant.model)
            data = self._client_data(stores[variant.images], self.class_balance == "sampling")
            scorer = Scorer(model.keras, data, tf.nn.log_softmax)
            plan = self.plans[variant.model, trainings.FEDERATED]
            setup = self._setup(variant, plan, scorer, data, sampler, directory)
            trained = trainings.train_federated(setup)
            class_results.save_model(
                directory.path,
                self,
                variant,
                trainings.FEDERATED,
                model,
                next(iter(trained.reported.values())),
                calibration.Scaling(),
            )
        class_results.join_logs(directory.path, self)

    def _begin(
        self,
        directory: RunDirectory,
        measuring: Callable[[str], CxrModel],
        about_lungs: dict[str, Any] | None,
    ) -> tuple[dict[str, ShardStore], dict[str, ShardStore], dict[str, tuple[float, ...]]]:
        """Prepares the images, and chooses where rounds run.

        Args:
          directory: the run's.
          measuring: see `_measuring_model`.
          about_lungs: how cutting out went, for `config.json`.

        Returns:
          By kind of images: the shards, those of external sites, and the weights of the classes,
          the latter two if there are any.
        """
        specs = {images: self._spec(images) for images in self._image_kinds}
        stores = {images: self._open_shards(spec) for images, spec in specs.items()}
        opened = {images: external_lib.open_shards(self, spec) for images, spec in specs.items()}
        external = {images: store for images, store in opened.items() if store is not None}
        weights = self._class_weights_of(stores)
        plans = {network: plan for (network, _), plan in self.plans.items()}
        derived: dict[str, Any] = {
            "lungs": about_lungs,
            "explanation": class_explanations.NAMES[self.explanation],
            "parameters": parameters.trainable(plans.values()),
            "early_stopping": trainings.setting_of(plans, "patience"),
        }
        if self.heatmaps:
            derived["heat_map_places"] = {
                variant.model: heat_tables.places_of_map(measuring(variant.model))
                for variant in self.variants
            }
        if weights:
            derived["class_weights"] = dict(zip(self.classes, next(iter(weights.values()))))
        any_store = next(iter(stores.values()))
        self._start(
            directory,
            any_store,
            functools.partial(self._class_counts, any_store),
            derived,
            external_lib.fingerprint(*stores.values(), *external.values()),
        )
        return stores, external, weights

    def _setup(
        self,
        variant: Variant,
        plan: Plan,
        scorer: Scorer,
        data: ClientData,
        sampler: Sampler,
        directory: RunDirectory,
    ) -> trainings.Training:
        split = self.settings.measured_split
        return trainings.Training(
            directory,
            plan,
            data,
            ClassEvaluator(scorer, variant.name, split),
            split,
            sampler,
            best=self.best_by(registry.ACCURACY),
            histograms=self.settings.histograms,
            variant=variant.file_name,
            federation=self.settings.federation,
            attackers=self.attackers,
        )

    @property
    def _image_kinds(self) -> list[str]:
        return list(dict.fromkeys(variant.images for variant in self.variants))

    def _with_lungs(
        self, directory: pathlib.Path
    ) -> tuple[Mapping[str, pd.DataFrame], dict[str, Any] | None]:
        """Segments the lungs of all images if needed, and returns a summary for `config.json`."""
        records = self.clients.records
        if self.segmentation_model:
            segmented = predicted_lungs.segment(
                records, self.segmentation_model, self.settings.cache_dir
            )
            predicted_lungs.write(directory, segmented)
            counts = segmented.counts
            print(
                f"lungs: plausible in {counts['plausible']} of {counts['total']} images, the "
                "others stay whole",
                file=sys.stderr,
            )
            return segmented.records, segmented.about(self.segmentation_model)
        if SEGMENTED not in self._image_kinds:
            return records, None
        without = sum(int(table["lungs"].isna().sum()) for table in records.values())
        return records, {
            "images": sum(map(len, records.values())),
            "implausible": without,
            "unreadable": 0,
            "reasons": {"the data have no outline": without} if without else {},
            "model": None,
        }

    def _external_with_lungs(self) -> ExternalSites | None:
        """The external sites; their lungs are segmented if those of the clients are."""
        if self.external is None or not self.segmentation_model:
            return self.external
        clients = self.external.clients
        segmented = predicted_lungs.segment(
            clients.records, self.segmentation_model, self.settings.cache_dir
        )
        return dataclasses.replace(self.external, clients=clients.with_records(segmented.records))

    def _spec(self, images: str) -> ShardSpec:
        settings = self.settings
        is_cut_out = images == SEGMENTED
        return ShardSpec(settings.image_size, self.classes, settings.fit, cut_out=is_cut_out)

    def _class_counts(self, store: ShardStore, client: str) -> dict[str, int]:
        """How many training images of each class a client has."""
        counts = store.label_counts(client, "train")
        return {f"train: {name}": counts[name]["present"] for name in self.classes}

    def _class_weights_of(self, stores: Mapping[str, ShardStore]) -> dict[str, tuple[float, ...]]:
        """Of each class, by kind of images, from the training images of all clients together.

        Raises:
          InputError: a class has none.
        """
        if self.class_balance != "weights":
            return {}
        weights = {}
        for images, store in stores.items():
            columns = [list(self._class_counts(store, c).values()) for c in store.client_ids]
            counts = np.sum(columns, axis=0).tolist()
            if min(counts) < 1:
                found = ", ".join(f"{n} of {name}" for name, n in zip(self.classes, counts))
                raise InputError(
                    "--class_balance=weights: expected training images of every class, found "
                    f"{found}"
                )
            weights[images] = losses.inverse_frequencies(counts)
        return weights

    def _train(
        self,
        variant: Variant,
        model: CxrModel,
        store: ShardStore,
        external: ShardStore | None,
        class_weights: Sequence[float] | None,
        sampler: Sampler,
        directory: RunDirectory,
        likeness: Likeness | None,
    ) -> list[Result]:
        """Trains one variant in each way that it has a plan for.

        Args:
          variant: which.
          model: measures it, see `_measuring_model`.
          store: the images.
          external: those of external sites, if there are any.
          class_weights: of the loss, or None.
          sampler: which clients take part in a round.
          directory: the run's.
          likeness: statistics of the training images, if there are any.
        """
        data = self._client_data(store, balance_classes=self.class_balance == "sampling")
        others = None if external is None else self._client_data(external)
        # One for all trainings, which differ only in the network's weights.
        scorer = Scorer(model.keras, data, tf.nn.log_softmax)
        results = []
        for training, plan in self.plans_of(variant).items():
            if class_weights is not None:
                loss = losses.weighted_class_batch_loss(class_weights)
                plan = dataclasses.replace(plan, loss_fn=loss)
            setup = self._setup(variant, plan, scorer, data, sampler, directory)
            if training == trainings.POOLED:
                groups = {trainings.POOLED: store.client_ids}
                found = trainings.train_baselines(setup, groups)[trainings.POOLED]
            else:
                found = trainings.train_federated(setup)
            weights = next(iter(found.reported.values()))
            scaling, scores = class_scores.score(self, scorer, found.reported)
            class_results.save_model(
                directory.path, self, variant, training, model, weights, scaling, likeness
            )
            rounds = self.about_rounds(registry.ACCURACY, found)
            test, train = scores["test"], scores.get("train")
            if training == trainings.FEDERATED:
                rounds |= class_backdoor.measured(self, scorer, data, weights, test)
            elsewhere = class_scores.score_elsewhere(scorer, others, weights, scaling)
            results.append(
                Result(variant, training, weights, rounds, scaling, test, train, elsewhere)
            )
        return results

    def _measuring_model(self, network: str) -> CxrModel:
        """The network in float32, whatever it is trained in; its weights change."""
        plan = next(plan for (name, _), plan in self.plans.items() if name == network)
        return plan.model.measuring_model()
