"""The segmentation of //experiments:pneumonia: nnU-Net segments lung opacities.

Nagabhushanam & Yaswanth, "Federated Learning for Pneumonia Detection and Segmentation" (NITK 2025),
second part, with the nnU-Net of F. Isensee et al., Nature Methods 18, 2021. The masks are the boxes
of the RSNA Pneumonia Detection Challenge; an image without a box has an empty mask.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import (
    checks,
    external_flags,
    federation_flags,
    fraction_flags,
    plan_flags,
    pneumonia_classification,
    recipe,
    study_flags,
)
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.studies.masks.mask_study import MaskStudy

FLAGS = flags.FLAGS

REGION = "Lung Opacity"
# The slides' settings, except sizes and learning rate: after ten rounds with their 0.01, masks are
# still empty. With nnU-Net's own momentum of 0.99, 0.01 is as large as 0.1 with their 0.9.
DEFAULTS = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 3e-5,
    "clip_norm": 12.0,
    "schedule": "polynomial",
    "batch_size": None,  # The plan's.
    "rounds": 10,
    "local_epochs": 2,
    "image_size": 48,
    "phantom_patients": 120,
    "partition": "hybrid",
    "clients_per_site": 4,
    "clients_per_round": "all",
    "augmentation": "none",  # nnU-Net has its own.
}
_SMALLEST_IMAGE = 16  # Pixels; nnU-Net's network is at least three stages deep.
# Flags that nnU-Net decides itself, or does not have.
_NOT_FOR_IT = (
    *("augmentation", "weights", "width", "batch_norm", "initialization"),
    *("head_rounds", "head_learning_rate"),
)
# The flags of the classification that this task has, too.
SHARED = ("central_epochs",)


def define_flags() -> None:
    """Defines the flags that only this task has."""
    flags.DEFINE_float(
        "gpu_memory_gb",
        8.0,
        "GPU memory in GB for nnU-Net's plan, which sets the patch size from it, and without "
        "--batch_size the batch size.",
    )
    flags.DEFINE_boolean(
        "nnunet_augmentation", True, "Random augmentation of nnU-Net's training patches."
    )


@dataclasses.dataclass(frozen=True)
class _Segmentation(recipe.Recipe):
    def apply_defaults(self) -> None:
        """See `Recipe`; the pooled model has the federated one's epochs."""
        super().apply_defaults()
        FLAGS.set_default("central_epochs", None)

    def check(self) -> None:
        """See `Recipe`."""
        checks.at_least(1, "central_epochs")
        is_pooled = FLAGS.baseline == "pooled"
        checks.used(
            is_pooled, "central_epochs", "--baseline=pooled", "baseline", may_be_taken_back=True
        )
        for name in _NOT_FOR_IT:
            checks.used(False, name, "--task=classification", "task")
        study_flags.check_shared_task()
        if FLAGS.image_size < _SMALLEST_IMAGE:
            raise InputError(
                f"--image_size: expected at least {_SMALLEST_IMAGE}, found {FLAGS.image_size}"
            )
        if not FLAGS.gpu_memory_gb > 0:
            raise InputError(f"--gpu_memory_gb: expected above 0, found {FLAGS.gpu_memory_gb}")

    def make_study(self, run_folder: pathlib.Path) -> MaskStudy:
        """See `Recipe`."""
        phantoms = study_flags.PhantomSite("phantoms", "rsna", "write_rsna")
        sites = study_flags.given_sites(with_finding=False)
        clients = federation_flags.client_records() if federation_flags.is_coordinator() else None
        clients = clients or _load_clients(
            sites or study_flags.make_phantoms(run_folder, [phantoms])
        )
        external = external_flags.load_shared_task(sites, _keep, [REGION])
        from tffcxr.studies.masks import mask_study, nnunet_segmenter

        return mask_study.MaskStudy(
            study_flags.settings(self.name, run_folder, fraction_flags.measured_split()),
            clients,
            external=external,
            region=REGION,
            segmenter=nnunet_segmenter.NnUNet(
                plan_flags.make_plan,
                dataset="_".join(federation_flags.findings_of() or clients.source_of),
                gpu_memory_gb=FLAGS.gpu_memory_gb,
                batch_size=FLAGS.batch_size,
                changes=FLAGS.nnunet_augmentation,
                seed=FLAGS.seed,
                precision=FLAGS.precision,
                federation=federation_flags.current(),
            ),
            with_pooled=FLAGS.baseline == "pooled",
            pooled_epochs=FLAGS.central_epochs,
            may_be_absent=True,
        )


def _load_clients(sites: Sequence[Site]) -> ClientRecords:
    return study_flags.load_shared_task(sites, _keep, stratify=REGION)


def _keep(table: pd.DataFrame, site: Site) -> pd.DataFrame:
    from tffcxr.clients import site_tables

    return site_tables.keep_region(table, site, REGION)


TASK = _Segmentation(pneumonia_classification.TASK.name, pneumonia_classification.TASK.paper)
