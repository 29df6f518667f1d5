"""A finished run as an audit needs it: plan, weights and images, rebuilt from its folder."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from tffcxr import concealed, kept_names, run_tables
from tffcxr.clients import augment
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards.shard_store import ShardStore
from tffcxr.errors import InputError
from tffcxr.learning.schedules import Schedule
from tffcxr.models import losses
from tffcxr.models.spec import ModelSpec
from tffcxr.report import run_files
from tffcxr.training.plan import Plan, Stage

# The kinds of study that have one label per output and image, and their loss.
_LOSSES = {"findings": losses.batch_loss, "classes": losses.class_batch_loss}
_PLANNED = (
    "optimizer",
    "momentum",
    "nesterov",
    "weight_decay",
    "clip_norm",
    "adam_epsilon",
    "server_optimizer",
    "proximal",
    "local_epochs",
    "weighting",
)


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one client and split.

    Attributes:
      pixels: float32 [N, S, S, 1] in 0..1.
      labels: float32 [N, F], NaN unknown.
      patients: object [N].
    """

    pixels: np.ndarray
    labels: np.ndarray
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, chosen: Any) -> Images:
        """Some of them: indices or a mask."""
        return Images(self.pixels[chosen], self.labels[chosen], self.patients[chosen])

    @classmethod
    def join(cls, parts: list[Images]) -> Images:
        """Those of several clients one after the other."""
        return cls(
            np.concatenate([part.pixels for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.patients for part in parts]),
        )


class AuditedRun:
    """A complete run of findings or classes.

    Attributes:
      folder: of the run.
      recipe: the program that made it.
      kind: "findings" or "classes".
      plan: how its first network was trained, without differential privacy and with the mean.
      store: its images.
      clients: their names, sorted.
      settings: as `config.json` has them.

    Args:
      folder: of the run.
      cache_dir: where its images were decoded to; None for `cache` in its folder.

    Raises:
      InputError: it is no such run, or what an audit needs is not there any more.
    """

    def __init__(self, folder: pathlib.Path, cache_dir: pathlib.Path | None = None) -> None:
        self.folder = folder
        config = run_files.read_json(folder / "config.json")
        self.recipe, self.kind = str(config.get("recipe")), str(config.get("kind"))
        # In `config.json` paths are concealed; weights may be in a file.
        settings = kept_names.read_settings(folder).get("settings", config.get("settings"))
        if self.kind not in _LOSSES or not isinstance(settings, dict):
            raise InputError(
                f"--run: expected a run of findings or classes, such as one of cheXviz, found "
                f"one of {self.recipe}{f' ({self.kind})' if config.get('kind') else ''} in {folder}"
            )
        if not run_files.read_json(folder / "metrics.json").get("complete"):
            raise InputError(f"--run: expected a complete run, found an unfinished one in {folder}")
        if config.get("engine") == "hospitals":
            raise InputError(
                "--run: expected a run whose clients' images are here, found one over hospitals "
                f"in {folder}"
            )
        cache = cache_dir or folder / kept_names.FOLDER
        self.store = _opened(cache / str(config.get("data_fingerprint")))
        self.plan = _plan(self.kind, settings, config.get("derived") or {}, self.store)
        self.clients = self.store.client_ids
        self.settings = settings
        self._data: dict[int, ClientData] = {}
        self._patients = kept_names.read(folder, run_tables.IMAGES)

    @property
    def batch_size(self) -> int:
        """Images of a step."""
        return int(self.settings["batch_size"])

    def data(self, batch_size: int) -> ClientData:
        """Its images as its clients train on them, in steps of another size."""
        if batch_size not in self._data:
            self._data[batch_size] = self._new_data(batch_size)
        return self._data[batch_size]

    def _new_data(self, batch_size: int) -> ClientData:
        settings = self.settings
        return ClientData(
            self.store,
            batch_size,
            int(settings["seed"]),
            augment.BY_NAME[settings["augmentation"]],
            settings.get("class_balance") == "sampling",
        )

    @functools.cached_property
    def final_weights(self) -> list[np.ndarray]:
        """The first network's weights in the reported round, those of the first site.

        Raises:
          InputError: there is no such file, or it is of another network.
        """
        files = sorted((self.folder / "models").glob("federated*.h5"))
        if not files:
            raise InputError(
                f"--run: expected the federated model's weights, models/federated*.h5, in "
                f"{self.folder}, found none"
            )
        model = self.plan.model.measuring_model().keras
        try:
            model.load_weights(files[0])
        except (OSError, ValueError) as error:
            raise InputError(
                f"{files[0]}: expected weights of {self.plan.model.network}, found {error}"
            ) from error
        return [np.asarray(value) for value in model.get_weights()]

    def images(self, client: str, split: str, most: int | None = None) -> Images:
        """Images of a client in the order of its shards.

        Args:
          client: its name.
          split: "train", "validation" or "test".
          most: of them; None for all.
        """
        pixels, labels, rows = [], [], []
        found = 0
        for batch in self.data(self.batch_size).evaluation_dataset(client, split):
            pixels.append(batch["images"].numpy())
            labels.append(batch["labels"].numpy())
            rows.append(batch["rows"].numpy())
            found += len(rows[-1])
            if most is not None and found >= most:
                break
        size, spec = self.store.spec.image_size, self.store.spec
        if not rows:
            none = np.zeros((0, size, size, spec.channels), np.float32)
            return Images(none, np.zeros((0, len(spec.findings)), np.float32), np.zeros(0, object))
        of_rows = self._patients_of(client, np.concatenate(rows))
        every = Images(np.concatenate(pixels), np.concatenate(labels), of_rows)
        return every if most is None else every.take(slice(most))

    def _patients_of(self, client: str, rows: np.ndarray) -> np.ndarray:
        """The patient of each row; without the run's table of them, each image is of its own."""
        table, by_row = self._patients, {}
        if table is not None:
            of_client = table[table["client"] == client]
            by_row = dict(zip(of_client["row"].astype(int), of_client["patient"]))
        site = client.split("-client_")[0]
        return np.array(
            [f"{site}/{by_row.get(int(row), f'{client}/{row}')}" for row in rows], object
        )


def _opened(root: pathlib.Path) -> ShardStore:
    try:
        return ShardStore.open(root)
    except InputError as error:
        raise InputError(
            f"--run: expected the run's decoded images, which are in --cache_dir: {error}"
        ) from error


def _plan(
    kind: str, settings: Mapping[str, Any], derived: Mapping[str, Any], store: ShardStore
) -> Plan:
    """The training plan of the run's first network, as the recipe made it from these settings."""
    named = settings.get("model")
    network = str(named[0] if isinstance(named, list) else named)
    if concealed.is_concealed(str(settings.get("weights"))):
        raise InputError(
            "--run: expected the names that the run has kept, which say where its --weights are, "
            "found none"
        )
    try:
        spec = ModelSpec(
            network,
            store.spec.image_size,
            len(store.spec.findings),
            batch_norm=settings["batch_norm"],
            width=derived.get("width", settings["width"]),
            weights=settings["weights"],
            seed=settings["seed"],
            channels=store.spec.channels,
            initialization=settings["initialization"],
        )
        schedule = Schedule(
            settings["schedule"],
            settings["learning_rate"],
            settings["rounds"],
            factor=settings["plateau_factor"],
            patience=settings["plateau_patience"],
        )
        return Plan(
            model=spec,
            stages=(Stage("all", settings["rounds"], schedule),),
            loss_fn=_LOSSES[kind],
            share=settings.get("share", "all"),
            keeps_optimizer=settings["keep_optimizer"],
            server_learning_rate=1.0 if settings["server_optimizer"] == "average" else None,
            **{name: settings[name] for name in _PLANNED},
        )
    except KeyError as error:
        raise InputError(
            f"--run: expected a run with the setting {error}, found one without; this version "
            "can audit runs of its own alone"
        ) from error
