r"""Trains one model across hospitals that finds the lungs in chest radiographs.

Ślazyk, Jabłecki, Lisowska, Malawski, Płotka: "CXR-FL: Deep Learning-based Chest X-ray Image
Analysis Using Federated Learning" (ICCS 2022, arXiv 2204.05203), its first part. Each client trains
on its own images and masks, the server averages all weights, and measures the Jaccard index on its
test images after every round. Without --site, phantom radiographs are made.

  ./bazelw run //experiments:cxr_fl_segmentation -- --output_dir=DIR --site=v7=lungs:PATH

The model in DIR cuts the lungs out for //experiments:cxr_fl_classification.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import command_line, study_flags, training_flags

if TYPE_CHECKING:
    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.training.run_directory import RunDirectory

FLAGS = flags.FLAGS

flags.DEFINE_enum("model", "unet", ["unet", "unetplusplus"], "The network.")
flags.DEFINE_enum(
    "baseline", "pooled", ["pooled", "none"], "Model to compare with: of all images in one place."
)
study_flags.define_fractions(test=0.1)  # The paper's 9:1.
study_flags.define(
    recipe="cxr_fl_segmentation",
    site_help="A hospital as NAME=LOADER:PATH, with a loader of lung masks: lungs, montgomery, "
    "shenzhen, covid_radiography, or rsna or siim with lung_masks; may be given several times. "
    "Default: one hospital with phantom radiographs.",
    phantom_patients=200,
    image_size=64,
    partition="iid",
    clients_per_site=3,
    augmentation="affine",
)
# The mean over three clients moves as far as one of them in a third of the epoch's steps; at 1e-3,
# right for all images in one place, twelve rounds are too few.
training_flags.define(
    rounds=12, learning_rate=3e-3, batch_size=4, schedule="polynomial", personal=False
)
flags.adopt_module_key_flags(study_flags)
flags.adopt_module_key_flags(training_flags)

_RECIPE = "cxr_fl_segmentation"
_PAPER = (
    "Ślazyk et al., “CXR-FL: Deep Learning-based Chest X-ray Image Analysis Using Federated "
    "Learning”, ICCS 2022, arXiv:2204.05203"
)
_MULTIPLE = 32  # Pixels; both networks halve the image five times.


def main(unused_operands: list[str]) -> None:
    """Runs the recipe."""
    study_flags.run(_RECIPE, _PAPER, check_flags, _run)


def check_flags() -> None:
    """Checks the flags by themselves; raises InputError for what cannot be."""
    study_flags.check_shared_task()
    study_flags.check_image_multiple(_MULTIPLE)


def _run(directory: RunDirectory) -> list[dict[str, Any]]:
    clients = _load_clients(study_flags.given_sites(with_finding=False)) if FLAGS.site else None
    from tffcxr.datasets.phantoms import phantom
    from tffcxr.studies.masks import mask_study

    build = mask_study.model_builder(
        FLAGS.model,
        FLAGS.image_size,
        FLAGS.weights,
        FLAGS.batch_norm,
        FLAGS.seed,
        FLAGS.precision,
    )
    segmenter = mask_study.of_whole_images(
        functools.partial(training_flags.make_plan, findings=1), build
    )
    # Phantoms take a while, so that what can be wrong with the model comes before.
    clients = clients or _load_clients(
        study_flags.make_phantoms(directory.path, "lungs", phantom.write_lungs)
    )
    study = mask_study.SegmentationStudy(
        **study_flags.settings(
            _RECIPE, directory.path, clients.records, clients.site_of, clients.source_of
        ),
        region="Lungs",
        may_be_absent=False,
        model=FLAGS.model,
        segmenter=lambda store: segmenter,
        with_pooled=FLAGS.baseline == "pooled",
        split=study_flags.measured_split(),
    )
    return mask_study.run(study, directory)


def _load_clients(sites: Sequence[Site]) -> ClientRecords:
    from tffcxr.clients import site_tables

    return study_flags.load_shared_task(sites, site_tables.keep_lungs, stratify=None)


if __name__ == "__main__":
    command_line.run(main)
