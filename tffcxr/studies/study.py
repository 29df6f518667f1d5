"""The steps that every study takes from its clients' records to its report; each kind adds its own.

clients' records → shards → federated training, baselines → scores → tables, figures, report
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
import sys
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from tffcxr import options, runtime
from tffcxr.clients import augment
from tffcxr.clients.augment import ImageAugmentation
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.external_sites import ExternalSites
from tffcxr.clients.sampling import Sampler, parse_clients_per_round
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore, prepare
from tffcxr.clients.shards.shard_store import MANIFEST
from tffcxr.clients.sites import ClientRecords
from tffcxr.datasets.imaging import images
from tffcxr.datasets.imaging.likeness import Likeness
from tffcxr.errors import InputError
from tffcxr.evaluation import comparisons, registry, result_rows
from tffcxr.hospitals.coordinator import Coordinator
from tffcxr.hospitals.member import Member
from tffcxr.learning.robust_aggregators import RobustFactory
from tffcxr.models.files.metadata import Metadata
from tffcxr.report import run_report
from tffcxr.studies import external as external_lib
from tffcxr.studies import hostile_clients, told_clients, training_images
from tffcxr.studies.trainings import Federation, Trained
from tffcxr.training import resources
from tffcxr.training.attack import Attack, Attackers
from tffcxr.training.run_directory import RunDirectory

Row = dict[str, Any]  # Of `metrics.json`.
# Computed and digital radiography, and radiographs on other receptors.
RADIOGRAPHS = ("CR", "DX", "RG")


class Scored(Protocol):
    """Images with scores; `Scores` and `MaskScores` are such.

    Attributes:
      rows: int64 [N], the image's position in its client's records table.
      clients: object [N], the client that holds the image.
    """

    @property
    def rows(self) -> np.ndarray:
        """See the class."""

    @property
    def clients(self) -> np.ndarray:
        """See the class."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a run, for every kind of study.

    Attributes:
      recipe: the program's name.
      image_size: height and width in pixels.
      batch_size: images per step.
      cache_dir: for the shards.
      measured_split: "validation" or "test", the images that models are measured on after a round.
      report_round: one of `options.REPORT_ROUNDS`: which round's weights are reported; the best one
        is chosen on the measured images.
      calibration: one of `options.CALIBRATIONS`, of findings and classes: how scores are scaled
        on validation images; "none" where there are none.
      fit: one of `options.FITS`, for images that are not square.
      augmentation: of the training images, and of their masks: one of `options.AUGMENTATIONS`.
      clients_per_round: "all", a count or a fraction, see `sampling.parse_clients_per_round`.
      seed: of everything random.
      executor: one of `options.EXECUTORS`.
      engine: where clients' parts of a round are computed.
      federation: this program's side of a run over hospitals, see `trainings.Training`.
      width: of the networks, see `ModelSpec`.
      max_rejected_fraction: maximum fraction of unreadable files per client.
      replicates: of the bootstrap.
      histograms: whether TensorBoard gets the weights.
      phantoms: whether all images are phantoms.
      attack: that is rehearsed; None for none.
      hostile_proof: the aggregator, if it is one that needs a number of clients; otherwise None.
    """

    recipe: str
    image_size: int
    batch_size: int
    cache_dir: pathlib.Path
    measured_split: str = "validation"
    report_round: options.ReportRound = "last"
    calibration: options.Calibration = "none"
    fit: str = "pad"
    augmentation: str = "none"
    clients_per_round: str = "all"
    seed: int = 0
    executor: str = "device"
    engine: runtime.EngineSettings = runtime.EngineSettings()
    federation: Federation = None
    width: float = 1.0
    max_rejected_fraction: float = 0.0
    replicates: int = 1000
    histograms: bool = False
    phantoms: bool = False
    attack: Attack | None = None
    hostile_proof: RobustFactory | None = None


@dataclasses.dataclass(frozen=True)
class Study(abc.ABC):
    """One run of a recipe, from its clients' records to its report.

    Attributes:
      settings: the settings of every kind.
      clients: who holds what; the records have a "split" column.
      external: sites that are measured at the end, and used for nothing else; or None.
      kind: what is asked, a name in `tffcxr.report.kinds.kinds`; stands in `config.json`.
      has_classes: whether the labels are classes, of which each image has one.
      has_labels: whether images have labels, not only masks.
    """

    settings: Settings
    clients: ClientRecords
    external: ExternalSites | None = dataclasses.field(default=None, kw_only=True)
    kind: ClassVar[str]
    has_classes: ClassVar[bool] = False
    has_labels: ClassVar[bool] = True

    def run(self, directory: RunDirectory) -> list[Row]:
        """Does everything that is not done yet.

        Returns:
          The rows of `metrics.json`.

        Raises:
          InputError: unusable images, masks or models.
          loop.TrainingFailed: training broke off.
        """
        sampler = self._sampler()  # Checked before images are decoded, and so is who attacks.
        hostile_clients.check(self, sampler.count)
        federation = self.settings.federation
        with resources.recorded(directory.path):
            if isinstance(federation, Coordinator):
                self._coordinate(directory, sampler)
                rows = federation.result_rows()
            else:
                rows = external_lib.without_known(self)._run(directory, sampler)
        own, others = result_rows.divide(rows)
        rows = [*comparisons.adjusted(own), *comparisons.adjusted(others)]
        result_rows.write_metrics(directory.path, self.settings.recipe, self.kind, rows)
        run_report.write_report(directory.path)
        if isinstance(federation, Member):
            federation.results(rows)
        return rows

    def _coordinate(self, directory: RunDirectory, sampler: Sampler) -> None:
        """Trains over hospitals, which measure and report themselves.

        Raises:
          InputError: this kind of study cannot be trained over hospitals.
        """
        raise InputError(f"--engine=hospitals: expected another recipe than {self.settings.recipe}")

    @abc.abstractmethod
    def _run(self, directory: RunDirectory, sampler: Sampler) -> list[Row]:
        """Prepares the images, calls `_start`, trains, measures and writes."""

    @property
    def attackers(self) -> Attackers | None:
        """Who attacks, as a rehearsal; None for nobody.

        Raises:
          InputError: see `hostile_clients.attackers`.
        """
        return hostile_clients.attackers(self)

    @property
    def interval(self) -> str:
        """What the intervals of `metrics.json` are."""
        return (
            f"95 % percentile interval, {self.settings.replicates} bootstrap replicates of patients"
        )

    def best_by(self, metric: registry.Metric) -> registry.Metric | None:
        """What trainings choose their best round by; None if the last one is reported."""
        return metric if self.settings.report_round == "best" else None

    def about_rounds(self, metric: registry.Metric, trained: Trained) -> dict[str, Any]:
        """What a row of `metrics.json` says of the rounds of its training.

        Args:
          metric: as in `best_by`.
          trained: the training.
        """
        chosen = "the last round"
        if self.settings.report_round == "best" and not trained.is_chosen:
            chosen = f"the last round, since no round has a known {metric.progress}"
        elif self.settings.report_round == "best":
            size = "smallest" if metric.better == registry.LOWER else "largest"
            chosen = f"{size} {metric.progress} on the {self.settings.measured_split} images"
            if self.settings.federation is not None:
                chosen += " of all hospitals"
        return {
            "report_round": self.settings.report_round,
            "chosen": chosen,
            **trained.about_rounds(),
        }

    def about_model(
        self, outputs: Sequence[str], network: str, number: int, **others: Any
    ) -> Metadata:
        """What is to be known of a model that the study exports.

        Args:
          outputs: see `Metadata`, like the others.
          network: its architecture.
          number: its place among the models of the run.
          **others: what else `Metadata` has.
        """
        settings = self.settings
        return Metadata(
            kind=self.kind,
            outputs=tuple(outputs),
            image_size=settings.image_size,
            fit=settings.fit,
            recipe=settings.recipe,
            network=network,
            phantoms=settings.phantoms,
            number=number,
            trained_on=self._trained_on(),
            **others,
        )

    def _trained_on(self) -> dict[str, Any]:
        """See `Metadata`."""
        counts: dict[str, int] = {}
        views: set[str] = set()
        for client, records in self.clients.records.items():
            source = self.clients.source_of[self.clients.site_of[client]]
            trained = records[records["split"] == "train"]
            counts[source] = counts.get(source, 0) + len(trained)
            views |= set(trained["view"].dropna())
        return {
            "sources": counts,
            "modalities": list(self.modalities),
            "views": sorted(views),
            "elsewhere": self.settings.federation is not None,
            "attack": self.settings.attack.kind if self.settings.attack else "none",
        }

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the images are, as DICOM says it."""
        return RADIOGRAPHS

    def likeness(self, data: ClientData) -> Likeness | None:
        """The statistics of the training images that are here; None if they are too few."""
        if isinstance(self.settings.federation, Coordinator):
            return None
        return training_images.measure(self.clients, data)

    def patients(self, scored: Scored) -> np.ndarray:
        """The patient of each image, distinct from those of other sites: object [N]."""
        records, site_of = self.clients.records, self.clients.site_of
        return np.array(
            [
                f"{site_of[client]}/{records[client]['patient'].iat[row]}"
                for client, row in zip(scored.clients, scored.rows)
            ],
            dtype=object,
        )

    def read_picture(self, path: str) -> np.ndarray:
        """An image of a records table as models get it: uint8 [S, S, C]."""
        size, fit = self.settings.image_size, self.settings.fit
        return images.fit_to_square(images.read_image(path), size, fit=fit)

    def read_region(self, annotation: Any) -> np.ndarray | None:
        """An annotation of an image as models get it: bool [S, S]; None where there is none."""
        if annotation is None:
            return None
        size, fit = self.settings.image_size, self.settings.fit
        mask = images.fit_to_square(annotation.to_array(), size, fit=fit, is_mask=True)
        return mask.astype(bool)

    def _sampler(self) -> Sampler:
        chosen = parse_clients_per_round(self.settings.clients_per_round)
        if isinstance(self.settings.federation, Member):
            chosen = None  # The coordinator chooses among the clients of all hospitals.
        return Sampler(tuple(sorted(self.clients.site_of)), chosen, self.settings.seed)

    def _open_shards(
        self, spec: ShardSpec, records: Mapping[str, pd.DataFrame] | None = None
    ) -> ShardStore:
        """Decodes all images once, or finds them decoded, and checks the files.

        Args:
          spec: what the shards hold.
          records: of the clients, if they are not those of the study.

        Raises:
          InputError: see `tffcxr.clients.shards.preparation.prepare`; a file was damaged since.
        """
        if isinstance(self.settings.federation, Coordinator):
            return self.settings.federation.store(spec)
        store = prepare(
            self.clients.records if records is None else records,
            spec,
            self.settings.cache_dir,
            max_rejected_fraction=self.settings.max_rejected_fraction,
        )
        store.verify()
        return store

    def _client_data(
        self,
        store: ShardStore,
        balance_classes: bool = False,
        augmentation: ImageAugmentation | None = None,
        batch_size: int | None = None,
    ) -> ClientData:
        """The images as clients train on them; arguments of None take the settings' values."""
        return ClientData(
            store,
            batch_size or self.settings.batch_size,
            self.settings.seed,
            augmentation or augment.BY_NAME[self.settings.augmentation],
            balance_classes,
        )

    def _start(
        self,
        directory: RunDirectory,
        store: ShardStore,
        about: Callable[[str], Mapping[str, Any]],
        derived: Mapping[str, Any],
        fingerprint: str | None = None,
    ) -> None:
        """Records the data in `config.json`, and chooses where rounds run.

        Args:
          directory: the run's.
          store: has the clients' images.
          about: what only this kind of study reports of a client.
          derived: values that were chosen where the settings leave them open.
          fingerprint: of the shards, if there are several stores.
        """
        directory.record_data(
            fingerprint or store.root.name,
            told_clients.describe(self.clients, store, about),
            {
                "measured_split": self.settings.measured_split,
                "report_round": self.settings.report_round,
                "calibration": self.settings.calibration,
                "width": self.settings.width,
                **external_lib.about(self),
                **derived,
            },
            kind=self.kind,
        )
        records = {**self.clients.records, **external_lib.tables_of_images(self)}
        told_clients.write_images(directory.path, records)
        shards = [path for client in store.client_ids for path in store.files(client, "train")]
        federation = self.settings.federation
        where = runtime.use(
            self.settings.executor,
            self.settings.engine,
            log_file=directory.path / "worker.log",
            shared_files=[str(store.root / MANIFEST), *shards],
            elsewhere=federation.parts if isinstance(federation, Coordinator) else None,
        )
        print(where, file=sys.stderr)
        if isinstance(federation, Member):
            federation.check_images({c: store.count(c, "train") for c in store.client_ids})
            federation.register({c: of["splits"] for c, of in store.manifest["clients"].items()})
