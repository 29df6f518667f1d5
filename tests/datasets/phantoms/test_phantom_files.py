"""Phantom sites in the challenges' layouts, read back through the real loaders."""

import csv
import hashlib
import json
import os
import signal
from typing import Any

import numpy as np
import pydicom
import pytest

from tffcxr.datasets.imaging import images
from tffcxr.datasets.phantoms import phantom, phantom_dicom, phantom_drawing, phantom_files
from tffcxr.datasets.sources import lungs, rsna, siim
from tffcxr.errors import InputError

PATIENTS = 24
SIZE = 64


@pytest.fixture(scope="module")
def rsna_site(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "rsna"
    phantom.write_rsna(root, PATIENTS, seed=5, size=SIZE, workers=1)
    return root


@pytest.fixture(scope="module")
def siim_site(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "siim"
    phantom.write_siim(root, PATIENTS, seed=5, size=SIZE, workers=1)
    return root


def _plans(layout):
    return list(phantom_files._plan(layout, PATIENTS, 5, 0.5))


def _rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_rsna_comes_back_through_its_loader(rsna_site):
    df = rsna.load_records(rsna_site).set_index("patient")
    assert len(df) == PATIENTS and df["Lung Opacity"].sum() == PATIENTS / 2
    for plan in _plans("rsna"):
        drawn = phantom_drawing.draw(plan, SIZE)
        record = df.loc[plan.patient]
        assert record["Lung Opacity"] == float(plan.pneumonia is not None)
        assert (record["age"], record["sex"], record["view"]) == (drawn.age, drawn.sex, drawn.view)
        assert sorted(record["mask"].boxes) == sorted(drawn.boxes)
        np.testing.assert_array_equal(record["lungs"].to_array(), drawn.lungs)


def test_siim_comes_back_through_its_loader(siim_site):
    df = siim.load_records(siim_site)
    plans = _plans("siim")
    by_name = {path.split("/")[-1]: index for index, path in df["image"].items()}
    assert len(df) == len(plans)
    for plan in plans:
        drawn = phantom_drawing.draw(plan, SIZE)
        record = df.loc[by_name[f"{plan.uids[2]}.dcm"]]
        assert record["patient"] == plan.patient
        assert record["Pneumothorax"] == float(plan.pneumothorax is not None)
        np.testing.assert_array_equal(record["mask"].to_array(), drawn.pneumothorax)
        np.testing.assert_array_equal(record["lungs"].to_array(), drawn.lungs)


def test_lungs_come_back_through_their_loader(tmp_path):
    root = tmp_path / "lungs"
    phantom.write_lungs(root, 6, seed=5, size=SIZE, workers=1)
    df = lungs.load_records(root).set_index("patient")
    plans = list(phantom_files._plan("lungs", 6, 5, 0.5))
    assert set(df.index) == {plan.patient for plan in plans}
    assert sum(plan.pneumonia is not None for plan in plans) == 3
    for plan in plans:
        drawn = phantom_drawing.draw(plan, SIZE)
        record = df.loc[plan.patient]
        np.testing.assert_array_equal(images.read_image(record["image"])[:, :, 0], drawn.image)
        np.testing.assert_array_equal(record["mask"].to_array(), drawn.lungs)
        assert 0.05 < drawn.lungs.mean() < 0.6
    assert {path.name for path in root.iterdir()} == {"images", "masks", "phantom.json"}


def test_a_site_of_lungs_shares_no_patient_with_another_site_of_its_seed():
    patients = [{plan.seed for plan in _plans(layout)} for layout in ("rsna", "siim", "lungs")]
    assert len(set.union(*patients)) == 3 * PATIENTS


@pytest.mark.parametrize(("site", "module"), [("rsna_site", rsna), ("siim_site", siim)])
def test_decoded_pixels_are_the_drawn_ones_however_they_are_stored(site, module, request):
    df = module.load_records(request.getfixturevalue(site))
    layout = site.split("_")[0]
    drawn = {plan.uids[2]: phantom_drawing.draw(plan, SIZE) for plan in _plans(layout)}
    stored = set()
    for path in df["image"]:
        header = pydicom.dcmread(path)
        stored.add((header.BitsStored, header.PhotometricInterpretation))
        expected = drawn[header.SOPInstanceUID].image.astype(float)
        decoded = images.read_image(path)[:, :, 0]
        # 12 bits are rounded to the stored step and again to 8 bits.
        assert np.abs(decoded - expected).max() <= 2
    assert {(8, "MONOCHROME2"), (12, "MONOCHROME2")} <= stored
    assert any(polarity == "MONOCHROME1" for _, polarity in stored)


def test_some_siim_patients_have_two_images_with_the_same_label(siim_site):
    df = siim.load_records(siim_site)
    per_patient = df.groupby("patient")["Pneumothorax"].agg(["size", "nunique"])
    assert per_patient["size"].max() == 2 and (per_patient["nunique"] == 1).all()
    assert len(per_patient) == PATIENTS


def test_rsna_negatives_are_of_two_kinds(rsna_site):
    classes = {
        row["patientId"]: row["class"]
        for row in _rows(rsna_site / "stage_2_detailed_class_info.csv")
    }
    for plan in _plans("rsna"):
        if plan.pneumonia is not None:
            expected = "Lung Opacity"
        elif plan.pneumothorax is not None or plan.incidental is not None:
            expected = "No Lung Opacity / Not Normal"
        else:
            expected = "Normal"
        assert classes[plan.patient] == expected
    assert len(set(classes.values())) == 3


def test_siim_csv_is_the_challenges(siim_site):
    lines = (siim_site / "train-rle.csv").read_text().splitlines()
    assert lines[0] == "ImageId, EncodedPixels"
    assert sum(line.endswith(",-1") for line in lines[1:]) == sum(
        plan.pneumothorax is None for plan in _plans("siim")
    )


def test_header_does_not_depend_on_the_findings(tmp_path):
    headers = []
    for number, severity in enumerate((None, 0.8)):
        drawn = phantom.draw(4, SIZE, pneumonia=severity, pneumothorax=severity)
        uids = phantom_dicom.make_uids(4, 0)
        path = tmp_path / f"{number}.dcm"
        phantom_dicom.write(path, drawn, "patient", uids, np.random.default_rng(1))
        header = pydicom.dcmread(path)
        assert header.PixelData
        header.PixelData = b""
        headers.append(header)
    assert headers[0] == headers[1]


def test_plan_draws_everything_else_alike_for_both_labels():
    few = list(phantom_files._plan("rsna", 300, 1, 0.2))
    many = list(phantom_files._plan("rsna", 300, 1, 0.8))
    assert sum(plan.pneumonia is not None for plan in few) == 60
    assert sum(plan.pneumonia is not None for plan in many) == 240
    for a, b in zip(few, many):
        assert (a.patient, a.seed, a.uids) == (b.patient, b.seed, b.uids)
        assert (a.pneumothorax, a.incidental) == (b.pneumothorax, b.incidental)
    severities = [plan.pneumonia for plan in many if plan.pneumonia is not None]
    assert 0.1 < np.mean(np.array(severities) < 0.4) < 0.3  # About a fifth is subtle.
    assert 0.08 < np.mean([plan.pneumothorax is not None for plan in many]) < 0.25


def test_file_says_that_it_is_synthetic_and_is_valid(rsna_site):
    path = next((rsna_site / "stage_2_train_images").iterdir())
    header = pydicom.dcmread(path)
    assert header.Manufacturer == "tffcxr phantom"
    assert header.ImageComments == "Synthetic phantom radiograph, not a patient"
    assert header.SoftwareVersions == f"tffcxr phantom {phantom.VERSION}"
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert header[name].value.is_valid
    assert header.PatientID == path.stem
    assert 0.3 < header.PixelSpacing[0] * SIZE / 100 < 6


@pytest.mark.parametrize(
    "write",
    [phantom.write_siim, phantom.write_lungs, phantom.write_covidx, phantom.write_kermany],
)
def test_files_do_not_depend_on_the_number_of_workers(tmp_path, write):
    for workers in (1, 2):
        write(tmp_path / str(workers), 34, seed=2, size=SIZE, workers=workers)
    assert _digests(tmp_path / "1") == _digests(tmp_path / "2")


def test_progress_counts_every_image(tmp_path):
    seen = []
    phantom.write_rsna(
        tmp_path / "site", 3, seed=1, size=SIZE, workers=1, progress=lambda *now: seen.append(now)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_same_settings_are_reused_and_others_refused(tmp_path):
    root = tmp_path / "site"
    phantom.write_rsna(root, 2, seed=1, size=SIZE)
    before = _digests(root)
    phantom.write_rsna(root, 2, seed=1, size=SIZE, progress=pytest.fail)
    assert _digests(root) == before
    assert json.loads((root / "phantom.json").read_text())["synthetic"] is True
    with pytest.raises(InputError, match="patients=3, found patients=2"):
        phantom.write_rsna(root, 3, seed=1, size=SIZE)
    with pytest.raises(InputError, match="layout=siim, found layout=rsna"):
        phantom.write_siim(root, 2, seed=1, size=SIZE)
    with pytest.raises(InputError, match="layout=lungs, found layout=rsna"):
        phantom.write_lungs(root, 2, seed=1, size=SIZE)
    assert _digests(root) == before


def _blocked(plan):
    return os.getpid(), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_workers_leave_ctrl_c_to_their_parent():
    """The terminal sends it to all. One that gets it while it starts may be waited for forever."""
    plans: Any = range(33)
    rows = phantom_drawing._draw_all(_blocked, plans, 2, None)
    assert {blocked for _, (blocked,) in rows} == {signal.SIGINT}
    assert os.getpid() not in {process for process, _ in rows}
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_an_interrupted_site_of_lungs_is_started_again(tmp_path):
    root = tmp_path / "site"

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        phantom.write_lungs(root, 2, seed=1, size=SIZE, workers=1, progress=interrupt)
    assert not any(tmp_path.iterdir())
    phantom.write_lungs(root, 2, seed=1, size=SIZE)
    before = _digests(root)
    phantom.write_lungs(root, 2, seed=1, size=SIZE, progress=pytest.fail)
    assert _digests(root) == before
    assert len(before) == 5


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"patients": 0}, "patients: expected at least 1, found 0"),
        ({"patients": 2, "positive_fraction": 1.2}, "expected 0..1, found 1.2"),
        ({"patients": 2, "size": 8}, "expected at least 64, found 8"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        phantom.write_rsna(tmp_path / "site", seed=1, **arguments)
    assert not any(tmp_path.iterdir())
