"""Breast lesions in multiparametric MRI, in a layout like that of BraTS.

    <case>/<case>_pre.nii.gz     T1-weighted, before contrast agent
    <case>/<case>_post.nii.gz    T1-weighted, after contrast agent
    <case>/<case>_t2.nii.gz      T2-weighted
    <case>/<case>_seg.nii.gz     labels; all above 0 are the lesion

Files may be `.nii`, and the folders of the cases may lie in others, such as those of the lesions'
strata, `benign` and `malignant`. There is no public dataset of the paper's; the layout is ours.
"""

from __future__ import annotations

import pathlib

from tffcxr.datasets.volumes import mri_folders
from tffcxr.datasets.volumes.cases import Case

CHANNELS = ("pre", "post", "t2")
STRATA = ("benign", "malignant")


def cite() -> str:
    """Returns the reference of the kind of data."""
    return (
        "Parekh VS, Lai S, Braverman V, Leal J, Rowe S, Pillai JJ, Jacobs MA. Cross-Domain "
        "Federated Learning in Medical Imaging. MIDL 2022. arXiv:2112.10001."
    )


def load_cases(root: pathlib.Path) -> list[Case]:
    """Returns the cases with a segmentation; see `mri_folders.load_cases`."""
    return mri_folders.load_cases(root, CHANNELS, "breast_mri", STRATA)
