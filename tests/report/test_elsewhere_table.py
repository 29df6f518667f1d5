"""What reports say of hospitals that were not trained on."""

import json
import shutil
from typing import Any

import pytest

from tests.report import example_run
from tffcxr.errors import InputError
from tffcxr.report import (
    elsewhere_page,
    elsewhere_table,
    remarks,
    run_reader,
    run_report,
    shared_copy,
)
from tffcxr.report.figures import panels
from tffcxr.report.kinds import kinds

KIND = kinds.named("findings")


def _row(training, auroc, **more):
    return {
        **{"task": "Pneumothorax at far", "model": "standard", "training": training},
        **{"split": "external", "client": "far", "images": 40, "positives": 20, "patients": 30},
        **{"auroc": auroc, "auroc_low": auroc - 0.1, "auroc_high": auroc + 0.1},
        **{"sensitivity": 0.5, "specificity": 0.75, "interval": "95 % percentile interval"},
        **{"operating_point": "Youden index, chosen on validation images of its own sites"},
        **more,
    }


TESTED = {
    "p_ttest_federated": 1e-9,
    "p_delong_federated": 0.02,
    "p_delong_federated_holm": 0.04,
    "holm_tests": 2,
}
ROWS = [
    _row("federated", 0.75),
    _row("pooled", 0.7, **TESTED),
    _row("site_north", 0.6, **TESTED),
]
DERIVED = {"external_sites": {"far": {"images": 40, "patients": 30, "left_out": 1}}}


@pytest.fixture(name="example", scope="module")
def _example(tmp_path_factory):
    run = example_run.write(tmp_path_factory.mktemp("run"), images=40, rounds=2, cases=1)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["rows"] += ROWS
    (run / "metrics.json").write_text(json.dumps(metrics))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "derived": DERIVED}))
    return run


@pytest.fixture(name="run_dir")
def _run_dir(example, tmp_path, monkeypatch):
    monkeypatch.setattr(panels, "png", lambda figure: b"\x89PNG")
    return shutil.copytree(example, tmp_path / "run")


def test_the_models_of_a_hospital_stand_together_the_federated_one_last():
    found: Any = elsewhere_table.of(ROWS, KIND, DERIVED)
    ((title, rows),) = found.results
    assert title == "Pneumothorax at far (standard model, external images)"
    names = [row["name"] for row in rows]
    assert names == ["Trained at north", "All sites pooled", "Federated"]
    assert found.summary == [
        "Pneumothorax at far: AUROC federated 0.750 (0.650–0.850); trained at north 0.600 "
        "(0.500–0.700); all sites pooled 0.700 (0.600–0.800)."
    ]
    text = "\n".join(found.notes)
    assert "far: 40 images of 30 patients; 1 other left out" in text
    assert "in brackets adjusted for the 2 tests of this table" in text
    # Here the federated model is what the others are compared with.
    cells = {c.heading: c.cell(rows[-1]) for _, columns in found.parts for c in columns}
    assert cells["p vs federated (Holm)"] == "not compared"
    assert "“not compared” marks the federated model itself" in text
    assert not [heading for heading in cells if "t-test" in heading]
    assert "“Trained at” a hospital" in text and "as at" not in text
    assert elsewhere_table.of([], KIND, DERIVED) is None


def test_a_model_with_layers_of_a_hospital_is_called_so():
    found: Any = elsewhere_table.of([_row("federated_site_north", 0.7)], KIND, {})
    (row,) = found.results[0][1]
    assert (row["name"], row["colour"]) == ("Federated, as at north", "#0072B2")


def test_the_terminal_has_a_table_of_its_own():
    own = [{"task": "Mass", "training": "federated", "split": "test", "auroc": 0.9}]
    before, after = run_report.format_table([*ROWS, *own], "findings").split(elsewhere_table.TITLE)
    assert "Mass (test images)" in before and "far" not in before and "p federated" not in before
    assert "t federated" not in after and "p: DeLong's test against the model" in after
    assert "p federated (Holm)" in after and "0.020 (0.040)" in after and "Mass" not in after
    alone = run_report.format_table(ROWS, "findings")
    assert alone.startswith(elsewhere_table.TITLE) and "No results" not in alone


def test_a_report_keeps_them_apart_from_the_sites_that_were_trained_on(run_dir):
    run = run_reader.read(run_dir)
    assert {row["split"] for row in run.rows} == {"test"} and len(run.external) == 3
    html = run_report.write_report(run_dir).read_text("utf-8")
    before, after = html.split(f"<h2>{elsewhere_table.TITLE}</h2>")
    warnings, before = before.split("<h2>Data</h2>")
    assert "Pneumothorax at far (external): only 20 positive and 20 negative images" in warnings
    assert "Pneumothorax at far" not in before and "Pneumothorax at far" in after
    assert "0.020" in after and "0.020" not in before
    assert (
        "None of the images measured here trained a model" in after
        and "not independent" not in html
    )


def test_a_site_most_of_whose_images_were_trained_on_is_warned_of(run_dir):
    config = json.loads((run_dir / "config.json").read_text())
    sites = {
        "far": {"images": 40, "patients": 30, "left_out": 41},
        "half": {"images": 40, "patients": 30, "left_out": 40},
    }
    (run_dir / "config.json").write_text(
        json.dumps({**config, "derived": {"external_sites": sites}})
    )
    found = [text for text in remarks.warnings(run_reader.read(run_dir), []) if "left out" in text]
    (text,) = found
    assert text.startswith("far: 41 of 81 images of this external site are left out")
    assert "it is not independent" in text


def test_a_copy_has_them_too(run_dir, tmp_path):
    shared_copy.write(run_dir, tmp_path / "copy", lambda source, target: None)
    assert len(run_reader.read(tmp_path / "copy").external) == 3
    assert "Pneumothorax at far" in (tmp_path / "copy" / "report.html").read_text("utf-8")
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert config["derived"] == DERIVED
    assert shared_copy.setting("external_site", ["far=nih:/far:Mass"]) == ["far=nih:[left out]"]
    assert shared_copy.setting("same", ["Mass=Tumour"]) == ["Mass=Tumour"]


def test_the_page_of_an_evaluation_escapes_names(tmp_path):
    rows = [_row("federated", 0.75, task="Pneumothorax at <far>", client="<far>")]
    command = ["tffcxr", "evaluate", "--site=<far>=csv:/far"]
    path = elsewhere_page.write(tmp_path, rows, "findings", ["<far>: why"], tmp_path, command)
    html = path.read_text("utf-8")
    assert "<far>" not in html and html.count("&lt;far&gt;") >= 4
    assert "0.750" in html and 'name="viewport"' in html


def test_an_evaluation_takes_no_folder_with_files_of_another_program(tmp_path):
    def refused(folder):
        with pytest.raises(InputError, match="--output_dir: expected a new or an empty folder"):
            elsewhere_page.check_folder(folder)

    elsewhere_page.check_folder(tmp_path)
    elsewhere_page.check_folder(tmp_path / "new")
    (tmp_path / "report.html").write_text("of somebody")
    refused(tmp_path)
    refused(tmp_path / "report.html")
    results = tmp_path / "metrics.json"
    results.write_text('{"recipe": "cheXviz"}')
    refused(tmp_path)
    results.write_text("{")
    refused(tmp_path)
    results.write_text('{"recipe": "evaluate"}')
    elsewhere_page.check_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")  # Of a run that an evaluation wrote into.
    refused(tmp_path)


def test_tables_of_classes_and_masks_have_no_columns_of_the_trainings_rounds():
    row = {"task": "x at far", "training": "federated", "split": "external", "model": "unet"}
    masks = run_report.format_table([{**row, "jaccard": 0.5, "dice": 0.6}], "masks")
    assert "0.500" in masks and not {"last J.", "round", "loss"} & set(masks.split())
    classes = run_report.format_table([{**row, "accuracy": 0.5, "classes": ["A"]}], "classes")
    assert "0.500" in classes and "max. acc." not in classes and "In brackets" not in classes
