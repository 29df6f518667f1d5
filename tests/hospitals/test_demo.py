"""The demo: a whole study with the programs that users run, and nothing that stays behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.experiments import programs
from tests.privacy import leak_search, written_forms
from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import demo

TINY = demo.Size(
    patients=100,  # Test images are 10 with the finding and 10 without, the least for a report.
    settings={
        "rounds": 1, "image_size": 32, "batch_size": 8, "width": 0.25, "baseline": "none",
        "bootstrap": 10, "heatmaps": 0, "heat_metrics": False,
    },
)  # fmt: skip


def running_in(folder):
    """The processes whose command line names a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in " ".join(process.info["cmdline"] or ()):
            found.append(process.info["cmdline"])
    return found


def test_hospitals_train_and_tell_their_results(monkeypatch):
    # Two of the three: each is a process that imports everything.
    monkeypatch.setattr(demo, "HOSPITALS", demo.HOSPITALS[:2])
    monkeypatch.setattr(demo, "NAMES", demo.NAMES[:3])
    said: list[str] = []
    with demo.opened(None) as folder:
        demo.run(folder, said.append, TINY)
        for name in demo.NAMES:
            assert (folder / name / "run" / "report.html").is_file()
            assert (folder / name / "run" / "predictions.csv").exists() == (name != "coordinator")
        rows = (folder / "coordinator" / "run" / "hospitals.csv").read_text().splitlines()[1:]
        took_part = [row.split(",")[:3] for row in rows]
        assert took_part == [["1", name, "yes"] for name in ("north", "south")]
        _check_no_file_is_named(folder)
        assert not running_in(folder)
    assert not folder.exists()
    (table,) = (at for at, line in enumerate(said) if line.lstrip().startswith("AUROC ("))
    titles = [line for line in said[table:] if line.endswith(" (standard model, test images)")]
    assert [line.partition(" (")[0] for line in titles] == [
        "Lung Opacity at north", "Pneumothorax at south"
    ]  # fmt: skip
    assert sum(line.startswith("  Federated  ") for line in said[table:]) == 2
    assert any(line.startswith("federated: round 1/1  loss ") for line in said)


def _check_no_file_is_named(folder):
    """Neither the coordinator nor a hospital's own run names an image, which is a patient here."""
    stems = {path.stem for name in ("north", "south") for path in (folder / name).rglob("*.dcm")}
    assert len(stems) >= 2 * TINY.patients
    marks = [written_forms.code("file name", stem) for stem in sorted(stems)]
    marks += [written_forms.path("path", folder / name / "images") for name in ("north", "south")]
    searcher = leak_search.Searcher(marks)
    assert searcher.in_folder(folder / "north" / "images")
    for written in ("coordinator", "north/run", "south/run"):
        assert not searcher.in_folder(folder / written)


def test_a_program_that_fails_is_named_with_what_it_printed(tmp_path):
    said: list[str] = []
    with pytest.raises(RunError, match="^coordinator ended with status 2; its last lines are abov"):
        demo.run(tmp_path, said.append, demo.Size(1, {"rounds": 0}))
    assert "--rounds: expected" in said[-1]
    assert not running_in(tmp_path)


def test_ctrl_c_leaves_no_process_and_no_folder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "experiments.hospital", "demo"],
        cwd=programs.REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(programs.REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        line = next(line for line in program.stdout if line.startswith("phantoms of "))
        assert str(tmp_path) in line
        assert len(running_in(tmp_path)) == 1
        # Not while modules are imported, some of which catch everything: once a hospital has its
        # images.
        end = time.monotonic() + 60
        while not any(tmp_path.glob("*/north/images/*.csv")) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (130, "hospital: interrupted\n")
    assert not running_in(tmp_path)
    assert not list(tmp_path.iterdir())


def test_its_folder_is_new_or_empty_and_stays(tmp_path):
    with demo.opened(tmp_path / "new") as folder:
        (folder / "file").touch()
    assert folder.exists()
    for taken in (folder, folder / "file"):
        with (
            pytest.raises(InputError, match="^--output_dir: expected a new or an empty folder"),
            demo.opened(taken),
        ):
            pass
