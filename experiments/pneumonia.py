r"""Trains models of pneumonia in chest radiographs across hospitals.

Nagabhushanam & Yaswanth, "Federated Learning for Pneumonia Detection and Segmentation" (NITK 2025).
--task=classification separates pneumonia from normal chests: ResNet50 across twenty clients,
compared with ResNet34 and ResNet50 trained on all images pooled. --task=segmentation segments lung
opacities with nnU-Net (Isensee et al., "nnU-Net: a self-configuring method for deep learning-based
biomedical image segmentation", Nature Methods 18, 2021), which configures itself from statistics
that the clients send. Without --site, the program draws phantom radiographs.

The defaults suit phantoms. --help shows those of the classification; the help of --task lists the
differences for the segmentation. The presets have the paper's settings:

  ./bazelw run //experiments:pneumonia -- --output_dir=DIR --site=kermany=kermany:PATH \
      --flagfile=pneumonia_classification
  ./bazelw run //experiments:pneumonia -- --output_dir=DIR --site=rsna=rsna:PATH \
      --flagfile=pneumonia_segmentation
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import (
    checks,
    command_line,
    fraction_flags,
    pneumonia_classification,
    pneumonia_segmentation,
    recipe,
    study_flags,
    training_flags,
)

if TYPE_CHECKING:
    from tffcxr.studies.study import Study

FLAGS = flags.FLAGS

# Each has `DEFAULTS`, `define_flags` and `TASK`, the recipe of the task alone.
_TASKS: dict[str, Any] = {
    "classification": pneumonia_classification,
    "segmentation": pneumonia_segmentation,
}

_OTHERS = " ".join(
    f"--{name}={value}"
    for name, value in pneumonia_segmentation.DEFAULTS.items()
    if value != pneumonia_classification.DEFAULTS[name] and value is not None
)

flags.DEFINE_enum(
    "task",
    "classification",
    list(_TASKS),
    f"The task. Defaults that differ for segmentation: {_OTHERS}, and the batch size of nnU-Net's "
    "plan.",
)
flags.DEFINE_enum(
    "baseline",
    "pooled",
    ["pooled", "none"],
    "Models to compare with: pooled (trained on all images).",
)
fraction_flags.define(test=0.2)
study_flags.define(
    recipe="pneumonia",
    site_help="A hospital as NAME=LOADER:PATH; repeatable. Loaders for classification: kermany, "
    "whose test images stay test images unless patients also have images in train/; rsna, where "
    "Lung Opacity is pneumonia and all other images (Target 0, including abnormal ones) are "
    "normal; classes for a folder that has the folders Normal and Pneumonia, or csv with a column "
    "class. Loaders for segmentation: rsna, and csv with the columns Lung Opacity and mask. "
    "Default: one hospital with phantom radiographs.",
    phantom_patients=120,
    image_size=64,
    phantom_width=pneumonia_classification.PHANTOM_WIDTH,
)
training_flags.define(rounds=10, learning_rate=0.01, batch_size=32, personal=False)
for _module in _TASKS.values():
    _module.define_flags()
for _module in (fraction_flags, study_flags, training_flags, *_TASKS.values()):
    flags.adopt_module_key_flags(_module)


def _set_defaults(task: str) -> None:
    """Gives flags that were not given the values of a task; a batch size of None is the plan's."""
    for name, value in _TASKS[task].DEFAULTS.items():
        FLAGS.set_default(name, value)


_set_defaults("classification")  # So that --help shows them.


@dataclasses.dataclass(frozen=True)
class _Pneumonia(recipe.Recipe):
    """The recipe of `--task`."""

    def apply_defaults(self) -> None:
        """See `Recipe`."""
        _set_defaults(FLAGS.task)
        _TASKS[FLAGS.task].TASK.apply_defaults()
        if FLAGS.optimizer != "sgd":
            FLAGS.set_default("momentum", 0.0)
        if not FLAGS.momentum:
            FLAGS.set_default("nesterov", False)

    def check(self) -> None:
        """See `Recipe`."""
        for task, module in _TASKS.items():
            for flag in FLAGS.get_key_flags_for_module(module):
                if flag.name not in pneumonia_segmentation.SHARED:
                    checks.used(FLAGS.task == task, flag.name, f"--task={task}", "task")
        _TASKS[FLAGS.task].TASK.check()

    def make_study(self, run_folder: pathlib.Path) -> Study:
        """See `Recipe`."""
        study: Study = _TASKS[FLAGS.task].TASK.make_study(run_folder)
        return study


RECIPE = _Pneumonia(pneumonia_classification.TASK.name, pneumonia_classification.TASK.paper)


if __name__ == "__main__":
    command_line.run(RECIPE.main)
