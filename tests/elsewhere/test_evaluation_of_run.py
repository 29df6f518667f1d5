"""A model is measured on images that its run has not seen, whatever file they are in."""

import json

import numpy as np
import pandas as pd
from PIL import Image
import pytest
from sklearn import metrics as sklearn_metrics

from tests.data_check import planted
from tests.models.files import exported_models
from tffcxr import run_tables
from tffcxr.datasets import records
from tffcxr.elsewhere import evaluation_of_run, known_images, scoring
from tffcxr.elsewhere.evaluation_of_run import Wanted
from tffcxr.errors import InputError
from tffcxr.models.files import export, metadata

WANTED = Wanted(replicates=50)


def _table(folder, seeds, **labels):
    folder.mkdir()
    rows = []
    for seed in seeds:
        path = folder / f"{seed}.png"
        Image.fromarray(planted.radiograph(seed)).save(path)
        rows.append({"image": str(path), "patient": f"p{seed // 2}"})
    table = records.build(rows, list(labels), "test")
    return table.assign(**labels)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    """A run that was trained on the phantoms 0 to 3, and tested on 4."""
    folder = tmp_path_factory.mktemp("run") / "run"
    export.save(folder / "models" / "m.keras", exported_models.exported(metadata.FINDINGS))
    table = _table(folder / "own", range(5), Pneumothorax=[0, 1, 0, 1, 1])
    splits = ["train", "train", "train", "validation", "test"]
    names = pd.DataFrame(
        {
            "client": "north",
            "row": np.arange(5),
            "split": splits,
            "image": table["image"],
            "patient": table["patient"],
        }
    )
    (folder / "cache").mkdir()
    run_tables.IMAGES.write(folder / "cache", names)
    return folder


def test_rows_are_those_of_the_images(run, tmp_path):
    table = _table(tmp_path / "east", range(20, 40), Pneumothorax=[0.0, 1.0] * 10)
    model = run / "models" / "m.keras"
    evaluated = evaluation_of_run.evaluate(model, {"east": table}, WANTED)
    (row,) = evaluated.rows
    exported = export.load(model)
    scores = [exported.predict(path)["Pneumothorax"] for path in table["image"]]
    expected = sklearn_metrics.roc_auc_score(table["Pneumothorax"], scores)
    assert row["auroc"] == pytest.approx(expected, abs=1e-6)
    assert (row["task"], row["split"]) == ("Pneumothorax at east", "external")
    assert (row["images"], row["patients"], row["client"]) == (20, 10, "east")
    assert not evaluated.remarks
    text = evaluation_of_run.write(tmp_path, evaluated)
    assert "Pneumothorax at east (standard model, external images)" in text
    (written,) = json.loads((tmp_path / "metrics.json").read_text("utf-8"))["rows"]
    assert written["auroc"] == pytest.approx(row["auroc"])


def test_what_the_run_has_seen_is_left_out_with_its_patients(run, tmp_path):
    table = _table(tmp_path / "east", [1, 4, *range(50, 60)], Pneumothorax=[0.0, 1.0] * 6)
    smaller = Image.open(table["image"][0]).resize((64, 64))
    smaller.save(table["image"][0])
    # 50 is of the patient of the image that is a copy of the run's; 4 was only tested on.
    table["patient"] = ["a", "b", "a", *(f"c{number}" for number in range(9))]
    evaluated = evaluation_of_run.evaluate(run / "models" / "m.keras", {"east": table}, WANTED)
    assert [row["images"] for row in evaluated.rows] == [10]
    (remark,) = evaluated.remarks
    assert remark.startswith("east: 2 of 12 images are left out, since the run was trained on 1")
    only_known = table[:1].assign(Pneumothorax=1.0)
    with pytest.raises(InputError, match="site east: expected images that the run was not"):
        evaluation_of_run.evaluate(run / "models" / "m.keras", {"east": only_known}, WANTED)


def test_without_the_run_s_table_it_says_that_it_does_not_know(run, tmp_path):
    assert known_images.read(tmp_path) is None
    export.save(tmp_path / "models" / "m.keras", exported_models.exported(metadata.FINDINGS))
    table = _table(tmp_path / "east", range(6), Pneumothorax=[0.0, 1.0] * 3)
    (tmp_path / "east" / "2.png").write_bytes(b"no image")
    evaluated = evaluation_of_run.evaluate(tmp_path / "models/m.keras", {"east": table}, WANTED)
    assert [row["images"] for row in evaluated.rows] == [5]
    unknown, unusable = evaluated.remarks
    assert "is unknown" in unknown
    assert unusable == "east: 1 of 6 images could not be used"


def test_sites_and_models_that_do_not_fit(tmp_path):
    table = _table(tmp_path / "east", range(2), Hernia=[0.0, 1.0])
    sample = scoring.Sample("east", table)
    message = "site east: expected labels of Lung Opacity, Pneumothorax, found Hernia"
    with pytest.raises(InputError, match=message):
        scoring.common_findings(exported_models.exported(metadata.FINDINGS), sample)
    with pytest.raises(InputError, match="expected a model of findings, found a model that marks"):
        scoring.common_findings(exported_models.exported(metadata.MASKS), sample)
