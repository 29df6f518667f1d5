"""Whatever the programs write of marked inputs has no mark, in no byte and, to share, no pixel.

One run of each kind of study is searched; `TFFCXR_ALL_RECIPES=1` adds those of the other recipes.
What has names on purpose is listed in `_ON_PURPOSE`, with the reason.
"""

import os
import pathlib
import shutil

import pydicom
import pytest

from tests.experiments import programs
from tests.privacy import leak_search, marked_inputs, resemblance
from tffcxr import kept_names
from tffcxr.report import shared_copy

ALL_RECIPES = os.environ.get("TFFCXR_ALL_RECIPES") == "1"
_TINY = ("--image_size=32", "--rounds=1", "--bootstrap=20", "--width=0.25")
_NAMES_FILES = {"file name", "folder name", "path"}
_OF_PATIENT = {"patient's name", "patient id", "birth date", "study date", "study"}
# What may stand in what a user asks for by a flag of its own.
_ON_PURPOSE = {
    # The user's own table of the user's own files: it says which file each row is of.
    "predict --csv, --json": _NAMES_FILES,
    # Named after the files whose heat maps they are.
    "predict --heatmaps": _NAMES_FILES,
    # A new series in the patient's study: without the patient it belongs to nobody.
    "predict --dicom": _NAMES_FILES | _OF_PATIENT | {"accession number", "physician"},
    # The terminals of the runs of a sweep: which table was read and how, which file is damaged.
    "sweep *.log": _NAMES_FILES,
    # A list of files to be mended, of patients who are in two splits, and of paths of sites.
    "prepare --check": _NAMES_FILES | {"patient id"},
}


class Study:
    """Marked inputs, and what is looked for."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.inputs = folder / "inputs"
        self.identifiers = marked_inputs.identifiers(self.inputs)
        self._searcher = leak_search.Searcher(self.identifiers)

    def search(self, folder: pathlib.Path, on_purpose: str = "") -> None:
        """Checks that a folder has no identifier, or only those that are there on purpose."""
        assert any(folder.rglob("*"))
        allowed = _ON_PURPOSE[on_purpose] if on_purpose else set()
        found = self._searcher.in_folder(folder)
        assert not [leak for leak in found if leak.kind not in allowed]
        if on_purpose:  # Otherwise the list would be longer than it must be.
            assert found, on_purpose

    def finds_marks_in_the_inputs(self) -> set[str]:
        """The kinds of what is found in the inputs."""
        return {leak.kind for leak in self._searcher.in_folder(self.inputs)}


@pytest.fixture(name="study", scope="module")
def _study(tmp_path_factory):
    return Study(tmp_path_factory.mktemp("study"))


@pytest.fixture(name="sites", scope="module")
def _sites(study):
    """Two sites with findings, classes of two, and masks of lungs."""
    classes = ("Normal", "Pneumonia")
    return [
        marked_inputs.write_table(study.inputs / name, 30, seed, classes, name == "a")
        for seed, name in enumerate("ab")
    ]


@pytest.fixture(name="far", scope="module")
def _far(study):
    return marked_inputs.write_table(study.inputs / "far", 12, 7, ("Normal", "Pneumonia"))


@pytest.fixture(name="run", scope="module")
def _run(study, sites, far):
    """A run of findings, with an external site and a model for programs without Keras."""
    first, second = sites
    run = study.folder / "findings"
    programs.succeed(
        run, "cheXviz", f"--site=a={first}:Infiltration", f"--site=b={second}:Effusion",
        f"--external_site=far={far}:Infiltration", "--heatmaps=1", "--baseline=site",
        "--export=onnx", "--tensorboard_histograms", "--max_rejected_fraction=0.1", *_TINY,
    )  # fmt: skip
    return run


def test_every_mark_is_found_in_the_inputs(study, sites):
    found = study.finds_marks_in_the_inputs()
    assert found == {each.kind for each in study.identifiers} - {"path"}  # It names itself nowhere.


def test_a_run_of_findings(study, run):
    study.search(run)  # With its cache, since nobody asked for names.
    assert list((run / "cache").rglob("rejected.csv"))
    # Nothing but paths is concealed.
    told, kept = programs.read_json(run / "config.json"), kept_names.read_settings(run)
    settings = told["settings"]
    differing = {name for name, value in kept["settings"].items() if settings[name] != value}
    assert differing == {"site", "external_site"}
    words = [plain for plain, word in zip(kept["command"], told["command"]) if plain != word]
    flags = [word.partition("=")[0] for word in words]
    assert flags == ["--output_dir", "--site", "--site", "--external_site"]


def test_a_leak_of_a_run_would_be_found(study, run, tmp_path):
    leaking = shutil.copytree(run, tmp_path / "leaking")
    (leaking / "models" / "note.txt").write_text("of Ottoline")
    with pytest.raises(AssertionError, match="patient's name"):
        study.search(leaking)


def _resembling(study, folder):
    """Where pictures of a folder resemble radiographs of the inputs most, each picture once."""
    files = sorted(study.inputs.rglob("*.dcm"))
    sources = [pydicom.dcmread(file).pixel_array for file in files if file.stat().st_size > 100]
    search = resemblance.Sources(sources)
    return [search.closest(*each) for each in resemblance.pictures_in(folder)]


def _check_copy(study, run, copy):
    """Shares a run, and checks that the copy has neither names nor pictures of patients."""
    ended = programs.run("report", f"--run={run}", f"--share={copy}", "--share_models")
    assert ended.status == 0, ended.errors
    study.search(copy)
    assert "[path" not in (copy / "config.json").read_text()
    shown = _resembling(study, copy)
    assert shown and (copy / shared_copy.NOTE).exists()
    assert not [each for each in shown if abs(each.correlation) > resemblance.THRESHOLD]


def test_a_copy_of_findings_to_share(study, run, tmp_path):
    _check_copy(study, run, tmp_path / "copy")


def test_names_that_were_asked_for_stay_in_the_cache(study, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    ended = programs.run("report", f"--run={copy}", "--with_file_names")
    assert ended.status == 0, ended.errors
    assert "vortigern" in (copy / "cache" / "images_with_files.csv").read_text()
    shutil.rmtree(copy / "cache")
    study.search(copy)


def test_what_a_model_says_of_files(study, run, far, tmp_path):
    images = sorted(pathlib.Path(far.partition(":")[2]).glob("*.dcm"))[:2]
    for name in ("tables", "dicom", "heatmaps"):
        (tmp_path / name).mkdir()
    ended = programs.run(
        "predict", f"--model={run}", f"--csv={tmp_path / 'tables' / 'a.csv'}",
        f"--json={tmp_path / 'tables' / 'a.json'}", f"--heatmaps={tmp_path / 'heatmaps'}",
        f"--dicom={tmp_path / 'dicom'}", *images,
    )  # fmt: skip
    assert ended.status == 0, ended.errors
    study.search(tmp_path / "tables", "predict --csv, --json")
    study.search(tmp_path / "dicom", "predict --dicom")
    if any((tmp_path / "heatmaps").iterdir()):  # Of findings above their operating points.
        study.search(tmp_path / "heatmaps", "predict --heatmaps")


def test_a_model_elsewhere(study, run, far, tmp_path):
    ended = programs.run(
        "evaluate", f"--model={run}", f"--site=far={far}", f"--output_dir={tmp_path / 'far'}",
        "--bootstrap=20",
    )  # fmt: skip
    assert ended.status == 0, ended.errors
    study.search(tmp_path / "far")


def test_the_check_of_data(study, sites, tmp_path):
    ended = programs.run(
        "prepare", "--check", f"--site=a={sites[0]}", f"--output_dir={tmp_path / 'check'}"
    )
    assert ended.status in (0, 2), ended.errors
    study.search(tmp_path / "check", "prepare --check")


def test_a_run_of_masks_and_a_copy_to_share(study, sites, tmp_path):
    flags = [f"--site={name}={site}" for name, site in zip("ab", sites)]
    run = study.folder / "masks"
    programs.succeed(
        run, "cxr_fl_segmentation", *flags, "--baseline=none", "--max_rejected_fraction=0.1",
        "--batch_size=16", *_TINY, shallow_unet=True,
    )  # fmt: skip
    study.search(run)
    # The run itself shows radiographs with outlines upon them, which the same search finds.
    shown = [each for each in _resembling(study, run / "figures") if "masks" in each.place]
    assert shown and min(abs(each.correlation) for each in shown) > resemblance.THRESHOLD
    _check_copy(study, run, tmp_path / "copy")


def test_a_run_of_classes(study):
    site = marked_inputs.write_table(
        study.inputs / "classes", 36, 11, ("Normal", "Pneumonia", "COVID-19")
    )
    run = study.folder / "classes"
    programs.succeed(
        run, "covid", f"--site=a={site}", "--model=standard", "--partition=none",
        "--pooled_epochs=1", *_TINY,
    )  # fmt: skip
    study.search(run)


def test_a_run_of_volumes(study):
    folder = marked_inputs.write_petct(study.inputs / "volumes", 4, 3)
    run = study.folder / "volumes"
    programs.succeed(
        run, "cross_domain", f"--site=pet=pet:{folder}", f"--site=ct=ct:{folder}",
        "--test_fraction=0.5", "--baseline=none", "--batch_size=32", *_TINY, shallow_unet=True,
    )  # fmt: skip
    study.search(run)


_on_demand = pytest.mark.skipif(not ALL_RECIPES, reason="TFFCXR_ALL_RECIPES=1 runs all recipes")


@_on_demand
@pytest.mark.parametrize("kind", [["--grid=local_epochs=1,2"], ["--search=loss", "--trials=2"]])
def test_a_sweep_and_a_search(study, sites, kind, tmp_path):
    first, second = sites
    flags = [f"--site=a={first}:Infiltration", f"--site=b={second}:Effusion", *_TINY]
    flags += ["--baseline=none", "--heatmaps=0", "--max_rejected_fraction=0.1"]
    kind += ["--grid=learning_rate=1e-4..1e-3"] if "--trials=2" in kind else []
    ended = programs.run(
        "sweep", "--experiment=cheXviz", f"--output_dir={tmp_path / 'sweep'}", *kind,
        *(f"--set={flag.removeprefix('--')}" for flag in flags),
    )  # fmt: skip
    assert ended.status == 0, ended.errors
    logs = tmp_path / "logs"
    logs.mkdir()
    for number, log in enumerate(sorted((tmp_path / "sweep").rglob("*.log"))):
        log.rename(logs / f"{number}")
    study.search(logs, "sweep *.log")
    study.search(tmp_path / "sweep")


@_on_demand
def test_a_log_for_mlflow_and_a_comparison(study, run, sites, far, tmp_path):
    first, second = sites
    ended = programs.run(
        "cheXviz", f"--output_dir={run}", f"--site=a={first}:Infiltration",
        f"--site=b={second}:Effusion", f"--external_site=far={far}:Infiltration", "--heatmaps=1",
        "--baseline=site", "--tensorboard_histograms", "--max_rejected_fraction=0.1", *_TINY,
        f"--mlflow=file:{tmp_path / 'mlflow'}",
    )  # fmt: skip
    assert ended.status == 0, ended.errors
    study.search(tmp_path / "mlflow")
    other = shutil.copytree(run, tmp_path / "other")
    page = tmp_path / "comparison"
    ended = programs.run("report", f"--run={run}", f"--run={other}", f"--output_dir={page}")
    assert ended.status == 0, ended.errors
    study.search(page)


@_on_demand
@pytest.mark.parametrize(
    ("recipe", "flags"),
    [
        ("tuberculosis", ["--baseline=none", "--model=standard", "--heatmaps=0"]),
        (
            "pneumonia",
            [
                "--task=classification",
                "--baseline=none",
                "--partition=none",
                "--clients_per_round=all",
            ],
        ),
        ("cxr_fl_classification", ["--model=standard", "--baseline=none"]),
    ],
)
def test_runs_of_other_recipes(study, recipe, flags):
    classes: tuple[str, ...] = ("Normal", "Pneumonia")
    if recipe == "cxr_fl_classification":
        classes = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
    sites = []
    for seed, name in enumerate("ab"):
        root = study.inputs / recipe / name
        site = marked_inputs.write_table(root, 36, 20 + seed, classes)
        sites.append(f"--site={name}={site}" + ":Tuberculosis" * (recipe == "tuberculosis"))
    run = study.folder / recipe
    programs.succeed(run, recipe, *sites, *flags, *_TINY)
    study.search(run)
