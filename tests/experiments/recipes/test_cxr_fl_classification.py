"""Three classes on full and segmented images, from phantoms to the report, and the cascade."""

import shutil

import numpy as np
import pytest

from tests.experiments import programs
from tests.models.files import exported_models
from tffcxr.datasets import findings
from tffcxr.models.files import export

TINY = (
    "--image_size=32",
    "--rounds=2",
    "--bootstrap=50",
    "--heatmaps=2",
    "--model=standard",
    "--class_balance=weights",
)
TESTED = "--test_images=Normal=4,Not Normal=2,Lung Opacity=4"
RSNA = programs.TESTDATA / "rsna"
COUNTS = "Normal=326,No Lung Opacity / Not Normal=321,Lung Opacity=353"


PHANTOMS = 48


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "classes"
    flags = (f"--phantom_patients={PHANTOMS}", "--baseline=pooled", TESTED, *TINY)
    return folder, programs.succeed(folder, "cxr_fl_classification", *flags)


@pytest.fixture(scope="module")
def run(ended):
    return ended[0]


def test_the_terminal_shows_rounds_and_results(ended):
    _, program = ended
    assert "standard full federated: round 2/2" in program.errors
    assert "standard segmented pooled: round 2/2" in program.errors
    assert "test accuracy standard segmented 0." in program.errors


def test_the_run_directory(run):
    programs.check_kind_and_tables(run, "classes")
    files = programs.files_in(run)
    assert {
        "config.json",
        "rounds.csv",
        "rounds_standard_full.csv",
        "rounds_standard_segmented_pooled.csv",
        "clients.csv",
        "class_predictions.csv",
        "explanations.csv",
        "metrics.json",
        "report.html",
        "figures/rounds.png",
        "figures/confusion.png",
        "figures/gradcam_lung-opacity.png",
        "models/federated_standard_full.h5",
        "models/pooled_standard_segmented.h5",
        "models/federated_standard_full.keras",
        "models/federated_standard_segmented.json",
    } <= files
    assert "models/pooled_standard_full.keras" not in files


def test_the_table_agrees_with_the_predictions_and_the_rounds(run):
    rows = programs.read_json(run / "metrics.json")["rows"]
    assert len(rows) == 4
    predictions = programs.read_rows(run / "class_predictions.csv")
    for row in rows:
        mine = [
            entry
            for entry in predictions
            if (entry["images_kind"], entry["training"]) == (row["images_kind"], row["training"])
        ]
        assert len(mine) == row["images"]
        matrix = np.zeros((3, 3), int)
        for entry in mine:
            scores = [float(entry[f"probability: {name}"]) for name in findings.RSNA]
            assert sum(scores) == pytest.approx(1.0, abs=1e-5)
            matrix[findings.RSNA.index(entry["class"]), int(np.argmax(scores))] += 1
        assert row["confusion"] == matrix.tolist()
        assert matrix.sum(axis=1).tolist() == [4, 2, 4]  # Those of --test_images.
        assert row["accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
        for place, name in enumerate(findings.RSNA):
            sensitivity = row["sensitivity_by_class"][name]
            assert sensitivity == pytest.approx(matrix[place, place] / matrix[place].sum())
            ends = [row[f"sensitivity_by_class_{end}"][name] for end in ("low", "high")]
            assert ends == [None, None] or ends[0] <= sensitivity <= ends[1]
        variant = f"standard {row['images_kind']}"
        suffix = "_pooled" if row["training"] == "pooled" else ""
        log = programs.read_rows(run / f"rounds_{variant.replace(' ', '_')}{suffix}.csv")
        accuracies = [float(entry[f"{variant}/accuracy"]) for entry in log]
        assert row["maximum_accuracy"] == max(accuracies)
        assert accuracies[-1] == pytest.approx(row["accuracy"])
        assert row["minimum_loss"] == min(float(entry[f"{variant}/loss"]) for entry in log)
    joined = programs.read_rows(run / "rounds.csv")
    log = programs.read_rows(run / "rounds_standard_segmented.csv")
    key = "standard segmented/loss"
    assert [entry[key] for entry in joined] == [entry[key] for entry in log]
    pooled = programs.read_rows(run / "rounds_standard_full_pooled.csv")
    found = [entry["standard full/loss"] for entry in programs.read_rows(run / "rounds_pooled.csv")]
    assert found == [entry["standard full/loss"] for entry in pooled]
    clients = programs.read_rows(run / "clients.csv")
    assert {entry["variant"] for entry in clients} == {"standard full", "standard segmented"}
    assert {entry["client"] for entry in clients} == {"phantoms-client_00", "phantoms-client_01"}


def test_the_exported_model_is_that_of_the_predictions(run):
    segmented = export.load(run, "federated_standard_segmented").metadata
    assert (segmented.number, segmented.cut_out, segmented.phantoms) == (2, True, True)
    assert segmented.pixels.endswith("black outside of the lungs")
    exported = export.load(run)
    about = exported.metadata
    assert (about.number, about.cut_out, about.outputs) == (1, False, findings.RSNA)
    assert about.recipe == "cxr_fl_classification"
    predictions = programs.read_rows(run / "class_predictions.csv")
    expected = [
        [float(entry[f"probability: {name}"]) for name in findings.RSNA]
        for entry in predictions
        if (entry["images_kind"], entry["training"]) == ("full", "federated")
    ]
    (root,) = (run / "phantoms").glob("*/rsna/stage_2_train_images")
    found = [list(exported.predict(file).values()) for file in root.iterdir()]
    # The predictions name no file: each must be that of some image.
    distance = np.abs(np.array(expected)[:, None] - np.array(found)).max(axis=2).min(axis=1)
    assert distance.max() < 1e-5


def test_both_kinds_of_images_are_explained_on_the_same_samples(run):
    explained = programs.read_rows(run / "explanations.csv")
    assert {entry["training"] for entry in explained} == {
        f"standard {images} {training}"
        for images in ("full", "segmented")
        for training in ("federated", "pooled")
    }
    assert {entry["case"] for entry in explained} == {"1", "2"}
    with np.load(run / explained[0]["file"]) as arrays:
        assert {"image", "lungs", "heat_standard full pooled"} <= set(arrays)
        seen = arrays["seen_standard segmented federated"]
        np.testing.assert_array_equal(seen, np.where(arrays["lungs"], arrays["image"], 0))
        assert "seen_standard full federated" not in arrays


def test_the_heat_of_every_hit_is_measured(run):
    hits = {
        (f"{row['model']} {row['images_kind']}", row["training"]): row["confusion"][0][0]
        for row in programs.read_json(run / "metrics.json")["rows"]
    }
    heat = programs.read_rows(run / "heat.csv")
    assert {row["task"] for row in heat} == {"Lung Opacity"}
    assert {
        (row["model"], row["training"]): int(row["images"])
        for row in heat
        if not row["compared_with"]
    } == hits
    for row in programs.read_rows(run / "heat_images.csv"):
        assert row["half_area"] == "" or 0 < float(row["half_area"]) <= 0.5
        assert float(row["lungs_area"]) > 0.05 and float(row["annotation_area"]) > 0


def test_what_is_wrong_with_the_segmentation_model_is_told_before_phantoms_are_made(tmp_path):
    line = _refused(tmp_path, "--segmentation_model=/nowhere")
    assert "--segmentation_model: expected a run's folder or a .keras file, found nothing" in line
    assert not (tmp_path / "run" / "phantoms").exists()


def test_where_the_data_have_outlines_no_model_is_needed(run):
    about = programs.read_json(run / "config.json")["derived"]["lungs"]
    assert (about["images"], about["implausible"], about["model"]) == (PHANTOMS, 0, None)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """A model that calls everything lung: every mask is implausible."""
    folder = tmp_path_factory.mktemp("segmenter")
    exported = exported_models.exported("masks", phantoms=True)
    kernel, bias = exported.keras.get_weights()
    exported.keras.set_weights([np.zeros_like(kernel), np.full_like(bias, 9.0)])
    export.save(folder / "models" / "segmentation.keras", exported)
    return folder


def test_implausible_lungs_are_counted_and_the_full_image_is_used(tmp_path, run, segmenter):
    cut = tmp_path / "cut"
    ended = programs.run(
        "cxr_fl_classification",
        f"--output_dir={cut}",
        f"--phantom_patients={PHANTOMS}",
        f"--phantom_dir={run / 'phantoms'}",
        *TINY,
        TESTED,
        "--images=segmented",
        f"--segmentation_model={segmenter}",
    )
    assert ended.status == 0, ended.errors
    about = programs.read_json(cut / "config.json")["derived"]["lungs"]
    assert (about["images"], about["implausible"]) == (PHANTOMS, PHANTOMS)
    assert sum(about["reasons"].values()) == PHANTOMS
    assert f"{PHANTOMS} of {PHANTOMS}" in (cut / "report.html").read_text()
    # No image is black: the rounds are those of the full images.
    full, segmented = (programs.read_rows(folder / "rounds.csv") for folder in (run, cut))
    assert [row["standard full/loss"] for row in full] == [
        row["standard segmented/loss"] for row in segmented
    ]


def _trained_images(run):
    """Of each class, in all clients together."""
    sites = programs.read_json(run / "config.json")["sites"]
    return [sum(site[f"train: {name}"] for site in sites) for name in findings.RSNA]


def test_the_loss_of_a_rare_class_weighs_more(run):
    counts = _trained_images(run)
    # N / (3 * n), of all clients together.
    weights = {name: sum(counts) / (3 * count) for name, count in zip(findings.RSNA, counts)}
    derived = programs.read_json(run / "config.json")["derived"]
    assert derived["class_weights"] == pytest.approx(weights)
    for kind in ("full", "segmented"):
        rounds = programs.read_rows(run / f"rounds_standard_{kind}.csv")
        assert {int(row["images"]) for row in rounds} == {sum(counts)}


def test_a_rare_class_is_sampled_more_often(tmp_path, run):
    folder = tmp_path / "run"
    ended = programs.run(
        "cxr_fl_classification",
        f"--output_dir={folder}",
        f"--phantom_patients={PHANTOMS}",
        f"--phantom_dir={run / 'phantoms'}",
        *TINY,
        "--test_fraction=0.2",  # So that every class is tested.
        "--class_balance=sampling",
        "--images=full",
        "--heatmaps=0",
    )
    assert ended.status == 0, ended.errors
    assert "class_weights" not in programs.read_json(folder / "config.json")["derived"]
    trained = sum(_trained_images(folder))
    images = [int(row["images"]) for row in programs.read_rows(folder / "rounds.csv")]
    assert len(set(images)) > 1  # The number of images drawn varies a little.
    assert all(abs(drawn - trained) < 0.3 * trained for drawn in images)


def _refused(tmp_path, *flags):
    ended = programs.run("cxr_fl_classification", f"--output_dir={tmp_path / 'run'}", *flags)
    return programs.refusal(ended)


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--model=vgg"], "--model: expected some of standard, resnet18, "),
        (["--images="], "--images: expected some of full, segmented, each once, found ''"),
        (
            ["--images=full", "--segmentation_model=x"],
            "--segmentation_model: expected --images=segmented with it",
        ),
        (
            [f"--site=a=nih:{programs.TESTDATA / 'nih'}", "--images=full"],
            "expected the classes Lung Opacity",
        ),
        (["--heatmaps=-1"], "--heatmaps: expected at least 0, found -1"),
        (["--batch_norm=local"], "batch_norm"),
        (["--test_images=Normal=2"], "a number for each of Lung Opacity, No Lung Opacity"),
        (["--test_images=Normal"], "expected a finding of the recipe (Lung Opacity,"),
        (["--test_images=Normal=0"], "expected CLASS=NUMBER once for each class, found 'Normal=0'"),
        ([f"--test_images={COUNTS}", "--test_fraction=0.2"], "expected no --test_images with it"),
        (
            [f"--site=a=rsna:{RSNA}", "--images=full", f"--test_images={COUNTS}"],
            "site a: expected more than 326 images of 'Normal', so that some are left",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, flags, expected):
    assert expected in _refused(tmp_path, *flags)


def test_a_model_of_findings_finds_no_lungs(tmp_path, run):
    weights = run / "models" / "federated_standard_full.h5"
    line = _refused(tmp_path, *TINY, f"--segmentation_model={weights}")
    assert "a run's folder or a .keras file, found weights without their network" in line
    line = _refused(tmp_path, *TINY, f"--segmentation_model={run}")
    assert "a model that segments lungs, found a model of the classes Lung Opacity" in line


def test_without_outlines_a_model_is_asked_for(tmp_path):
    bare = shutil.copytree(RSNA, tmp_path / "rsna", ignore=shutil.ignore_patterns("lung_masks"))
    line = _refused(tmp_path, *TINY, f"--site=a=rsna:{bare}")
    assert "expected --segmentation_model, or masks of the lungs" in line
