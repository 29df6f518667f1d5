"""A model is measured on images that its run has not seen, whatever file they are in."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pandas as pd
from PIL import Image
import pytest
from sklearn import metrics as sklearn_metrics

from tests.data_check import planted
from tests.models.files import exported_models
from tffcxr import kept_names, run_tables
from tffcxr.clients.sites import Site
from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations, images
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


def _evaluate(model, table, site="east"):
    return evaluation_of_run.evaluate(model, {Site(site, "csv", pathlib.Path(site)): table}, WANTED)


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
    kept_names.write(folder, run_tables.IMAGES, names)
    return folder


def test_rows_are_those_of_the_images(run, tmp_path):
    table = _table(tmp_path / "east", range(20, 40), Pneumothorax=[0.0, 1.0] * 10)
    model = run / "models" / "m.keras"
    evaluated = _evaluate(model, table)
    (row,) = evaluated.rows
    exported = export.load(model)
    scores = [exported.predict(path)["Pneumothorax"] for path in table["image"]]
    expected = sklearn_metrics.roc_auc_score(table["Pneumothorax"], scores)
    assert row["auroc"] == pytest.approx(expected, abs=1e-6)
    assert (row["task"], row["split"]) == ("Pneumothorax at east", "external")
    assert (row["images"], row["patients"], row["client"]) == (20, 10, "east")
    assert not evaluated.remarks
    text = evaluation_of_run.write(tmp_path, evaluated, model, ["tffcxr", "evaluate", "--x=<y>"])
    assert "Pneumothorax at east (standard model, external images)" in text
    (written,) = json.loads((tmp_path / "metrics.json").read_text("utf-8"))["rows"]
    assert written["auroc"] == pytest.approx(row["auroc"])


def test_what_the_run_has_seen_is_left_out_with_its_patients(run, tmp_path):
    table = _table(tmp_path / "east", [1, 4, *range(50, 60)], Pneumothorax=[0.0, 1.0] * 6)
    smaller = Image.open(table["image"][0]).resize((64, 64))
    smaller.save(table["image"][0])
    # 50 is of the patient of the image that is a copy of the run's; 4 was only tested on.
    table["patient"] = ["a", "b", "a", *(f"c{number}" for number in range(9))]
    evaluated = _evaluate(run / "models" / "m.keras", table)
    assert [row["images"] for row in evaluated.rows] == [10]
    (remark,) = evaluated.remarks
    assert remark.startswith("east: 2 of 12 images are left out, since the run was trained on 1")
    assert "more than half" not in remark
    only_known = table[:1].assign(Pneumothorax=1.0)
    with pytest.raises(
        InputError, match="site east: expected images of patients that the run was not"
    ):
        _evaluate(run / "models" / "m.keras", only_known)


def test_patients_of_the_run_are_left_out_where_their_ids_mean_the_same(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "moved")
    model = moved / "models" / "m.keras"
    table = _table(tmp_path / "east", range(50, 60), Pneumothorax=[0.0, 1.0] * 5)
    table["patient"] = ["p0", "p2", *(f"q{number}" for number in range(8))]  # p2 was only tested.

    def images(source, *flags, loader="rsna"):
        about = {"client": "north", "site": "hospital", "source": source}
        config = {"sites": [about], "settings": {"site": list(flags)}}
        (moved / "config.json").write_text(json.dumps(config))
        sites = {Site("east", loader, tmp_path / "east"): table}
        (row,) = evaluation_of_run.evaluate(model, sites, WANTED).rows
        return row["images"]

    assert images("nih", "hospital=nih:/data/nih:Pneumothorax") == 9
    assert images("nih") == 9  # Of another hospital's program, without the flag.
    assert images("csv", f"hospital=csv:{tmp_path / 'east'}:Mass", loader="csv") == 9
    assert images("csv", "hospital=csv:/data/other:Mass", loader="csv") == 10
    assert images("phantoms") == 10


def test_it_says_that_an_attack_was_rehearsed(run, tmp_path):
    exported = export.load(run / "models" / "m.keras")
    about = dataclasses.replace(exported.metadata, trained_on={"attack": "sign"})
    model = shutil.copytree(run, tmp_path / "attacked") / "models" / "m.keras"
    export.save(model, dataclasses.replace(exported, metadata=about))
    table = _table(tmp_path / "east", range(10, 14), Pneumothorax=[0, 1, 0, 1])

    def says_so(path):
        return any("attack" in remark for remark in _evaluate(path, table).remarks)

    assert says_so(model) and not says_so(run / "models" / "m.keras")


def test_without_the_run_s_images_nothing_is_measured_unless_it_is_asked_for(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "moved")
    names = kept_names.read(moved, run_tables.IMAGES)
    assert names is not None
    names.loc[:1, "image"] = [str(tmp_path / "gone0.png"), str(tmp_path / "gone1.png")]
    kept_names.write(moved, run_tables.IMAGES, names)
    model = moved / "models" / "m.keras"
    table = _table(tmp_path / "east", [0, *range(50, 59)], Pneumothorax=[0.0, 1.0] * 5)
    with pytest.raises(InputError, match="found 2 of 4 missing, such as .*gone0.png; --noleave"):
        _evaluate(model, table)
    sites = {Site("east", "csv", tmp_path / "east"): table}
    careless = dataclasses.replace(WANTED, leave_out_known=False)
    evaluated = evaluation_of_run.evaluate(model, sites, careless)
    assert [row["images"] for row in evaluated.rows] == [10]
    (remark,) = evaluated.remarks
    assert "trained on or chosen by were not looked for" in remark
    evaluation_of_run.write(tmp_path, evaluated, model, ["tffcxr", "evaluate"])
    assert json.loads((tmp_path / "metrics.json").read_text("utf-8"))["remarks"] == [remark]
    html = (tmp_path / "report.html").read_text("utf-8")
    assert remark in html and "not trained on" not in html
    # Files that are there, but hold no image any more.
    for name in ("gone0.png", "gone1.png"):
        (tmp_path / name).write_bytes(b"no image")
    assert "2 of 4 images of the run could not be compared" in _evaluate(model, table).remarks[-1]
    names["image"] = str(tmp_path / "gone0.png")
    kept_names.write(moved, run_tables.IMAGES, names)
    with pytest.raises(InputError, match="found 4 that cannot be read, such as .*gone0.png"):
        _evaluate(model, table)


def test_without_the_run_s_table_it_says_that_it_does_not_know(run, tmp_path):
    assert known_images.read(tmp_path) is None
    export.save(tmp_path / "models" / "m.keras", exported_models.exported(metadata.FINDINGS))
    table = _table(tmp_path / "east", range(6), Pneumothorax=[0.0, 1.0] * 3)
    (tmp_path / "east" / "2.png").write_bytes(b"no image")
    with pytest.warns(match="^Pneumothorax at east, federated model: 3 positive and 2 negative"):
        evaluated = _evaluate(tmp_path / "models/m.keras", table)
    assert [row["images"] for row in evaluated.rows] == [5]
    unknown, unusable = evaluated.remarks
    assert "is unknown" in unknown
    assert unusable == "east: 1 of 6 images could not be used"


def test_sites_and_models_that_do_not_fit(tmp_path):
    table = _table(tmp_path / "east", range(2), Hernia=[0.0, 1.0])
    site = Site("east", "csv", tmp_path / "east")

    def refused(message, kind, **about):
        with pytest.raises(InputError, match=message):
            scoring.prepare(exported_models.about(kind, **about), site, table)

    refused(
        "site east: expected labels of Lung Opacity, Pneumothorax, found Hernia", metadata.FINDINGS
    )
    refused("site east: expected the classes Normal, Pneumonia, COVID-19", metadata.CLASSES)
    refused("site east: expected images with masks of the lungs", metadata.MASKS)
    refused("expected a model of radiographs, found a model that marks", metadata.VOLUMES)
    refused("which takes images that are black outside", metadata.CLASSES, cut_out=True)


def test_classes_are_measured_on_images_that_are_in_one_of_them(tmp_path):
    # The site knows no COVID-19, and says nothing of its last image.
    labels = {"Normal": [1.0, 0.0] * 6 + [np.nan], "Pneumonia": [0.0, 1.0] * 6 + [np.nan]}
    table = _table(tmp_path / "east", range(13), **labels)
    exported = exported_models.exported(metadata.CLASSES)
    path = tmp_path / "run" / "models" / "m.keras"
    export.save(path, exported)
    (row,) = _evaluate(path, table).rows
    answers = map(exported.predict, table["image"][:12])
    called = [max(found, key=lambda name, found=found: found[name]) for found in answers]
    right = [name == ("Normal", "Pneumonia")[n % 2] for n, name in enumerate(called)]
    assert (row["accuracy"], row["images"]) == (np.mean(right), 12)
    assert row["task"] == "Normal, Pneumonia, COVID-19 at east"
    assert np.array(row["confusion"]).sum(axis=1).tolist() == [6, 6, 0]
    assert row["sensitivity_by_class"]["COVID-19"] is None


def test_masks_are_measured_at_the_model_s_resolution(tmp_path):
    table = _table(tmp_path / "east", range(4))
    truth = np.zeros((planted.SIZE, planted.SIZE), np.uint8)
    truth[:, : planted.SIZE // 2] = 255
    Image.fromarray(truth).save(tmp_path / "mask.png")
    masks = [annotations.MaskFile(str(tmp_path / "mask.png"))] * 3
    table["lungs"] = pd.Series([*masks, None], dtype=object)
    exported = exported_models.exported(metadata.MASKS)
    path = tmp_path / "run" / "models" / "m.keras"
    export.save(path, exported)
    (row,) = _evaluate(path, table).rows
    half = np.arange(exported_models.SIZE) < exported_models.SIZE // 2
    expected = []
    for image in table["image"][:3]:
        square = images.fit_to_square(images.read_image(image), exported_models.SIZE)
        pixels = square[None].astype(np.float32) / 255
        marked = exported.keras.predict(pixels, verbose=0)[0, ..., 0] >= 0.25
        expected.append((marked & half).sum() / (marked | half).sum())
    assert row["jaccard"] == pytest.approx(np.mean(expected))
    assert (row["task"], row["images"], row["training"]) == ("Lungs at east", 3, "federated")
    assert "specificity" not in row


def test_the_page_needs_no_other_file(tmp_path):
    row = {"task": "Mass at east", "training": "federated", "split": "external", "auroc": 0.75}
    evaluated = evaluation_of_run.Evaluated("findings", [row], ["a remark of <b>"])
    evaluation_of_run.write(tmp_path, evaluated, tmp_path / "m.keras", ["tffcxr", "evaluate"])
    html = (tmp_path / "report.html").read_text("utf-8")
    for text in ("Mass at east", "0.750", "a remark of &lt;b&gt;", "tffcxr evaluate"):
        assert text in html
    assert 'name="viewport"' in html and 'src="' not in html and 'href="' not in html
