"""What DICOM headers say of the patient."""

from __future__ import annotations

import math

import numpy as np
import pydicom.config
import pytest

from tests.datasets import dicom_files
from tffcxr.datasets.sources import dicom_header


def _write(path, monkeypatch, **elements):
    # Wrong ages are written on purpose.
    monkeypatch.setattr(pydicom.config.settings, "_reading_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
    made = dicom_files.dataset(np.zeros((3, 5), np.uint8), **elements)
    path.write_bytes(dicom_files.to_bytes(made))
    monkeypatch.undo()
    return str(path)


@pytest.mark.parametrize(
    ("written", "age"), [("062Y", 62.0), ("018M", 1.5), ("62", 62.0), ("", None), ("old", None)]
)
def test_ages_quietly(tmp_path, monkeypatch, recwarn, written, age):
    path = _write(tmp_path / "a.dcm", monkeypatch, PatientAge=written)
    recwarn.clear()
    (header,) = dicom_header.read_headers([path], "made")
    assert math.isnan(header.age) if age is None else header.age == age
    assert not recwarn.list


def test_all_elements(tmp_path, monkeypatch):
    path = _write(
        tmp_path / "a.dcm", monkeypatch, PatientID=" id 7 ", PatientSex="F", ViewPosition="AP"
    )
    (header,) = dicom_header.read_headers([path], "made")
    assert (header.patient, header.sex, header.view) == ("id 7", "F", "AP")
    assert (header.height, header.width) == (3, 5)


def test_the_scanner_is_manufacturer_and_model_and_nothing_that_names_one(tmp_path, monkeypatch):
    path = _write(
        *(tmp_path / "a.dcm", monkeypatch), Manufacturer="ACME  Medical", StationName="ROOM7",
        ManufacturerModelName="Ray 9 ", DeviceSerialNumber="4711", InstitutionName="North",
    )  # fmt: skip
    (header,) = dicom_header.read_headers([path], "made")
    assert header.scanner == "ACME Medical Ray 9"


def test_what_is_absent_or_odd_is_unknown(tmp_path, monkeypatch):
    path = _write(tmp_path / "a.dcm", monkeypatch, PatientID="", PatientSex="O", ViewPosition=None)
    (header,) = dicom_header.read_headers([path], "made")
    assert (header.patient, header.sex, header.view) == (None, None, None)
    assert header.scanner is None


def test_unreadable_files_are_counted(tmp_path, caplog):
    (tmp_path / "a.dcm").write_text("text")
    headers = dicom_header.read_headers([str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm")], "made")
    assert [header.patient for header in headers] == [None, None]
    assert "made: 2 of 2 DICOM headers cannot be read" in caplog.text
