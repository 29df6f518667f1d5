"""A whole run on phantoms: its files, what running again says, and what it must not tell."""

# ruff: noqa: N999

import json
import math
import pathlib
import re
import socket

import numpy as np
import pytest

from tests.experiments import programs
from tffcxr import run_tables
from tffcxr.models.files import metadata
from tffcxr.report import file_names, shared_copy

FLAGS = (
    "--phantom_patients=60",
    "--image_size=32",
    "--rounds=2",
    "--head_rounds=1",
    "--heatmaps=2",
    "--bootstrap=40",
    "--tensorboard_histograms",
    "--published=chexviz_table1",
)
TASKS = {"Lung Opacity", "Pneumothorax"}
METRICS = {
    "loss",
    "accuracy",
    "sensitivity",
    "specificity",
    "aupr",
    "auroc",
    "auroc_low",
    "auroc_high",
    "accuracy_half",
    "brier",
    "ece",
    "p_ttest",
    "p_delong",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, programs.succeed(folder, "cheXviz", *FLAGS)


@pytest.fixture(scope="module")
def run(ended):
    return ended[0]


def test_the_terminal_shows_the_rounds_and_the_table(ended):
    _, program = ended
    assert re.search(r"federated: round 2/3  loss 0\.\d+ .* left", program.errors)
    assert "Lung Opacity at opacity (standard model, test images)" in program.output
    for name in ("Federated", "Site alone", "All sites pooled"):
        assert program.output.count(f"  {name} ") == 2
    assert "Traceback" not in program.errors


def test_the_published_table_stands_in_the_report(run):
    assert programs.read_json(run / "config.json")["published"] == ["chexviz_table1"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Table 1" in page and "Phantom images: the numbers cannot be compared" in page


def test_the_run_directory(run):
    programs.check_kind_and_tables(run, "findings")
    files = programs.files_in(run)
    expected = {
        "config.json",
        "rounds.csv",
        "clients.csv",
        "metrics.json",
        "predictions.csv",
        "explanations.csv",
        "heat.csv",
        "heat_images.csv",
        "report.html",
        "figures/roc.png",
        "figures/rounds.png",
        "models/multi_task.keras",
        "models/multi_task.json",
        "models/multi_task.images.npz",
        "models/federated_opacity.h5",
        "models/federated_pneumothorax.h5",
        "models/site_opacity.h5",
        "models/pooled_pneumothorax.h5",
        "rounds_pooled.csv",
        "rounds_site_opacity.csv",
        "checkpoints/federated/round_000003.npz",
        "checkpoints/federated/round_000002.npz",
    }
    assert expected <= files
    # Of older rounds, only the best one's checkpoint is kept.
    rows = programs.read_json(run / "metrics.json")["rows"]
    best = {row["round"] for row in rows if row["training"] == "federated"}
    assert ("checkpoints/federated/round_000001.npz" in files) is (best == {1})
    assert any(name.startswith("tensorboard/federated/events") for name in files)
    assert any(name.startswith("tensorboard/results/events") for name in files)
    assert not [name for name in files if name.endswith(".tmp") or "partial" in name]


def test_predictions_can_be_joined_with_files(run):
    (path, *_) = file_names.write(run)
    assert path == run / "cache" / "predictions_with_files.csv"
    rows = programs.read_rows(path)
    assert len(rows) == len(programs.read_rows(run / "predictions.csv")) > 0
    for row in rows:
        # The stem of a phantom's file is its patient, or its folders name the patient's study.
        assert pathlib.Path(row["image"]).is_file()
        assert row["client"] == "pneumothorax" or pathlib.Path(row["image"]).stem == row["patient"]
    assert "patient" not in (run / "predictions.csv").read_text()


def test_the_exported_model_says_what_it_is(run):
    about = metadata.read(run / "models" / "multi_task.keras")
    assert (about.kind, set(about.outputs)) == ("findings", TASKS)
    assert (about.recipe, about.network, about.training) == ("cheXviz", "standard", "federated")
    assert about.phantoms
    sources = about.trained_on["sources"]
    assert set(sources) == {"rsna", "siim"} and min(sources.values()) > 30
    assert about.trained_on["modalities"] == ["CR", "DX", "RG"]
    assert set(about.trained_on["views"]) <= {"AP", "PA"} and about.trained_on["views"]
    assert about.trained_on["elsewhere"] is False
    assert set(about.operating_points) == TASKS
    layers = programs.read_json(run / "models" / "multi_task.json")["gradcam_layers"]
    assert layers == dict.fromkeys(about.outputs, "relu3")


def test_metrics_json(run):
    metrics = programs.read_json(run / "metrics.json")
    assert metrics["recipe"] == "cheXviz"
    assert metrics["complete"] is True
    keys = {(row["task"], row["training"]) for row in metrics["rows"]}
    assert keys == {(t, kind) for t in TASKS for kind in ("federated", "site", "pooled")}
    for row in metrics["rows"]:
        assert row["model"] == "standard"
        assert row["split"] == "test"
        assert row["images"] > 5
        assert row.keys() >= METRICS
        assert row["auroc"] is None or 0 <= row["auroc"] <= 1
        assert (row.get("baseline") == "site") is (row["training"] == "federated")
        assert (row["rounds"], row["chosen"]) == (3, "largest AUROC on the validation images")
        # There are six validation images.
        assert row["calibration"] == "none"
        assert row["calibration_remark"].startswith("expected 10 validation images of each class")
        assert (row["p_delong"] is not None) <= (row["training"] == "federated")


def test_rounds_csv_and_clients_csv(run):
    rounds = programs.read_rows(run / "rounds.csv")
    assert list(rounds[0])[:7] == [
        "round",
        "seconds",
        "images",
        "clients",
        "failed_clients",
        "learning_rate",
        "train_loss",
    ]
    assert {"Lung Opacity/auroc", "Pneumothorax/loss"} <= set(rounds[0])
    assert [row["round"] for row in rounds] == ["1", "2", "3"]
    assert [row["stage"] for row in rounds] == ["head", "all", "all"]
    assert all(math.isfinite(float(row["train_loss"])) for row in rounds)
    clients = programs.read_rows(run / "clients.csv")
    assert list(clients[0]) == run_tables.client_columns(True)
    # In the first stage the representation, which is all that is shared, does not change.
    assert all(float(row["update_norm"]) > 0 for row in clients[2:])
    assert [(row["round"], row["client"]) for row in clients[:2]] == [
        ("1", "opacity"),
        ("1", "pneumothorax"),
    ]
    for row in rounds:
        mine = [client for client in clients if client["round"] == row["round"]]
        assert sum(int(client["images"]) for client in mine) == int(row["images"])


def test_config_json_tells_settings_versions_and_data(run):
    config = programs.read_json(run / "config.json")
    assert config["settings"]["rounds"] == 2
    # Convolutions of 1, 16, 32 to 16, 32, 64 channels and their norms; 4 x 4 cells of 64 channels
    # to 128 features; these to two findings.
    layers = (10 * 16, 2 * 16, 145 * 32, 2 * 32, 289 * 64, 2 * 64, 1025 * 128, 129 * 2)
    assert config["derived"]["parameters"] == {"standard": sum(layers)}
    assert config["settings"]["seed"] == 0
    assert "output_dir" not in config["settings"]
    assert config["versions"]["tensorflow"].startswith("2.")
    assert config["data_fingerprint"]
    assert {site["client"] for site in config["sites"]} == {"opacity", "pneumothorax"}


def test_explanations_are_true_positives_with_heat(run):
    rows = programs.read_rows(run / "explanations.csv")
    predictions = programs.read_rows(run / "predictions.csv")
    assert rows
    for row in rows:
        assert any(
            p["task"] == row["task"]
            and p["training"] == row["training"]
            and p["split"] == "test"
            and float(p["label"]) == 1
            and float(p["score"]) == pytest.approx(float(row["score"]), abs=1e-6)
            for p in predictions
        )
        with np.load(run / row["file"]) as arrays:
            assert arrays["image"].shape == (32, 32)
            assert arrays[f"heat_{row['training']}"].shape == (32, 32)
            assert arrays["annotation"].any()
            assert arrays["lungs"].mean() > 0.05
        assert row["heat_in_lungs"] == "" or 0 <= float(row["heat_in_lungs"]) <= 1


def test_heat_of_all_true_positives_is_measured(run):
    """The images are those that each model calls positive; the pictures' numbers are the same."""
    images = programs.read_rows(run / "heat_images.csv")
    predictions = programs.read_rows(run / "predictions.csv")
    points = {
        (row["task"], row["training"]): row["threshold"]
        for row in programs.read_json(run / "metrics.json")["rows"]
    }
    expected = {
        (row["task"], row["training"], row["client"], row["row"])
        for row in predictions
        if row["split"] == "test"
        and float(row["label"]) == 1
        and float(row["score"]) >= (points[row["task"], row["training"]] or math.inf)
    }
    own = [row for row in images if row["cases"] == "true positives"]
    assert {(row["task"], row["training"], row["client"], row["row"]) for row in own} == expected
    assert len(own) == len(expected) > 0
    heat = {
        (row["task"], row["training"], row["site"]): row
        for row in programs.read_rows(run / "heat.csv")
        if not row["compared_with"]
    }
    assert len(heat) == 2 * 3 * 2  # Findings, trainings, sites.
    for (task, training, site), row in heat.items():
        is_own = site == {"Lung Opacity": "opacity", "Pneumothorax": "pneumothorax"}[task]
        assert row["cases"] == ("true positives" if is_own else "called positive")
        mine = [one for one in images if (one["task"], one["training"]) == (task, training)]
        assert int(row["images"]) == sum(one["site"] == site for one in mine)
    shown = {
        (row["task"], row["training"], f"{float(row['score']):.5f}"): row["heat_in_lungs"]
        for row in programs.read_rows(run / "explanations.csv")
    }
    for row in own:
        key = (row["task"], row["training"], f"{float(row['score']):.5f}")
        if shown.get(key):
            assert float(row["heat_in_lungs"]) == pytest.approx(float(shown[key]), abs=1e-4)


def test_no_patient_or_file_is_named_anywhere(run):
    names = {path.stem for path in (run / "phantoms").rglob("*.dcm")}
    (labels,) = (run / "phantoms").rglob("stage_2_train_labels.csv")
    names |= {row["patientId"] for row in programs.read_rows(labels)}
    assert len(names) > 100
    pattern = re.compile("|".join(map(re.escape, sorted(names))).encode())
    searched = 0
    # Tables with file names, for which a test above asked.
    own = set((run / "cache").glob("*_with_files.csv"))
    assert own and all(pattern.search(path.read_bytes()) for path in own)
    for path in set(run.rglob("*")) - own:
        if path.is_file() and "phantoms" not in path.relative_to(run).parts:
            found = pattern.search(path.read_bytes())
            assert not found, f"{path} names {found[0]!r}"
            searched += 1
    assert searched > 30


def test_the_report_is_self_contained_and_tells_how_to_use_the_model(run):
    html = (run / "report.html").read_text()
    assert "predict --model=RUN IMAGE.dcm" in html
    assert "data:image/png;base64," in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)


def test_running_again_says_that_it_is_complete_and_changes_nothing(run):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    again = programs.run("cheXviz", f"--output_dir={run}", *FLAGS)
    assert again.status == 0
    assert again.output == f"{run} is complete; its report is {run / 'report.html'}\n"
    assert before == {
        p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name != ".lock"
    }


def test_published_tables_are_set_beside_a_complete_run(run):
    (run / "report.html").write_text("the page of a run without a published table")
    config = programs.read_json(run / "config.json")
    (run / "config.json").write_text(json.dumps({**config, "published": []}))
    assert programs.run("cheXviz", f"--output_dir={run}", *FLAGS).status == 0
    assert programs.read_json(run / "config.json") == config
    assert "Beside the published numbers" in (run / "report.html").read_text()


def test_other_formats_of_the_model_are_added_to_a_complete_run(run):
    ended = programs.run("cheXviz", f"--output_dir={run}", *FLAGS, "--export=onnx")
    assert ended.status == 0, ended.errors
    assert "export: multi_task.onnx, multi_task_uint16.onnx (largest difference" in ended.errors
    assert (run / "models" / "multi_task.onnx").stat().st_size > 1000
    line = programs.refusal(programs.run("cheXviz", f"--output_dir={run}", "--export=torch"))
    assert "--export=['torch']: expected some of onnx, savedmodel" in line


def test_other_settings_are_refused_and_the_flag_named(run):
    line = programs.refusal(
        programs.run("cheXviz", f"--output_dir={run}", *FLAGS, "--learning_rate=0.01")
    )
    assert "learning_rate=0.002, found learning_rate=0.01" in line
    assert programs.read_json(run / "config.json")["settings"]["learning_rate"] == 0.002


def test_a_copy_of_a_run_names_no_computer_and_no_folder(run, tmp_path):
    copy = tmp_path / "copy"
    ended = programs.run("report", f"--run={run}", f"--share={copy}", "--share_models")
    assert ended.status == 0, ended.errors
    note = (copy / shared_copy.NOTE).read_text()
    assert ended.output == f"{note}\ncopy: {copy}\n"
    for name in ("tensorboard/federated", "models/multi_task.keras", "figures/roc.png"):
        assert (copy / name).exists()
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix == ".npz"]
    # With dots, as TensorBoard writes it: the name alone may be a common word.
    host = f".{socket.gethostname()}."
    assert [path for path in run.rglob("*") if host in path.name]
    for path in files:
        assert host not in path.name
        content = path.read_bytes()
        assert str(run.parent).encode() not in content, path
        assert str(programs.REPOSITORY).encode() not in content, path
