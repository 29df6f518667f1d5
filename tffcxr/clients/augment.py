"""Random flip and random affine map of a batch of images, as a pure function of a seed.

The map is that of torchvision's `RandomAffine` with `RandomHorizontalFlip`, which the papers use:
each image gets its own rotation, scale and shear about its centre, then its own translation, and
pixels from outside the image are black.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
from typing import Protocol

import tensorflow as tf

from tffcxr import options
from tffcxr.errors import InputError


class ImageAugmentation(Protocol):
    """An augmentation of batches of training images, such as `Augmentation`."""

    def output_shape(self, image_size: int) -> tuple[int, int]:
        """Height and width of the images that `apply` returns for this height and width."""

    def apply(
        self, images: tf.Tensor, seed: tf.Tensor, masks: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """See `Augmentation.apply`."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far images are transformed at random; by default not at all.

    Attributes:
      flip: mirror every other image left to right. The heart of a flipped chest is on the wrong
        side; the papers flip nonetheless, since their findings occur on both sides.
      rotation_degrees: largest rotation either way, 0 to 180.
      translation: largest shift along each axis, as a fraction of the image's side, 0 to 1.
      scale: largest change of size, 0 to 1: 0.1 scales by factors from 0.9 to 1.1.
      shear: largest angle in degrees by which the vertical axis leans, 0 to 90.
    """

    flip: bool = False
    rotation_degrees: float = 0.0
    translation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0

    def __post_init__(self) -> None:
        limits = {"rotation_degrees": 180, "translation": 1, "scale": 1, "shear": 90}
        for name, limit in limits.items():
            value = getattr(self, name)
            inclusive = name == "rotation_degrees"
            if not (0 <= value < limit or (inclusive and value == limit)):
                raise InputError(f"augmentation: expected {name} from 0 to {limit}, found {value}")

    @property
    def moves(self) -> bool:
        """Whether any image can change beyond a flip."""
        return any((self.rotation_degrees, self.translation, self.scale, self.shear))

    def output_shape(self, image_size: int) -> tuple[int, int]:
        """Height and width stay."""
        return image_size, image_size

    def apply(
        self, images: tf.Tensor, seed: tf.Tensor, masks: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Augments a batch; the same seed and shape give the same result, bit for bit.

        Args:
          images: float32 [B, H, W, C], interpolated bilinearly.
          seed: integer [2], as for `tf.random.stateless_uniform`.
          masks: float32 [B, H, W, C] or None, moved with the images, nearest pixel.

        Returns:
          (images, masks) of the same shapes.
        """
        if not self.flip and not self.moves:
            return images, masks
        # Philox by name: the default generator depends on the device.
        draws = tf.random.stateless_uniform(
            [tf.shape(images)[0], 6], seed, minval=-1.0, maxval=1.0, alg="philox"
        )
        if not self.moves:
            flipped = (draws[:, 0] < 0)[:, tf.newaxis, tf.newaxis, tf.newaxis]
            images = tf.where(flipped, tf.reverse(images, [2]), images)
            if masks is not None:
                masks = tf.where(flipped, tf.reverse(masks, [2]), masks)
            return images, masks
        transforms = self._transforms(draws, tf.shape(images)[1:3])
        images = project(images, transforms, "BILINEAR")
        return images, None if masks is None else project(masks, transforms, "NEAREST")

    def _transforms(self, draws: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """Maps from output to input pixels [B, 8], from draws [B, 6] in [-1, 1).

        With input pixel p, output pixel q, centre c and shift t, the forward map is
        q = c + t + scale R H F (p - c): flip F, shear H = [[1, tan s], [0, 1]], rotation R.
        TensorFlow wants its inverse: p = c + M (q - c - t), M = F inv(H) inv(R) / scale.
        """
        flip = tf.where(draws[:, 0] < 0, -1.0, 1.0) if self.flip else tf.ones_like(draws[:, 0])
        angle = draws[:, 1] * math.radians(self.rotation_degrees)
        scale = 1.0 + draws[:, 2] * self.scale
        lean = tf.tan(draws[:, 3] * math.radians(self.shear))
        height, width = tf.cast(size[0], tf.float32), tf.cast(size[1], tf.float32)
        # Whole pixels, as torchvision: a shift alone does not blur.
        shift_x = tf.round(draws[:, 4] * self.translation * width)
        shift_y = tf.round(draws[:, 5] * self.translation * height)

        cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
        xx = flip * (cos + lean * sin)
        xy = flip * (sin - lean * cos)
        yx, yy = -sin, cos
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        x0 = centre_x - xx * (centre_x + shift_x) - xy * (centre_y + shift_y)
        y0 = centre_y - yx * (centre_x + shift_x) - yy * (centre_y + shift_y)
        zero = tf.zeros_like(angle)
        return tf.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1)


# The papers' random flip and random affine map; the ranges are ours.
BY_NAME: Mapping[str, Augmentation | None] = dict(
    zip(
        options.AUGMENTATIONS,
        (
            None,
            Augmentation(flip=True),
            Augmentation(flip=True, rotation_degrees=10.0, translation=0.05, scale=0.1, shear=5.0),
        ),
    )
)


def project(
    images: tf.Tensor,
    transforms: tf.Tensor,
    interpolation: str,
    size: tuple[int, int] | None = None,
) -> tf.Tensor:
    """Reads each output pixel from its position in the input; outside the input it is 0.

    Args:
      images: float32 [B, H, W, C].
      transforms: float32 [B, 8], as of `tf.raw_ops.ImageProjectiveTransformV3`.
      interpolation: "BILINEAR" or "NEAREST".
      size: height and width of the output; None for those of the input.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3] if size is None else tf.constant(size),
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )
