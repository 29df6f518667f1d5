"""nnU-Net on lung opacities from phantoms to the report, and what it refuses."""

import numpy as np
import pytest

from tests.experiments import programs
from tffcxr.models.files import export
from tffcxr.nnunet import dataset_fingerprint, planning

TINY = (
    "--task=segmentation",
    "--image_size=16",
    "--rounds=2",
    "--batch_size=3",
    "--local_epochs=1",
    "--bootstrap=50",
    "--clients_per_site=2",
    "--phantom_patients=20",
    "--test_fraction=0.4",
)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pneumonia"
    ended = programs.run("pneumonia", f"--output_dir={folder}", "--central_epochs=3", *TINY)
    assert ended.status == 0, ended.errors
    assert "Jaccard Lung Opacity" in ended.errors
    assert "spec." in ended.output
    return folder


def test_the_run_directory(run):
    files = programs.files_in(run)
    assert {
        "nnunet_plan.json",
        "nnunet_fingerprint.json",
        "rounds.csv",
        "rounds_pooled.csv",
        "masks.csv",
        "segmentations.csv",
        "report.html",
        "figures/clients.png",
        "figures/masks.png",
        "figures/rounds.png",
        "models/segmentation.keras",
        "models/federated.h5",
    } <= files


def test_the_plan_follows_from_what_the_clients_sent(run):
    messages = programs.read_json(run / "nnunet_fingerprint.json")
    assert set(messages["clients"]) == {"phantoms-client_00", "phantoms-client_01"}
    summaries = [_summary(message) for message in messages["clients"].values()]
    found = dataset_fingerprint.fingerprint(dataset_fingerprint.merge(summaries))
    assert found.to_json() == messages["all"]
    plan = planning.make_plan(found, "phantoms", batch_size=3)
    assert plan == programs.read_json(run / "nnunet_plan.json")
    config = programs.read_json(run / "config.json")
    assert sum(client["train_images"] for client in config["sites"]) == found.cases == 12
    configuration = programs.read_json(run / "nnunet_plan.json")["configurations"]["2d"]
    assert config["derived"]["batch_size"] == configuration["batch_size"] == 3
    assert config["derived"]["patch_size"] == configuration["patch_size"] == [16, 16]
    assert "<td>derived.batch_size</td><td>3</td>" in (run / "report.html").read_text()
    assert config["settings"]["momentum"] == 0.9


def _summary(message):
    rows, columns = (
        {(size, step): n for size, step, n in message[axis]} for axis in ("rows", "columns")
    )
    return dataset_fingerprint.Summary(
        message["cases"],
        rows,
        columns,
        dict(message["relative_sizes"]),
        message["foreground_cases"],
        np.array(message["foreground"]),
    )


def test_overlap_is_of_the_images_with_opacities(run):
    masks = programs.read_rows(run / "masks.csv")
    for row in programs.read_json(run / "metrics.json")["rows"]:
        mine = [entry for entry in masks if entry["training"] == row["training"]]
        assert len(mine) == row["images"] == 8
        has_region = [float(entry["truth_area"]) > 0 for entry in mine]
        assert 0 < sum(has_region) == row["positives"] < 8
        assert [entry["dice"] != "" for entry in mine] == has_region
        dice = [float(entry["dice"]) for entry in mine if entry["dice"]]
        assert row["dice"] == pytest.approx(np.mean(dice))
        is_marked = np.array([float(entry["predicted_area"]) > 0 for entry in mine])
        assert row["sensitivity"] == is_marked[has_region].mean()
        assert row["specificity"] == (~is_marked)[np.invert(has_region)].mean()


def test_clients_measure_the_model_of_the_round_on_their_own_images(run):
    rows = programs.read_rows(run / "clients.csv")
    assert [row["round"] for row in rows] == ["1", "1", "2", "2"]
    for logged in programs.read_rows(run / "rounds.csv"):
        mine = [row for row in rows if row["round"] == logged["round"]]
        for metric in ("loss", "dice"):
            of_clients = [float(row[f"Lung Opacity/{metric}"]) for row in mine]
            mean = float(logged[f"Lung Opacity/client_{metric}"])
            assert mean == pytest.approx(np.mean(of_clients))


def test_the_pooled_model_has_epochs_of_its_own(run):
    rounds = programs.read_rows(run / "rounds_pooled.csv")
    assert [row["images"] for row in rounds] == ["12", "12", "12"]
    rates = [float(row["learning_rate"]) for row in rounds]
    assert rates == pytest.approx([0.1, 0.1 * (2 / 3) ** 0.9, 0.1 * (1 / 3) ** 0.9])


def test_who_holds_what_is_told(run):
    sites = programs.read_json(run / "config.json")["sites"]
    for site in sites:
        held = site["train: Lung Opacity"] + site["train: no Lung Opacity"]
        assert held == site["train_images"] > 0


def test_the_exported_model_marks_what_the_figure_shows(run):
    exported = export.load(run)
    about = exported.metadata
    assert (about.network, about.outputs, about.image_size) == ("nnunet", ("Lung Opacity",), 16)
    (worst, *_) = programs.read_rows(run / "segmentations.csv")
    with np.load(run / worst["file"]) as arrays:
        found = exported.keras(arrays["image"][None, ..., None] / np.float32(255))
        mask = found.numpy()[0, ..., 0] >= exported.metadata.threshold
        np.testing.assert_array_equal(mask, arrays["mask_federated"])


def test_other_settings_of_nnu_net(run, tmp_path):
    ended = programs.run(
        "pneumonia",
        f"--output_dir={tmp_path / 'run'}",
        *TINY,
        f"--phantom_dir={run / 'phantoms'}",
        "--rounds=1",
        "--batch_size=4",
        "--gpu_memory_gb=0.001",
        "--nonnunet_augmentation",
        "--baseline=none",
        "--image_size=20",
    )
    assert ended.status == 0, ended.errors
    derived = programs.read_json(tmp_path / "run" / "config.json")["derived"]
    assert derived["batch_size"] == 4
    assert max(derived["patch_size"]) < 20


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--weights=imagenet", "--weights: expected --task=classification with it"),
        ("--augmentation=flip", "--augmentation: expected --task=classification with it"),
        ("--batch_norm=group", "--batch_norm: expected --task=classification with it"),
        ("--gpu_memory_gb=0", "--gpu_memory_gb: expected above 0, found 0.0"),
        ("--image_size=8", "--image_size: expected at least 16, found 8"),
        ("--batch_size=0", "--batch_size: expected at least 1, found 0"),
    ],
)
def test_flags_that_cannot_be(tmp_path, flag, message):
    ended = programs.run("pneumonia", f"--output_dir={tmp_path / 'run'}", *TINY, flag)
    assert message in programs.refusal(ended)
    assert not (tmp_path / "run").exists()


def test_a_site_without_outlines_is_refused(tmp_path):
    ended = programs.run(
        "pneumonia",
        f"--output_dir={tmp_path / 'run'}",
        *(flag for flag in TINY if "phantom" not in flag),
        f"--site=v7=lungs:{programs.TESTDATA / 'lungs'}",
    )
    assert "expected the finding 'Lung Opacity'" in programs.refusal(ended)
