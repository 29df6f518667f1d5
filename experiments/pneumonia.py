r"""Finds pneumonia in chest radiographs across hospitals.

Nagabhushanam & Yaswanth, "Federated Learning for Pneumonia Detection and Segmentation" (NITK 2025).
--task=segmentation outlines lung opacities with nnU-Net (Isensee et al., "nnU-Net: a
self-configuring method for deep learning-based biomedical image segmentation", Nature Methods 18,
2021), which plans itself from statistics that the clients send. Without --site, phantom radiographs
are made.

  ./bazelw run //experiments:pneumonia -- --output_dir=DIR --site=rsna=rsna:PATH
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command_line, pneumonia_segmentation, study_flags, training_flags

if TYPE_CHECKING:
    from tffcxr.training.run_directory import RunDirectory

FLAGS = flags.FLAGS

flags.DEFINE_enum("task", "segmentation", ["segmentation"], "What is learnt.")
flags.DEFINE_enum(
    "baseline", "pooled", ["pooled", "none"], "Model to compare with: of all images in one place."
)
study_flags.define_fractions(test=0.2)
study_flags.define(
    recipe="pneumonia",
    site_help="A hospital as NAME=LOADER:PATH, with the loader rsna; may be given several times. "
    "Default: one hospital with phantom radiographs.",
    phantom_patients=120,
    image_size=64,
)
training_flags.define(rounds=10, learning_rate=0.01, batch_size=32, personal=False)
pneumonia_segmentation.define_flags()
for module in (study_flags, training_flags, pneumonia_segmentation):
    flags.adopt_module_key_flags(module)

_RECIPE = "pneumonia"


def main(unused_operands: list[str]) -> None:
    """Runs the recipe."""
    pneumonia_segmentation.apply_defaults()
    study_flags.run(_RECIPE, check_flags, _run)


def _run(directory: RunDirectory) -> list[dict[str, Any]]:
    return pneumonia_segmentation.run(_RECIPE, directory)


def check_flags() -> None:
    """Checks the flags by themselves; raises InputError for what cannot be."""
    pneumonia_segmentation.check_flags()


if __name__ == "__main__":
    command_line.run(main)
