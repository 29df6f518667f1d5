"""Tests of the subgroups of masks and of volumes: images, or cases, in groups of patients."""

import types
from typing import Any

import numpy as np
import pandas as pd

from tffcxr import run_tables
from tffcxr.report import run_files
from tffcxr.studies.mask_cases import Masks
from tffcxr.studies.masks import mask_subgroups
from tffcxr.studies.volumes import volume_subgroups
from tffcxr.training.evaluators.mask_validation import MaskScores


class _Study:
    """Two nodes of 24 patients with 2 slices each; at "ct" women have no overlap at all."""

    region = "Lungs"
    tasks = ("Kidneys in CT", "Kidneys in PET")
    task_of = {"ct": "Kidneys in CT", "pet": "Kidneys in PET"}
    spec = types.SimpleNamespace(network="unet")
    settings = types.SimpleNamespace(replicates=20, seed=0)

    def __init__(self):
        patients = np.repeat([f"p{number:02d}" for number in range(24)], 2)
        sexes = np.where(np.arange(48) // 2 % 2, "M", "F")
        table = {"patient": patients, "age": np.nan, "view": None, "scanner": None, "sex": sexes}
        records = {client: pd.DataFrame(table) for client in self.task_of}
        self.clients = types.SimpleNamespace(records=records)

    def patients(self, scored):
        return np.array(
            [
                f"{client}/{self.clients.records[client]['patient'][row]}"
                for client, row in zip(scored.clients, scored.rows)
            ],
            object,
        )

    def people(self, cases):
        return np.array([str(case).partition("/")[2] for case in cases], object)


def _scores(study):
    rows = np.tile(np.arange(48), 2)
    clients = np.repeat(np.array(["ct", "pet"], object), 48)
    woman = (study.clients.records["ct"]["sex"] == "F").to_numpy()[rows]
    area, common = np.full(96, 0.5), np.where(woman & (clients == "ct"), 0.0, 0.5)
    values: Any = dict.fromkeys(("loss", "jaccard", "dice"), area)
    areas = {"truth_area": area, "predicted_area": area, "common_area": common}
    boxed = {"boxed_area": common, "boundary": area, "boxed_boundary": common}
    return MaskScores(rows=rows, clients=clients, **values, **areas, **boxed)


def test_cases_are_measured_in_the_groups_of_their_patients(tmp_path):
    study: Any = _Study()
    volume_subgroups.write(tmp_path, study, [Masks("federated", {}, _scores(study))])
    table = run_files.read_table(tmp_path, run_tables.SUBGROUPS)
    assert table["task"].tolist() == ["Kidneys in CT"] * 2 + ["Kidneys in PET"] * 2
    assert table["group"].tolist() == ["female", "male"] * 2
    assert table["images"].tolist() == table["patients"].tolist() == [12] * 4  # Cases.
    assert table["dice"].tolist() == table["overlap"].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert table["dice_gap"][0] == 1.0
    assert set(table["too_small"]) == {0}


def test_images_are_measured_in_the_groups_of_their_patients(tmp_path):
    study: Any = _Study()
    results = [Masks(training, {}, _scores(study)) for training in ("federated", "pooled")]
    mask_subgroups.write(tmp_path, study, "unet", results)
    table = run_files.read_table(tmp_path, run_tables.SUBGROUPS)
    assert table["task"].tolist() == ["Lungs"] * 4
    assert table["training"].tolist() == ["federated"] * 2 + ["pooled"] * 2
    assert table["group"].tolist() == ["female", "male"] * 2
    assert table["images"].tolist() == [48] * 4
    assert table["patients"].tolist() == [24] * 4  # 12 at each of two sites.
    assert table["jaccard"].tolist() == table["dice"].tolist() == [0.5] * 4
    assert table["jaccard_gap"].isna().tolist() == [True, False] * 2
