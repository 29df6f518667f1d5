"""nnU-Net's network for whole images, without a plan; `spec.PlannedSpec` is that of a plan."""

from __future__ import annotations

from tffcxr.models.networks.architecture import Architecture, pixels
from tffcxr.nnunet import plain_unet

ARCHITECTURES = {
    "nnunet": Architecture(
        plain_unet.trunk, plain_unet.SIZE_MULTIPLE, plain_unet.GRADCAM_LAYER, pixels(1)
    )
}
