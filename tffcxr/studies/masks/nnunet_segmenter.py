"""nnU-Net as the network of a segmentation study: it plans itself from the clients' images.

each client's training images → its summary → fingerprint → plan → network, patches, inference
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import dataclasses
import functools

import numpy as np

from tffcxr import options
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards.preparation import ShardStore
from tffcxr.hospitals import coordinator
from tffcxr.learning.local_training import LossFn
from tffcxr.models.spec import PlannedSpec
from tffcxr.nnunet import dataset_fingerprint, deep_supervision, inference, planning
from tffcxr.nnunet.patches import NnUNetAugmentation
from tffcxr.studies import trainings
from tffcxr.studies.masks import mask_study
from tffcxr.training.plan import ModelSource, Plan

PLAN_FILE = "nnunet_plan.json"
FINGERPRINT_FILE = "nnunet_fingerprint.json"
_READ_AT_ONCE = 16  # Images, for a summary.


@dataclasses.dataclass(frozen=True)
class NnUNet:
    """Makes a study's `Segmenter` from the training images that its clients have.

    Attributes:
      make_plan: from the model and the loss to the training plan.
      dataset: the name in nnU-Net's plan.
      gpu_memory_gb: that the plan is for.
      batch_size: images per step, which the plan takes over; None for what its rules give.
      changes: whether training patches are augmented.
      seed: of the initial weights.
      precision: one of `options.PRECISIONS`.
      federation: this program's side of a run over hospitals, see `trainings.Training`.
    """

    make_plan: Callable[[ModelSource, LossFn], Plan]
    dataset: str
    gpu_memory_gb: float
    batch_size: int | None
    changes: bool
    seed: int
    precision: options.Precision
    federation: trainings.Federation = None

    def __call__(self, store: ShardStore) -> mask_study.Segmenter:
        """Plans from the fingerprint of the training images of all clients.

        Raises:
          InputError: there is no region to segment, or images are too small for a network.
        """
        data = ClientData(store, _READ_AT_ONCE, self.seed)
        messages = self._messages(data)
        found = dataset_fingerprint.fingerprint(dataset_fingerprint.merge(messages.values()))
        plan = planning.make_plan(found, self.dataset, self.gpu_memory_gb, self.batch_size)
        configuration = plan["configurations"][planning.CONFIGURATION]
        planned = planning.planned_topology(plan)
        (with_mask,) = configuration["use_mask_for_norm"]
        spec = PlannedSpec(planned, store.spec.image_size, with_mask, self.precision, self.seed)
        return mask_study.Segmenter(
            plan=self.make_plan(spec, deep_supervision.batch_loss),
            image_loss=deep_supervision.image_loss,
            batch_size=configuration["batch_size"],
            augmentation=NnUNetAugmentation(
                planned.patch_size,
                functools.partial(inference.standardise, with_mask=with_mask),
                with_mask,
                self.changes,
            ),
            derived={
                "loss": "Cross-entropy minus Dice",
                "batch_size": configuration["batch_size"],
                "patch_size": list(planned.patch_size),
                "stages": len(planned.features),
            },
            files={
                PLAN_FILE: plan,
                FINGERPRINT_FILE: {
                    "clients": {client: message.to_json() for client, message in messages.items()},
                    "all": found.to_json(),
                },
            },
        )

    def _messages(self, data: ClientData) -> dict[str, dataset_fingerprint.Summary]:
        """What the clients send, those of other hospitals included."""
        if isinstance(self.federation, coordinator.Coordinator):
            own = {}
        else:
            own = {client: summarise(data, client) for client in data.store.client_ids}
        if self.federation is None:
            return own
        found = self.federation.gathered(
            coordinator.FINGERPRINT, {client: each.to_json() for client, each in own.items()}
        )
        return {
            client: dataset_fingerprint.Summary.from_json(found[client]) for client in sorted(found)
        }


def summarise(data: ClientData, client: str) -> dataset_fingerprint.Summary:
    """The summary that a client sends of its training images."""

    def images() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in data.evaluation_dataset(client, "train"):
            pixels = np.rint(batch["images"].numpy()[..., 0] * 255.0).astype(np.uint8)
            yield from zip(pixels, batch["masks"].numpy()[..., 0] > 0.5)

    return dataset_fingerprint.summarise(images())
