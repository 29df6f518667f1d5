"""Pneumonia or normal: networks with settings of their own, and the flags of two tasks."""

import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from experiments.flags import pneumonia_classification, pneumonia_segmentation, sweep_flags
from tests.experiments import programs
from tffcxr.clients import sites
from tffcxr.errors import InputError
from tffcxr.models.files import export

TINY = ("--image_size=32", "--bootstrap=50", "--clients_per_site=4", "--clients_per_round=2")
RSNA = programs.TESTDATA / "rsna"


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pneumonia"
    ended = programs.run(
        "pneumonia",
        f"--output_dir={folder}",
        *TINY,
        "--phantom_patients=60",
        "--rounds=2",
        "--optimizer=sgd",
        "--learning_rate=0.05",
        "--momentum=0.7",
        "--schedule=constant",
        "--local_epochs=1",
        "--batch_size=16",
        "--central=resnet18:adam:0.001,standard:sgd:0.01:0.9",
        "--central_epochs=1",
        "--heatmaps=1",
    )
    assert ended.status == 0, ended.errors
    assert "standard federated: round 2/2" in ended.errors
    assert "resnet18 pooled: round 1/1" in ended.errors
    assert "resnet18 federated" not in ended.errors
    return folder


def test_the_run_directory(run):
    programs.check_kind_and_tables(run, "classes")
    files = programs.files_in(run)
    assert {
        "rounds.csv",
        "rounds_pooled.csv",
        "clients.csv",
        "class_predictions.csv",
        "report.html",
        "figures/clients.png",
        "figures/confusion.png",
        "figures/gradcam_pneumonia.png",
        "figures/rounds.png",
        "models/federated_standard.h5",
        "models/federated_standard.keras",
        "models/pooled_resnet18.h5",
        "models/pooled_standard.h5",
    } <= files
    assert "models/federated_resnet18.h5" not in files


def test_a_row_for_each_training(run):
    rows = programs.read_json(run / "metrics.json")["rows"]
    assert sorted((row["model"], row["training"]) for row in rows) == [
        ("resnet18", "pooled"),
        ("standard", "federated"),
        ("standard", "pooled"),
    ]
    assert {tuple(row["classes"]) for row in rows} == {("Normal", "Pneumonia")}
    # The phantoms' own test images: 15 % of each class, who are in no other folder.
    assert {row["images"] for row in rows} == {9}
    for row in rows:
        suffix = "_pooled" if row["training"] == "pooled" else ""
        log = programs.read_rows(run / f"rounds_{row['model']}{suffix}.csv")
        accuracies = [float(entry[f"{row['model']}/accuracy"]) for entry in log]
        assert row["maximum_accuracy"] == max(accuracies)
        # Without validation images, none of the test images chooses a round.
        assert (row["round"], row["chosen"]) == (len(accuracies), "the last round")
        assert row["accuracy"] == pytest.approx(accuracies[-1])


def test_each_network_has_its_own_rounds_and_learning_rate(run):
    federated, pooled = (
        programs.read_rows(run / "rounds.csv"),
        programs.read_rows(run / "rounds_pooled.csv"),
    )
    assert (len(federated), len(pooled)) == (2, 1)
    assert {row["learning_rate"] for row in federated} == {"0.05"}
    assert {row["clients"] for row in federated} == {"2"}
    assert "resnet18/loss" not in federated[0]
    assert "learning_rate" not in pooled[0]
    for row in pooled:
        assert float(row["standard/learning_rate"]) == 0.01
        assert float(row["resnet18/learning_rate"]) == 0.001
        # Both networks together, an epoch each of all 51 images.
        assert row["images"] == "102"


def test_what_clients_report_beside_what_the_server_measures(run):
    clients = programs.read_rows(run / "clients.csv")
    assert len(clients) == 2 * 2
    for entry in programs.read_rows(run / "rounds.csv"):
        mine = [row for row in clients if row["round"] == entry["round"]]
        images = sum(int(row["images"]) for row in mine)
        mean = sum(int(row["images"]) * float(row["train_loss"]) for row in mine) / images
        assert float(entry["standard/train_loss"]) == pytest.approx(mean, rel=1e-4)
        assert float(entry["standard/loss"]) > 0


def test_every_network_is_explained_as_it_was_trained(run):
    explained = programs.read_rows(run / "explanations.csv")
    assert {(row["task"], row["training"]) for row in explained} == {
        ("Pneumonia", "standard federated"),
        ("Pneumonia", "standard pooled"),
        ("Pneumonia", "resnet18 pooled"),
    }


def test_the_classes_of_rsna_become_two_and_training_starts_at_a_run(tmp_path, run):
    """Beside RSNA, a hospital has its classes and splits in a table of its own."""
    folder, kermany = tmp_path / "run", programs.TESTDATA / "kermany"
    (tmp_path / "t.csv").write_text(
        "Image,Patient,Class,Split\n"
        f"{kermany}/train/NORMAL/IM-0115-0001.jpeg,p0,NORMAL,train\n"
        f"{kermany}/train/PNEUMONIA/person1_bacteria_1.jpeg,p1,pneumonia,train\n"
        f"{kermany}/test/PNEUMONIA/person1_virus_6.jpeg,p2,pneumonia,test\n"
    )
    ended = programs.run(
        "pneumonia",
        f"--output_dir={folder}",
        f"--site=a=rsna:{RSNA}",
        f"--site=own=csv:{tmp_path / 't.csv'}",
        "--partition=none",
        "--clients_per_round=all",
        "--image_size=32",
        "--bootstrap=50",
        "--rounds=1",
        "--baseline=none",
        "--test_fraction=0.5",
        f"--weights={run}",
        "--learning_rate=1e-12",
    )
    assert ended.status == 0, ended.errors
    # As wide as the run's networks, not as whole as those of other hospitals.
    assert programs.read_json(folder / "config.json")["derived"]["width"] == 0.5
    with (
        h5py.File(run / "models" / "federated_standard.h5") as before,
        h5py.File(folder / "models" / "federated_standard.h5") as after,
    ):
        kernel = "conv1/conv1/kernel:0"
        np.testing.assert_allclose(after[kernel][()], before[kernel][()], atol=1e-6)
    assert len(programs.read_json(folder / "config.json")["settings"]["weights_sha256"]) == 64
    assert export.load(folder).metadata.phantoms is False
    (row,) = programs.read_json(folder / "metrics.json")["rows"]
    site, own = programs.read_json(folder / "config.json")["sites"]
    assert (own["train: Normal"], own["train: Pneumonia"], own["test_images"]) == (1, 1, 1)
    assert row["task"] == "Pneumonia or normal (of RSNA: Lung Opacity or any other class)"
    labels = programs.read_rows(RSNA / "stage_2_train_labels.csv")
    targets = {entry["patientId"]: int(entry["Target"]) for entry in labels}
    tested = [sum(counts) for counts in row["confusion"]]
    found = [site["train: Normal"] + tested[0], site["train: Pneumonia"] + tested[1] - 1]
    assert found == [len(targets) - sum(targets.values()), sum(targets.values())]


def _refused(tmp_path, *flags):
    ended = programs.run("pneumonia", f"--output_dir={tmp_path / 'run'}", *flags)
    assert not (tmp_path / "run").exists()
    return programs.refusal(ended)


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--central=vgg:adam:0.1"], "--central: expected one of standard, resnet18, "),
        (["--central=standard:lion:0.1"], "--central: expected one of sgd, adam, "),
        (["--central=standard:adam"], "--central: expected NETWORK:OPTIMIZER:RATE"),
        (["--central=standard:adam:0.1:0.9"], "--central: expected NETWORK:OPTIMIZER:RATE"),
        (["--central=standard:sgd:fast"], "found 'standard:sgd:fast'"),
        (["--central=standard:sgd:nan"], "expected a rate above 0"),
        (["--central=standard:sgd:0.1:1"], "a momentum of 0 to 0.9999, found"),
        (["--central="], "--central: expected different networks, at least one, found ''"),
        (
            ["--central=standard:adam:0.1,standard:sgd:0.1"],
            "--central: expected different networks",
        ),
        (["--central_epochs=0"], "--central_epochs: expected at least 1, found 0"),
        (["--baseline=none", "--central_epochs=3"], "--central_epochs: expected --baseline=pooled"),
        (["--model=unet"], "--model: expected some of standard, "),
        (["--heatmaps=-1"], "--heatmaps: expected at least 0, found -1"),
        (["--gpu_memory_gb=4"], "--gpu_memory_gb: expected --task=segmentation with it"),
        (
            ["--task=segmentation", "--width=0.5"],
            "--width: expected --task=classification with it",
        ),
        (
            ["--task=segmentation", "--central=standard:adam:0.1"],
            "--central: expected --task=classification with it",
        ),
        (
            ["--task=segmentation", "--class_balance=weights"],
            "--class_balance: expected --task=classification with it",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, flags, expected):
    assert expected in _refused(tmp_path, *flags)


def test_a_site_without_the_classes_is_refused(tmp_path):
    site = shutil.copytree(programs.TESTDATA / "siim", tmp_path / "siim")
    ended = programs.run("pneumonia", f"--output_dir={tmp_path / 'run'}", f"--site=a=siim:{site}")
    assert "expected the classes Normal, Pneumonia, found Pneumothorax" in programs.refusal(ended)


def test_a_task_leaves_no_default_of_the_other():
    assert set(pneumonia_classification.DEFAULTS) == set(pneumonia_segmentation.DEFAULTS)
    answer = sweep_flags.check(
        "pneumonia",
        [
            [("task", "segmentation")],
            [("rounds", "4"), ("optimizer", "sgd")],
            [("task", "segmentation")],
            [("task", "segmentation"), ("optimizer", "adam")],
            [("optimizer", "sgd"), ("adam_epsilon", "1e-8")],  # Of the networks of --central.
        ],
    )
    first, second, third, adam, _ = answer.settings
    assert first == third
    assert {name: first[name] for name in pneumonia_segmentation.DEFAULTS} == (
        pneumonia_segmentation.DEFAULTS
    )
    given = {"rounds": 4, "optimizer": "sgd"}
    assert {name: second[name] for name in pneumonia_classification.DEFAULTS} == {
        **pneumonia_classification.DEFAULTS,
        **given,
    }
    assert (adam["momentum"], adam["nesterov"], adam["weight_decay"]) == (0, False, 3e-5)
    with pytest.raises(InputError, match="pneumonia: --central: expected one of"):
        sweep_flags.check("pneumonia", [[("central", "vgg:adam:1")]])


def test_a_site_of_rsna_whose_opacity_has_the_name_of_the_class_keeps_it():
    site = sites.Site("east", "rsna", RSNA)
    table = pd.DataFrame({"Lung Opacity": [1.0, 0.0], "Normal": [0.0, 0.0]})
    made = pneumonia_classification.TASK.prepare(table, site)
    assert made["Pneumonia"].tolist() == [1.0, 0.0] and made["Normal"].tolist() == [0.0, 1.0]
    renamed = table.rename(columns={"Lung Opacity": "Pneumonia"})  # By --same.
    assert pneumonia_classification.TASK.prepare(renamed, site) is renamed
