"""Cross-domain training from phantoms to the report, and what it refuses."""

import numpy as np
import pytest

from tests.datasets import volume_files
from tests.experiments import programs
from tffcxr.errors import InputError
from tffcxr.models.files import export
from tffcxr.report import file_names

TINY = ("--image_size=32", "--rounds=1", "--batch_size=32", "--bootstrap=20")
KIDNEYS = ("--phantom_patients=4", "--test_fraction=0.5", "--private=none,norm", "--baseline=none")
TRAININGS = {"federated", "federated_private_norm"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "kidneys"
    return folder, programs.succeed(folder, "cross_domain", *KIDNEYS, *TINY, shallow_unet=True)


@pytest.fixture(scope="module")
def run(ended):
    return ended[0]


def test_the_terminal_shows_rounds_and_results(ended):
    _, program = ended
    assert "private norm federated: round 1/1" in program.errors
    assert "test Dice Kidneys in PET 0." in program.errors
    assert "missed" in program.output


def test_the_run_directory(run):
    programs.check_kind_and_tables(run, "volumes")
    files = programs.files_in(run)
    assert {
        "rounds.csv",
        "clients.csv",
        "cases.csv",
        "segmentations.csv",
        "metrics.json",
        "report.html",
        "figures/dice.png",
        "figures/masks_kidneys-in-ct.png",
        "figures/masks_kidneys-in-pet.png",
        "models/federated.h5",
        "models/federated_private_norm_ct.h5",
        "models/federated_private_norm_pet.h5",
        "models/federated.keras",
        "models/federated_private_norm_ct.keras",
        "models/federated_private_norm_pet.json",
    } <= files
    config = programs.read_json(run / "config.json")
    assert [site["task"] for site in config["sites"]] == ["Kidneys in CT", "Kidneys in PET"]


def test_a_row_per_model_and_domain_and_one_of_all(run):
    rows = programs.read_json(run / "metrics.json")["rows"]
    assert {(row["task"], row["training"]) for row in rows} == {
        (task, training)
        for task in ("Kidneys in CT", "Kidneys in PET", "All domains")
        for training in TRAININGS
    }
    for row in rows:
        both = row["task"] == "All domains"
        assert (row["cases"], row["patients"]) == (4 if both else 2, 2)
        assert row["images"] == 12 * row["cases"]
        assert ("dice_difference" in row) == (row["training"] != "federated")


def test_the_table_is_that_of_the_cases(run):
    cases = programs.read_rows(run / "cases.csv")
    for row in programs.read_json(run / "metrics.json")["rows"]:
        mine = [
            case
            for case in cases
            if case["training"] == row["training"] and row["task"] in (case["task"], "All domains")
        ]
        assert np.mean([float(case["dice"]) for case in mine]) == pytest.approx(row["dice"])
        assert np.mean([float(case["overlap"]) for case in mine]) == pytest.approx(row["overlap"])
        assert sum(int(case["missed"]) for case in mine) == row["missed"]


def test_the_last_round_is_what_the_table_is_of(run):
    (logged,) = programs.read_rows(run / "rounds.csv")
    for row in programs.read_json(run / "metrics.json")["rows"]:
        variant = {"federated": "", "federated_private_norm": ", private norm"}.get(row["training"])
        if variant is not None and row["task"] != "All domains":
            for metric in ("dice", "overlap", "boundary_overlap", "loss"):
                found = float(logged[f"{row['task']}{variant}/{metric}"])
                assert found == pytest.approx(row[metric], abs=1e-6)


def test_no_patient_is_named(run):
    for path in [*run.glob("*.csv"), *run.glob("*.json"), run / "report.html"]:
        assert "phantom_00" not in path.read_text(encoding="utf-8")


def test_tables_are_joined_with_patients_and_files(run):
    shown, cases, images = map(programs.read_rows, file_names.write(run)[:3])
    assert len(images) > len(shown)
    assert {(row["client"], row["split"]) for row in shown} == {("ct", "test"), ("pet", "test")}
    for row in cases:
        series = row["task"].rpartition(" ")[2]
        (folder,) = run.glob(f"phantoms/*/petct/{row['patient']}")
        assert row["files"] == f"{folder / series} | {folder / 'kidneys.nii.gz'}"
        assert (folder / series).is_dir()


def test_pictures_show_slices_with_the_region_and_boxes(run):
    shown = programs.read_rows(run / "segmentations.csv")
    assert {row["task"] for row in shown} == {"Kidneys in CT", "Kidneys in PET"}
    arrays = np.load(run / shown[0]["file"])
    assert arrays["truth"].any()
    for training in TRAININGS:
        mask, boxes = arrays[f"mask_{training}"], arrays[f"boxes_{training}"]
        assert (boxes | ~mask).all()  # What is marked is in a box.


@pytest.mark.parametrize("name", ["federated", "federated_private_norm_pet"])
def test_the_exported_model_marks_what_the_pictures_show(run, name):
    exported = export.load(run, name)
    about = exported.metadata
    is_private = name != "federated"
    assert about.number == 1 + is_private
    tasks = "Kidneys in PET" if is_private else "Kidneys in CT or Kidneys in PET"
    assert (about.kind, about.outputs, about.channels) == ("volumes", (tasks,), 1)
    assert set(about.slices) == ({"pet"} if is_private else {"ct", "pet"})
    assert about.slices["pet"] == {
        "loader": "pet",
        "field_of_view_mm": 400.0,
        "orientation": "axial",
        "channels": [{"name": "PET", "kind": "pet", "grey": "SUV by body weight from 0 to 7 g/ml"}],
        "grey_scale": {"ct_centre": 40.0, "ct_width": 400.0, "suv_maximum": 7.0},
    }
    assert about.trained_on["modalities"] == ["CT", "PT"]
    training = name.removesuffix("_pet")
    assert about.training == training
    shown = programs.read_rows(run / "segmentations.csv")
    file = next(row["file"] for row in shown if row["task"] == "Kidneys in PET")
    with np.load(run / file) as arrays:
        found = exported.keras(arrays["image"][None, ..., None] / np.float32(255))
        mask = found.numpy()[0, ..., 0] >= about.threshold
        np.testing.assert_array_equal(mask, arrays[f"mask_{training}"])


def test_a_complete_run_is_not_run_again(run):
    again = programs.run("cross_domain", f"--output_dir={run}", *KIDNEYS, *TINY)
    assert again.status == 0
    assert "is complete" in again.output


def test_lesions_from_folders_with_all_models(tmp_path):
    for number in range(5):
        grade, kind = ("HGG", "benign") if number % 2 else ("LGG", "malignant")
        volume_files.write_mri(tmp_path / "a" / grade, f"p{number}", ("t1", "t1ce", "t2"), number)
        volume_files.write_mri(tmp_path / "b" / kind, f"p{number}", ("pre", "post", "t2"), number)
    ended = programs.run(
        "cross_domain",
        f"--output_dir={tmp_path / 'run'}",
        "--task=lesions",
        "--patients_per_stratum=2",  # So that one of the three of the larger ones is left out.
        f"--site=brain=brats:{tmp_path / 'a'}",
        f"--site=breast=breast_mri:{tmp_path / 'b'}",
        "--field_of_view=40",
        "--private=both",
        "--baseline=site,pooled",
        "--validation_fraction=0.25",
        *TINY,
        shallow_unet=True,
    )
    assert ended.status == 0, ended.errors
    rows = programs.read_json(tmp_path / "run" / "metrics.json")["rows"]
    assert {row["training"] for row in rows} == {"federated_private_both", "site", "pooled"}
    assert {row["task"] for row in rows} == {"Brain lesions", "Breast lesions", "All domains"}
    # Equal names in unrelated folders are different patients.
    assert {row["patients"] for row in rows if row["task"] == "All domains"} == {2}
    config = programs.read_json(tmp_path / "run" / "config.json")
    for site in config["sites"]:
        assert sum(site[f"{split}_patients"] for split in ("train", "validation", "test")) == 4
    for row in rows:
        strata = row["strata"].values()
        assert sum(stratum["cases"] for stratum in strata) == row["cases"]
        assert sum(stratum["missed"] for stratum in strata) == row["missed"]
    cases = programs.read_rows(tmp_path / "run" / "cases.csv")
    assert {case["stratum"] for case in cases} <= {"HGG", "LGG", "benign", "malignant"}
    assert (tmp_path / "run" / "rounds_pooled.csv").exists()
    assert (tmp_path / "run" / "models" / "site_brain.h5").exists()
    with pytest.raises(InputError, match="both_brain.keras, federated_private_both_breast.keras"):
        export.load(tmp_path / "run")
    breast = export.load(tmp_path / "run", "federated_private_both_breast").metadata
    assert (breast.outputs, breast.channels) == (("Breast lesions",), 3)
    channels = breast.slices["breast"]["channels"]
    assert [channel["name"] for channel in channels] == ["T1", "T1 after contrast agent", "T2"]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--private=nothing", "--private: expected some of none, norm, output, both, each"),
        ("--private=norm --batch_norm=group", "expected --batch_norm=aggregate with it"),
        ("--width=2", "--width: expected above 0 and at most 1, found 2.0"),
        ("--image_size=40", "--image_size: expected a multiple of 32, found 40"),
        ("--field_of_view=0", "--field_of_view: expected above 0, found 0.0"),
        ("--suv_maximum=-1", "--suv_maximum: expected above 0, found -1.0"),
        ("--ct_window=40", "--ct_window: expected a centre and a width above 0"),
        ("--ct_window=40,-1", "--ct_window: expected a centre and a width above 0"),
        ("--task=lesions --ct_window=0,100", "--ct_window: expected --task=kidneys with it"),
        ("--patients_per_stratum=5", "--patients_per_stratum: expected --task=lesions with it"),
        ("--task=lesions --patients_per_stratum=0", "--patients_per_stratum: expected at least 1"),
        ("--task=lesions --suv_maximum=5", "--suv_maximum: expected --task=kidneys with it"),
        ("--test_fraction=1", "--test_fraction: expected above 0 and below 1"),
        ("--site=a=brats:x", "expected one of the loaders pet, ct, found 'brats'"),
        ("--task=lesions --site=a=ct:x", "expected one of the loaders brats, breast_mri, found"),
        ("--schedule=plateau", "--schedule=plateau: expected a --validation_fraction above 0"),
        ("--fit=pad", "Unknown command line flag 'fit'"),
    ],
)
def test_a_bad_flag_does_not_even_make_the_folder(tmp_path, flag, expected):
    ended = programs.run("cross_domain", f"--output_dir={tmp_path / 'run'}", *flag.split())
    assert expected in programs.refusal(ended)
    assert not (tmp_path / "run").exists()


def test_a_folder_without_cases(tmp_path):
    (tmp_path / "empty").mkdir()
    ended = programs.run(
        "cross_domain", f"--output_dir={tmp_path / 'run'}", f"--site=a=ct:{tmp_path / 'empty'}"
    )
    assert "expected <patient>/CT and <patient>/kidneys.nii.gz" in programs.refusal(ended)
