"""COVID-19, pneumonia or normal: models with and without federation, from phantoms to report."""

import h5py
import numpy as np
import pytest

from tests.experiments import programs
from tffcxr.datasets import findings

TINY = (
    *("--image_size=32", "--bootstrap=50", "--model=standard", "--pooled_epochs=3"),
    *("--head_rounds=1", "--rounds=1"),
)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "covid"
    far = f"--external_site=far=kermany:{programs.TESTDATA / 'kermany'}"
    ended = programs.run("covid", f"--output_dir={folder}", "--phantom_patients=30", far, *TINY)
    assert ended.status == 0, ended.errors
    assert "standard federated: round 2/2" in ended.errors
    assert "standard pooled: round 2/2" in ended.errors
    return folder


def test_every_model_is_measured_on_test_and_training_images(run):
    rows = programs.read_json(run / "metrics.json")["rows"]
    assert sorted((row["training"], row["split"]) for row in rows) == [
        (training, split)
        for training in ("federated", "pooled")
        for split in ("external", "test", "train")
    ]
    for row in rows:
        if row["split"] == "external":  # Of a site that has two of the classes.
            assert row["task"] == "COVID-19 classes at far"
            assert np.sum(row["confusion"], axis=1).tolist() == [5, 4, 0]
    images = {row["split"]: row["images"] for row in rows}
    phantoms = run / "phantoms" / "30_patients_seed_0" / "covidx"
    assert images["test"] == len((phantoms / "test_split.txt").read_text().splitlines())
    assert images["train"] == len((phantoms / "train_split.txt").read_text().splitlines())
    assert {tuple(row["classes"]) for row in rows} == {findings.COVID}
    for row in rows:
        assert "images_kind" not in row
        assert np.sum(row["confusion"]) == row["images"]
        assert row["accuracy"] == pytest.approx(np.trace(row["confusion"]) / row["images"])


def test_the_task_block_is_trained_before_the_whole_network(run):
    for name in ("rounds.csv", "rounds_standard_pooled.csv"):
        assert [row["stage"] for row in programs.read_rows(run / name)] == ["head", "all"]


def test_the_report_names_the_paper(run):
    assert "The method is that of Liu et al." in (run / "report.html").read_text()


def test_phantoms_get_narrow_networks_and_sites_whole_ones(run, tmp_path):
    with h5py.File(run / "models" / "federated_standard.h5") as file:
        kernels = []
        file.visititems(lambda name, item: kernels.append(item) if "kernel" in name else None)
        (first,) = (item.shape for item in kernels if "conv1" in item.name)
    assert first == (3, 3, 1, 4)  # A quarter of 16 filters.
    assert programs.read_json(run / "config.json")["settings"]["width"] == 0.25
    ended = programs.run(
        "covid",
        f"--output_dir={tmp_path / 'run'}",
        f"--site=a=classes:{tmp_path}",
        "--weights=imagenet",
    )
    # ImageNet's weights, which only whole networks take, are no reason to refuse it.
    assert "classes" in programs.refusal(ended) and "--width" not in programs.refusal(ended)


def test_two_of_five_agents_take_part(run):
    rounds = programs.read_rows(run / "rounds_standard.csv")
    assert [row["clients"] for row in rounds] == ["2", "2"]
    sites = programs.read_json(run / "config.json")["sites"]
    assert len(sites) == 5


def test_an_image_of_every_class_is_explained_for_every_model(run):
    explained = programs.read_rows(run / "explanations.csv")
    assert {row["task"] for row in explained} == set(findings.COVID)
    names = {"standard federated", "standard pooled"}
    for name in findings.COVID:
        assert {row["training"] for row in explained if row["task"] == name} == names
    figures = {path.name for path in (run / "figures").iterdir()}
    assert {
        "clients.png",
        "confusion.png",
        "rounds.png",
        "gradcam_normal.png",
        "gradcam_pneumonia.png",
        "gradcam_covid-19.png",
    } <= figures


def test_a_round_of_the_pooled_model_has_its_own_passes(run):
    (pooled, again) = programs.read_rows(run / "rounds_standard_pooled.csv")
    train = next(
        row["images"]
        for row in programs.read_json(run / "metrics.json")["rows"]
        if row["split"] == "train"
    )
    assert int(pooled["images"]) == int(again["images"]) == 3 * train


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--width=0"], "--width: expected above 0 and at most 1, found 0.0"),
        (
            ["--weights=imagenet", "--width=0.25"],
            "--weights=imagenet: expected --width=1 with it, found 0.25",
        ),
        (["--clients_per_round=7"], "clients_per_round: expected a count from 1 to 5, found 7"),
        (["--pooled_epochs=0"], "--pooled_epochs: expected at least 1, found 0"),
        (["--baseline=none", "--pooled_epochs=2"], "--pooled_epochs: expected --baseline=pooled"),
    ],
)
def test_flags_that_cannot_be(tmp_path, flags, message):
    ended = programs.run("covid", f"--output_dir={tmp_path / 'run'}", *flags)
    assert message in programs.refusal(ended)


def test_a_loader_without_the_classes_is_refused(tmp_path):
    ended = programs.run(
        "covid", f"--output_dir={tmp_path / 'run'}", f"--site=a=nih:{programs.TESTDATA / 'nih'}"
    )
    assert "expected the classes Normal, Pneumonia, COVID-19" in programs.refusal(ended)
