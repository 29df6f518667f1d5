"""How often a rehearsed backdoor opens: on test images of which the truth is not its target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tffcxr.evaluation import registry
from tffcxr.evaluation.proportion_interval import proportion_interval

if TYPE_CHECKING:
    from tffcxr.studies.study import Study

_NAME = registry.BACKDOOR_SUCCESS.name


def about(
    study: Study, hits: np.ndarray, without: np.ndarray, is_other: np.ndarray, patients: np.ndarray
) -> dict[str, Any]:
    """What `metrics.json` says of a backdoor.

    Args:
      study: has the settings of intervals.
      hits: [N], whether an image with the trigger is read as the target; NaN where the model
        reads none.
      without: the same of the image without it.
      is_other: whether the truth is not the target; others do not count.
      patients: of the images.
    """
    settings = study.settings
    share = proportion_interval(
        hits[is_other], patients[is_other], settings.replicates, seed=settings.seed
    )
    return {
        _NAME: share.mean,
        f"{_NAME}_low": share.low,
        f"{_NAME}_high": share.high,
        "backdoor_images": int(is_other.sum()),
        "backdoor_without_trigger": float(without[is_other].mean()) if is_other.any() else np.nan,
    }
