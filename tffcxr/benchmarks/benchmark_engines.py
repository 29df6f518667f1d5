"""What the benchmark measures, each engine alone in a process of its own.

`main` is that process. It builds one engine, runs the number of rounds that each line on its stdin
gives, and reports events with their times on a pipe, one JSON object per line. Clocks are
`time.monotonic()`, which all processes of a machine share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
from typing import Any, Protocol

from tffcxr import options
from tffcxr.errors import InputError, one_line

DP_SGD = "dp_sgd"
_LEARNING_RATE = 1e-3
_NOISE = 1.0
_SITE = "site"


@dataclasses.dataclass(frozen=True)
class Job:
    """What one process measures.

    Attributes:
      engine: a key of `ENGINES`.
      clients: how many take part in a round, one shard folder each.
      model: a name of `options.CLASSIFIERS` or `options.SEGMENTERS`; None where there is no
        model.
      image_size: height and width of the images that come out, in pixels.
      batch_size: images per step.
      seed: of weights and order.
      store: the folder of the shards.
      images: paths of DICOM files, for the engines that prepare images.
      augment: whether the input pipeline augments.
      protection: of tffcxr's rounds: one of `options.AGGREGATORS`, or DP_SGD for gradients of
        single images that are clipped and noised at the clients.
      batch_norm: see `ModelSpec`.
    """

    engine: str
    clients: int
    model: str | None
    image_size: int
    batch_size: int = 8
    seed: int = 0
    store: str = ""
    images: tuple[str, ...] = ()
    augment: bool = False
    protection: str = "mean"
    batch_norm: options.BatchNorm = "aggregate"


class Engine(Protocol):
    """Something whose speed is measured. Its constructor does all one-time work."""

    def run(self, rounds: int) -> int:
        """Repeats the timed work and returns the number of images processed."""
        ...


class _Keras:
    """Plain Keras: `fit` on the batches of all clients, one client after the other."""

    def __init__(self, job: Job) -> None:
        import tensorflow as tf

        self._data, self._clients = _client_data(job)
        self._model = _model(job, self._data).keras
        self._target, loss, _ = _objective(self._data)
        self._model.compile(tf.keras.optimizers.Adam(_LEARNING_RATE), loss=loss)

    def run(self, rounds: int) -> int:
        datasets = [self._data.train_dataset(client, 1, 1) for client in self._clients]
        dataset = functools.reduce(lambda some, more: some.concatenate(more), datasets)
        pairs = dataset.map(lambda batch: (batch["images"], batch[self._target]))
        history = self._model.fit(pairs, epochs=rounds, verbose=0)
        _check_finite(history.history["loss"][-1])
        return rounds * _count(self._data, self._clients)


class _Federated:
    """A round of tffcxr as the recipes run it, its task block private."""

    def __init__(self, job: Job) -> None:
        from tffcxr import runtime
        from tffcxr.learning import aggregators, optimizers, process
        from tffcxr.learning.dp_sgd import DpSgd

        self._data, self._clients = _client_data(job)
        _, _, loss_fn = _objective(self._data)
        runtime.use(job.engine)
        model = _model(job, self._data)
        has_dp_sgd = job.protection == DP_SGD
        aggregator = "mean" if has_dp_sgd else job.protection
        self._process = process.build_process(
            model.keras,
            model.keras.get_weights(),
            private_layers=model.task,
            batch_spec=self._data.element_spec,
            loss_fn=loss_fn,
            client_optimizer=optimizers.client_optimizer("adam", _LEARNING_RATE),
            server_optimizer=optimizers.server_optimizer("average"),
            learning_rate=_LEARNING_RATE,
            aggregator=aggregators.make(aggregator, _NOISE, len(self._clients)),
            dp_sgd=DpSgd(_NOISE, 1.0, job.batch_size) if has_dp_sgd else None,
        )
        self._round = 0
        self._server: Any = None
        self._private: list[Any] = []

    def run(self, rounds: int) -> int:
        if self._server is None:
            self._server = self._process.initialize()
            self._private = [self._process.initialize_client()] * len(self._clients)
        images = 0
        for _ in range(rounds):
            self._round += 1
            arguments = [
                {
                    "state": self._process.with_client_noise_seed(state, self._seed),
                    "data": self._data.train_dataset(client, self._round, 1),
                }
                for client, state in zip(self._clients, self._private)
            ]
            server = self._process.with_noise_seed(self._server, self._seed)
            self._server, self._private, metrics, _ = self._process.next(server, arguments)
            _check_finite(metrics["round"]["loss"])
            images += int(metrics["round"]["images"])
        return images

    def _seed(self) -> Any:
        import numpy as np

        return np.array([self._round, 1], np.int64)


class _Stock:
    """TFF's own federated averaging over arrays in memory, in TFF's own execution context."""

    def __init__(self, job: Job) -> None:
        import tensorflow as tf
        import tensorflow_federated as tff

        self._data, self._clients = _client_data(job)
        self._target, loss, _ = _objective(self._data)
        spec = self._data.element_spec["images"], self._data.element_spec[self._target]

        class Loss(tf.keras.losses.Loss):
            def call(self, y_true: Any, y_pred: Any) -> Any:
                return loss(y_true, y_pred)

        def model_fn() -> Any:
            return tff.learning.models.from_keras_model(
                _model(job, self._data).keras, loss=Loss(), input_spec=spec
            )

        self._algorithm = tff.learning.algorithms.build_weighted_fed_avg(
            model_fn, tff.learning.optimizers.build_adam(_LEARNING_RATE)
        )
        self._state: Any = None
        self._datasets: list[Any] = []

    def _in_memory(self, client: str) -> Any:
        import numpy as np
        import tensorflow as tf

        batches = list(self._data.evaluation_dataset(client, "train").as_numpy_iterator())
        keys = ("images", self._target)
        arrays = tuple(np.concatenate([batch[key] for batch in batches]) for key in keys)
        return tf.data.Dataset.from_tensor_slices(arrays).batch(self._data.batch_size)

    def run(self, rounds: int) -> int:
        if self._state is None:
            self._datasets = [self._in_memory(client) for client in self._clients]
            self._state = self._algorithm.initialize()
        for _ in range(rounds):
            output = self._algorithm.next(self._state, self._datasets)
            self._state = output.state
            _check_finite(output.metrics["client_work"]["train"]["loss"])
        return rounds * _count(self._data, self._clients)


class _Pipeline:
    """The batches of all clients, read and dropped."""

    def __init__(self, job: Job) -> None:
        self._data, self._clients = _client_data(job)
        self._round = 0

    def run(self, rounds: int) -> int:
        images = 0
        for _ in range(rounds):
            self._round += 1
            for client in self._clients:
                for batch in self._data.train_dataset(client, self._round, 1):
                    images += len(batch["images"])
        return images


class _Prepare:
    """DICOM files to shards, with all cores."""

    def __init__(self, job: Job) -> None:
        import pandas as pd

        from tffcxr.clients.shards.preparation import ShardSpec

        self._records = {
            _SITE: pd.DataFrame({"image": list(job.images), "split": "train", "finding": 0.0})
        }
        self._spec = ShardSpec(job.image_size, ("finding",))

    def run(self, rounds: int) -> int:
        from tffcxr.clients.shards.preparation import prepare

        images = 0
        for _ in range(rounds):
            cache = tempfile.mkdtemp(prefix="tffcxr-benchmark-")
            try:
                store = prepare(self._records, self._spec, cache, progress=False)
                images += store.count(_SITE, "train")
            finally:
                shutil.rmtree(cache)
        return images


class _PlainLoop:
    """The same with pydicom and Pillow alone: one file after the other into one array file."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, rounds: int) -> int:
        import numpy as np
        from PIL import Image
        import pydicom

        size = (self._job.image_size, self._job.image_size)
        for _ in range(rounds):
            images = []
            for path in self._job.images:
                pixels = pydicom.dcmread(path).pixel_array.astype(np.float32)
                low, high = pixels.min(), pixels.max()
                grey = ((pixels - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
                resized = Image.fromarray(grey).resize(size, Image.Resampling.BOX)
                images.append(np.asarray(resized))
            with tempfile.TemporaryFile() as file:
                np.save(file, np.stack(images))
        return rounds * len(self._job.images)


ENGINES: dict[str, Callable[[Job], Engine]] = {
    "keras": _Keras,
    "device": _Federated,
    "native": _Federated,
    "stock": _Stock,
    "pipeline": _Pipeline,
    "prepare": _Prepare,
    "pydicom": _PlainLoop,
}


def _import_packages(engine: str) -> None:
    """Imports what the engine needs, apart from building it, so that both can be timed."""
    import importlib

    if engine == "pydicom":
        names = ["numpy", "PIL.Image", "pydicom"]
    elif engine == "prepare":
        names = ["pandas", "tffcxr.clients.shards.preparation"]
    else:
        names = ["tensorflow", "tffcxr.clients.client_data", "tffcxr.models.spec"]
    if engine in ("device", "native"):
        names += ["tffcxr.learning.process", f"tffcxr.runtime.{engine}"]
    if engine == "stock":
        names += ["tensorflow_federated"]
    for name in names:
        importlib.import_module(name)


def _client_data(job: Job) -> tuple[Any, list[str]]:
    from tffcxr.clients.augment import Augmentation
    from tffcxr.clients.client_data import ClientData
    from tffcxr.clients.shards.preparation import ShardStore

    augmentation = Augmentation(True, 10.0, 0.05, 0.1, 5.0) if job.augment else None
    store = ShardStore.open(pathlib.Path(job.store))
    data = ClientData(store, job.batch_size, job.seed, augmentation)
    return data, store.client_ids[: job.clients]


def _model(job: Job, data: Any) -> Any:
    from tffcxr.models.spec import ModelSpec

    if job.model is None:
        raise ValueError(f"expected a model for the engine {job.engine}")
    outputs = 1 if job.model in options.SEGMENTERS else len(data.store.spec.findings)
    return ModelSpec(job.model, job.image_size, outputs, job.batch_norm, seed=job.seed).build()


def _objective(data: Any) -> tuple[str, Callable[[Any, Any], Any], Any]:
    """The key of a batch's targets, their loss for Keras, and the loss for local training."""
    from tffcxr.models import losses, segmentation_losses

    if data.store.spec.with_mask:
        return "masks", segmentation_losses.bce_dice, segmentation_losses.batch_loss
    return "labels", losses.masked_binary_crossentropy, losses.batch_loss


def _count(data: Any, clients: Sequence[str]) -> int:
    return sum(data.store.count(client, "train") for client in clients)


def _check_finite(loss: Any) -> None:
    """Raises ArithmeticError for a loss that is not finite: a broken round may be a quick one."""
    import numpy as np

    if not np.isfinite(loss):
        raise ArithmeticError(f"expected a finite loss, found {loss}")


def main() -> None:
    """The process of one engine: `argv` holds the job as JSON and the number of the pipe."""
    job = Job(**{**json.loads(sys.argv[1]), "images": tuple(json.loads(sys.argv[1])["images"])})
    with os.fdopen(int(sys.argv[2]), "w") as pipe:

        def tell(**event: Any) -> None:
            print(json.dumps(event), file=pipe, flush=True)

        try:
            _import_packages(job.engine)
            imported = time.monotonic()
            engine = ENGINES[job.engine](job)
            tell(imported=imported, built=time.monotonic())
            for line in sys.stdin:
                began = time.monotonic()
                images = engine.run(int(line))
                tell(seconds=time.monotonic() - began, images=images)
        except InputError as error:
            tell(error=str(error), is_input=True)
        except Exception as error:
            tell(error=f"{type(error).__name__}: {one_line(error):.500}")
            raise
