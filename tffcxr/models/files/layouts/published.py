"""ImageNet weights by name: `--weights=imagenet`.

Files of `tf.keras.applications` are downloaded once, to Keras' folder, from where its own functions
take them; encoders are downloaded by their packages.
"""

from __future__ import annotations

import dataclasses
import pathlib

import tensorflow as tf

from tffcxr.errors import InputError
from tffcxr.models import network_configs
from tffcxr.models.files import weight_file
from tffcxr.models.files.layouts import pytorch
from tffcxr.models.files.layouts.matching import short
from tffcxr.models.files.layouts.stored import Stored
from tffcxr.models.networks.segmentation_encoders import DECODER_PREFIXES
from tffcxr.models.networks.stem import CAFFE, IMAGENET, PLAIN, Stem

_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclasses.dataclass(frozen=True)
class Published:
    """A file that Keras publishes.

    Attributes:
      path: below `_FOLDER`.
      md5: of its content; None where Keras states none.
      stem: how images enter the network.
    """

    path: str
    md5: str | None
    stem: Stem


FILES = {
    "densenet121": Published(
        "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "30ee3e1110167f948a6b9946edeeb738",
        IMAGENET,
    ),
    "resnet50": Published(
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
        CAFFE,
    ),
    "mobilenetv2": Published(
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        None,
        PLAIN,
    ),
}


def read(network: str) -> Stored:
    """Downloads the weights of a network unless they are on this machine.

    Raises:
      InputError: there are none, or they cannot be downloaded.
    """
    if network == "efficientnetlite0":
        return pytorch.read(pytorch.lite0_file())
    if network not in FILES and not network_configs.get(network).takes_weights:
        known = ", ".join((*FILES, "efficientnetlite0"))
        raise InputError(
            f"there are no ImageNet weights for model {network}, only for {known}, unetplusplus, "
            "unet_ENCODER and unetplusplus_ENCODER: use --weights=none or --weights=FILE"
        )
    try:
        return _of_keras(FILES[network]) if network in FILES else _of_package(network)
    except InputError:
        raise
    except Exception as error:  # Keras' own download raises no narrower class.
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"ImageNet weights for {network} could not be downloaded ({reason}): "
            "use --weights=FILE with a file that is on this machine"
        ) from error


def stem(network: str) -> Stem:
    """How images enter a network with these weights; downloads nothing."""
    return FILES[network].stem if network in FILES else PLAIN


def _of_keras(published: Published) -> Stored:
    name = published.path.rpartition("/")[2]
    path = tf.keras.utils.get_file(
        name, f"{_FOLDER}/{published.path}", cache_subdir="models", file_hash=published.md5
    )
    return weight_file.read(pathlib.Path(path))


def _of_package(network: str) -> Stored:
    """Has the package of an encoder fill a trunk of the smallest size."""
    architecture = network_configs.get(network)
    trunk = architecture.trunk(architecture.minimum_image_size, weights="imagenet")
    return Stored(
        {
            layer.name: {short(weight.name): weight.numpy() for weight in layer.weights}
            for layer in trunk.layers
            if layer.weights and not layer.name.startswith(DECODER_PREFIXES)
        }
    )
