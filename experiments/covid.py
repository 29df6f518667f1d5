r"""Trains classifiers of COVID-19, pneumonia and normal chests with and without federation.

Liu, Yan, Zhou, Yang, Zhang: "Experiments of Federated Learning for COVID-19 Chest X-ray Images"
(arXiv 2007.05592, 2020). COVID-Net, ResNet18, ResNeXt and MobileNetV2 train on COVIDx, divided
equally among five hospitals, of which two take part in a round. Each network is compared with the
same network trained on all images pooled. Without --site, the program draws phantom radiographs.
The defaults suit phantoms; the preset has the paper's settings:

  ./bazelw run //experiments:covid -- --output_dir=DIR --site=covidx=covidx:PATH \
      --flagfile=covid
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import (
    checks,
    class_flags,
    command_line,
    fraction_flags,
    network_flags,
    study_flags,
    training_flags,
)
from tffcxr import options
from tffcxr.datasets import findings

if TYPE_CHECKING:
    from tffcxr.training.plan import Plan

FLAGS = flags.FLAGS

# Networks of full width would learn nothing in five minutes on two cores.
_PHANTOM_WIDTH = 0.25

flags.DEFINE_list(
    "model",
    ["covidnet", "resnet18", "resnext18", "mobilenetv2"],
    f"Some of {', '.join(options.CLASSIFIERS)}. The default is the paper's; see --width.",
)
flags.DEFINE_enum(
    "baseline",
    "pooled",
    ["pooled", "none"],
    "Models to compare with: pooled (trained on all images).",
)
flags.DEFINE_integer("pooled_epochs", 1, "Passes of the pooled model over all images per round.")
flags.DEFINE_integer("heatmaps", 1, "Test images per class explained by Grad-CAM++.")
network_flags.define()
fraction_flags.define(test=0.2)
study_flags.define_class_balance()
study_flags.define(
    recipe="covid",
    site_help="A hospital as NAME=LOADER:PATH, with the loader covidx, classes for a folder that "
    "has the folders Normal, Pneumonia and COVID-19, or csv with a column class; repeatable. The "
    "test images of COVIDx stay test images. Default: one hospital with phantom radiographs.",
    phantom_patients=400,
    phantom_width=_PHANTOM_WIDTH,
    image_size=64,
    partition="iid",
    clients_per_site=5,
)
training_flags.define(
    rounds=7,
    local_epochs=3,  # The paper's.
    learning_rate=3e-3,
    batch_size=10,
    schedule="polynomial",
    clients_per_round="0.4",  # The paper's: two of five.
    batch_norm="recompute",
    personal=False,
)
for _module in (network_flags, fraction_flags, study_flags, training_flags):
    flags.adopt_module_key_flags(_module)


@dataclasses.dataclass(frozen=True)
class _Covid(class_flags.ClassRecipe):
    phantom_width = _PHANTOM_WIDTH

    def apply_defaults(self) -> None:
        """See `Recipe`; only plain sums can recompute batch norm's statistics."""
        super().apply_defaults()
        if FLAGS.aggregator != "mean":
            FLAGS.set_default("batch_norm", "aggregate")

    def check(self) -> None:
        """See `Recipe`."""
        super().check()
        checks.at_least(1, "pooled_epochs")
        is_pooled = FLAGS.baseline == "pooled"
        checks.used(
            is_pooled, "pooled_epochs", "--baseline=pooled", "baseline", may_be_taken_back=True
        )

    def pooled_epochs(self, plan: Plan) -> int:
        """See `ClassRecipe`."""
        del plan
        return int(FLAGS.pooled_epochs)


RECIPE = _Covid(
    name="covid",
    paper="Liu et al., “Experiments of Federated Learning for COVID-19 Chest X-ray Images”, 2020, "
    "arXiv:2007.05592",
    task="COVID-19 classes",
    classes=findings.COVID,
    stratify=findings.COVID[-1],
    explained=findings.COVID,
    explanation="gradcam++",
    phantoms=study_flags.PhantomSite("phantoms", "covidx", "write_covidx"),
    own_test=True,
    with_train_scores=True,
)


if __name__ == "__main__":
    command_line.run(RECIPE.main)
