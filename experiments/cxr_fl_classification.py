r"""Trains classifiers of chest radiographs across hospitals, on full images and on the lungs alone.

Ślazyk, Jabłecki, Lisowska, Malawski, Płotka: "CXR-FL: Deep Learning-based Chest X-ray Image
Analysis Using Federated Learning" (ICCS 2022, arXiv 2204.05203), second part: ResNet50 and
DenseNet121 on the three classes of RSNA. The program trains every network on every kind of images,
one after the other. The total training data do not depend on the number of clients. Without
--site, it draws phantom radiographs, whose lung masks are known.

  ./bazelw run //experiments:cxr_fl_classification -- --output_dir=DIR --site=rsna=rsna:PATH \
      --flagfile=cxr_fl_classification \
      --segmentation_model=RUN_OF_CXR_FL_SEGMENTATION
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import (
    checks,
    class_flags,
    command_line,
    fraction_flags,
    network_flags,
    study_flags,
    test_images_flag,
    training_flags,
)
from tffcxr import options
from tffcxr.datasets import findings
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import Site
    from tffcxr.studies.classes.class_study import ClassStudy
    from tffcxr.studies.classes.variants import Variant
    from tffcxr.training.plan import Plan

FLAGS = flags.FLAGS

flags.DEFINE_list(
    "model",
    ["standard"],
    f"Some of {', '.join(options.CLASSIFIERS)}. The paper's are resnet50,densenet121; the "
    "default learns from few phantoms in minutes.",
)
flags.DEFINE_list(
    "images",
    list(options.IMAGE_KINDS),
    "Kinds of images: full radiographs, segmented (all but the lungs is black), or both.",
)
flags.DEFINE_string(
    "segmentation_model",
    None,
    "Lung segmentation model for --images=segmented: the folder of a run of cxr_fl_segmentation or "
    "of a sweep of it (its best run), or a .keras file. If a mask is implausible, the full image "
    "is used and counted. Default: the outlines that come with the images.",
)
flags.DEFINE_enum(
    "baseline",
    "none",
    ["pooled", "none"],
    "Models to compare with: pooled (trained on all images).",
)
flags.DEFINE_integer("heatmaps", 4, "Test images explained by Grad-CAM, for all models.")
flags.DEFINE_boolean(
    "heat_metrics",
    True,
    "Measure the Grad-CAM heat of all lung opacities that a model classifies correctly: its share "
    "in the lungs and its focus.",
)
network_flags.define()
fraction_flags.define(test=0.1)  # Ours; the paper's test set is in the preset.
test_images_flag.define()
study_flags.define_class_balance()
study_flags.define(
    recipe="cxr_fl_classification",
    site_help="A hospital as NAME=LOADER:PATH, with the loader rsna, or csv; repeatable. Default: "
    "one hospital with phantom radiographs.",
    phantom_patients=700,
    image_size=128,
    partition="iid",
    clients_per_site=2,
    augmentation="affine",
)
training_flags.define(
    rounds=25, learning_rate=2e-3, batch_size=16, schedule="polynomial", personal=False
)
for _module in (network_flags, fraction_flags, study_flags, test_images_flag, training_flags):
    flags.adopt_module_key_flags(_module)


@dataclasses.dataclass(frozen=True)
class _Classification(class_flags.ClassRecipe):
    def check(self) -> None:
        """See `Recipe`."""
        super().check()
        test_images_flag.check(self.classes)
        is_used = "segmented" in _images()
        checks.used(is_used, "segmentation_model", "--images=segmented", "images")

    def make_study(self, run_folder: pathlib.Path) -> ClassStudy:
        """See `Recipe`; checks the segmentation model first."""
        checks.segmentation_model()
        return super().make_study(run_folder)

    def variants(self, plans: dict[tuple[str, str], Plan]) -> tuple[Variant, ...]:
        """See `ClassRecipe`: every network on every kind of images."""
        return tuple(
            dataclasses.replace(variant, images=images)
            for variant in super().variants(plans)
            for images in _images()
        )

    def prepare(self, table: pd.DataFrame, site: Site) -> pd.DataFrame:
        """See `ClassRecipe`; rejects a site without the outlines that segmented images need."""
        needs_outlines = "segmented" in FLAGS.images and not FLAGS.segmentation_model
        if needs_outlines and table["lungs"].isna().all():
            raise InputError(
                f"site {site.name}: --images=segmented: expected --segmentation_model, or masks of "
                f"the lungs in {site.path}, found neither"
            )
        return table


def _images() -> tuple[str, ...]:
    """The kinds of `--images`; raises InputError for others."""
    return checks.names("images", FLAGS.images, options.IMAGE_KINDS)


RECIPE = _Classification(
    name="cxr_fl_classification",
    paper="Ślazyk et al., “CXR-FL: Deep Learning-based Chest X-ray Image Analysis Using Federated "
    "Learning”, ICCS 2022, arXiv:2204.05203",
    task="RSNA classes",
    classes=findings.RSNA,
    stratify=findings.RSNA[0],
    explained=(findings.RSNA[0],),  # "Lung Opacity", the class that is outlined.
    phantoms=study_flags.PhantomSite("phantoms", "rsna", "write_rsna"),
)


if __name__ == "__main__":
    command_line.run(RECIPE.main)
