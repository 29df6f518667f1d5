"""Tests of report.model_card: what a card says, and what it must not say."""

import json

import pytest

from tests.report import example_masks, example_run
from tffcxr import errors
from tffcxr.report import model_card, page, run_reader, run_report, shared_copy
from tffcxr.report.figures import panels

_MODEL = {
    "network": "standard",
    "training": "federated",
    "outputs": ["Lung Opacity", "a|b_c"],
    "image_size": 64,
    "pixels": "float32 [B, S, S, 1]",
    "gives": "probabilities",
    "operating_points": {"Lung Opacity": 0.25, "a|b_c": None},
    "calibration": {"Lung Opacity": {"calibration": "platt", "temperature": 1.5}},
    "trained_on": {"sources": {"rsna": 7}, "modalities": ["CR", "DX"], "views": []},
}
_SITE = {
    "client": "north", "site": "north", "source": "rsna", "finding": "Lung Opacity",
    "train_images": 7, "train_patients": 5, "train_positive": 3,
}  # fmt: skip


@pytest.fixture(name="run_dir")
def _run_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(panels, "png", lambda figure: b"\x89PNG")
    (tmp_path / "secret-place").mkdir()
    run_dir = example_run.write(tmp_path / "secret-place", images=60, rounds=3, cases=1)
    (run_dir / "models" / "multi_task.json").write_text(json.dumps(_MODEL))
    return run_dir


def _change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _of_real_images(run_dir, **settings):
    known = json.loads((run_dir / "config.json").read_text())["settings"]
    settings = {**known, "site": ["north=rsna:/secret-place:Lung Opacity"], **settings}
    _change(run_dir / "config.json", settings=settings, sites=[_SITE])


def _card(run_dir):
    text = model_card.write(run_reader.read(run_dir), ["Few images."])
    assert text is None or (run_dir / "models" / "MODEL_CARD.md").read_text() == text
    return text


def test_a_card_says_what_the_run_says(run_dir):
    _of_real_images(run_dir, batch_norm="group")
    text = _card(run_dir)
    rows = json.loads((run_dir / "metrics.json").read_text())["rows"]
    for row in rows:
        interval = f"{row['auroc']:.3f} ({row['auroc_low']:.3f}–{row['auroc_high']:.3f})"
        # Only the exported model's: baselines are not what a user of it gets.
        assert (interval in text) == (row["training"] == "federated")
        assert (f"{row['brier']:.3f} (" in text) >= (row["training"] == "federated")
    for line in (
        "| north | rsna | Lung Opacity | 7 | 5 | 3 |",
        "| batch norm | group |",
        "| standard | federated | Lung Opacity, a\\|b_c | 64 × 64 × 1 |",
        "sources: rsna (7 images); modalities: CR, DX; views: not stated.",
        "Lung Opacity: calibration platt (temperature 1.500); operating point 0.250.",
        "a\\|b_c: calibration none.",
        "- Few images.",
        "- tensorflow 2.14.1",
        'tffcxr.load_model("models/multi_task.keras")',
        'onnxruntime.InferenceSession("models/multi_task.onnx")',
        "no medical device",
        "Apache-2.0",
    ):
        assert line in text
    assert "PHANTOMS" not in text


def test_phantoms_are_named_first(run_dir):
    assert "WARNING: PHANTOMS" in _card(run_dir).split("\n## ")[0]
    _of_real_images(run_dir)
    assert "PHANTOMS" not in _card(run_dir)
    _change(run_dir / "models" / "multi_task.json", phantoms=True)
    assert "WARNING: PHANTOMS" in _card(run_dir).split("\n## ")[0]


@pytest.mark.parametrize(
    "weights, told",
    [
        ("none", "weights at the start | none |"),
        ("imagenet", "weights at the start | imagenet |"),
        ("/secret-place/w.h5", "weights at the start | a file or a run (SHA-256 abc) |"),
        ("resnet50=/secret-place/w.h5", "| resnet50: a file or a run (SHA-256 abc) |"),
    ],
)
def test_no_path_is_in_a_card(run_dir, weights, told):
    _of_real_images(
        run_dir, weights=weights, **({"weights_sha256": "abc"} if "/" in weights else {})
    )
    text = _card(run_dir)
    assert told in text
    assert "secret-place" not in text
    assert str(run_dir) not in text


def test_only_complete_runs_with_a_model_have_a_card(run_dir):
    _change(run_dir / "metrics.json", complete=False)
    assert _card(run_dir) is None
    _change(run_dir / "metrics.json", complete=True)
    (run_dir / "models" / "multi_task.keras").unlink()
    assert _card(run_dir) is None
    assert not (run_dir / "models" / "MODEL_CARD.md").exists()


def test_models_of_lungs_alone_are_named(run_dir):
    (run_dir / "models" / "other.keras").touch()
    (run_dir / "models" / "other.json").write_text(json.dumps({**_MODEL, "cut_out": True}))
    text = _card(run_dir)
    assert (
        "`predict` needs `--lung_model` for `models/other.keras`: it takes images that are black"
        in text
    )
    assert "`predict` refuses images whose DICOM header" in text
    assert 'model.predict("image.dcm")' in text
    _change(run_dir / "models" / "multi_task.json", cut_out=True)
    text = _card(run_dir)
    assert "`predict` needs `--lung_model` for `models/multi_task.keras`" in text
    assert "`predict` refuses images whose DICOM header" not in text
    assert 'model.predict("image.dcm")' not in text


def test_a_damaged_description_is_named(run_dir):
    (run_dir / "models" / "multi_task.json").write_text("[")
    with pytest.raises(errors.InputError, match=r"expected JSON in .*multi_task\.json"):
        _card(run_dir)


def test_the_page_has_the_card_and_a_copy_has_it_with_the_models(run_dir, tmp_path):
    html = run_report.write_report(run_dir).read_text()
    assert "<h2>Model card</h2>" in html
    assert "# Model card: cheXviz" in html
    shared_copy.write(run_dir, tmp_path / "without", lambda source, target: None)
    assert not (tmp_path / "without" / "models").exists()
    shared_copy.write(run_dir, tmp_path / "copy", lambda source, target: None, with_models=True)
    assert "# Model card: cheXviz" in (tmp_path / "copy" / "models" / "MODEL_CARD.md").read_text()


def test_small_groups_are_in_no_card_that_leaves_the_hospital(run_dir, tmp_path):
    (run_dir / "subgroups.csv").write_text(
        "task,model,training,client,attribute,group,images,patients,positives,too_small,auroc,"
        "auroc_low,auroc_high,auroc_gap,auroc_gap_low,auroc_gap_high,sensitivity,sensitivity_low,"
        "sensitivity_high,specificity,specificity_low,specificity_high\n"
        "Lung Opacity,standard,federated,opacity,sex,female,40,30,20,0,0.75" + "," * 11 + "\n"
        "Lung Opacity,standard,federated,opacity,age,0-17,4,3,2,1,0.5" + "," * 11 + "\n"
    )
    text = _card(run_dir)
    assert "| female | 40 | 20 | 30 | 0.750 |" in text
    assert "| 0-17 (few) | 4 | 2 | 3 | 0.500 |" in text
    shared_copy.write(run_dir, tmp_path / "copy", lambda source, target: None, with_models=True)
    shared = (tmp_path / "copy" / "models" / "MODEL_CARD.md").read_text()
    assert "| female | 40 |" in shared
    assert "0-17" not in shared


def test_a_card_of_masks_has_no_calibration(tmp_path):
    (tmp_path / "run").mkdir()
    run_dir = example_masks.write(tmp_path / "run")
    (run_dir / "models").mkdir(exist_ok=True)
    (run_dir / "models" / "segmentation.keras").touch()
    (run_dir / "models" / "segmentation.json").write_text(
        json.dumps({"threshold": 0.5, "outputs": ["Lungs"]})
    )
    text = _card(run_dir)
    assert "Jaccard (95 % CI)" in text
    assert "## Calibration" not in text
    assert "how common a disease is" not in text


@pytest.mark.parametrize(
    "text, escaped",
    [
        ("plain text, 0.5 (0.4–0.6)", "plain text, 0.5 (0.4–0.6)"),
        ("a|b\nc", "a\\|b c"),
        ("[x](y) <b> &amp; R&D", "\\[x\\](y) \\<b> \\&amp; R&D"),
        ("_x_ left_lung `q`", "\\_x\\_ left_lung \\`q\\`"),
    ],
)
def test_markdown_is_escaped(text, escaped):
    assert page.markdown_table([text], [["1"]]) == f"| {escaped} |\n| --- |\n| 1 |"
