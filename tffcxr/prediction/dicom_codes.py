"""Codes for what a model says: standard ones where there are any, otherwise those of 99TFFCXR.

SCT is SNOMED CT, DCM and UCUM are as in DICOM PS3.16. What PS3.16 does not list are disorders and
procedures of SNOMED CT's International Edition. A name that no standard code fits exactly, such as
a user's own finding, gets a private code: a near one would be a silent error.
"""

from __future__ import annotations

import hashlib

from pydicom.sr.coding import Code

from tffcxr.report import style

SCHEME = "99TFFCXR"
PROBABILITY = Code("122157", "DCM", "Probability")
COMMENT = Code("121106", "DCM", "Comment")
REPORT = Code("126000", "DCM", "Imaging Measurement Report")
CHEST_RADIOGRAPHY = Code("399208008", "SCT", "Plain chest X-ray")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
VISUAL_EXPLANATION = Code("130401", "DCM", "Visual explanation")
GRAD_CAM = Code("130403", "DCM", "Gradient-weighted class activation")
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
SOURCE = Code("260753009", "SCT", "Source")
ALGORITHM_FAMILY = Code("123110", "DCM", "Artificial Intelligence")
CT = Code("77477000", "SCT", "Computed tomography")
PET = Code("82918005", "SCT", "Positron emission tomography")
VOLUME = Code("118565006", "SCT", "Volume")
CUBIC_CENTIMETRES = Code("cm3", "UCUM", "cubic centimeter")
NO_UNITS = Code("1", "UCUM", "no units")
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
OPERATING_POINT = Code("OPERATING_POINT", SCHEME, "Operating point: least probability of a call")
CALL = Code("CALL", SCHEME, "Call at the operating point")
NO_CALL = Code("NO_CALL", SCHEME, "No call: the model has no operating point")
RANK = Code("RANK", SCHEME, "Rank among the classes")
MOST_PROBABLE = Code("MOST_PROBABLE", SCHEME, "Most probable class")
LESS_PROBABLE = Code("LESS_PROBABLE", SCHEME, "Less probable than another class")
SHARE = Code("SHARE", SCHEME, "Share of the image that is marked")
ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
ABNORMALITY = Code("49755003", "SCT", "Morphologically Abnormal Structure")

LUNG = Code("39607008", "SCT", "Lung")
KIDNEY = Code("64033007", "SCT", "Kidney")
# By the names of `tffcxr.datasets.findings`, whose effusion is pleural and edema pulmonary.
_STANDARD = {
    "Atelectasis": Code("46621007", "SCT", "Atelectasis"),
    "COVID-19": Code("840539006", "SCT", "Disease caused by SARS-CoV-2"),
    "Cardiomegaly": Code("8186001", "SCT", "Cardiomegaly"),
    "Consolidation": Code("95436008", "SCT", "Lung consolidation"),
    "Edema": Code("19242006", "SCT", "Pulmonary edema"),
    "Effusion": Code("60046008", "SCT", "Pleural effusion"),
    "Emphysema": Code("87433001", "SCT", "Pulmonary emphysema"),
    "Fibrosis": Code("112674009", "SCT", "Fibrosis"),
    "Infiltration": Code("112121", "DCM", "Infiltrate"),
    "Lung Opacity": Code("112001", "DCM", "Opacity"),
    "Lungs": LUNG,
    "Mass": Code("4147007", "SCT", "Mass"),
    "Nodule": Code("27925004", "SCT", "Nodule"),
    "Pneumonia": Code("233604007", "SCT", "Pneumonia"),
    "Pneumothorax": Code("36118008", "SCT", "Pneumothorax"),
    "Tuberculosis": Code("56717001", "SCT", "Tuberculosis"),
    # The region of a model of one node, and of one that the nodes share.
    "Kidneys in CT": KIDNEY,
    "Kidneys in PET": KIDNEY,
    "Kidneys in CT or Kidneys in PET": KIDNEY,
    "Kidneys in PET or Kidneys in CT": KIDNEY,
}
_LONGEST_VALUE = 16  # Characters of a code value (SH),
_LONGEST_MEANING = 64  # and of its meaning (LO).


def of(name: str) -> Code:
    """The code of a finding, class or region; names of other ASCII letters have other codes."""
    if name in _STANDARD:
        return _STANDARD[name]
    value = style.slug(name).upper()
    if len(value) > _LONGEST_VALUE or not name.isascii():
        # Names can share their beginning, or all of their ASCII letters.
        digest = hashlib.sha256(name.encode()).hexdigest()[:8].upper()
        value = f"{value[: _LONGEST_VALUE - 9]}-{digest}"
    return Code(value, SCHEME, shortened(name, _LONGEST_MEANING))


def shortened(text: str, most: int) -> str:
    r"""A text for an element of one value and of at most `most` characters, without a backslash."""
    return text.replace("\\", "/")[:most].strip()
