"""Exported models on files that a user names."""

import os
import re
import shutil

import numpy as np
from PIL import Image
import pytest

from tests.experiments import programs
from tests.models.files import exported_models
from tffcxr.models.spec import ModelSpec
from tffcxr.prediction import overlays, session

FINDINGS = ("Lung Opacity", "Pneumothorax")
IMAGES = sorted((programs.TESTDATA / "rsna" / "stage_2_train_images").glob("*.dcm"))[:3]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder as a run leaves it; the model's task blocks are random."""
    from tffcxr.models import blocks
    from tffcxr.models.files import export, multi_task
    from tffcxr.models.files.metadata import Metadata

    folder = tmp_path_factory.mktemp("run")
    model = ModelSpec("standard", 32, 2, seed=3).build()
    kernel, _ = blocks.get_weights(model.keras, model.task)
    rng = np.random.default_rng(0)
    heads = {
        finding: [rng.normal(0, 0.2, (len(kernel), 1)), rng.normal(0, 0.2, 1)]
        for finding in FINDINGS
    }
    columns = dict(zip(FINDINGS, ("north", "south")))
    about = Metadata(
        kind="findings",
        outputs=FINDINGS,
        image_size=32,
        fit="pad",
        recipe="cheXviz",
        network="standard",
        phantoms=False,
        gradcam_layers=multi_task.gradcam_layers(model, columns),
        operating_points={"Lung Opacity": 0.0, "Pneumothorax": float("nan")},
    )
    exported = export.Exported(multi_task.multi_task_model(model, heads, columns), about)
    export.save(folder / "models" / "multi_task.keras", exported)
    return folder


def _expected(run, path):
    from tffcxr.datasets.imaging import images
    from tffcxr.models.files import export

    model = export.load(run).keras
    pixels = images.fit_to_square(images.read_image(path), 32, "pad").astype(np.float32) / 255
    return model(pixels[None]).numpy()[0]


def test_the_table_has_every_finding_of_every_file(run, tmp_path):
    table = tmp_path / "scores.csv"
    ended = programs.run("predict", f"--model={run}", f"--csv={table}", *IMAGES[:2])
    assert ended.status == 0, ended.errors
    lines = ended.output.splitlines()
    assert lines[0].split() == ["file", "finding", "score", "operating", "point"]
    first = _expected(run, IMAGES[0])
    assert lines[2] == f"{IMAGES[0]}  Lung Opacity  {first[0]:.3f}  above 0.000"
    assert re.fullmatch(rf" +Pneumothorax +{first[1]:.3f}  none", lines[3])
    assert lines[-1] == overlays.NOTICE

    rows = programs.read_rows(table)
    assert [(row["file"], row["finding"]) for row in rows] == [
        (str(path), finding) for path in IMAGES[:2] for finding in FINDINGS
    ]
    scores = np.array([float(row["probability"]) for row in rows]).reshape(2, 2)
    np.testing.assert_allclose(scores, [_expected(run, p) for p in IMAGES[:2]], atol=1e-6)
    assert [row["call"] for row in rows] == ["above", "-"] * 2
    assert [row["operating_point"] for row in rows] == ["0.0", ""] * 2


def test_folders_png_and_a_keras_path(run, tmp_path):
    (tmp_path / "images" / "deep").mkdir(parents=True)
    shutil.copy(IMAGES[0], tmp_path / "images" / "deep" / "a.dcm")
    Image.fromarray(np.eye(40, 30, dtype=np.uint8)).save(tmp_path / "images" / "b.PNG")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    model = run / "models" / "multi_task.keras"
    ended = programs.run("predict", f"--model={model}", tmp_path / "images")
    assert ended.status == 0, ended.errors
    assert "notes.txt" not in ended.output
    assert ended.output.index("b.PNG") < ended.output.index("a.dcm")


def test_unreadable_files_are_named_and_the_others_done(run, tmp_path):
    bad = tmp_path / "bad.dcm"
    bad.write_text("This is not a radiograph.")
    ended = programs.run("predict", f"--model={run}", bad, tmp_path / "no.png", IMAGES[0])
    assert ended.status == 2
    first, second = ended.errors.strip().splitlines()
    assert str(bad) in first
    assert "text file" in first
    assert "no.png" in second
    assert f"{IMAGES[0]}  Lung Opacity" in ended.output


def test_names_that_are_not_utf8_or_not_of_one_line(run, tmp_path):
    names = [b"caf\xe9.dcm", b"two\nlines.dcm"]
    for name in names:
        shutil.copy(os.fsencode(IMAGES[0]), os.path.join(os.fsencode(tmp_path), name))
    (tmp_path / os.fsdecode(b"bad\xff.dcm")).write_text("no image")
    table, heatmaps = tmp_path / "scores.csv", tmp_path / "heatmaps"
    ended = programs.run(
        "predict", f"--model={run}", f"--csv={table}", f"--heatmaps={heatmaps}", tmp_path
    )
    assert ended.status == 2, ended
    (line,) = ended.errors.strip().splitlines()
    assert f"{tmp_path}/bad\\xff.dcm: expected a DICOM, PNG or JPEG file" in line
    shown = [f"{tmp_path}/caf\\xe9.dcm", f"{tmp_path}/two\\nlines.dcm"]
    of_bad, *rows = programs.read_rows(table)
    assert of_bad["file"] == f"{tmp_path}/bad\\xff.dcm" and of_bad["status"] == "unreadable"
    assert [row["file"] for row in rows][::2] == shown
    lines = ended.output.splitlines()
    assert [line.split()[0] for line in lines[2:6:2]] == shown
    assert len(list(heatmaps.iterdir())) == 4


def test_heat_maps_of_the_logit(run, tmp_path):
    ended = programs.run("predict", f"--model={run}", f"--heatmaps={tmp_path / 'h'}", IMAGES[0])
    assert ended.status == 0, ended.errors
    names = sorted(path.name for path in (tmp_path / "h").iterdir())
    stem = IMAGES[0].stem
    assert names == [f"0001_{stem}_lung-opacity.png", f"0001_{stem}_pneumothorax.png"]
    pictures = [np.array(Image.open(tmp_path / "h" / name)) for name in names]
    assert not np.array_equal(pictures[0], pictures[1])


def test_the_gradient_of_a_sure_model_does_not_vanish(run, tmp_path):
    """Where the probability is 1.0 in float32 its gradient is 0; the logit's is not."""
    from tffcxr.explanation import gradcam
    from tffcxr.models.files import export

    exported = export.load(run)
    kernel = next(w for w in exported.keras.weights if "Lung_Opacity/kernel" in w.name)
    bias = next(w for w in exported.keras.weights if "Lung_Opacity/bias" in w.name)
    kernel.assign(np.abs(kernel.numpy()))
    bias.assign([200.0])
    image = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
    layer = exported.metadata.gradcam_layers["Lung Opacity"]
    assert float(exported.keras(image)[0, 0]) == 1.0
    assert gradcam.grad_cam(exported.keras, layer, image, 0).max() == 0
    assert gradcam.grad_cam(overlays.logits_of(exported.keras), layer, image, 0).max() == 1
    np.testing.assert_allclose(
        overlays.logits_of(exported.keras)(image).numpy()[0, 1],
        _logit(exported.keras(image).numpy()[0, 1]),
        atol=1e-4,
    )


def test_dicom_objects_of_dicom_files(run, tmp_path):
    import pydicom

    Image.fromarray(np.eye(40, 30, dtype=np.uint8)).save(tmp_path / "b.png")
    table, folder = tmp_path / "scores.csv", tmp_path / "objects"
    ended = programs.run(
        "predict",
        f"--model={run}",
        f"--dicom={folder}",
        f"--csv={table}",
        tmp_path / "b.png",
        IMAGES[0],
    )
    assert ended.status == 2
    assert f"--dicom: {tmp_path / 'b.png'}: expected a DICOM file" in programs.refusal(ended)
    assert {row["status"] for row in programs.read_rows(table)} == {"ok"}
    assert f"3 DICOM objects of 1 files in {folder}." in ended.output
    stem = f"0002_{IMAGES[0].stem}"
    names = ("heat_lung-opacity", "heat_pneumothorax", "report")
    assert {path.name for path in folder.iterdir()} == {f"{stem}_{name}.dcm" for name in names}
    source = pydicom.dcmread(IMAGES[0], stop_before_pixels=True)
    report = pydicom.dcmread(folder / f"{stem}_report.dcm")
    assert report.PatientID == source.PatientID
    notices = [item.TextValue for item in report.ContentSequence if "TextValue" in item]
    assert overlays.NOTICE in notices and session.NOT_COMPARED in notices


def _logit(probability):
    return np.log(probability / (1 - probability))


@pytest.mark.parametrize(
    "arguments,expected",
    [
        ([], "--model: expected a run's folder"),
        (["--model=/nowhere", "a.dcm"], "found nothing at /nowhere"),
        (["--model={empty}", "a.dcm"], "--model: expected a complete run with an exported model"),
        (["--model={run}"], "expected image files or folders after the flags, found none"),
        (["--model={run}", "{empty}"], "expected images (.dcm, .dicom, .jpeg, .jpg, .png) below"),
        (["--model={run}", "--csv=/proc/x.csv", "{image}"], "--csv: cannot write /proc/x.csv"),
        (["--model={run}", "--heatmaps=/proc/x", "{image}"], "--heatmaps: cannot make /proc/x"),
        (["--model={run}", "--dicom=/proc/x", "{image}"], "--dicom: cannot make /proc/x"),
    ],
)
def test_mistakes(run, tmp_path, arguments, expected):
    values = {"run": run, "empty": tmp_path, "image": IMAGES[0]}
    ended = programs.run("predict", *(argument.format(**values) for argument in arguments))
    assert ended.status == 2
    (line,) = ended.errors.strip().splitlines()
    assert expected in line


def test_a_missing_model_is_said_before_tensorflow_is_imported(tmp_path):
    ended = programs.in_a_real_process("experiments.predict", f"--model={tmp_path}", "a.dcm")
    assert ended.returncode == 2
    assert ended.stdout == "slow: []\n"


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Kind -> the folder of a run with small models of it."""
    from tffcxr.models.files import export

    folder = tmp_path_factory.mktemp("runs")
    for kind in ("classes", "masks", "volumes"):
        for number, name in enumerate(("second", "first"), start=0):
            exported = exported_models.exported(kind, seed=1, number=2 - number, phantoms=True)
            export.save(folder / kind / "models" / f"{name}.keras", exported)
    cut_out = exported_models.exported("classes", cut_out=True)
    export.save(folder / "cut_out" / "models" / "lungs.keras", cut_out)
    return folder


def test_classes(others, tmp_path):
    from tffcxr.models.files import export

    table, heatmaps = tmp_path / "scores.csv", tmp_path / "heatmaps"
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    ended = programs.run(
        "predict",
        f"--model={others / 'classes'}",
        f"--csv={table}",
        f"--heatmaps={heatmaps}",
        f"--json={tmp_path / 'scores.json'}",
        "--allow_phantom_model",
        bad,
        IMAGES[0],
    )
    assert ended.status == 2
    assert str(bad) in programs.refusal(ended)
    expected = export.load(others / "classes").predict(IMAGES[0])
    assert isinstance(expected, dict)
    named = max(expected, key=lambda name: expected[name])
    lines = ended.output.splitlines()
    assert lines[0].split() == ["file", "class", "score"]
    assert [line.split()[-1] == "named" for line in lines[2:5]] == [c == named for c in expected]
    assert lines[-6:] == [
        "No heat map of 2 answers: they are not named.",
        "Model: first.keras; others of the run: second.keras",
        session.NOT_COMPARED,
        f"Scores that are not calibrated, so they are no probabilities: {', '.join(expected)}.",
        session.OF_PHANTOMS,
        overlays.NOTICE,
    ]
    of_bad, *rows = programs.read_rows(table)
    assert (of_bad["file"], of_bad["status"], of_bad["class"]) == (str(bad), "unreadable", "")
    assert str(bad) in of_bad["error"]
    assert {(row["status"], row["error"], row["warning"]) for row in rows} == {("ok", "", "")}
    assert [(row["class"], row["named"]) for row in rows] == [(name, named) for name in expected]
    np.testing.assert_allclose(
        [float(row["probability"]) for row in rows], list(expected.values()), atol=1e-6
    )
    assert len(list(heatmaps.iterdir())) == 1
    written = programs.read_json(tmp_path / "scores.json")
    assert (written["kind"], written["model"]["phantoms"]) == ("classes", True)
    assert written["notice"] == " ".join([overlays.NOTICE, *lines[-4:-1]])
    first, second = written["files"]
    assert (first["status"], first["answers"]) == ("unreadable", [])
    assert first["error"] == of_bad["error"]
    assert (second["file"], second["error"], second["warnings"]) == (str(IMAGES[0]), None, [])
    assert [(one["class"], one["named"]) for one in second["answers"]] == [
        (name, named) for name in expected
    ]


def test_masks(others, tmp_path):
    from tffcxr.models.files import export

    table, masks = tmp_path / "scores.csv", tmp_path / "masks"
    model = others / "masks" / "models" / "first.keras"
    ended = programs.run(
        "predict",
        f"--model={model}",
        f"--csv={table}",
        f"--masks={masks}",
        "--allow_phantom_model",
        IMAGES[0],
    )
    assert ended.status == 0, ended.errors
    mask = export.load(model).predict(IMAGES[0])
    assert isinstance(mask, np.ndarray)
    assert "others of the run" not in ended.output
    assert ended.output.splitlines()[2].startswith(f"{IMAGES[0]}  Lungs ")
    (row,) = programs.read_rows(table)
    assert row["region"] == "Lungs"
    assert float(row["share"]) == pytest.approx(mask.mean())
    stem = f"0001_{IMAGES[0].stem}_lungs"
    assert {path.name for path in masks.iterdir()} == {f"{stem}.png", f"{stem}_overlay.png"}
    with Image.open(masks / f"{stem}.png") as written:
        np.testing.assert_array_equal(np.asarray(written), np.where(mask, 255, 0))


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["--model={others}/volumes", "--heatmaps=h"], "--heatmaps: expected another --model with"),
        (["--model={others}/volumes", "--dicom=d"], "--dicom: expected another --model with it"),
        (["--model={others}/masks", "--node=a"], "--node: expected another --model with it"),
        (["--model={others}/cut_out"], "--model: expected a model of whole radiographs"),
        (
            ["--model={others}/cut_out", "--lung_model={others}/classes"],
            "--lung_model: expected a model that segments lungs, found a model of the classes",
        ),
        (
            ["--model={others}/cut_out", "--lung_model={others}/masks"],
            "--lung_model: expected a model trained on images of patients",
        ),
        (
            ["--model={others}/classes", "--allow_phantom_model", "--lung_model={others}/masks"],
            "--lung_model: expected a --model of images whose lungs were cut out",
        ),
        (["--model={others}/masks", "--heatmaps=h"], "--heatmaps: expected another --model with"),
        (["--model={others}/classes", "--masks=m"], "--masks: expected another --model with it"),
        (["--model={others}/classes"], "--model: expected a model trained on images of patients"),
        (["--model={others}/classes", "--batch_size=0"], "--batch_size: expected at least 1"),
    ],
)
def test_what_a_kind_of_model_does_not_do(others, arguments, expected):
    ended = programs.run("predict", *(each.format(others=others) for each in arguments), IMAGES[0])
    assert expected in programs.refusal(ended)
