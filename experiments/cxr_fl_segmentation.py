r"""Trains one model across hospitals that segments the lungs in chest radiographs.

Ślazyk, Jabłecki, Lisowska, Malawski, Płotka: "CXR-FL: Deep Learning-based Chest X-ray Image
Analysis Using Federated Learning" (ICCS 2022, arXiv 2204.05203), first part. Each client trains on
its own images and masks. The server averages all weights and measures the Jaccard index on its test
images after every round; the paper counts the rounds until 0.92. Without --site, the program draws
phantom radiographs.

  ./bazelw run //experiments:cxr_fl_segmentation -- --output_dir=DIR --site=v7=lungs:PATH \
      --flagfile=cxr_fl_segmentation

cxr_fl_classification cuts the lungs out with the model in DIR.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import (
    command_line,
    external_flags,
    federation_flags,
    fraction_flags,
    plan_flags,
    recipe,
    study_flags,
    training_flags,
)
from tffcxr import options

if TYPE_CHECKING:
    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.studies.masks.mask_study import MaskStudy

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "model",
    "unet",
    [name for name in options.SEGMENTERS if name != "nnunet"],
    "The network: unet, a U-Net of five levels; unetplusplus, the paper's U-Net++ with an "
    "EfficientNet-B4 encoder; or a U-Net or U-Net++ with the encoder that its name ends with. All "
    "but unet take --weights=imagenet.",
)
flags.DEFINE_enum(
    "baseline",
    "pooled",
    ["pooled", "none"],
    "Model to compare with: pooled (trained on all images).",
)
fraction_flags.define(test=0.1)  # The paper's 9:1.
study_flags.define(
    recipe="cxr_fl_segmentation",
    site_help="A hospital as NAME=LOADER:PATH, with a loader of lung masks: lungs, montgomery, "
    "shenzhen, covid_radiography, csv with a column lungs, or rsna or siim with lung_masks; "
    "repeatable. Default: one hospital with phantom radiographs.",
    phantom_patients=200,
    image_size=64,
    partition="iid",
    clients_per_site=3,
    augmentation="affine",
)
# The mean over three clients moves as far as one of them in a third of the epoch's steps; at 1e-3,
# right for all images in one place, twelve rounds are too few.
training_flags.define(
    rounds=12,
    learning_rate=3e-3,
    batch_size=4,
    schedule="polynomial",
    personal=False,
    has_head=False,
)
for _module in (fraction_flags, study_flags, training_flags):
    flags.adopt_module_key_flags(_module)

_MULTIPLE = 32  # Pixels; all networks halve the image five times.
_PHANTOMS = study_flags.PhantomSite("phantoms", "lungs", "write_lungs")


@dataclasses.dataclass(frozen=True)
class _Segmentation(recipe.Recipe):
    def check(self) -> None:
        """See `Recipe`."""
        study_flags.check_shared_task()
        study_flags.check_image_multiple(_MULTIPLE)

    def make_study(self, run_folder: pathlib.Path) -> MaskStudy:
        """See `Recipe`."""
        from tffcxr.clients import site_tables

        sites = study_flags.given_sites(with_finding=False)
        clients = _load_clients(sites) if sites else None
        external = external_flags.load_shared_task(sites, site_tables.keep_lungs, ())
        from tffcxr.studies.masks import mask_study

        spec = plan_flags.model_spec(FLAGS.model)
        segmenter = mask_study.Segmenter(plan_flags.make_plan(spec, mask_study.LOSS))
        # Drawing phantoms, or waiting for hospitals, takes a while: the model is checked first.
        if federation_flags.is_coordinator():
            clients = federation_flags.client_records()
        clients = clients or _load_clients(study_flags.make_phantoms(run_folder, [_PHANTOMS]))
        return mask_study.MaskStudy(
            study_flags.settings(self.name, run_folder, fraction_flags.measured_split()),
            clients,
            external=external,
            region=site_tables.LUNGS,
            segmenter=lambda store: segmenter,
            with_pooled=FLAGS.baseline == "pooled",
        )


def _load_clients(sites: Sequence[Site]) -> ClientRecords:
    from tffcxr.clients import site_tables

    return study_flags.load_shared_task(sites, site_tables.keep_lungs, stratify=None)


RECIPE = _Segmentation(
    name="cxr_fl_segmentation",
    paper="Ślazyk et al., “CXR-FL: Deep Learning-based Chest X-ray Image Analysis Using Federated "
    "Learning”, ICCS 2022, arXiv:2204.05203",
)


if __name__ == "__main__":
    command_line.run(RECIPE.main)
