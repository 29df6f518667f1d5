"""Two hospitals: federated, each alone, and each one's model on the other's images."""

import pytest

from tests.experiments import programs

PATIENTS = 20
TINY = (
    f"--phantom_patients={PATIENTS}",
    "--image_size=32",
    "--rounds=2",
    "--bootstrap=40",
    "--heatmaps=1",
    "--model=standard",
)
SITES = ("montgomery", "shenzhen")


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tuberculosis"
    ended = programs.run("tuberculosis", f"--output_dir={folder}", *TINY)
    assert ended.status == 0, ended.errors
    assert "Trained at shenzhen" in ended.output
    return folder


def test_every_model_is_measured_at_every_hospital(run):
    rows = programs.read_json(run / "metrics.json")["rows"]
    assert {(row["task"], row["training"]) for row in rows} == {
        (f"Tuberculosis at {site}", training)
        for site, other in (SITES, SITES[::-1])
        for training in ("federated", "site", f"site_{other}")
    }
    for row in rows:
        assert row["images"] == PATIENTS / 5
        assert (row.get("baseline") == "site") is (row["training"] == "federated")


def test_all_is_shared_and_images_without_masks_are_trained_on(run):
    config = programs.read_json(run / "config.json")
    assert config["settings"]["share"] == "all"
    assert [client["train_images"] for client in config["sites"]] == [14, 14]
    assert len(list((run / "phantoms").rglob("*_mask.png"))) < PATIENTS


def test_the_report_shows_a_curve_for_each_model(run):
    html = (run / "report.html").read_text()
    assert "Tuberculosis at montgomery" in html
    assert "Trained at shenzhen" in html
    assert (run / "figures" / "roc.png").exists()
