"""The shape of nnU-Net's plain convolutional U-Net, derived from spacing and patch size.

F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein, "nnU-Net: a self-configuring
method for deep learning-based biomedical image segmentation", Nature Methods 18, 2021, with the
rules and constants of its second version (package nnunetv2, planner `ExperimentPlanner`), for two
dimensions. Every axis is [rows, columns].
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math

_SHORTEST_EDGE = 4  # Pixels of the lowest resolution.
_FIRST_FEATURES = 32
_MOST_FEATURES = 512
_CONVOLUTIONS = 2  # In a stage of the encoder or of the decoder.
_CLOSE = 2  # Spacings within this factor are treated alike.


@dataclasses.dataclass(frozen=True)
class Topology:
    """A plain convolutional U-Net, its stages from the image down.

    Attributes:
      patch_size: of the images that it takes, in pixels; a multiple of all strides together.
      strides: of each stage's first convolution; (1, 1) for the first stage.
      kernel_sizes: of each stage's convolutions.
      features: channels of each stage.

    Raises:
      ValueError: the stages do not fit each other or the patch.
    """

    patch_size: tuple[int, int]
    strides: tuple[tuple[int, int], ...]
    kernel_sizes: tuple[tuple[int, int], ...]
    features: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.strides) == len(self.kernel_sizes) == len(self.features):
            raise ValueError(
                "expected strides, kernel sizes and features of two or more stages, found "
                f"{len(self.strides)}, {len(self.kernel_sizes)} and {len(self.features)}"
            )
        if tuple(self.strides[0]) != (1, 1):
            raise ValueError(f"expected a first stage without stride, found {self.strides[0]}")
        for size, multiple in zip(self.patch_size, self.multiple):
            if size < 1 or size % multiple:
                raise ValueError(
                    f"expected a patch of a multiple of {multiple} pixels, found {size}"
                )

    @property
    def multiple(self) -> tuple[int, int]:
        """What the sides of the patch are multiples of."""
        rows, columns = zip(*self.strides)
        return math.prod(rows), math.prod(columns)

    @property
    def convolutions(self) -> tuple[int, ...]:
        """Convolutions of each encoder stage."""
        return (_CONVOLUTIONS,) * len(self.features)

    @property
    def decoder_convolutions(self) -> tuple[int, ...]:
        """Convolutions of each decoder stage; there is none beside the lowest encoder stage."""
        return (_CONVOLUTIONS,) * (len(self.features) - 1)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each stage's maps, in pixels."""
        found = [self.patch_size]
        for stride in self.strides[1:]:
            found.append((found[-1][0] // stride[0], found[-1][1] // stride[1]))
        return tuple(found)

    def feature_map_size(self, classes: int) -> int:
        """Values in all maps of one image that convolutions write, which memory grows with.

        The published `PlainConvUNet.compute_conv_feature_map_size` without deep supervision: the
        convolutions of every encoder and decoder stage, the transposed convolutions, and the
        classes' maps at full size.
        """
        pixels = [rows * columns for rows, columns in self.sizes]
        encoder = sum(n * f * p for n, f, p in zip(self.convolutions, self.features, pixels))
        decoder = sum(
            (n + 1) * f * p for n, f, p in zip(self.decoder_convolutions, self.features, pixels)
        )
        return encoder + decoder + classes * pixels[0]

    def parameters(self, input_channels: int, classes: int) -> int:
        """Weights of the network with the deep supervision's heads, which are always there."""
        total, channels = 0, input_channels
        for kernel, features in zip(self.kernel_sizes, self.features):
            total += _convolutions(kernel, channels, features)
            channels = features
        stages = zip(self.features, self.features[1:], self.strides[1:], self.kernel_sizes)
        for features, below, stride, kernel in stages:
            total += math.prod(stride) * below * features + features  # transposed convolution
            total += _convolutions(kernel, 2 * features, features)
            total += features * classes + classes  # head
        return total


def _convolutions(kernel: Sequence[int], channels: int, features: int) -> int:
    """Parameters of a stage's convolutions with bias, each with a scale and shift per channel."""
    area = math.prod(kernel)
    return (
        area * channels * features
        + (_CONVOLUTIONS - 1) * area * features**2
        + (3 * _CONVOLUTIONS * features)
    )


def topology(spacing: Sequence[float], patch_size: Sequence[float]) -> Topology:
    """The deepest network for a patch, which is padded to what it needs.

    An axis is halved as long as at least four pixels are left. Of axes with different spacing,
    those with the finest go first until the others are within a factor of two; until then
    kernels are 1 wide along the coarse ones.

    Args:
      spacing: distance of pixels along each axis, in any unit, above 0.
      patch_size: wanted size, in pixels; a median may be fractional.

    Raises:
      ValueError: the patch cannot be halved once.
    """
    now, size = list(map(float, spacing)), list(patch_size)
    strides, kernels = [(1, 1)], []
    kernel = [1, 1]
    while True:
        halved = _axes_to_halve(now, size)
        if not halved:
            break
        for axis in range(2):
            if now[axis] / min(now) < _CLOSE:
                kernel[axis] = 3
        for axis in halved:
            now[axis] *= 2
            size[axis] = math.ceil(size[axis] / 2)
        strides.append((2 if 0 in halved else 1, 2 if 1 in halved else 1))
        kernels.append((kernel[0], kernel[1]))
    if len(strides) < 2:
        raise ValueError(
            f"expected a patch that can be halved to {_SHORTEST_EDGE} pixels, found "
            f"{patch_size[0]:g}x{patch_size[1]:g}"
        )
    kernels.append((3, 3))
    multiples = [math.prod(of_axis) for of_axis in zip(*strides)]
    padded = [int(math.ceil(side / m) * m) for side, m in zip(patch_size, multiples)]
    features = tuple(min(_FIRST_FEATURES * 2**i, _MOST_FEATURES) for i in range(len(strides)))
    return Topology((padded[0], padded[1]), tuple(strides), tuple(kernels), features)


def _axes_to_halve(spacing: Sequence[float], size: Sequence[float]) -> list[int]:
    valid = [axis for axis in range(2) if size[axis] >= 2 * _SHORTEST_EDGE]
    finest = min((spacing[axis] for axis in valid), default=math.nan)
    valid = [axis for axis in valid if spacing[axis] / finest < _CLOSE]
    if len(valid) == 1 and size[valid[0]] < 3 * _SHORTEST_EDGE:
        return []
    return valid
