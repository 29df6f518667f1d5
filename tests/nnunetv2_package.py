"""Runs the published implementation of nnU-Net, where it is installed, for comparison.

The package `nnunetv2` needs PyTorch, which does not go with this project's requirements; it may
live in an environment of its own, whose interpreter `NNUNETV2_PYTHON` names.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

# Makes nnunetv2's raw folder from <folder>/cases.npz, and writes <folder>/found.json. Fewer pixels
# are drawn for the statistics than the 10^8 that nnunetv2 draws, which take a minute.
_PLAN = """
import json, os, pathlib, sys
import numpy as np
root = pathlib.Path(sys.argv[1])
os.environ["nnUNet_raw"] = str(root / "raw")
os.environ["nnUNet_preprocessed"] = str(root / "preprocessed")
os.environ["nnUNet_results"] = str(root / "results")
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
    DatasetFingerprintExtractor)
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    ExperimentPlanner)

def main():
    extractor = DatasetFingerprintExtractor(1, num_processes=2)
    extractor.num_foreground_voxels_for_intensitystats = float(sys.argv[3])
    fingerprint = extractor.run(overwrite_existing=True)
    planner = ExperimentPlanner(1, gpu_memory_target_in_gb=float(sys.argv[2]))
    spacings = json.loads(sys.argv[4])
    if spacings:
        planner.dataset_fingerprint["spacings"] = [[999.0, *spacings]] * len(
            fingerprint["spacings"])
    plan = planner.plan_experiment()
    size = float(np.atleast_1d(fingerprint["median_relative_size_after_cropping"])[0])
    (root / "found.json").write_text(json.dumps({"plan": plan, "relative_size": size}))

if __name__ == "__main__":
    main()
"""


def python() -> str:
    """Returns an interpreter that has nnunetv2, or skips the calling test."""
    interpreter = os.environ.get("NNUNETV2_PYTHON", sys.executable)
    found = subprocess.run([interpreter, "-c", "import nnunetv2"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"nnunetv2 is not installed in {interpreter} (set NNUNETV2_PYTHON)")
    return interpreter


def run(script: str, *arguments: str) -> None:
    """Runs a script with that interpreter."""
    path = pathlib.Path(arguments[0]) / "script.py"
    path.write_text(script)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python(), str(path), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def plan(
    folder: pathlib.Path,
    cases: list[tuple[np.ndarray, np.ndarray]],
    gpu_memory_gb: float,
    spacing: tuple[float, float] | None = None,
    drawn: float = 1e7,
) -> dict:
    """Returns nnunetv2's plan, under "plan", and its relative size, under "relative_size".

    Args:
      folder: an empty one.
      cases: image, uint8 [H, W], and mask, bool [H, W], of each case.
      gpu_memory_gb: the planner's target.
      spacing: in place of 1, which nnunetv2 takes for PNG files.
      drawn: foreground pixels that nnunetv2 draws.
    """
    data = folder / "raw" / "Dataset001_Phantoms"
    (data / "imagesTr").mkdir(parents=True)
    (data / "labelsTr").mkdir()
    for number, (image, mask) in enumerate(cases):
        cv2.imwrite(str(data / "imagesTr" / f"case{number:04d}_0000.png"), image)
        cv2.imwrite(str(data / "labelsTr" / f"case{number:04d}.png"), mask.astype(np.uint8))
    (data / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "radiograph"},
                "labels": {"background": 0, "region": 1},
                "numTraining": len(cases),
                "file_ending": ".png",
            }
        )
    )
    run(_PLAN, str(folder), str(gpu_memory_gb), str(drawn), json.dumps(spacing))
    return json.loads((folder / "found.json").read_text())
