"""Who the patient of a case is by age and sex, and on which scanner, by its DICOM headers."""

from __future__ import annotations

import os

from tffcxr.datasets.sources import dicom_header
from tffcxr.datasets.volumes.cases import Case


def read(case: Case) -> dicom_header.Header:
    """Returns the header of a slice of a case's first DICOM series; an empty one without any."""
    for channel in case.channels:
        for parent, folders, names in os.walk(channel.path):  # Nothing, where it is a file.
            folders.sort()
            for name in sorted(names):
                header = dicom_header.read(os.path.join(parent, name))
                if header is not None:
                    return header
    return dicom_header.Header()
