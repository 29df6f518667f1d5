"""The encoders of `segmentation-models`, from the packages `efficientnet` and `image-classifiers`.

P. Iakubovskii, https://github.com/qubvel/segmentation_models and
https://github.com/qubvel/classification_models, 2018-2019. A file has the encoder alone, with the
names of its layers (`segmentation_encoders` numbers those that have none); the decoder stays.
"""

from __future__ import annotations

from tffcxr import options
from tffcxr.models.files.layouts.stored import Layout

_NETWORKS = (
    "unetplusplus",
    *(f"unet_{encoder}" for encoder in options.UNET_ENCODERS),
    *(f"unetplusplus_{encoder}" for encoder in options.UNETPLUSPLUS_ENCODERS),
)

LAYOUTS = (Layout("segmentation-models", _NETWORKS, lambda _: True, by_order=True),)
