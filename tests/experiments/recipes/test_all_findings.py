"""A run with sites that label several findings, one of them in common."""

import pytest

from tests.experiments import programs
from tffcxr import kept_names, run_tables
from tffcxr.datasets.phantoms import phantom
from tffcxr.models.files import metadata
from tffcxr.report import file_names

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
    phantom.write_rsna(folder / "c", 12, 2, size=64, workers=1)
    sites = [f"--site=a=rsna:{folder / 'a'}", f"--site=b=rsna:{folder / 'b'}:Normal+Opacity"]
    elsewhere = [
        f"--external_site=far=rsna:{folder / 'c'}:Lung Opacity",
        f"--external_site=known=rsna:{folder / 'b'}:Normal",
    ]
    programs.succeed(folder / "run", "cheXviz", *FLAGS, *sites, *elsewhere)
    return folder / "run"


def _rows(run, split):
    rows = programs.read_json(run / "metrics.json")["rows"]
    return [row for row in rows if row["split"] == split]


def test_external_sites_are_measured_with_every_model_and_trained_on_by_none(run):
    # The task blocks of the default stay at the sites.
    names = ["federated_site_a", "federated_site_b", "site_a", "site_b"]
    rows = _rows(run, "external")
    assert [(row["task"], row["training"]) for row in rows] == [
        *(("Lung Opacity at far", name) for name in names),
        *(("Normal at known", name) for name in names),
    ]
    config = programs.read_json(run / "config.json")
    assert [site["client"] for site in config["sites"]] == ["a", "b"]
    about = config["derived"]["external_sites"]
    assert (about["far"]["images"], about["far"]["left_out"]) == (rows[0]["images"], 0)
    # Of b, what it is only tested on.
    b = config["sites"][1]
    assert (about["known"]["images"], about["known"]["left_out"]) == (
        b["test_images"], b["train_images"] + b["validation_images"],
    )  # fmt: skip
    named = kept_names.read(run, run_tables.IMAGES)
    assert named is not None
    names_of = named.to_dict("records")
    known = {row["image"] for row in names_of if row["client"] == "known"}
    assert known == {
        row["image"] for row in names_of if row["client"] == "b" and row["split"] == "test"
    }
    predictions = programs.read_rows(run / "predictions.csv")
    external = [row for row in predictions if row["split"] == "external"]
    assert len(external) == sum(row["images"] for row in rows)
    (joined, *_) = file_names.write(run)
    assert {row["image"] for row in programs.read_rows(joined) if row["client"] == "known"} == known
    for name in ("report.html", "models/MODEL_CARD.md"):
        assert "Lung Opacity at far" in (run / name).read_text(encoding="utf-8")


def test_every_site_and_finding_has_its_results(run):
    tasks = {f"{FINDINGS[0]} at a", FINDINGS[1], f"{FINDINGS[2]} at a"}
    tasks |= {f"{FINDINGS[0]} at b", f"{FINDINGS[2]} at b"}
    rows = _rows(run, "test")
    assert {(row["task"], row["training"]) for row in rows} == {
        (task, training) for task in tasks for training in ("federated", "site")
    }
    assert all(row["auroc"] is not None and row["images"] > 5 for row in rows)
    rows = programs.read_rows(run / "predictions.csv")
    predictions = [row for row in rows if row["split"] != "external"]
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
    (row,) = [row for row in _rows(run, "external")[:4] if row["training"] == "federated_site_a"]
    assert row["threshold"] == pytest.approx(about.operating_points["Lung Opacity"])
