"""Standardised uptake values (SUV) of PET, by body weight, from the DICOM header.

    SUVbw = activity concentration [Bq/ml] * weight [g] / injected dose at the time of the scan [Bq]

After the vendor-neutral pseudo-code of the Quantitative Imaging Biomarkers Alliance (QIBA Profile
FDG-PET/CT as an Imaging Biomarker Measuring Response to Cancer Therapy, version 1.13, RSNA 2016,
appendix G): values that are decay-corrected to the start of the scan are divided by the dose that
is left then, D * 2^(-t / half-life), and values corrected to the injection by the dose itself.
PET files without the tags needed for SUV are rejected; a guess would give a wrong SUV.
"""

from __future__ import annotations

from collections.abc import Sequence
import datetime
import math

from pydicom.dataset import Dataset
import pydicom.multival

from tffcxr.datasets.imaging import dicom_elements
from tffcxr.datasets.imaging.image_error import ImageError

# The elements that the formula needs.
KEYWORDS = (
    "Units",
    "CorrectedImage",
    "PatientWeight",
    "RadiopharmaceuticalInformationSequence",
    "DecayCorrection",
    "AcquisitionDate",
    "AcquisitionTime",
    "SeriesDate",
    "SeriesTime",
    "TimezoneOffsetFromUTC",
)
# GE's own scan date and time, where the series was made later than it was acquired.
_GE_GROUP, _GE_CREATOR, _GE_SCAN = 0x0009, "GEMS_PETD_01", 0x0D
_DAY = datetime.timedelta(days=1)
# What is left after 8 half-lives, 0.4 % of the dose, gives no image: a time is wrong, such as one
# of the day before that was an injection after the scan.
_MOST_HALF_LIVES = 8.0
# From the smallest doses of children, some 10 MBq, to water with 15-O, some GBq; doses that
# are written in kBq, MBq or mCi lie below.
_DOSES_BQ = (1e6, 1e10)
# From the smallest preterm infants to beyond what a scanner's table carries; grams lie above.
_WEIGHTS_KG = (0.5, 400.0)
_YEARS = (1950, 2200)  # Of an acquisition.


def factor(headers: Sequence[Dataset]) -> float:
    """Returns the factor from Bq/ml to SUV by body weight, in g/ml.

    The residue in the syringe is not in the header and not subtracted.

    Args:
      headers: of all slices of a PET series whose voxels were rescaled.

    Raises:
      ImageError: the units are not BQML, the images are not corrected for attenuation and decay,
        decay is corrected to another time than START or ADMIN, or weight, dose, half-life or a
        time is missing or cannot be right.
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
            f"{', '.join(map(str, corrections)) or 'no correction':.200}"
        )
    weight = _number(header, "PatientWeight", "kg", *_WEIGHTS_KG)
    drug = dicom_elements.item(header, "RadiopharmaceuticalInformationSequence")
    if drug is None:
        raise ImageError("expected a PET series with its radiopharmaceutical, found none")
    dose = _number(drug, "RadionuclideTotalDose", "Bq", *_DOSES_BQ)
    correction = _text(header, "DecayCorrection")
    if correction == "ADMIN":
        left = dose
    elif correction == "START":
        left = dose * 2.0 ** -_half_lives_to_scan(headers, drug)
    else:
        raise ImageError(
            f"expected decay correction to START or ADMIN, found {correction or 'none'}"
        )
    return weight * 1000.0 / left


def _half_lives_to_scan(headers: Sequence[Dataset], drug: Dataset) -> float:
    """Half-lives from the injection to the start of the scan."""
    half_life = _number(drug, "RadionuclideHalfLife", "s", math.ulp(0.0), math.inf)
    scan = _scan_start(headers)
    injection = _injection(drug, scan, _zone(headers[0]))
    seconds = (scan - injection).total_seconds()
    if not 0 <= seconds < _DAY.total_seconds():
        raise ImageError(
            f"expected the injection within a day before the scan at {scan}, found {injection}"
        )
    if seconds > _MOST_HALF_LIVES * half_life:
        raise ImageError(
            f"expected the injection at most {_MOST_HALF_LIVES:g} half-lives before the scan at "
            f"{scan}, found {seconds / half_life:.1f} ({injection})"
        )
    return seconds / half_life


def _injection(
    drug: Dataset, scan: datetime.datetime, zone: datetime.timezone | None
) -> datetime.datetime:
    """The time of the injection, on the day of the scan or the one before if no day is given."""
    full = _date_time(drug.get("RadiopharmaceuticalStartDateTime"), zone)
    if full is not None:
        _check_zones(full, scan)
        return full
    time = _text(drug, "RadiopharmaceuticalStartTime")
    if not time:
        raise ImageError("expected the time of the injection in the PET header, found none")
    day = scan if scan.tzinfo is None or zone is None else scan.astimezone(zone)
    injection = _date_time(day.strftime("%Y%m%d") + time, zone)
    assert injection is not None
    _check_zones(injection, scan)
    # Midnight may have come between the two.
    return injection - _DAY if injection > scan else injection


def _check_zones(*times: datetime.datetime) -> None:
    """Rejects times of which only some have an offset from UTC: they may be hours apart."""
    if len({time.tzinfo is None for time in times}) > 1:
        raise ImageError(
            "expected offsets from UTC in all times of the PET header or in none, found "
            f"{' and '.join(str(time) for time in times)}"
        )


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
    _check_zones(*known)
    if series is not None and series <= min(known):
        return series
    return _ge_scan(headers[0]) or min(known)


def _ge_scan(header: Dataset) -> datetime.datetime | None:
    try:
        element = header.private_block(_GE_GROUP, _GE_CREATOR)[_GE_SCAN]
    except KeyError:
        return None
    except dicom_elements.PARSING_ERRORS as error:
        raise ImageError(f"expected GE's date and time of the scan, found: {error}") from None
    value = element.value
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return _date_time(text, _zone(header))


def _pair(header: Dataset, date: str, time: str) -> datetime.datetime | None:
    day, clock = _text(header, date), _text(header, time)
    return _date_time(day + clock, _zone(header)) if day and clock else None


def _zone(header: Dataset) -> datetime.timezone | None:
    """The offset from UTC of all dates and times without one of their own (PS3.3, C.12.1)."""
    text = _text(header, "TimezoneOffsetFromUTC")
    return _offset(text) if text else None


def _offset(text: str) -> datetime.timezone:
    """Reads DICOM's offset from UTC, such as +0100."""
    sign, hours, minutes = text[:1], text[1:3], text[3:]
    if sign not in "+-" or len(text) != 5 or not text[1:].isdecimal():
        raise ImageError(f"expected an offset from UTC such as +0100, found {text!r}")
    offset = datetime.timedelta(hours=int(hours), minutes=int(minutes))
    if offset >= _DAY:
        raise ImageError(f"expected an offset from UTC within a day, found {text!r}")
    return datetime.timezone(-offset if sign == "-" else offset)


def _date_time(value: object, zone: datetime.timezone | None) -> datetime.datetime | None:
    """Reads DICOM's YYYYMMDDHHMMSS.FFFFFF&ZZXX; minutes, seconds and offset may be missing.

    Args:
      value: the text; None or empty for no time.
      zone: the offset from UTC of times that have none; None if it is not known.

    Raises:
      ImageError: the text is no time.
    """
    text = str(value or "").strip(" \0")
    if not text:
        return None
    clock = text.partition("+")[0].partition("-")[0]
    if len(clock) < len(text):
        zone = _offset(text[len(clock) :])
    digits, _, fraction = clock.partition(".")
    for form in ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d%H"):
        if len(digits) == len(datetime.datetime(2000, 1, 1).strftime(form)):
            try:
                time = datetime.datetime.strptime(digits, form).replace(tzinfo=zone)
                if not _YEARS[0] <= time.year <= _YEARS[1]:
                    break
                return time + datetime.timedelta(seconds=float(f"0.{fraction or 0}"))
            except ValueError:
                break
    raise ImageError(f"expected a date and time such as 20240131115900, found {text!r}")


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if value else ""
    return str(value if value is not None else "").strip(" \0")


def _number(header: Dataset, keyword: str, unit: str, low: float, high: float) -> float:
    """Returns a number of the header from `low` to `high`, finite."""
    value = header.get(keyword)
    try:
        number = float(value) if value is not None else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        wanted = f"from {low:g} to {high:g} {unit}" if high < math.inf else f"above 0 {unit}"
        raise ImageError(f"expected {keyword} {wanted} in the PET header, found {value}")
    return number
