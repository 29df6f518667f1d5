"""Tests of run_report.shared_copy: nothing of a patient, a path or a computer is in the copy."""

import json
import pathlib
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest

from tests.report import example_classes, example_masks, example_run
from tffcxr import errors, run_tables
from tffcxr.report import run_reader, run_report, shared_copy
from tffcxr.report.figures import panels, roc_figure

MARK = "MARK-of-a-patient"
PATH = f"/hospital/{MARK}/images"


@pytest.fixture(name="small_figures", autouse=True)
def _small_figures(monkeypatch):
    monkeypatch.setattr(panels, "_DOTS_PER_INCH", 40)


def _no_events(source, target):
    raise AssertionError(f"no event file was expected, found {source}")


def _plant(run_dir):
    """Puts marks where a run may have them, and in files that no run has."""
    config = json.loads((run_dir / "config.json").read_text())
    settings = config.setdefault("settings", {})
    settings.update(
        site=[f"a=rsna:{PATH}:Lung Opacity", PATH], weights=f"{MARK}.h5", segmentation_model=PATH,
        optimizer=PATH, unknown=[MARK], schedule="polynomial", learning_rate=1e-3,
    )  # fmt: skip
    config.update(
        command=["//experiments:cheXviz", f"--output_dir={PATH}", "--weights", MARK, PATH,
                 f"--site=a=rsna:{PATH}:X", "--rounds=3", f"--unknown={MARK}"],
        unknown={MARK: MARK},
        versions={"numpy": "1.25.2", "other": PATH},
        sites=[{"client": "a", "site": "a", "source": "rsna", "folder": PATH, "train_images": 7,
                "note": MARK}],
    )  # fmt: skip
    config.setdefault("derived", {}).update(lungs={"model": PATH, "images": 5}, note=MARK)
    (run_dir / "config.json").write_text(json.dumps(config))
    results = json.loads((run_dir / "metrics.json").read_text())
    for row in results["rows"]:
        row["note"] = MARK
    (run_dir / "metrics.json").write_text(json.dumps({**results, "note": MARK}))
    (run_dir / "clients.csv").write_text(
        "round,client,images,train_loss,status\n"
        f"1,a,9,0.5,ok\n1,b,9,,cannot read {PATH}\n1,c,9,,layer conv_2/kernel is not finite\n"
        f"1,d,0,,left out: no answer in time\n1,e,0,,left out: {PATH}\n"
    )
    (run_dir / "rounds_site_a.csv").write_text(f"round,train_loss,note\n1,0.5,{MARK}\n")
    image = np.frombuffer((MARK * 100).encode(), np.uint8)
    for folder in ("explanations", "segmentations", "cache", "checkpoints", "figures",
                   "hospitals/answers", MARK):  # fmt: skip
        (run_dir / folder).mkdir(parents=True, exist_ok=True)
        np.savez(run_dir / folder / "planted.npz", image=image)
        (run_dir / folder / "roc.png").write_bytes(image.tobytes())
        (run_dir / folder / f"gradcam_{MARK}.png").write_bytes(image.tobytes())
    for name in ("lungs_examples.npz", "rounds.npz", f"rounds_{MARK}.txt", "worker.log", ".lock",
                 "heat_images.csv", "other.json"):  # fmt: skip
        if not (run_dir / name).exists():
            (run_dir / name).write_bytes(image.tobytes())
    # The report reads it before it is left out.
    columns = ",".join(run_tables.CLASS_PREDICTIONS.always)
    row = ",".join(MARK for _ in run_tables.CLASS_PREDICTIONS.always)
    (run_dir / "class_predictions.csv").write_text(f"{columns}\n{row}\n")


def _contents(folder):
    """Yields every file's name and bytes, also of what lies in archives."""
    for path in sorted(folder.rglob("*")):
        yield str(path.relative_to(folder)), b""
        if path.is_file():
            yield path.name, path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        yield name, archive.read(name)


def _assert_clean(copy, *secrets):
    for name, content in _contents(copy):
        for secret in (MARK, "hospital/", *secrets):
            assert secret not in name
            assert secret.encode() not in content, (name, secret)


def test_the_search_finds_what_is_planted(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", image=np.frombuffer(MARK.encode(), np.uint8))
    with pytest.raises(AssertionError):
        _assert_clean(tmp_path)


@pytest.fixture(name="run_dir")
def _run_dir(tmp_path):
    run_dir = example_run.write(_made(tmp_path / "secret-folder" / "run"), 60, 3, 1)
    _plant(run_dir)
    return run_dir


def _made(folder):
    folder.mkdir(parents=True)
    return folder


def test_nothing_of_a_patient_and_no_path(run_dir, tmp_path):
    copy = tmp_path / "new" / "copy"
    note = shared_copy.write(run_dir, copy, _no_events)
    _assert_clean(copy, "secret-folder", str(pathlib.Path.home()) + "/", str(tmp_path))
    assert sorted(path.name for path in copy.iterdir()) == [
        "SHARED.txt", "clients.csv", "config.json", "figures", "heat.csv", "metrics.json",
        "report.html", "roc.csv", "rounds.csv", "rounds_site_a.csv",
    ]  # fmt: skip
    assert sorted(path.name for path in (copy / "figures").iterdir()) == [
        "participation.png", "precision_recall.png", "roc.png", "rounds.png",
    ]  # fmt: skip
    assert list((tmp_path / "new").iterdir()) == [copy]
    assert (copy / "SHARED.txt").read_text() == note
    assert "predictions.csv" in note and "explanations" in note and "models: weights may" in note
    assert "- updates of single hospitals: hospitals/answers/*\n" in note


def test_settings_stay_where_they_are_no_path(run_dir, tmp_path):
    shared_copy.write(run_dir, tmp_path / "copy", _no_events)
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    out = shared_copy.LEFT_OUT
    assert config["command"] == [
        "//experiments:cheXviz", f"--output_dir={out}", "--weights", out, out,
        f"--site=a=rsna:{out}", "--rounds=3", f"--unknown={out}",
    ]  # fmt: skip
    assert config["settings"]["site"] == [f"a=rsna:{out}", out]
    assert config["settings"]["schedule"] == "polynomial"
    assert config["settings"]["learning_rate"] == 1e-3
    assert config["settings"]["weights"] == config["settings"]["optimizer"] == out
    assert config["sites"][0]["train_images"] == 7
    assert config["versions"] == {"numpy": "1.25.2"}


@pytest.mark.parametrize(
    ("words", "kept"),
    [(["tffcxr", "covid", MARK], 2), (["tffcxr", PATH], 0), ([PATH, "covid"], 0), ([], 0)],
)
def test_of_a_command_the_program_stays(words, kept):
    left_out = [shared_copy.LEFT_OUT] * (len(words) - kept)
    assert shared_copy._command(words) == [*words[:kept], *left_out]


def test_a_row_says_which_round_it_is_of_and_how_it_is_calibrated(run_dir, tmp_path):
    results = json.loads((run_dir / "metrics.json").read_text())
    told = {"report_round": "best", "calibration": "none", "calibration_remark": "found 8 images"}
    results["rows"] = [{**row, **told} for row in results["rows"]]
    (run_dir / "metrics.json").write_text(json.dumps(results))
    shared_copy.write(run_dir, tmp_path / "copy", _no_events)
    for row in json.loads((tmp_path / "copy" / "metrics.json").read_text())["rows"]:
        assert told.items() <= row.items()
    assert "no probabilities: found 8 images." in (tmp_path / "copy" / "report.html").read_text()


def test_results_and_curves_stay(run_dir, tmp_path):
    copy = tmp_path / "copy"
    shared_copy.write(run_dir, copy, _no_events)
    before, after = run_reader.read(run_dir), run_reader.read(copy)
    for one, other in zip(before.rows, after.rows):
        assert {**one, "note": shared_copy.LEFT_OUT} == pytest.approx(other, nan_ok=True)
    for curve, copied in zip(roc_figure.curves(before), roc_figure.curves(after)):
        assert curve.title == copied.title
        assert curve.auroc == pytest.approx(copied.auroc)
        np.testing.assert_allclose(curve.sensitivity, copied.sensitivity)
    assert len(roc_figure.curves(after)) == 6
    html = (copy / "report.html").read_text()
    assert "ROC curves" in html and "Heat over all images" in html and "Heat maps of" not in html
    pd.testing.assert_frame_equal(before.heat, after.heat)
    assert not re.search("not of the same evaluation", html)
    assert (copy / "rounds_site_a.csv").read_text() == "round,train_loss\n1,0.5\n"
    clients = (copy / "clients.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in clients] == [
        "status", "ok", "failed", "layer conv_2/kernel is not finite",
        "left out: no answer in time", "failed",
    ]  # fmt: skip
    # The copy is a run's folder of which the report can be made again.
    (copy / "report.html").unlink()
    assert run_report.write_report(copy).read_text() == html


def test_a_copy_of_classes_and_of_masks(tmp_path):
    for example, figure in ((example_classes, "confusion.png"), (example_masks, "rounds.png")):
        run_dir = _made(tmp_path / example.__name__)
        example.write(run_dir, 3, 1) if example is example_classes else example.write(run_dir, 9, 3)
        _plant(run_dir)
        copy = tmp_path / f"copy of {example.__name__}"
        shared_copy.write(run_dir, copy, _no_events)
        _assert_clean(copy)
        names = {path.name for path in (copy / "figures").iterdir()}
        assert figure in names
        assert names <= {"confusion.png", "rounds.png", "clients.png", "participation.png"}


def test_models_are_copied_on_demand(run_dir, tmp_path):
    (run_dir / "models" / "multi_task.json").write_text("{}")
    (run_dir / "models" / "site_a.h5").write_bytes(b"weights")
    (run_dir / "models" / f"{MARK}.npz").write_bytes(b"")
    # Statistics of images stay at the hospital.
    (run_dir / "models" / "multi_task.images.npz").write_bytes(b"")
    note = shared_copy.write(run_dir, tmp_path / "copy", _no_events, with_models=True)
    assert sorted(path.name for path in (tmp_path / "copy" / "models").iterdir()) == [
        "MODEL_CARD.md", "multi_task.json", "multi_task.keras", "site_a.h5",
    ]  # fmt: skip
    assert "- models" not in note
    assert "- statistics of the training images' pixels: models/*.images.npz" in note
    assert "--model=RUN IMAGE.dcm" in (tmp_path / "copy" / "report.html").read_text()


def test_event_files_lose_their_names(run_dir, tmp_path):
    folder = _made(run_dir / "tensorboard" / "site_a")
    (folder / f"events.out.tfevents.1700000000.{MARK}.123.0.v2").write_bytes(b"events")
    (folder / MARK).write_bytes(b"")
    shared_copy.write(run_dir, tmp_path / "copy", shutil.copyfile)
    _assert_clean(tmp_path / "copy")
    (copied,) = (tmp_path / "copy" / "tensorboard" / "site_a").iterdir()
    assert copied.read_bytes() == b"events" and ".tfevents." in copied.name


def test_an_unfinished_run_can_be_shared(run_dir, tmp_path):
    for name in ("metrics.json", "rounds.csv", "clients.csv", "predictions.csv"):
        (run_dir / name).unlink()
    shared_copy.write(run_dir, tmp_path / "copy", _no_events)
    _assert_clean(tmp_path / "copy")
    assert "This run has not finished" in (tmp_path / "copy" / "report.html").read_text()


@pytest.mark.parametrize("where", ["full", "file", "run", "run/inside", "."])
def test_only_a_new_or_empty_folder_outside_of_the_run(run_dir, tmp_path, where):
    _made(tmp_path / "full" / "of")
    (tmp_path / "file").write_text("")
    target = {"run": run_dir, "run/inside": run_dir / "inside"}.get(where, tmp_path / where)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.InputError, match="folder"):
        shared_copy.write(run_dir, target, _no_events)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_run_leaves_no_copy(run_dir, tmp_path):
    (run_dir / "rounds.csv").write_text("")
    with pytest.raises(errors.InputError, match="rounds.csv"):
        shared_copy.write(run_dir, _made(tmp_path / "copy"), _no_events)
    assert not list((tmp_path / "copy").iterdir())
    assert not list(tmp_path.rglob("*.tmp"))
