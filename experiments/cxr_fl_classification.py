r"""Trains classifiers of chest radiographs across hospitals, on full images and on the lungs alone.

Ślazyk, Jabłecki, Lisowska, Malawski, Płotka: "CXR-FL: Deep Learning-based Chest X-ray Image
Analysis Using Federated Learning" (ICCS 2022, arXiv 2204.05203), its second part: ResNet50 and
DenseNet121 on the three classes of RSNA. Every network is trained on every kind of images, one
after the other; the clients hold the same data in all, however many they are. Without --site,
phantom radiographs are made, whose lungs are known.

  ./bazelw run //experiments:cxr_fl_classification -- --output_dir=DIR --site=rsna=rsna:PATH \
      --segmentation_model=RUN_OF_CXR_FL_SEGMENTATION
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import class_flags, command_line, study_flags, training_flags
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.training.run_directory import RunDirectory

FLAGS = flags.FLAGS

_IMAGES = ("full", "segmented")

flags.DEFINE_list(
    "model",
    ["standard"],
    f"Some of {', '.join(options.CLASSIFIERS)}. The paper's are resnet50,densenet121; the "
    "default learns from few phantoms in minutes.",
)
flags.DEFINE_list(
    "images",
    list(_IMAGES),
    "full radiographs, segmented ones (the lungs alone, black around them), or both.",
)
flags.DEFINE_string(
    "segmentation_model",
    None,
    "What finds the lungs of --images=segmented: the folder of a run of cxr_fl_segmentation, of a "
    "sweep of it (whose best run is taken), or a .keras file. Default: outlines that come with the "
    "images. Where the lungs found are implausible, the full image is used and counted.",
)
class_flags.define_width()
flags.DEFINE_enum(
    "baseline", "none", ["pooled", "none"], "Models to compare with: of all images in one place."
)
flags.DEFINE_integer("heatmaps", 4, "Test images that Grad-CAM explains, by all models.")
study_flags.define_fractions(test=0.1)  # The paper's 9:1.
study_flags.define_class_balance()
study_flags.define(
    recipe="cxr_fl_classification",
    site_help="A hospital as NAME=LOADER:PATH, with the loader rsna; may be given several times. "
    "Default: one hospital with phantom radiographs.",
    phantom_patients=700,
    image_size=128,
    partition="iid",
    clients_per_site=2,
    augmentation="affine",
)
training_flags.define(
    rounds=25, learning_rate=2e-3, batch_size=16, schedule="polynomial", personal=False
)
flags.adopt_module_key_flags(class_flags)
flags.adopt_module_key_flags(study_flags)
flags.adopt_module_key_flags(training_flags)

_RECIPE = "cxr_fl_classification"
_PAPER = (
    "Ślazyk et al., “CXR-FL: Deep Learning-based Chest X-ray Image Analysis Using Federated "
    "Learning”, ICCS 2022, arXiv:2204.05203"
)


def main(unused_operands: list[str]) -> None:
    """Runs the recipe."""
    study_flags.run(_RECIPE, _PAPER, check_flags, _run)


def check_flags() -> None:
    """Checks the flags by themselves; raises InputError for what cannot be."""
    class_flags.check()
    training_flags.check_used(
        "segmented" in _kinds(), "segmentation_model", "--images=segmented", "images"
    )


def _kinds() -> tuple[str, ...]:
    """The kinds of `--images`; raises InputError for others."""
    return study_flags.parse_names("images", FLAGS.images, _IMAGES)


def _run(directory: RunDirectory) -> list[dict[str, Any]]:
    clients = _load_clients(study_flags.given_sites(with_finding=False)) if FLAGS.site else None
    from tffcxr.datasets import findings
    from tffcxr.datasets.phantoms import phantom
    from tffcxr.studies.classes import class_study
    from tffcxr.studies.classes.variants import ClassStudy, Variant

    if FLAGS.segmentation_model:
        from tffcxr.studies.classes import lung_cut_out

        lung_cut_out.load_model(FLAGS.segmentation_model)  # So that what is wrong is told first.
    plans = class_flags.make_plans(
        len(findings.RSNA), FLAGS.local_epochs if FLAGS.baseline == "pooled" else 0
    )
    # Phantoms take a while, so that what can be wrong with the models comes before.
    clients = clients or _load_clients(
        study_flags.make_phantoms(directory.path, "rsna", phantom.write_rsna)
    )
    study = ClassStudy(
        **class_flags.settings(_RECIPE, directory.path, clients),
        task="RSNA classes",
        classes=findings.RSNA,
        variants=tuple(
            Variant(name, images) for name in class_flags.networks() for images in _kinds()
        ),
        plans=plans,
        segmentation_model=FLAGS.segmentation_model,
        with_train_scores=False,
        explained=(findings.RSNA[0],),  # "Lung Opacity", the class that is outlined.
        explanation="gradcam",
    )
    return class_study.run(study, directory)


def _load_clients(sites: Sequence[Site]) -> ClientRecords:
    from tffcxr.datasets import findings

    return class_flags.load_clients(
        sites, findings.RSNA, stratify=findings.RSNA[0], prepare=_check_outlines
    )


def _check_outlines(table: pd.DataFrame, site: Site) -> pd.DataFrame:
    """Refuses a site without the outlines that segmented images need; returns its table."""
    needs_outlines = "segmented" in FLAGS.images and not FLAGS.segmentation_model
    if needs_outlines and table["lungs"].isna().all():
        raise InputError(
            f"site {site.name}: --images=segmented: expected --segmentation_model, or masks of "
            f"the lungs in {site.path}, found neither"
        )
    return table


if __name__ == "__main__":
    command_line.run(main)
