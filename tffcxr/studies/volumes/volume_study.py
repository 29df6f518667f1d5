"""A study of volumes: one network for nodes whose images and tasks differ.

nodes' records → shards → a federated model per variant, baselines → cases, pictures, table, report

Variants differ in what stays private at each node: nothing, batch norm, the output block, or both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.sampling import Sampler
from tffcxr.clients.shards.preparation import ShardSpec
from tffcxr.datasets.volumes.cases import MODALITIES
from tffcxr.evaluation import proportion_interval, registry
from tffcxr.evaluation.case_overlap import CaseScores
from tffcxr.models import segmentation_losses
from tffcxr.models.files import export
from tffcxr.models.spec import ModelSpec
from tffcxr.report.kinds import volumes_kind
from tffcxr.studies import (
    mask_cases,
    mean_columns,
    parameters,
    training_images,
    trainings,
    variant_logs,
)
from tffcxr.studies import study as study_lib
from tffcxr.studies.mask_cases import Masks
from tffcxr.studies.volumes import case_tables, volume_subgroups
from tffcxr.training.evaluators.case_validation import CaseEvaluator, score_cases
from tffcxr.training.evaluators.mask_validation import MaskEvaluator, MaskScores
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory

LOSS = segmentation_losses.bce_batch_loss
ALL_DOMAINS = "All domains"
# What stays at each node -> (what is averaged, batch-norm policy; None for the plan's own).
PRIVATE: Mapping[str, tuple[options.Share, options.BatchNorm | None]] = {
    "none": ("all", None),
    "norm": ("all", "local"),
    "output": ("representation", None),
    "both": ("representation", "local"),
}


@dataclasses.dataclass(frozen=True)
class VolumeStudy(study_lib.Study):
    """One run of a recipe whose nodes have tasks of their own; its records are slices with masks.

    Attributes:
      task_of: client id to its task, such as "Kidneys in CT".
      group_of: site to what it has in common with the sites that share its patients.
      plan: how the network is trained where nothing is private; its model is a `ModelSpec`.
      private: some of `PRIVATE`, a federated model for each.
      baselines: some of "site" and "pooled".
      shown_channel: the channel of the images that pictures show.
      with_boxes: whether pictures show the boxes around what is marked.
      stratum_of: "site/patient" to the patient's stratum, such as the tumour's grade, where known.
      files_of: "site/patient" to the files and folders that the case was read from.
      slices_of: client id to what its slices are, see `SliceSpec.describe`.
    """

    kind = volumes_kind.KIND.name
    has_labels = False
    task_of: Mapping[str, str]
    group_of: Mapping[str, str]
    plan: Plan
    private: tuple[str, ...]
    baselines: tuple[str, ...]
    shown_channel: int = 0
    with_boxes: bool = False
    stratum_of: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files_of: Mapping[str, tuple[pathlib.Path, ...]] = dataclasses.field(default_factory=dict)
    slices_of: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in the order of the clients."""
        return tuple(dict.fromkeys(self.task_of[client] for client in sorted(self.task_of)))

    @property
    def spec(self) -> ModelSpec:
        """Of the network.

        Raises:
          TypeError: the plan is of another model.
        """
        if not isinstance(self.plan.model, ModelSpec):
            raise TypeError(f"expected a plan of a ModelSpec, found {self.plan.model!r}")
        return self.plan.model

    def people(self, cases: Sequence[str]) -> np.ndarray:
        """The patient of each case, the same for the sites that share patients: object [M].

        Args:
          cases: of `patients`, "site/patient".
        """
        parts = [str(case).partition("/") for case in cases]
        return np.array([f"{self.group_of[site]}/{patient}" for site, _, patient in parts], object)

    @property
    def modalities(self) -> tuple[str, ...]:
        """See `Study`."""
        kinds = {
            channel["kind"] for slices in self.slices_of.values() for channel in slices["channels"]
        }
        return tuple(sorted(MODALITIES[kind] for kind in kinds))

    def _run(self, directory: RunDirectory, sampler: Sampler) -> list[study_lib.Row]:
        settings = self.settings
        channels = self.spec.channels
        store = self._open_shards(
            ShardSpec(settings.image_size, (), settings.fit, with_mask=True, channels=channels)
        )
        self._start(
            directory,
            store,
            lambda client: {"task": self.task_of[client]},
            {
                "loss": "Binary cross-entropy",
                "early_stopping": self.plan.patience,
                "parameters": parameters.trainable([self.plan]),
            },
        )
        data = self._client_data(store)
        model = self.spec.measuring_model().keras
        slices = MaskEvaluator(model, data, "", segmentation_losses.bce, settings.measured_split)
        setup = trainings.Training(
            directory,
            self.plan,
            data,
            CaseEvaluator(slices, self.task_of, self.patients),
            settings.measured_split,
            sampler,
            best=self.best_by(registry.DICE),
            histograms=settings.histograms,
            attackers=self.attackers,
        )
        trained = {}
        for private in self.private:
            found = trainings.train_federated(self._variant(setup, slices, private))
            trained[training_name(private)] = dict.fromkeys(self.clients.records, found)
        files = {_file_name(private): training_name(private) for private in self.private}
        variant_logs.write_rounds(directory.path, files)
        variant_logs.write_clients(directory.path, files)
        trained.update(self._train_baselines(setup))
        results = _measure(slices.on("test"), trained)
        rounds = {
            training: {
                client: self.about_rounds(registry.DICE, found) for client, found in of.items()
            }
            for training, of in trained.items()
        }
        self._save_models(directory.path, model, results, data)
        case_tables.write(directory.path, self, results)
        volume_subgroups.write(directory.path, self, results)
        self._write_pictures(directory.path, slices.segment, results)
        return self._rows(results, rounds)

    def _variant(
        self, setup: trainings.Training, slices: MaskEvaluator, private: str
    ) -> trainings.Training:
        """The training of one federated model; its metrics carry its name if there are several."""
        share, batch_norm = PRIVATE[private]
        plan = dataclasses.replace(self.plan, share=share)
        if batch_norm is not None:
            model = dataclasses.replace(self.spec, batch_norm=batch_norm)
            plan = dataclasses.replace(plan, model=model)
        task_of = self.task_of
        if private != self.private[0]:
            task_of = {client: f"{task}, private {private}" for client, task in task_of.items()}
        return dataclasses.replace(
            setup,
            plan=plan,
            evaluator=CaseEvaluator(slices, task_of, self.patients),
            variant=_file_name(private),
        )

    def _train_baselines(
        self, setup: trainings.Training
    ) -> dict[str, dict[str, trainings.Trained]]:
        """Trains a model per site, one for all, or both, by training and client."""
        clients = sorted(self.clients.records)
        sites = sorted(set(self.clients.site_of.values()))
        groups: dict[str, list[str]] = {}
        if trainings.SITE in self.baselines:
            groups = {trainings.site_name(site): self.clients.clients_of(site) for site in sites}
        if trainings.POOLED in self.baselines:
            groups[trainings.POOLED] = clients
        found = trainings.train_baselines(setup, groups)
        by_client: dict[str, dict[str, trainings.Trained]] = {name: {} for name in self.baselines}
        for name, trained in found.items():
            training = name if name == trainings.POOLED else trainings.SITE
            by_client[training].update(dict.fromkeys(trained.reported, trained))
        return by_client

    def _rows(
        self, results: Sequence[Masks], rounds: Mapping[str, Mapping[str, Mapping[str, Any]]]
    ) -> list[study_lib.Row]:
        """The rows of `metrics.json`: a row per model and task, and one of all tasks together.

        Args:
          results: of all trainings.
          rounds: by training and client: what the rows say of its rounds. A row of several models
            leaves out what these do not agree on.
        """
        tasks = [*self.tasks, *([ALL_DOMAINS] if len(self.tasks) > 1 else [])]
        rows = []
        for task in tasks:
            reference = None
            for result in results:
                scores = self.of_task(result.scores, task)
                found = score_cases(scores, self.patients)
                row = self._row(task, result.training, scores, found, reference)
                about = [rounds[result.training][client] for client in sorted(set(scores.clients))]
                # The first federated model is what the others are compared with.
                rows.append({**row, **dict(set.intersection(*(set(a.items()) for a in about)))})
                reference = reference or found
        return rows

    def _row(
        self,
        task: str,
        training: str,
        scores: MaskScores,
        found: CaseScores,
        reference: CaseScores | None,
    ) -> study_lib.Row:
        people, settings = self.people(found.cases), self.settings
        row: study_lib.Row = {
            "task": task,
            "model": self.spec.network,
            "training": training,
            "split": "test",
            "images": len(scores.rows),
            "cases": len(found.cases),
            "patients": len(set(people)),
            "interval": self.interval,
            "proportion_interval": proportion_interval.method(people, settings.replicates),
            **mean_columns.of(
                self.settings, "loss", scores.loss, self.people(self.patients(scores))
            ),
            **self._missed(found, people),
        }
        if any(case in self.stratum_of for case in found.cases):
            row["strata"] = self._by_stratum(found)
        values = {
            "overlap": found.overlap,
            "boundary_overlap": found.boundary_overlap,
            "dice": found.dice,
        }
        if reference is not None:
            values["dice_difference"] = found.dice - reference.dice
        for name, by_case in values.items():
            row.update(mean_columns.of(self.settings, name, by_case, people, may_lack=True))
        return row

    def _missed(self, found: CaseScores, people: np.ndarray) -> study_lib.Row:
        """How many cases are missed; its interval is of as many cases with the region."""
        settings, with_region = self.settings, ~np.isnan(found.overlap)
        count = int(with_region.sum())
        share = proportion_interval.proportion_interval(
            found.missed[with_region], people[with_region], settings.replicates, seed=settings.seed
        )
        return {
            "missed": int(found.missed.sum()),
            "missed_low": share.low * count,
            "missed_high": share.high * count,
        }

    def _by_stratum(self, found: CaseScores) -> dict[str, Any]:
        """What is found in the cases of each stratum, by its name."""
        strata = np.array([self.stratum_of.get(case, "") for case in found.cases])
        by_stratum = {}
        for name in sorted(set(strata) - {""}):
            mine = strata == name
            by_stratum[name] = {
                "cases": int(mine.sum()),
                "dice": float(found.dice[mine].mean()),
                "missed": int(found.missed[mine].sum()),
            }
        return by_stratum

    def of_task(self, scores: MaskScores, task: str) -> MaskScores:
        """The scores of the images of one task, or of all domains."""
        if task == ALL_DOMAINS:
            return scores
        mine = np.array([self.task_of[client] == task for client in scores.clients], bool)
        fields = dataclasses.fields(scores)
        return MaskScores(*(getattr(scores, field.name)[mine] for field in fields))

    def _save_models(
        self,
        directory: pathlib.Path,
        model: tf.keras.Model,
        results: Sequence[Masks],
        data: ClientData,
    ) -> None:
        """Writes the weights of every training, and exports the federated models.

        That is one file of each, or one per client if they differ.
        """
        (directory / "models").mkdir(exist_ok=True)
        numbers = {training_name(private): n for n, private in enumerate(self.private, start=1)}
        probabilities = export.with_probabilities(model, "sigmoid")
        measured = training_images.measure_slices(self.clients, data)
        for result in results:
            is_shared = result.training in (trainings.FEDERATED, trainings.POOLED)
            clients = sorted(result.weights)
            for client in clients[:1] if is_shared else clients:
                name = result.training if is_shared else f"{result.training}_{client}"
                path = directory / "models" / f"{name}.h5"
                trainings.save_weights(model, result.weights[client], path)
                if result.training not in numbers:
                    continue
                users = clients if is_shared else [client]
                about = self.about_model(
                    (" or ".join(dict.fromkeys(self.task_of[user] for user in users)),),
                    self.spec.network,
                    numbers[result.training],
                    channels=self.spec.channels,
                    training=result.training,
                    pixels="float32 [B, S, S, C] in 0..1, slices as `slices` says",
                    threshold=0.5,
                    slices={user: dict(self.slices_of.get(user, {})) for user in users},
                )
                likeness = {user: measured[user] for user in users if user in measured}
                exported = export.Exported(probabilities, about, slice_likeness=likeness)
                export.save(path.with_suffix(".keras"), exported)

    def _write_pictures(
        self, directory: pathlib.Path, segment: mask_cases.Segment, results: Sequence[Masks]
    ) -> None:
        """Writes a few cases of each task, each by the slice with most of the region.

        They are chosen by the Dice of the first model; all models are shown on the same slices.
        """
        scores = results[0].scores
        patients = self.patients(scores)
        chosen = []
        for task in self.tasks:
            places = np.flatnonzero([self.task_of[client] == task for client in scores.clients])
            largest: dict[str, int] = {}
            for place in places.tolist():
                best = largest.setdefault(patients[place], place)
                if scores.truth_area[place] > scores.truth_area[best]:
                    largest[patients[place]] = place
            shown = np.array(sorted(largest.values()))
            chosen += [
                mask_cases.Chosen(int(shown[position]), task, kind)
                for position, kind in mask_cases.choose(scores.dice[shown])
            ]
        mask_cases.write(
            directory, self, segment, results, chosen, self.shown_channel, self.with_boxes
        )


def training_name(private: str) -> str:
    """What tables call the federated model of a variant."""
    is_paper = private == "none"
    return trainings.FEDERATED if is_paper else f"{trainings.FEDERATED}_private_{private}"


def _file_name(private: str) -> str:
    """What the names of a variant's logs have."""
    return "global" if private == "none" else f"private_{private}"


def _measure(
    evaluator: MaskEvaluator, trained: Mapping[str, Mapping[str, trainings.Trained]]
) -> list[Masks]:
    """Scores the images of every client with its model of every training."""
    results = []
    for training, by_client in trained.items():
        weights = {client: found.reported[client] for client, found in by_client.items()}
        results.append(Masks(training, weights, mask_cases.score_clients(evaluator, weights)))
    return results
