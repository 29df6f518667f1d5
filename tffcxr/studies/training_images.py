"""What a study says of its training images in the models that it exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn import covariance

from tffcxr.datasets.imaging import likeness
from tffcxr.datasets.imaging.likeness import Likeness, Part

if TYPE_CHECKING:
    from tffcxr.clients.client_data import ClientData
    from tffcxr.clients.sites import ClientRecords

# Moments of fewer images or patients describe them badly, and give too much of each away.
FEWEST = 50
FEWEST_PATIENTS = 10
_FOLDS = 5
_QUANTILE = 0.99
_LEAST_DEVIATION = 1e-3  # In units of grey and of log energy.


def measure(clients: ClientRecords, data: ClientData) -> Likeness | None:
    """The statistics of the training images of all clients; None if there are too few.

    Args:
      clients: with the records of each.
      data: their images, in shards.
    """
    vectors: dict[str, list[np.ndarray]] = {name: [] for name in likeness.PARTS}
    patients: list[str] = []
    for client in data.store.client_ids:
        names = clients.records[client]["patient"].to_numpy()
        for batch in data.evaluation_dataset(client, "train").as_numpy_iterator():
            squares = np.rint(batch["images"][..., 0] * 255.0).astype(np.uint8)
            for name, found in likeness.describe(squares).items():
                vectors[name].append(found)
            patients += [f"{clients.site_of[client]}/{names[row]}" for row in batch["rows"]]
    folds = _folds(patients)
    if folds is None:
        return None
    return fit({name: np.concatenate(found) for name, found in vectors.items()}, folds)


def measure_slices(clients: ClientRecords, data: ClientData) -> dict[str, tuple[Likeness, ...]]:
    """The statistics of the training slices of each client, of each channel in order.

    Clients with too few are left out.

    Args:
      clients: with the records of each.
      data: their slices, in shards.
    """
    found = {}
    for client in data.store.client_ids:
        names = clients.records[client]["patient"].to_numpy()
        vectors: list[dict[str, list[np.ndarray]]] = [
            {name: [] for name in likeness.PARTS} for _ in range(data.store.spec.channels)
        ]
        patients: list[str] = []
        for batch in data.evaluation_dataset(client, "train").as_numpy_iterator():
            squares = np.rint(batch["images"] * 255.0).astype(np.uint8)  # [B, S, S, C]
            for channel, of_channel in enumerate(vectors):
                for name, part in likeness.describe(squares[..., channel]).items():
                    of_channel[name].append(part)
            patients += [names[row] for row in batch["rows"]]
        folds = _folds(patients)
        if folds is not None:
            found[client] = tuple(
                fit({name: np.concatenate(parts) for name, parts in of_channel.items()}, folds)
                for of_channel in vectors
            )
    return found


def _folds(patients: Sequence[str]) -> np.ndarray | None:
    """The fold of each image; None if there are too few images or patients."""
    found, numbers = np.unique(patients, return_inverse=True)
    if len(patients) < FEWEST or len(found) < FEWEST_PATIENTS:
        return None
    return numbers % _FOLDS


def fit(vectors: Mapping[str, np.ndarray], folds: np.ndarray) -> Likeness:
    """Fits moments and limits to images.

    Args:
      vectors: of `likeness.describe`.
      folds: int [N]; the images of a fold are left out together for the limit.
    """
    parts = {}
    for name, found in vectors.items():
        left_out = np.zeros(len(found))
        for fold in np.unique(folds):
            inside = folds != fold
            left_out[~inside] = likeness.mahalanobis(found[~inside], *_moments(found[inside]))
        limit = float(np.quantile(left_out, _QUANTILE))
        parts[name] = Part(*_moments(found), limit)
    return Likeness(len(folds), parts)


def _moments(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and inverse of the shrunk covariance [D, D] of vectors [N, D]."""
    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0) + _LEAST_DEVIATION
    shrunk, _ = covariance.ledoit_wolf((vectors - mean) / deviation, assume_centered=True)
    return mean, np.linalg.inv(shrunk) / np.outer(deviation, deviation)
