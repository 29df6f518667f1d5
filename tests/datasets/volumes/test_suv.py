"""SUV by body weight from PET headers, against values that are computed by hand."""

import numpy as np
from pydicom.dataset import Dataset
import pytest

from tffcxr.datasets.imaging.image_error import ImageError
from tffcxr.datasets.phantoms import phantom_series
from tffcxr.datasets.volumes import dicom_series, suv
from tffcxr.datasets.volumes.volume import Volume


def _drug(**elements):
    drug = Dataset()
    drug.RadionuclideTotalDose = "4e8"
    drug.RadionuclideHalfLife = "6000"
    drug.RadiopharmaceuticalStartTime = "100000"
    for keyword, value in elements.items():
        setattr(drug, keyword, value)
    return drug


def _header(drug=None, **elements):
    header = Dataset()
    header.Units, header.DecayCorrection = "BQML", "START"
    header.CorrectedImage = ["DECY", "ATTN", "DECAY"]
    header.PatientWeight = "80"
    header.RadiopharmaceuticalInformationSequence = [drug or _drug()]
    header.SeriesDate, header.SeriesTime = "20240131", "114000"
    header.AcquisitionDate, header.AcquisitionTime = "20240131", "114000.00"
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return header


def test_start():
    # 6000 s after the injection, one half-life: 80 000 g / 2e8 Bq.
    assert suv.factor([_header()]) == pytest.approx(80_000 / 2e8)


def test_admin():
    assert suv.factor([_header(DecayCorrection="ADMIN")]) == pytest.approx(80_000 / 4e8)


def test_injection_before_midnight():
    drug = _drug(RadiopharmaceuticalStartTime="231000")
    header = _header(drug, SeriesTime="005000", AcquisitionTime="005000")
    assert suv.factor([header]) == pytest.approx(80_000 / 2e8)


def test_the_full_time_of_injection_goes_before_the_time_of_day():
    drug = _drug(RadiopharmaceuticalStartDateTime="20240131100000.000000+0100")
    drug.RadiopharmaceuticalStartTime = "110000"
    header = _header(drug, TimezoneOffsetFromUTC="+0100")
    assert suv.factor([header]) == pytest.approx(80_000 / 2e8)


def test_offsets_from_utc_are_taken_into_account():
    # 10:00 in UTC+1 is 09:00 in UTC, and 11:40 - 01:00 is 10:40 in UTC: a half-life of 6000 s.
    drug = _drug(RadiopharmaceuticalStartDateTime="20240131090000+0000")
    header = _header(drug, TimezoneOffsetFromUTC="+0100")
    assert suv.factor([header]) == pytest.approx(80_000 / 2e8)


def test_an_injection_before_midnight_in_another_time_zone():
    """GE's scan at 23:50 UTC is 00:50 of the next day where the injection was at 23:10."""
    drug = _drug(RadiopharmaceuticalStartTime="231000")
    header = _header(
        drug,
        TimezoneOffsetFromUTC="+0100",
        AcquisitionDate="20240201",
        AcquisitionTime="010000",
        SeriesDate="20240201",
        SeriesTime="020000",
    )
    block = header.private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", "20240131235000.00+0000")
    assert suv.factor([header]) == pytest.approx(80_000 / 2e8)


def test_an_offset_from_utc_in_only_one_of_two_times():
    """Scanner and dose calibrator are then hours apart, and no one knows how many."""
    drug = _drug(RadiopharmaceuticalStartDateTime="20240131100000+0100")
    with pytest.raises(ImageError, match="in all times of the PET header or in none, found"):
        suv.factor([_header(drug)])
    headers = [_header(), _header(TimezoneOffsetFromUTC="+0100")]
    with pytest.raises(ImageError, match="in all times of the PET header or in none, found"):
        suv.factor(headers)


@pytest.mark.parametrize("offset", ["0100", "+1", "+9900", "+01x0"])
def test_no_offset_from_utc(offset):
    with pytest.raises(ImageError, match="expected an offset from UTC"):
        suv.factor([_header(TimezoneOffsetFromUTC=offset)])


def test_an_injection_after_the_scan_is_not_one_of_the_day_before():
    drug = _drug(RadiopharmaceuticalStartTime="114001")  # A second after the scan: 14.4 half-lives.
    with pytest.raises(ImageError, match=r"at most 8 half-lives before .*, found 14\.4"):
        suv.factor([_header(drug)])


def test_eight_half_lives_are_the_most():
    drug = _drug(RadionuclideHalfLife="750")  # 6000 s are 8 of them: 1 / 256 of the dose is left.
    assert suv.factor([_header(drug)]) == pytest.approx(80_000 / 4e8 * 256)
    with pytest.raises(ImageError, match="found 8.1"):
        suv.factor([_header(_drug(RadionuclideHalfLife="740"))])


def test_later_bed_positions_are_corrected_to_the_start_of_the_series():
    headers = [_header(AcquisitionTime=time) for time in ("115000", "114000", "114500")]
    assert suv.factor(headers) == pytest.approx(80_000 / 2e8)


def test_a_series_made_later_than_acquired_starts_with_its_first_slice():
    headers = [_header(SeriesTime="180000", AcquisitionTime=time) for time in ("115000", "114000")]
    assert suv.factor(headers) == pytest.approx(80_000 / 2e8)


def test_ge_says_itself_when_it_scanned():
    header = _header(SeriesTime="180000", AcquisitionTime="120000")
    block = header.private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", "20240131114000.00")
    assert suv.factor([header]) == pytest.approx(80_000 / 2e8)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Units": "CNTS"}, "units BQML, found CNTS"),
        ({"Units": None}, "units BQML, found none"),
        ({"CorrectedImage": ["ATTN"]}, "decay .* found ATTN"),
        ({"CorrectedImage": "DECAY"}, "found DECAY"),
        ({"DecayCorrection": "NONE"}, "START or ADMIN, found NONE"),
        ({"PatientWeight": None}, "PatientWeight from 0.5 to 400 kg .* found None"),
        ({"PatientWeight": "0"}, "PatientWeight from 0.5 to 400 kg"),
        ({"PatientWeight": "80000"}, "PatientWeight from 0.5 to 400 kg .* found 80000"),
        ({"RadiopharmaceuticalInformationSequence": None}, "radiopharmaceutical, found none"),
        ({"AcquisitionTime": None}, "1 of 1 slices without"),
        ({"SeriesTime": "half past", "AcquisitionTime": "1140"}, "date and time such as"),
    ],
)
def test_missing_in_the_header(elements, message):
    with pytest.raises(ImageError, match=message):
        suv.factor([_header(**elements)])


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"RadionuclideTotalDose": None}, r"RadionuclideTotalDose from 1e\+06 to 1e\+10 Bq"),
        ({"RadionuclideTotalDose": "0"}, "RadionuclideTotalDose from"),
        ({"RadionuclideTotalDose": "400"}, "RadionuclideTotalDose from .* found 400"),
        ({"RadionuclideTotalDose": "4e11"}, "RadionuclideTotalDose from"),
        ({"RadionuclideHalfLife": None}, "RadionuclideHalfLife above 0 s"),
        ({"RadionuclideHalfLife": "0"}, "RadionuclideHalfLife above 0 s"),
        ({"RadiopharmaceuticalStartTime": None}, "time of the injection"),
        ({"RadiopharmaceuticalStartDateTime": "20240128100000"}, "within a day before"),
        ({"RadiopharmaceuticalStartDateTime": "20240131120000"}, "within a day before"),
    ],
)
def test_missing_of_the_drug(elements, message):
    with pytest.raises(ImageError, match=message):
        suv.factor([_header(_drug(**elements))])


def test_a_series_from_file_to_suv(tmp_path):
    """Where all of the dose is spread evenly in 70 kg of water, the SUV is 1."""
    dose, minutes = 3e8, 90.0
    left = dose * 2 ** (-minutes * 60 / phantom_series.HALF_LIFE)
    body = Volume(np.full((4, 4, 3), left / 70_000, np.float32), np.diag([4.0, 4.0, 5.0, 1.0]))
    phantom_series.write_pet(tmp_path / "pet", body, "p1", 1, 70.0, dose, minutes)
    series = dicom_series.read(tmp_path / "pet")
    np.testing.assert_allclose(series.volume.array * suv.factor(series.headers), 1.0, rtol=1e-4)
