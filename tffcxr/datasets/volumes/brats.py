"""Brain tumours in multiparametric MRI, in the layout of the BraTS challenges.

    <case>/<case>_t1.nii.gz      T1-weighted, before contrast agent
    <case>/<case>_t1ce.nii.gz    T1-weighted, after contrast agent
    <case>/<case>_t2.nii.gz      T2-weighted
    <case>/<case>_flair.nii.gz   not used
    <case>/<case>_seg.nii.gz     labels; all above 0 are the lesion, edema included

Files may be `.nii`, and the folders of the cases may lie in others. The strata are the tumours'
grades, HGG and LGG: the name of a folder above the case's, or the column Grade of
`name_mapping.csv`. The brain is cut out of the images and all else is 0.
"""

from __future__ import annotations

import pathlib

from tffcxr.datasets.volumes import mri_folders
from tffcxr.datasets.volumes.cases import Case

CHANNELS = ("t1", "t1ce", "t2")
STRATA = ("HGG", "LGG")


def cite() -> str:
    """Returns the reference of the dataset."""
    return (
        "Baid U, Ghodasara S, Mohan S, et al. The RSNA-ASNR-MICCAI BraTS 2021 Benchmark on Brain "
        "Tumor Segmentation and Radiogenomic Classification. arXiv:2107.02314, 2021."
    )


def load_cases(root: pathlib.Path) -> list[Case]:
    """Returns the cases with a segmentation; see `mri_folders.load_cases`."""
    return mri_folders.load_cases(root, CHANNELS, "brats", STRATA)
