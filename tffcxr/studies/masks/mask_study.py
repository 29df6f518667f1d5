"""A segmentation study: one model of one region in radiographs, across all clients.

clients' records → shards with masks → network → federated training, pooled baseline → masks, report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from tffcxr import run_tables
from tffcxr.clients.augment import ImageAugmentation
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.sampling import Sampler
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore
from tffcxr.evaluation import mask_rows, registry
from tffcxr.evaluation.result_rows import EXTERNAL
from tffcxr.files import write_json
from tffcxr.models import segmentation_losses
from tffcxr.models.files import export
from tffcxr.report.kinds import masks_kind
from tffcxr.studies import external as external_lib
from tffcxr.studies import mask_cases, mean_columns, parameters, trainings
from tffcxr.studies import study as study_lib
from tffcxr.studies.masks import mask_subgroups
from tffcxr.training.evaluators import mask_validation, region_validation
from tffcxr.training.evaluators.mask_validation import ImageLoss, MaskEvaluator, MaskScores
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory

LOSS = segmentation_losses.batch_loss


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A network, how it is trained, and how it is measured.

    Attributes:
      plan: how it is trained; everything is shared.
      image_loss: of each image, from the logits of the plan's measuring model.
      batch_size: images per step, if the network decides that; otherwise None.
      augmentation: of training images, if the network has its own; otherwise None.
      derived: for `config.json`: what was chosen where the flags leave it open.
      files: name to JSON values, to be written into the run's folder.
    """

    plan: Plan
    image_loss: ImageLoss = segmentation_losses.bce_dice
    batch_size: int | None = None
    augmentation: ImageAugmentation | None = None
    derived: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Result(mask_cases.Masks):
    """One trained model and what it does with the test images after the reported round.

    Attributes:
      rounds: what `metrics.json` says of its rounds.
      last: the scores after the last round.
    """

    rounds: Mapping[str, Any]
    last: MaskScores


@dataclasses.dataclass(frozen=True)
class _Begun:
    """A study whose images are prepared.

    Attributes:
      segmenter: its network.
      model: measures it.
      evaluator: of the images that are measured after a round.
      setup: of the federated training.
      external: the images of external sites, if there are any.
    """

    segmenter: Segmenter
    model: tf.keras.Model
    evaluator: MaskEvaluator
    setup: trainings.Training
    external: ClientData | None


@dataclasses.dataclass(frozen=True)
class MaskStudy(study_lib.Study):
    """One run of a segmentation recipe; its records have masks.

    Attributes:
      region: what is segmented, such as "Lungs".
      segmenter: makes the network and its plan, from the images that clients have.
      with_pooled: whether a model is also trained on pooled images.
      pooled_epochs: of the pooled model, each a round; None for those of the federated one.
      may_be_absent: whether images may be free of the region; then a column of its name marks them
        in the records. Jaccard and Dice use only the images with the region.
    """

    kind = masks_kind.KIND.name
    has_labels = False
    region: str
    segmenter: Callable[[ShardStore], Segmenter]
    with_pooled: bool
    pooled_epochs: int | None = None
    may_be_absent: bool = False

    def _run(self, directory: RunDirectory, sampler: Sampler) -> list[study_lib.Row]:
        begun = self._begin(directory, sampler)
        segmenter, setup, evaluator = begun.segmenter, begun.setup, begun.evaluator
        trained = {trainings.FEDERATED: trainings.train_federated(setup)}
        if self.with_pooled:
            pooled = setup
            if self.pooled_epochs:
                pooled = dataclasses.replace(setup, plan=setup.plan.in_epochs(self.pooled_epochs))
            clients = setup.data.store.client_ids
            trained.update(trainings.train_baselines(pooled, {trainings.POOLED: clients}))
        results = self._measure(self._of_region(evaluator.on("test")), trained)
        _write_masks(directory.path, self.region, results)
        mask_subgroups.write(directory.path, self, segmenter.plan.model.network, results)
        shown = self._shown(results[0].scores)
        mask_cases.write(directory.path, self, evaluator.segment, results, shown)
        self._save_models(directory.path, begun, trained)
        network = segmenter.plan.model.network
        own = [self._row(network, result) for result in results]
        return own + self._rows_elsewhere(network, begun, trained)

    def _coordinate(self, directory: RunDirectory, sampler: Sampler) -> None:
        begun = self._begin(directory, sampler)
        trained = {trainings.FEDERATED: trainings.train_federated(begun.setup)}
        self._save_models(directory.path, begun, trained)

    def _begin(self, directory: RunDirectory, sampler: Sampler) -> _Begun:
        """Prepares the images and the network, and chooses where rounds run."""
        settings = self.settings
        spec = ShardSpec(settings.image_size, (), settings.fit, with_mask=True)
        store, external = self._open_shards(spec), external_lib.open_shards(self, spec)
        segmenter = self.segmenter(store)
        derived = {
            **segmenter.derived,
            "early_stopping": segmenter.plan.patience,
            "parameters": parameters.trainable([segmenter.plan]),
        }
        fingerprint = external_lib.fingerprint(store, external)
        self._start(directory, store, self._count_regions, derived, fingerprint)
        for name, content in segmenter.files.items():
            write_json(directory.path / name, content)
        data = self._client_data(
            store, augmentation=segmenter.augmentation, batch_size=segmenter.batch_size
        )
        # In float32, whatever it is trained in: what is measured is what is exported.
        model = segmenter.plan.model.measuring_model().keras
        split, loss = settings.measured_split, segmenter.image_loss
        evaluator = MaskEvaluator(model, data, self.region, loss, split)
        setup = trainings.Training(
            directory,
            segmenter.plan,
            data,
            self._of_region(evaluator),
            split,
            sampler,
            best=self.best_by(registry.JACCARD),
            by_client=[metric.column(self.region) for metric in registry.MEANS_OF_CLIENTS],
            histograms=settings.histograms,
            federation=settings.federation,
            attackers=self.attackers,
        )
        elsewhere = None
        if external is not None:
            elsewhere = self._client_data(external, batch_size=segmenter.batch_size)
        return _Begun(segmenter, model, evaluator, setup, elsewhere)

    def _count_regions(self, client: str) -> dict[str, int]:
        """How many of a client's training images have the region, if some have not."""
        if not self.may_be_absent or client not in self.clients.records:
            return {}
        records = self.clients.records[client]
        present = records.loc[records["split"] == "train", self.region] == 1
        return {
            f"train: {self.region}": int(present.sum()),
            f"train: no {self.region}": int((~present).sum()),
        }

    def _of_region(
        self, evaluator: MaskEvaluator
    ) -> MaskEvaluator | region_validation.RegionEvaluator:
        if self.may_be_absent:
            return region_validation.RegionEvaluator(evaluator, self.region)
        return evaluator

    def _shown(self, scores: MaskScores) -> list[mask_cases.Chosen]:
        """The images for the report: by their Jaccard, and the one with most marked in error."""
        known = np.flatnonzero(~np.isnan(scores.jaccard))
        chosen = [
            mask_cases.Chosen(int(known[place]), self.region, kind)
            for place, kind in mask_cases.choose(scores.jaccard[known])
        ]
        in_error = np.where(np.isnan(scores.jaccard), scores.predicted_area, 0.0)
        if in_error.any():
            place = int(in_error.argmax())
            chosen.append(mask_cases.Chosen(place, self.region, "marked in error"))
        return chosen

    def _row(self, network: str, result: _Result) -> study_lib.Row:
        """One row of `metrics.json`, on test images."""
        patients = self.patients(result.scores)
        return {
            **self._measured(network, result.training, "test", result.scores, patients),
            **result.rounds,
            "last_dice": mask_validation.mean_of_known(result.last.dice),
            **mean_columns.of(
                self.settings, "last_jaccard", result.last.jaccard, patients, may_lack=True
            ),
        }

    def _rows_elsewhere(
        self, network: str, begun: _Begun, trained: Mapping[str, trainings.Trained]
    ) -> list[study_lib.Row]:
        """Rows of `metrics.json` on the images of external sites."""
        if begun.external is None:
            return []
        evaluator = self._of_region(begun.evaluator.on("test", begun.external))
        rows = []
        for training, found in trained.items():
            weights = next(iter(found.reported.values()))  # Everything is shared.
            for site in begun.external.store.client_ids:
                scores = evaluator.score(weights, site)
                patients = external_lib.patients(self, site, scores.rows)
                rows.append(
                    {
                        **self._measured(network, training, EXTERNAL, scores, patients),
                        **self.about_rounds(registry.JACCARD, found),
                        "task": f"{self.region} at {site}",
                        "client": site,
                    }
                )
        return rows

    def _measured(
        self, network: str, training: str, split: str, scores: MaskScores, patients: np.ndarray
    ) -> study_lib.Row:
        """What a row of `metrics.json` says of some images."""
        options: Any = {"replicates": self.settings.replicates, "seed": self.settings.seed}
        areas = scores.truth_area, scores.predicted_area
        return {
            "task": self.region,
            "model": network,
            "training": training,
            "split": split,
            **(mask_rows.detection(*areas, patients, **options) if self.may_be_absent else {}),
            **mean_columns.of(self.settings, "loss", scores.loss, patients),
            **mask_rows.measured(scores.jaccard, scores.dice, patients, **options),
        }

    def _measure(
        self,
        evaluator: MaskEvaluator | region_validation.RegionEvaluator,
        trained: Mapping[str, trainings.Trained],
    ) -> list[_Result]:
        results = []
        for training, found in trained.items():
            scores = last = mask_cases.score_clients(evaluator, found.reported)
            if found.round < found.rounds:
                last = mask_cases.score_clients(evaluator, found.last)
            rounds = self.about_rounds(registry.JACCARD, found)
            results.append(_Result(training, found.reported, scores, rounds, last))
        return results

    def _save_models(
        self,
        directory: pathlib.Path,
        begun: _Begun,
        trained: Mapping[str, trainings.Trained],
    ) -> None:
        """Writes every training's reported weights, and the federated model for other programs."""
        (directory / "models").mkdir(exist_ok=True)
        plan, model = begun.segmenter.plan, begun.model
        network = plan.model.structure().keras
        weights = {name: next(iter(found.reported.values())) for name, found in trained.items()}
        for name, of_training in weights.items():
            trainings.save_weights(network, of_training, directory / "models" / f"{name}.h5")
        model.set_weights(weights[trainings.FEDERATED])
        network_name = plan.model.network
        about = self.about_model((self.region,), network_name, 1, threshold=0.5)
        likeness = self.likeness(begun.setup.data)
        exported = export.Exported(export.with_probabilities(model, "sigmoid"), about, likeness)
        export.save(directory / "models" / "segmentation.keras", exported)


def _write_masks(directory: pathlib.Path, region: str, results: Sequence[_Result]) -> None:
    """Writes `masks.csv`: a row per model and test image, without any patient's id."""
    parts = [
        pd.DataFrame(
            {
                "task": region,
                "training": result.training,
                "client": result.scores.clients,
                "row": result.scores.rows,
                "loss": result.scores.loss,
                "jaccard": result.scores.jaccard,
                "dice": result.scores.dice,
                "truth_area": result.scores.truth_area,
                "predicted_area": result.scores.predicted_area,
            }
        )
        for result in results
    ]
    run_tables.MASKS.write(directory, pd.concat(parts, ignore_index=True))
