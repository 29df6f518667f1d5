"""From client ids to `tf.data.Dataset`s that read the clients' shards.

A dataset holds paths, seeds and operations, no pixels, so that it serializes to a few kilobytes
and can run in another process. Order and augmentation depend on (seed, round, client, epoch) only.

Building a dataset the ordinary way traces its Python functions each time, a quarter of a second
per client and round. Here every pipeline is traced once per `ClientData`, as a `tf.function` from
(paths, seed, …) to a dataset variant, and calling it takes about two milliseconds. The functions
decide nothing by the value of a tensor, so they are traced as they stand: AutoGraph would rewrite
each of them first, which takes longer than the tracing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tffcxr.clients import balancing, seeds
from tffcxr.clients.augment import Augmentation, ImageAugmentation
from tffcxr.clients.shards.shard_store import ShardStore
from tffcxr.errors import InputError

# A client's training images are shuffled within a buffer of serialized examples this large.
_SHUFFLE_EXAMPLES = 8192
_SHUFFLE_BYTES = 256 << 20
_BALANCING = -1  # What is folded into the seed of the balancing; images are counted from 0.


class ClientData:
    """The data of all clients, batch by batch.

    Elements are {"images": float32 [B, S, S, C] in 0..1}, with "labels" float32 [B, F], NaN
    unknown, if the shards have findings, and "masks" float32 [B, S, S, 1] of 0 and 1 if they have
    masks. An augmentation may make training images of another height and width. The last batch of
    an epoch may have fewer than `batch_size` images.
    """

    def __init__(
        self,
        store: ShardStore,
        batch_size: int,
        seed: int,
        augmentation: ImageAugmentation | None = None,
        balance_classes: bool = False,
    ) -> None:
        """Reads shards; none is opened before a dataset is iterated.

        Args:
          store: the shards of all clients.
          batch_size: images per batch, at least 1.
          seed: any integer; order and augmentation follow from it.
          augmentation: applied to training images; None for none.
          balance_classes: whether training draws the classes of a client, or of clients pooled,
            equally often, see `balancing`; the findings of the shards must exclude each other.

        Raises:
          InputError: the batch size is less than 1, or there are no classes to balance.
        """
        if balance_classes and not store.spec.findings:
            raise InputError("expected shards with classes to balance, found none in them")
        if batch_size < 1:
            raise InputError(f"expected a batch size of at least 1, found {batch_size}")
        self.store = store
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation or Augmentation()
        self.balance_classes = balance_classes
        self._build_training: dict[int, Callable[..., tf.Tensor]] = {}  # number of clients -> …
        self._build_evaluation = tf.function(
            self._evaluation_variant, input_signature=[tf.TensorSpec([None], tf.string)]
        )

    @property
    def element_spec(self) -> dict[str, tf.TensorSpec]:
        """The specification of the elements of training datasets."""
        return self._spec(*self.augmentation.output_shape(self.store.spec.image_size))

    def _spec(self, height: int, width: int) -> dict[str, tf.TensorSpec]:
        findings, channels = len(self.store.spec.findings), self.store.spec.channels
        spec = {"images": tf.TensorSpec([None, height, width, channels], tf.float32)}
        if findings:
            spec["labels"] = tf.TensorSpec([None, findings], tf.float32)
        if self.store.spec.with_mask:
            spec["masks"] = tf.TensorSpec([None, height, width, 1], tf.float32)
        return spec

    def train_images(self, client: str) -> int:
        """The number of a client's training images.

        Raises:
          InputError: an unknown client.
        """
        return self.store.count(client, "train")

    def train_dataset(
        self, client_ids: str | Sequence[str], round_number: int, local_epochs: int
    ) -> tf.data.Dataset:
        """The training images of one client, or of several pooled, for one round.

        Args:
          client_ids: one id, or several; the order of several does not matter.
          round_number: any integer.
          local_epochs: how often each image comes, in another order each time; at least 1.

        Raises:
          InputError: an unknown client, or no local epoch.
        """
        if local_epochs < 1:
            raise InputError(f"expected at least one local epoch, found {local_epochs}")
        ids = sorted(_as_ids(client_ids))
        counts = [self.store.count(client, "train") for client in ids]
        buffer = min(
            sum(counts), _SHUFFLE_EXAMPLES, _SHUFFLE_BYTES // self.store.spec.example_bytes
        )
        variant = self._training_function(len(ids))(
            [tf.constant(self.store.files(client, "train")) for client in ids],
            tf.constant(counts, tf.int64),
            tf.constant(seeds.derive_seed(self.seed, "training", round_number, *ids), tf.int64),
            tf.constant(local_epochs, tf.int64),
            tf.constant(max(1, buffer), tf.int64),
            tf.constant(balancing.expected_copies(self._class_counts(ids)), tf.float32),
        )
        return tf.data.experimental.from_variant(variant, self.element_spec)

    def evaluation_dataset(self, client_ids: str | Sequence[str], split: str) -> tf.data.Dataset:
        """The images of a split, in the order of the clients' tables, not augmented.

        Args:
          client_ids: one id, or several, whose images come one client after the other.
          split: "train" (whose shards are in a fixed order of their own), "validation" or "test".

        Returns:
          A dataset with "rows" int64 [B] beside the usual elements: the number of the row in
          the records table of the image's client. It is empty if the clients have no image in
          the split.

        Raises:
          InputError: an unknown client or split.
        """
        files = [f for client in _as_ids(client_ids) for f in self.store.files(client, split)]
        variant = self._build_evaluation(tf.constant(files, tf.string, shape=[len(files)]))
        size = self.store.spec.image_size
        spec = {**self._spec(size, size), "rows": tf.TensorSpec([None], tf.int64)}
        return tf.data.experimental.from_variant(variant, spec)

    def _class_counts(self, client_ids: Sequence[str]) -> list[int]:
        """Training images of each class, of all these clients."""
        counts = [self.store.label_counts(client, "train") for client in client_ids]
        return [
            sum(of_client[name]["present"] for of_client in counts)
            for name in self.store.spec.findings
        ]

    def _training_function(self, clients: int) -> Callable[..., tf.Tensor]:
        if clients not in self._build_training:
            self._build_training[clients] = tf.function(
                self._training_variant,
                input_signature=[
                    [tf.TensorSpec([None], tf.string)] * clients,  # files of each client
                    tf.TensorSpec([clients], tf.int64),  # images of each client
                    tf.TensorSpec([2], tf.int64),  # seed
                    tf.TensorSpec([], tf.int64),  # local epochs
                    tf.TensorSpec([], tf.int64),  # shuffle buffer
                    tf.TensorSpec([len(self.store.spec.findings)], tf.float32),  # copies
                ],
            )
        return self._build_training[clients]

    @tf.autograph.experimental.do_not_convert
    def _training_variant(
        self,
        files: Sequence[tf.Tensor],
        counts: tf.Tensor,
        seed: tf.Tensor,
        local_epochs: tf.Tensor,
        buffer: tf.Tensor,
        copies: tf.Tensor,
    ) -> tf.Tensor:
        def epoch(number: tf.Tensor) -> tf.data.Dataset:
            epoch_seed = tf.random.experimental.stateless_fold_in(seed, number)
            examples = _mix(files, counts, epoch_seed)
            if self.balance_classes:
                # Another seed than that of the mixture, whose draws have the same numbers.
                drawn = tf.random.experimental.stateless_fold_in(epoch_seed, _BALANCING)
                examples = balancing.balance(examples, copies, drawn)
            examples = _shuffle(examples, buffer, epoch_seed)
            batches = examples.batch(self.batch_size)

            def decode(index: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
                batch = self._parse(serialized)
                del batch["rows"]
                images, masks = self.augmentation.apply(
                    batch["images"],
                    tf.random.experimental.stateless_fold_in(epoch_seed, index),
                    batch.get("masks"),
                )
                batch["images"] = images
                if masks is not None:
                    batch["masks"] = masks
                return batch

            return batches.enumerate().map(decode)

        return _finish(tf.data.Dataset.range(local_epochs).flat_map(epoch))

    @tf.autograph.experimental.do_not_convert
    def _evaluation_variant(self, files: tf.Tensor) -> tf.Tensor:
        return _finish(tf.data.TFRecordDataset(files).batch(self.batch_size).map(self._parse))

    def _parse(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """Decodes serialized examples [B] all at once, which is faster than one by one."""
        spec = self.store.spec
        features: dict[str, Any] = {
            "image": tf.io.FixedLenFeature([], tf.string),
            "row": tf.io.FixedLenFeature([], tf.int64),
        }
        if spec.findings:
            features["labels"] = tf.io.FixedLenFeature([len(spec.findings)], tf.float32)
        if spec.with_mask:
            features["mask"] = tf.io.FixedLenFeature([], tf.string)
        parsed = tf.io.parse_example(serialized, features)

        def pixels(name: str, channels: int) -> tf.Tensor:
            flat = tf.io.decode_raw(parsed[name], tf.uint8)  # [B, S * S * channels]
            square = tf.reshape(flat, [-1, spec.image_size, spec.image_size, channels])
            return tf.cast(square, tf.float32)

        batch = {"images": pixels("image", spec.channels) / 255.0, "rows": parsed["row"]}
        if spec.findings:
            batch["labels"] = parsed["labels"]
        if spec.with_mask:
            batch["masks"] = pixels("mask", 1)
        return batch


def _as_ids(client_ids: str | Sequence[str]) -> list[str]:
    return [client_ids] if isinstance(client_ids, str) else list(client_ids)


def _mix(files: Sequence[tf.Tensor], counts: tf.Tensor, seed: tf.Tensor) -> tf.data.Dataset:
    """Serialized examples of several clients, at random in proportion to their counts."""
    datasets = [tf.data.TFRecordDataset(of_client) for of_client in files]
    if len(datasets) == 1:
        return datasets[0]
    ends = tf.cast(tf.cumsum(counts), tf.float32)

    def choose(index: tf.Tensor) -> tf.Tensor:
        draw = tf.random.stateless_uniform(
            [1], tf.random.experimental.stateless_fold_in(seed, index), alg="philox"
        )
        # Rounding may put a draw at the very end of the last client.
        choice = tf.searchsorted(ends, draw * ends[-1], side="right", out_type=tf.int64)[0]
        return tf.minimum(choice, len(datasets) - 1)

    return tf.data.Dataset.choose_from_datasets(
        datasets, tf.data.Dataset.counter().map(choose), stop_on_empty_dataset=False
    )


def _shuffle(dataset: tf.data.Dataset, buffer: tf.Tensor, seed: tf.Tensor) -> tf.data.Dataset:
    """`dataset.shuffle`, but with both halves of the seed given.

    The method takes one half from TensorFlow's global seed, and keeps state between iterations.
    """
    variant = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=buffer,
        seed=seed[0],
        seed2=seed[1],
        output_types=[tf.string],
        output_shapes=[[]],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(variant, dataset.element_spec)


def _finish(dataset: tf.data.Dataset) -> tf.Tensor:
    """Prefetches two batches in one thread, so that data does not compete with training."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False  # Slow to start.
    return tf.data.experimental.to_variant(dataset.prefetch(2).with_options(options))
