"""nnU-Net's plain convolutional U-Net, for a topology that a plan chose.

F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein, "nnU-Net: a self-configuring
method for deep learning-based biomedical image segmentation", Nature Methods 18, 2021. It is
`PlainConvUNet` of the package dynamic_network_architectures as nnunetv2 plans it: convolution with
bias, instance norm and leaky ReLU, twice per stage; strided convolutions down, transposed ones up;
a head of 1x1 convolutions at every resolution of the decoder. Weights start as there (He et al.,
"Delving Deep into Rectifiers", ICCV 2015, for a slope of 0.01), and maps are padded as in PyTorch,
so that the same weights give the same logits.

    patch ─► encoder1 ───────── concatenate ─────────► decoder1 ─► head1
                └─stride─► encoder2 ─ concatenate ─► decoder2 ─┘up   └─► head2
                              └─ …  lowest encoder stage … ─┘up
"""

from __future__ import annotations

import tensorflow as tf

from tffcxr.nnunet.topology import Topology, topology

SIZE_MULTIPLE = 32
GRADCAM_LAYER = "decoder1_relu2"
CLASSES = 2  # Background and region, as a softmax of two.

_EPSILON = 1e-5
_SLOPE = 0.01


def network(planned: Topology) -> tf.keras.Model:
    """Builds the network with all of its heads.

    Args:
      planned: of the plan; its patch is the size of the input, [H, W].

    Returns:
      A model of standardised patches [B, H, W, 1] to a list of float32 logits, [B, h, w, 2] of each
      resolution of the decoder, the full one first; of two stages, whose only head it is, the
      logits alone. Its parameters are
      `planned.parameters(1, CLASSES)`, as many as those of the published implementation.
    """
    images = tf.keras.Input((*planned.patch_size, 1), name="images")
    maps = _decode(_encode(images, planned), planned)
    heads = [
        tf.keras.layers.Conv2D(
            CLASSES, 1, kernel_initializer=_initializer(), dtype="float32", name=name
        )(features)
        for name, features in zip(head_names(planned), maps)
    ]
    return tf.keras.Model(images, heads, name="nnunet")


def head_names(planned: Topology) -> tuple[str, ...]:
    """The names of the heads' layers, that of the full resolution first."""
    return tuple(f"head{level}" for level in range(1, len(planned.features)))


def trunk(image_size: int) -> tf.keras.Model:
    """The network for whole images without its heads: [B, S, S, 1] to features [B, S, S, 32].

    It is as deep as nnU-Net plans for such images, or as S can be halved.

    Args:
      image_size: S in pixels, a multiple of `SIZE_MULTIPLE`.
    """
    planned = topology((1.0, 1.0), (image_size, image_size))
    stages = max(n for n in range(1, len(planned.strides) + 1) if image_size % 2 ** (n - 1) == 0)
    fitting = Topology(
        (image_size, image_size),
        planned.strides[:stages],
        planned.kernel_sizes[:stages],
        planned.features[:stages],
    )
    images = tf.keras.Input((image_size, image_size, 1), name="images")
    centred = tf.keras.layers.Rescaling(4.0, offset=-2.0, name="rescale")(images)
    return tf.keras.Model(images, _decode(_encode(centred, fitting), fitting)[0], name="nnunet")


def _encode(x: tf.Tensor, planned: Topology) -> list[tf.Tensor]:
    """The maps of the encoder's stages, the full resolution first."""
    maps = []
    stages = zip(planned.features, planned.kernel_sizes, planned.strides, planned.convolutions)
    for level, (features, kernel, stride, convolutions) in enumerate(stages, start=1):
        x = _stage(x, features, kernel, stride, convolutions, f"encoder{level}")
        maps.append(x)
    return maps


def _decode(skips: list[tf.Tensor], planned: Topology) -> list[tf.Tensor]:
    """The maps of the decoder's stages, the full resolution first."""
    layers = tf.keras.layers
    x, maps = skips[-1], []
    for level in range(len(skips) - 1, 0, -1):
        name, features = f"decoder{level}", planned.features[level - 1]
        stride = planned.strides[level]  # Of the stage below.
        x = layers.Conv2DTranspose(
            features, stride, stride, kernel_initializer=_initializer(), name=f"{name}_up"
        )(x)
        x = layers.Concatenate(name=f"{name}_concat")([x, skips[level - 1]])
        kernel = planned.kernel_sizes[level - 1]
        x = _stage(x, features, kernel, (1, 1), planned.decoder_convolutions[level - 1], name)
        maps.append(x)
    return maps[::-1]


def _stage(
    x: tf.Tensor,
    features: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    convolutions: int,
    name: str,
) -> tf.Tensor:
    """Convolutions with norm and activation; the first one has the stride."""
    layers = tf.keras.layers
    for number in range(1, convolutions + 1):
        # Keras would pad a strided convolution below and to the right alone.
        is_strided = number == 1 and max(stride) > 1
        if is_strided:
            x = layers.ZeroPadding2D([(k - 1) // 2 for k in kernel], name=f"{name}_pad")(x)
        x = layers.Conv2D(
            features,
            kernel,
            stride if is_strided else 1,
            padding="valid" if is_strided else "same",
            kernel_initializer=_initializer(),
            name=f"{name}_conv{number}",
        )(x)
        # As many groups as channels: instance norm.
        x = layers.GroupNormalization(-1, epsilon=_EPSILON, name=f"{name}_norm{number}")(x)
        x = layers.LeakyReLU(_SLOPE, name=f"{name}_relu{number}")(x)
    return x


def _initializer() -> tf.keras.initializers.Initializer:
    return tf.keras.initializers.VarianceScaling(
        2 / (1 + _SLOPE**2), "fan_in", "untruncated_normal"
    )
