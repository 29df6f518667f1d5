"""The names of the models, for programs that list them before TensorFlow is imported."""

from __future__ import annotations

CLASSIFIERS = (
    "standard",
    "resnet18",
    "resnet34",
    "resnet50",
    "densenet121",
    "resnext18",
    "resnext50",
    "mobilenetv2",
    "covidnet",
)
SEGMENTERS = ("unet", "unetplusplus", "nnunet")
