"""Lung segmentation from phantoms to the report, and what it refuses."""

import pathlib
import shutil

import numpy as np
from PIL import Image
import pytest

from tests.experiments import programs
from tffcxr.models.files import export

TINY = (
    "--image_size=32",
    "--rounds=2",
    "--batch_size=16",
    "--bootstrap=50",
    "--clients_per_site=2",
)
LUNGS = programs.TESTDATA / "lungs"


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "lungs"
    flags = ("--phantom_patients=24", "--test_fraction=0.25", "--report_round=best", *TINY)
    far = f"--external_site=far=lungs:{LUNGS}"
    return folder, programs.succeed(folder, "cxr_fl_segmentation", *flags, far, shallow_unet=True)


@pytest.fixture(scope="module")
def run(ended):
    return ended[0]


def test_the_terminal_shows_rounds_and_results(ended):
    _, program = ended
    assert "federated: round 2/2" in program.errors
    assert "test Jaccard Lungs 0." in program.errors
    assert "Jaccard" in program.output


def test_the_run_directory(run):
    programs.check_kind_and_tables(run, "masks")
    files = programs.files_in(run)
    assert {
        "config.json",
        "rounds.csv",
        "rounds_pooled.csv",
        "clients.csv",
        "masks.csv",
        "segmentations.csv",
        "metrics.json",
        "report.html",
        "figures/masks.png",
        "figures/rounds.png",
        "models/segmentation.keras",
        "models/segmentation.json",
        "models/federated.h5",
        "models/pooled.h5",
    } <= files
    assert programs.read_json(run / "config.json")["derived"]["measured_split"] == "test"


def _rows(run, split):
    rows = programs.read_json(run / "metrics.json")["rows"]
    return [row for row in rows if row["split"] == split]


def test_an_external_site_is_measured_with_every_model(run, tmp_path):
    rows = _rows(run, "external")
    assert [(row["task"], row["training"]) for row in rows] == [
        ("Lungs at far", "federated"),
        ("Lungs at far", "pooled"),
    ]
    # `evaluate` does the same with the exported model.
    flags = f"--model={run}", f"--site=far=lungs:{LUNGS}", f"--output_dir={tmp_path}"
    ended = programs.run("evaluate", *flags, "--bootstrap=50")
    assert ended.status == 0, ended.errors
    (row,) = _rows(tmp_path, "external")
    assert row["task"] == "Lungs at far" and row["images"] == rows[0]["images"] == 6
    for name in ("jaccard", "jaccard_low", "dice", "dice_high"):
        assert row[name] == pytest.approx(rows[0][name], abs=1e-6)


def test_the_table_is_that_of_the_images_in_the_best_round(run):
    rows = {row["training"]: row for row in _rows(run, "test")}
    assert set(rows) == {"federated", "pooled"}
    masks = programs.read_rows(run / "masks.csv")
    for training, log in (("federated", "rounds.csv"), ("pooled", "rounds_pooled.csv")):
        row = rows[training]
        by_round = [float(entry["Lungs/jaccard"]) for entry in programs.read_rows(run / log)]
        assert row["round"] == 1 + int(np.argmax(by_round))
        assert row["chosen"] == "largest Jaccard on the test images"  # Because it was asked for.
        assert row["jaccard"] == pytest.approx(max(by_round), abs=1e-6)
        assert row["last_jaccard"] == pytest.approx(by_round[-1], abs=1e-6)
        mine = [float(entry["jaccard"]) for entry in masks if entry["training"] == training]
        assert len(mine) == row["images"] == row["patients"] == 6  # A quarter of 24.
        assert np.mean(mine) == pytest.approx(row["jaccard"])
        assert row["jaccard_low"] <= row["jaccard"] <= row["jaccard_high"]


def test_no_patient_is_in_training_and_test_alike(run):
    sites = programs.read_json(run / "config.json")["sites"]
    assert [site["client"] for site in sites] == ["phantoms-client_00", "phantoms-client_01"]
    assert sum(site["train_patients"] for site in sites) == 18
    assert sum(site["test_patients"] for site in sites) == 6


def test_the_model_that_is_exported_is_the_best_federated_one(run):
    exported = export.load(run)
    about = exported.metadata
    assert (about.kind, about.outputs, about.image_size) == ("masks", ("Lungs",), 32)
    assert (about.network, about.phantoms) == ("unet", True)
    (worst, *_) = programs.read_rows(run / "segmentations.csv")
    assert worst["kind"] == "worst"
    with np.load(run / worst["file"]) as arrays:
        found = exported.keras(arrays["image"][None, ..., None] / np.float32(255))
        mask = found.numpy()[0, ..., 0] >= exported.metadata.threshold
        np.testing.assert_array_equal(mask, arrays["mask_federated"])
        overlap = (mask & arrays["truth"]).sum() / (mask | arrays["truth"]).sum()
    assert float(worst["jaccard"]) == pytest.approx(overlap)


def test_real_layouts_and_validation_images(tmp_path):
    """On the files of three loaders; the best round is chosen on images that are not the test's.

    The one run with the whole U-Net.
    """
    covidx = programs.TESTDATA / "covidx"
    rows = [f"train/train-{n}.png,p{n},lung_masks/train-{n}.png,{'FM'[n % 2]}" for n in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["Image,Patient,Lung mask,Sex", *rows]) + "\n")
    (tmp_path / "columns.toml").write_text(f"images = {str(covidx)!r}\n")
    ended = programs.run(
        "cxr_fl_segmentation",
        f"--output_dir={tmp_path / 'run'}",
        f"--site=v7=lungs:{LUNGS}",
        f"--site=china=shenzhen:{programs.TESTDATA / 'shenzhen'}",
        f"--site=own=csv:{tmp_path / 't.csv'}",
        f"--columns=own={tmp_path / 'columns.toml'}",
        "--partition=none",
        "--validation_fraction=0.3",
        "--baseline=none",
        "--batch_size=16",
        "--image_size=32",
        "--rounds=1",
    )
    assert ended.status == 0, ended.errors
    assert "validation Jaccard" in ended.errors
    (row,) = programs.read_json(tmp_path / "run" / "metrics.json")["rows"]
    assert row["chosen"] == "largest Jaccard on the validation images"
    sites = programs.read_json(tmp_path / "run" / "config.json")["sites"]
    assert {site["site"]: site["train_patients"] for site in sites}["own"] >= 3


def _refused(tmp_path, *flags):
    ended = programs.run("cxr_fl_segmentation", f"--output_dir={tmp_path / 'run'}", *flags)
    return programs.refusal(ended)


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--image_size=50"], "--image_size: expected a multiple of 32, found 50"),
        (["--validation_fraction=0.9"], "--validation_fraction: expected 0 to below 0.9"),
        (["--early_stopping=5"], "--early_stopping: expected a --validation_fraction above 0"),
        (["--schedule=plateau"], "--schedule=plateau: expected a --validation_fraction above 0"),
        (["--site=a=lungs"], "--site: expected NAME=LOADER:PATH, found 'a=lungs'"),
        ([f"--site=a=lungs:{LUNGS}", "--phantom_patients=9"], "expected no --site with it"),
        (
            [f"--site=a=lungs:{LUNGS}", f"--site=b=lungs:{LUNGS}/"],
            "expected a folder or a table of its own for each site",
        ),
        ([f"--site=a=nih:{programs.TESTDATA / 'nih'}"], "expected images with masks of the lungs"),
        (
            [f"--site=a=lungs:{LUNGS}", "--partition=dirichlet"],
            "expected none, iid or quantity where there are no classes",
        ),
        ([f"--site=a=lungs:{LUNGS}", "--clients_per_site=90"], "found 90 clients for"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, flags, expected):
    assert expected in _refused(tmp_path, "--image_size=32", *flags)


@pytest.fixture
def lungs(tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(LUNGS, tmp_path / "lungs"))


def test_a_mask_of_another_size_is_named(tmp_path, lungs):
    mask = lungs / "masks" / "b.png"
    Image.open(mask).resize((20, 20)).save(mask)
    line = _refused(tmp_path, *TINY, f"--site=a=lungs:{lungs}")
    assert "b.png: expected a mask of" in line
    assert "found 20x20" in line


def test_an_image_without_a_mask_is_named(tmp_path, lungs):
    (lungs / "masks" / "b.png").unlink()
    line = _refused(tmp_path, *TINY, f"--site=a=lungs:{lungs}")
    assert "expected a mask" in line
    assert "b.jpg" in line


def test_a_mask_of_other_values_than_two_is_named(tmp_path, lungs):
    mask = lungs / "masks" / "b.png"
    pixels = np.array(Image.open(mask).convert("L"))
    pixels[0, :3] = (7, 120, 33)
    Image.fromarray(pixels).save(mask)
    line = _refused(tmp_path, *TINY, "--clients_per_site=1", f"--site=a=lungs:{lungs}")
    assert "b.png" in line
    assert "two" in line or "values" in line
