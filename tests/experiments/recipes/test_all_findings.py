"""A run with sites that label several findings, one of them in common."""

import pytest

from tests.experiments import programs
from tffcxr.datasets.phantoms import phantom
from tffcxr.models.files import metadata

FINDINGS = ["Lung Opacity", "No Lung Opacity / Not Normal", "Normal"]
FLAGS = (
    "--image_size=32",
    "--rounds=1",
    "--heatmaps=1",
    "--bootstrap=20",
    "--baseline=site",
    "--width=0.25",
)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all_findings")
    for seed, name in enumerate("ab"):
        phantom.write_rsna(folder / name, 60, seed)
    sites = [f"--site=a=rsna:{folder / 'a'}", f"--site=b=rsna:{folder / 'b'}:Normal+Opacity"]
    programs.succeed(folder / "run", "cheXviz", *FLAGS, *sites)
    return folder / "run"


def test_every_site_and_finding_has_its_results(run):
    tasks = {f"{FINDINGS[0]} at a", FINDINGS[1], f"{FINDINGS[2]} at a"}
    tasks |= {f"{FINDINGS[0]} at b", f"{FINDINGS[2]} at b"}
    rows = programs.read_json(run / "metrics.json")["rows"]
    assert {(row["task"], row["training"]) for row in rows} == {
        (task, training) for task in tasks for training in ("federated", "site")
    }
    assert all(row["auroc"] is not None and row["images"] > 5 for row in rows)
    predictions = programs.read_rows(run / "predictions.csv")
    assert {row["task"] for row in predictions} == tasks
    assert all(row["label"] in ("0.0", "1.0") for row in predictions)
    assert {name.rpartition("/")[0] for name in programs.read_rows(run / "rounds.csv")[0]} >= set(
        FINDINGS
    )


def test_each_site_says_how_many_images_have_each_finding(run):
    config = programs.read_json(run / "config.json")
    assert config["derived"]["server_learning_rate"] == 1.0  # They have findings in common.
    a, b = config["sites"]
    assert list(a["positive"]) == FINDINGS and set(b["positive"]) == {"Normal", "Lung Opacity"}
    for site in (a, b):
        for split in ("train", "validation", "test"):
            for finding, positive in site["positive"].items():
                images = positive[split] + site["negative"][finding][split]
                assert images == site[f"{split}_images"] and positive[split] > 0


def test_the_exported_model_has_every_finding_once(run):
    about = metadata.read(run / "models" / "multi_task.keras")
    assert list(about.outputs) == FINDINGS
    assert set(about.operating_points) == set(FINDINGS)
