"""Standardised uptake values (SUV) of PET, by body weight, from the DICOM header.

    SUVbw = activity concentration [Bq/ml] * weight [g] / injected dose at the time of the scan [Bq]

After the vendor-neutral pseudo-code of the Quantitative Imaging Biomarkers Alliance (QIBA Profile
FDG-PET/CT as an Imaging Biomarker Measuring Response to Cancer Therapy, version 1.13, RSNA 2016,
appendix G): values that are decay-corrected to the start of the scan are divided by the dose that
is left then, D * 2^(-t / half-life), and values corrected to the injection by the dose itself.
Whatever the formula needs and the header lacks is refused; a guess would be a wrong SUV.
"""

from __future__ import annotations

from collections.abc import Sequence
import datetime
import math

from pydicom.dataset import Dataset
import pydicom.multival

from tffcxr.datasets.image_error import ImageError

# GE's own scan date and time, where the series was made later than it was acquired.
_GE_GROUP, _GE_CREATOR, _GE_SCAN = 0x0009, "GEMS_PETD_01", 0x0D
_DAY = datetime.timedelta(days=1)


def factor(headers: Sequence[Dataset]) -> float:
    """Returns what multiplies Bq/ml to give the SUV by body weight, in g/ml.

    The residue in the syringe is not known to the header and not subtracted.

    Args:
      headers: of all slices of a PET series whose voxels were rescaled.

    Raises:
      ImageError: the units are not BQML, the images are not corrected for attenuation and decay,
        decay is corrected to another time than START or ADMIN, or weight, dose, half-life or a
        time is missing or 0.
    """
    header = headers[0]
    units = _text(header, "Units")
    if units != "BQML":
        raise ImageError(f"expected a PET series in the units BQML, found {units or 'none'}")
    corrections = header.get("CorrectedImage") or []
    if isinstance(corrections, str):
        corrections = [corrections]
    missing = [name for name in ("ATTN", "DECAY") if name not in corrections]
    if missing:
        raise ImageError(
            "expected a PET series corrected for attenuation (ATTN) and decay (DECAY), found "
            f"{', '.join(corrections) or 'no correction'}"
        )
    weight = _positive(header, "PatientWeight", "kg")
    sequence = header.get("RadiopharmaceuticalInformationSequence")
    if not sequence:
        raise ImageError("expected a PET series with its radiopharmaceutical, found none")
    dose = _positive(sequence[0], "RadionuclideTotalDose", "Bq")
    correction = _text(header, "DecayCorrection")
    if correction == "ADMIN":
        left = dose
    elif correction == "START":
        half_life = _positive(sequence[0], "RadionuclideHalfLife", "s")
        left = dose * 2.0 ** (-_seconds_to_scan(headers, sequence[0]) / half_life)
    else:
        raise ImageError(
            f"expected decay correction to START or ADMIN, found {correction or 'none'}"
        )
    return weight * 1000.0 / left


def _seconds_to_scan(headers: Sequence[Dataset], drug: Dataset) -> float:
    """Seconds from the injection to the start of the scan."""
    scan = _scan_start(headers)
    injection = _date_time(drug.get("RadiopharmaceuticalStartDateTime"))
    if injection is None:
        time = _text(drug, "RadiopharmaceuticalStartTime")
        # The day is not given: the scan's, or the one before if midnight came between.
        injection = _date_time(scan.strftime("%Y%m%d") + time) if time else None
        if injection is None:
            raise ImageError("expected the time of the injection in the PET header, found none")
        if injection > scan:
            injection -= _DAY
    seconds = (scan - injection).total_seconds()
    if not 0 <= seconds < _DAY.total_seconds():
        raise ImageError(
            f"expected the injection within a day before the scan at {scan}, found {injection}"
        )
    return seconds


def _scan_start(headers: Sequence[Dataset]) -> datetime.datetime:
    """The time to which values were corrected: that of the series, unless it was made later."""
    acquired = [_pair(header, "AcquisitionDate", "AcquisitionTime") for header in headers]
    known = [time for time in acquired if time is not None]
    if len(known) < len(headers):
        raise ImageError(
            "expected the date and time of acquisition in every PET slice, found "
            f"{len(headers) - len(known)} of {len(headers)} slices without"
        )
    series = _pair(headers[0], "SeriesDate", "SeriesTime")
    if series is not None and series <= min(known):
        return series
    return _ge_scan(headers[0]) or min(known)


def _ge_scan(header: Dataset) -> datetime.datetime | None:
    try:
        element = header.private_block(_GE_GROUP, _GE_CREATOR)[_GE_SCAN]
    except KeyError:
        return None
    value = element.value
    return _date_time(value.decode("latin-1") if isinstance(value, bytes) else value)


def _pair(header: Dataset, date: str, time: str) -> datetime.datetime | None:
    day, clock = _text(header, date), _text(header, time)
    return _date_time(day + clock) if day and clock else None


def _date_time(value: object) -> datetime.datetime | None:
    """Reads DICOM's YYYYMMDDHHMMSS.FFFFFF, of which minutes and seconds may be missing.

    Raises:
      ImageError: the text is no time. An offset from UTC is not taken into account.
    """
    text = str(value or "").strip(" \0")
    if not text:
        return None
    digits, _, fraction = text.partition("+")[0].partition("-")[0].partition(".")
    for form in ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H"):
        if len(digits) == len(datetime.datetime(2000, 1, 1).strftime(form)):
            try:
                time = datetime.datetime.strptime(digits, form)
                return time + datetime.timedelta(seconds=float(f"0.{fraction or 0}"))
            except ValueError:
                break
    raise ImageError(f"expected a date and time such as 20240131115900, found {text!r}")


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if value else ""
    return str(value if value is not None else "").strip(" \0")


def _positive(header: Dataset, keyword: str, unit: str) -> float:
    value = header.get(keyword)
    try:
        number = float(value) if value is not None else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ImageError(f"expected {keyword} in {unit} above 0 in the PET header, found {value}")
    return number
