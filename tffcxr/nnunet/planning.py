"""nnU-Net's plan for two-dimensional images, from the fingerprint of a data set.

F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein, "nnU-Net: a self-configuring
method for deep learning-based biomedical image segmentation", Nature Methods 18, 2021, with the
rules and constants of its second version (package nnunetv2, planner `ExperimentPlanner`). The plan
has that package's names, so that the file can serve as its `nnUNetPlans.json`.

    fingerprint → target spacing → patch and topology, smaller until two images fit → batch size
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
from typing import Any, Protocol

from tffcxr.errors import InputError
from tffcxr.nnunet.topology import Topology, topology

CONFIGURATION = "2d"
CHANNEL = "radiograph"  # nnU-Net standardises each image of a channel that it does not know.

_NAME = "nnUNetPlans"
_LARGEST_AREA = 2048**2  # Pixels of the first patch that is tried.
# A network whose maps have this many values trains with a batch of 12 in 8 GB.
_REFERENCE_MAPS = 85_000_000
_REFERENCE_BATCH = 12
_REFERENCE_GB = 8.0
_SMALLEST_BATCH = 2
_MOST_OF_DATA = 0.05  # Of all pixels of the data set, in a batch.
_MASKED_BELOW = 3 / 4  # Relative size from which on an image's empty border does not matter.
# How nnunetv2 describes an image without a third dimension.
_SLICE_SPACING, _SLICES = 999.0, 1
_CLASSES = 2  # Background and the region.


class Fingerprint(Protocol):
    """What a plan depends on; `tffcxr.nnunet.dataset_fingerprint.Fingerprint` is such.

    Axes are [rows, columns].
    """

    @property
    def cases(self) -> int:
        """Training images."""

    @property
    def spacing(self) -> tuple[float, float]:
        """Median distance of pixels along each axis."""

    @property
    def shape_after_crop(self) -> tuple[float, float]:
        """Median size in pixels after the crop to what is not 0."""

    @property
    def shape_at_spacing(self) -> tuple[float, float]:
        """The same after every image is resampled to the median spacing."""

    @property
    def median_relative_size_after_cropping(self) -> float:
        """Median of the share of an image that the crop leaves, 0..1."""

    @property
    def foreground_intensities(self) -> Mapping[str, float]:
        """mean, median, std, min, max, percentile_99_5 and percentile_00_5."""


def make_plan(
    fingerprint: Fingerprint,
    dataset: str,
    gpu_memory_gb: float = 8.0,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Plans patch, network, batch and normalisation.

    Args:
      fingerprint: of the training images, of one channel and one region.
      dataset: its name, for the file.
      gpu_memory_gb: the memory that training may take, above 0. nnU-Net's default is 8.
      batch_size: images per step, whether they fit into that memory or not; None for as many as
        the rules allow.

    Returns:
      The plan as JSON values: lists, numbers, strings, None.

    Raises:
      InputError: no memory, or images too small for a network of two stages.
    """
    if not gpu_memory_gb > 0:
        raise InputError(f"expected GPU memory above 0 GB, found {gpu_memory_gb:g}")
    try:
        chosen = _fit(fingerprint, gpu_memory_gb)
    except ValueError as error:
        raise InputError(f"nnU-Net cannot be planned for these images: {error}") from None
    return {
        "dataset_name": dataset,
        "plans_name": _NAME,
        "original_median_spacing_after_transp": [_SLICE_SPACING, *fingerprint.spacing],
        "original_median_shape_after_transp": [_SLICES, *map(round, fingerprint.shape_after_crop)],
        "image_reader_writer": "NaturalImage2DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            CONFIGURATION: _configuration(
                fingerprint, chosen, batch_size or _batch_size(fingerprint, chosen, gpu_memory_gb)
            )
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": dict(fingerprint.foreground_intensities)
        },
    }


def planned_topology(plan: Mapping[str, Any]) -> Topology:
    """The network of a plan.

    Raises:
      InputError: the plan lacks a field, or is one of a network that is not a `Topology`.
    """
    try:
        configuration = plan["configurations"][CONFIGURATION]
        network = configuration["architecture"]["arch_kwargs"]
        found = Topology(
            _pair(configuration["patch_size"]),
            tuple(map(_pair, network["strides"])),
            tuple(map(_pair, network["kernel_sizes"])),
            tuple(map(int, network["features_per_stage"])),
        )
        counts = network["n_conv_per_stage"], network["n_conv_per_stage_decoder"]
        expected = list(found.convolutions), list(found.decoder_convolutions)
        if tuple(map(list, counts)) != expected:
            raise ValueError(f"convolutions per stage of {expected}, found {counts}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"expected a plan of nnU-Net for 2-D images, found {type(error).__name__}: {error}"
        ) from None
    return found


def _pair(values: Sequence[int]) -> tuple[int, int]:
    rows, columns = values
    return int(rows), int(columns)


def _fit(fingerprint: Fingerprint, gpu_memory_gb: float) -> Topology:
    """The network for the largest patch of which two images fit into the memory.

    The patch starts with the aspect that the spacing gives, no larger than the median image, and
    shrinks along the axis that is longest compared with that image.
    """
    spacing, median = fingerprint.spacing, fingerprint.shape_at_spacing
    inverse = [1 / step for step in spacing]
    scale = math.sqrt(_LARGEST_AREA / math.prod(inverse))
    wanted = [min(round(side * scale), largest) for side, largest in zip(inverse, median)]
    found = topology(spacing, wanted)
    most = _REFERENCE_MAPS * gpu_memory_gb / _REFERENCE_GB
    while found.feature_map_size(_CLASSES) / _REFERENCE_BATCH * _SMALLEST_BATCH > most:
        size = list(found.patch_size)
        axis = max(range(2), key=lambda i: (size[i] / median[i], i))
        # A step of a full multiple may skip a valid size of the network that is a stage less deep.
        smaller = list(size)
        smaller[axis] -= found.multiple[axis]
        size[axis] -= topology(spacing, smaller).multiple[axis]
        found = topology(spacing, size)
    return found


def _batch_size(fingerprint: Fingerprint, chosen: Topology, gpu_memory_gb: float) -> int:
    """What fits into the memory, but no more than a twentieth of the data and no less than two."""
    most = _REFERENCE_MAPS * gpu_memory_gb / _REFERENCE_GB
    fits = round(most / chosen.feature_map_size(_CLASSES) * _REFERENCE_BATCH)
    pixels = math.prod(fingerprint.shape_at_spacing) * fingerprint.cases
    share = round(pixels * _MOST_OF_DATA / math.prod(chosen.patch_size))
    return max(min(fits, share), _SMALLEST_BATCH)


def _configuration(fingerprint: Fingerprint, chosen: Topology, batch_size: int) -> dict[str, Any]:
    uses_mask = fingerprint.median_relative_size_after_cropping < _MASKED_BELOW
    resampling = "resample_data_or_seg_to_shape"
    options = {"order_z": 0, "force_separate_z": None}
    return {
        "data_identifier": f"{_NAME}_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": batch_size,
        "patch_size": list(chosen.patch_size),
        "median_image_size_in_voxels": list(map(float, fingerprint.shape_at_spacing)),
        "spacing": list(map(float, fingerprint.spacing)),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [uses_mask],
        "resampling_fn_data": resampling,
        "resampling_fn_seg": resampling,
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **options},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **options},
        "resampling_fn_probabilities": resampling,
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **options},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": _network(chosen),
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }


def _network(chosen: Topology) -> dict[str, Any]:
    return {
        "n_stages": len(chosen.features),
        "features_per_stage": list(chosen.features),
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [list(kernel) for kernel in chosen.kernel_sizes],
        "strides": [list(stride) for stride in chosen.strides],
        "n_conv_per_stage": list(chosen.convolutions),
        "n_conv_per_stage_decoder": list(chosen.decoder_convolutions),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
