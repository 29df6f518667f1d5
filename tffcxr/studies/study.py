"""What every recipe does between its clients' records and its results: shards and trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
import sys
import tempfile
from typing import Any, Protocol

import numpy as np
import pandas as pd
import tensorflow as tf

from tffcxr import runtime
from tffcxr.clients.augment import Augmentation, ImageAugmentation
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.sampling import Sampler, parse_clients_per_round
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore, prepare
from tffcxr.clients.shards.shard_store import SPLITS
from tffcxr.files import write_atomically
from tffcxr.training import loop
from tffcxr.training.centralised import CentralisedTraining
from tffcxr.training.evaluators.validation import Evaluator
from tffcxr.training.federated import FederatedTraining
from tffcxr.training.plan import Plan
from tffcxr.training.progress import Progress
from tffcxr.training.run_directory import RunDirectory
from tffcxr.training.tensorboard import TensorBoard, name_weights

FEDERATED = "federated"
# The papers' random flip and random affine map; the ranges are ours.
AUGMENTATIONS = {
    "none": None,
    "flip": Augmentation(flip=True),
    "affine": Augmentation(
        flip=True, rotation_degrees=10.0, translation=0.05, scale=0.1, shear=5.0
    ),
}

Weights = Sequence[np.ndarray]  # In the order of `model.weights`.


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
class Study:
    """What a run of every recipe knows; each recipe's own study adds to it.

    Attributes:
      recipe: the program's name.
      records: client id to its records table with a "split" column.
      site_of: client id to its site.
      source_of: site to the loader that read it.
      image_size: height and width in pixels.
      fit: "pad" or "stretch", for images that are not square.
      batch_size: images per step.
      augmentation: of the training images, and of their masks, or None.
      clients_per_round: as the flag.
      seed: of everything random.
      executor: "device" or "native".
      cache_dir: for the shards.
      max_rejected_fraction: of a client's files that may be unreadable.
      replicates: of the bootstrap.
      histograms: whether TensorBoard gets the weights.
    """

    recipe: str
    records: Mapping[str, pd.DataFrame]
    site_of: Mapping[str, str]
    source_of: Mapping[str, str]
    image_size: int
    fit: str
    batch_size: int
    augmentation: ImageAugmentation | None
    clients_per_round: str
    seed: int
    executor: str
    cache_dir: pathlib.Path
    max_rejected_fraction: float
    replicates: int
    histograms: bool

    @property
    def interval(self) -> str:
        """What the intervals of `metrics.json` are."""
        return f"95 % percentile interval, {self.replicates} bootstrap replicates of patients"

    def patients(self, images: Scored) -> np.ndarray:
        """The patient of each image, told apart from those of other sites: object [N]."""
        return np.array(
            [
                f"{self.site_of[client]}/{self.records[client]['patient'].iat[row]}"
                for client, row in zip(images.clients, images.rows)
            ],
            dtype=object,
        )

    def open_shards(self, spec: ShardSpec) -> ShardStore:
        """Decodes all images once, or finds them decoded, and checks the files.

        Raises:
          InputError: see `tffcxr.clients.shards.preparation.prepare`; a file was damaged since.
        """
        store = prepare(
            self.records,
            spec,
            self.cache_dir,
            max_rejected_fraction=self.max_rejected_fraction,
        )
        store.verify()
        return store

    def client_data(self, store: ShardStore, balance_classes: bool = False) -> ClientData:
        """The images as clients train on them; `balance_classes` as of `ClientData`."""
        return ClientData(store, self.batch_size, self.seed, self.augmentation, balance_classes)

    def sampler(self) -> Sampler:
        """Reads `clients_per_round`, before any image is decoded.

        Raises:
          InputError: more clients than there are.
        """
        chosen = parse_clients_per_round(self.clients_per_round)
        return Sampler(tuple(sorted(self.records)), chosen, self.seed)

    def describe_clients(
        self, store: ShardStore, about: Callable[[str], Mapping[str, Any]] = lambda client: {}
    ) -> list[dict[str, Any]]:
        """A row per client for `config.json` and the report.

        Args:
          store: has the clients' images.
          about: what only this recipe says of a client.
        """
        described = []
        for client in store.client_ids:
            site = self.site_of[client]
            row: dict[str, Any] = {"client": client, "site": site, "source": self.source_of[site]}
            patients = self.records[client].groupby("split")["patient"].nunique()
            for split in SPLITS:
                if split in patients:
                    row[f"{split}_images"] = store.count(client, split)
                    row[f"{split}_patients"] = int(patients[split])
            described.append(
                {**row, **about(client), "rejected_files": len(store.rejected(client))}
            )
        return described


@dataclasses.dataclass(frozen=True)
class Training:
    """Everything that a federated training and its baselines have in common.

    Attributes:
      directory: the run's folder.
      plan: how the model is trained.
      data: the clients' images.
      evaluator: measures after every round.
      split: the images that it measures on, "validation" or "test"; for the progress.
      sampler: which clients take part in a round; see `Study.sampler`.
      best: the column of `rounds.csv` by which the best round is kept; None for the last one.
      histograms: whether TensorBoard gets the weights of the federated model.
      variant: a name for files, where one run trains several models; else empty.
    """

    directory: RunDirectory
    plan: Plan
    data: ClientData
    evaluator: Evaluator
    split: str
    sampler: Sampler
    best: str | None = None
    histograms: bool = False
    variant: str = ""


@dataclasses.dataclass(frozen=True)
class Trained:
    """The models that a training leaves behind.

    Attributes:
      last: client -> weights after the last round; the same for all clients where all is shared.
      best: the same after the best round by `Training.best`; without that, of the last.
      best_round: its number, counted from 1.
    """

    last: Mapping[str, Weights]
    best: Mapping[str, Weights]
    best_round: int


def use_executor(executor: str, directory: RunDirectory) -> None:
    """Sends all rounds to "device" or "native", and says where that is."""
    print(runtime.use(executor, log_file=directory.path / "worker.log"), file=sys.stderr)


def train_federated(setup: Training) -> Trained:
    """Trains across all clients, from where an earlier program stopped.

    Raises:
      InputError: the files of the run that is to be resumed are damaged.
      loop.TrainingFailed: training broke off.
    """
    training = FederatedTraining(setup.plan, setup.data, setup.sampler, setup.evaluator)
    journal = _journal(setup, FEDERATED, _histograms_of(setup, training))

    def weights_of(state: Any, round_number: int) -> Mapping[str, Weights]:
        return training.client_weights(state, round_number)

    return _run(setup, training, journal, weights_of)


def train_centralised(setup: Training, name: str, clients: Sequence[str]) -> Trained:
    """Trains the same model on the images of some clients put together.

    Args:
      setup: as for the federated training.
      name: "pooled", or "site_" with the site's name.
      clients: whose images.

    Raises:
      InputError: the files of the run that is to be resumed are damaged.
      loop.TrainingFailed: training broke off.
    """
    training = CentralisedTraining(setup.plan, setup.data, clients, setup.evaluator)

    def weights_of(state: Any, round_number: int) -> Mapping[str, Weights]:
        del round_number
        return dict.fromkeys(clients, list(state["weights"]))

    return _run(setup, training, _journal(setup, name, None), weights_of)


def save_weights(model: tf.keras.Model, weights: Weights, path: pathlib.Path) -> None:
    """Writes weights as the HDF5 file that `--weights=FILE` loads."""
    model.set_weights(weights)
    with tempfile.TemporaryDirectory(prefix="tffcxr-") as folder:
        saved = pathlib.Path(folder) / path.name
        model.save_weights(saved, save_format="h5")
        write_atomically(path, lambda file: file.write(saved.read_bytes()))


def _run(
    setup: Training,
    training: loop.Training,
    journal: loop.Journal,
    weights_of: Callable[[Any, int], Mapping[str, Weights]],
) -> Trained:
    columns, rounds = setup.evaluator.columns, setup.plan.rounds
    last = weights_of(loop.run(training, setup.plan, columns, journal), rounds)
    if setup.best is None:
        return Trained(last, last, rounds)
    number, state = loop.load_best(training, setup.plan, columns, journal)
    return Trained(last, weights_of(state, number), number)


def _journal(
    setup: Training,
    name: str,
    weights_of: Callable[[Any, int], Mapping[str, np.ndarray]] | None,
) -> loop.Journal:
    """Where a training leaves its traces; the federated one has `rounds.csv` and `clients.csv`."""
    path = setup.directory.path
    suffix = f"_{setup.variant}" if setup.variant else ""
    is_federated = name == FEDERATED
    rounds = f"rounds{suffix}.csv" if is_federated else f"rounds{suffix}_{name}.csv"
    title = " ".join(part for part in (setup.variant, name) if part).replace("_", " ")
    return loop.Journal(
        rounds=path / rounds,
        clients=path / f"clients{suffix}.csv" if is_federated else None,
        checkpoints=path / "checkpoints" / f"{name}{suffix}",
        best=setup.best,
        observers=(
            Progress(title, setup.plan.rounds, setup.split),
            TensorBoard(path / "tensorboard" / f"{name}{suffix}", weights_of),
        ),
    )


def _histograms_of(
    setup: Training, training: FederatedTraining
) -> Callable[[Any, int], Mapping[str, np.ndarray]] | None:
    """Names the weights of the first client's model after a round, for TensorBoard."""
    if not setup.histograms:
        return None
    names = [weight.name for weight in setup.plan.build_model(None).keras.weights]

    def weights_of(state: Any, round_number: int) -> Mapping[str, np.ndarray]:
        first, weights = next(iter(training.client_weights(state, round_number).items()))
        return name_weights([f"{first}/{name}" for name in names], weights)

    return weights_of
