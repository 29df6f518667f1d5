"""Clients whose data are `tf.data.Dataset`s in this program."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any, Protocol

import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.own_model import batches


class Clients(Protocol):
    """Who holds what.

    Attributes:
      ids: the clients' names, sorted.
      element_spec: the `tf.TensorSpec`s of one batch of any client.
      validation: client -> images that are not trained on; empty for none.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """See the class."""

    @property
    def element_spec(self) -> Any:
        """See the class."""

    @property
    def validation(self) -> Mapping[str, tf.data.Dataset]:
        """See the class."""

    def train_images(self, client: str, /) -> int:
        """How much one client has to train on, for what deals clients to processes."""

    def train_dataset(self, client: str, round_number: int, passes: int, /) -> tf.data.Dataset:
        """The batches of one client for one round.

        Args:
          client: its name.
          round_number: counted from 1.
          passes: over its images, in another order each.
        """


@dataclasses.dataclass(frozen=True)
class DatasetClients:
    """`Clients` of datasets; see `clients_from_datasets`."""

    datasets: Mapping[str, tf.data.Dataset]
    element_spec: Any

    @property
    def ids(self) -> tuple[str, ...]:
        """See `Clients`."""
        return tuple(sorted(self.datasets))

    @property
    def validation(self) -> Mapping[str, tf.data.Dataset]:
        """See `Clients`; these have none."""
        return {}

    def train_images(self, client: str, /) -> int:
        """See `Clients`; in batches, or the same for all where a dataset does not know them."""
        return max(1, int(self.datasets[client].cardinality()))

    def train_dataset(self, client: str, round_number: int, passes: int, /) -> tf.data.Dataset:
        """See `Clients`; the order is the dataset's own."""
        del round_number
        return self.datasets[client].repeat(passes)


def clients_from_datasets(datasets: Mapping[str, tf.data.Dataset]) -> DatasetClients:
    """Makes clients of datasets, each with the training data of one hospital.

    A dataset is iterated once per local epoch in every round. If it shuffles, it does so again each
    time, in an order that depends on TensorFlow's global seed, and a training that is resumed sees
    another order than one that is not interrupted.

    Args:
      datasets: the client's name -> batches `(inputs, labels)` or `(inputs, labels, sample
        weights)`, as `tf.keras.Model.fit` takes them; inputs and labels may be tensors, tuples or
        dicts. A dataset must give its batches again whenever it is iterated.

    Raises:
      InputError: there is no client, a dataset has no batch, or the batches of two clients differ
        in structure, type or shape.
    """
    check_names(datasets, "datasets")
    spec, first = None, ""
    for client in sorted(datasets):
        found = batches.spec_of(datasets[client], f"client {client!r}")
        if spec is None:
            spec, first = found, client
        batches.check_same(found, spec, f"client {client!r}", f"client {first!r}")
    for client, dataset in datasets.items():
        check_finite(dataset, f"client {client!r}")
        if next(iter(dataset.take(1)), None) is None:
            raise InputError(
                f"client {client!r}: expected batches to train on, found an empty dataset"
            )
    return DatasetClients({client: _ordered(each) for client, each in datasets.items()}, spec)


def check_names(clients: Any, what: str) -> None:
    """Raises InputError unless there is a mapping from names to something."""
    if not isinstance(clients, Mapping) or not all(isinstance(each, str) for each in clients):
        raise InputError(
            f"clients: expected a mapping from names to {what}, found {type(clients).__name__}"
        )
    if not clients:
        raise InputError(f"clients: expected at least one of {what}, found none")


def check_finite(dataset: tf.data.Dataset, whose: str) -> None:
    """Raises InputError for a dataset that is known never to end."""
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError(f"{whose}: expected a dataset that ends, found one with .repeat()")


def _ordered(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same dataset with its mappings in the order of their names, as TFF compares types."""
    if str(dataset.element_spec) == str(batches.ordered(dataset.element_spec)):
        return dataset
    return dataset.map(
        tf.autograph.experimental.do_not_convert(lambda *batch: batches.ordered(batch))
    )
