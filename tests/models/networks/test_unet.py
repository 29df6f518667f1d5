"""U-Net has the paper's blocks, and trains in a federation."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tffcxr import runtime
from tffcxr.learning import optimizers, process
from tffcxr.models import segmentation_losses
from tffcxr.models.networks import unet

_FEW = (2, 3, 4, 5, 6, 7)


def _small() -> tf.keras.Model:
    """Two poolings, few filters and the task convolution; the same weights at every call."""
    tf.keras.utils.set_random_seed(0)
    trunk = unet.trunk(32, (2, 3, 4))
    return tf.keras.Model(trunk.input, tf.keras.layers.Conv2D(1, 1, name="task")(trunk.output))


def _block(channels, filters):
    """Parameters of two convolutions with bias and two batch norms of four values a channel."""
    first = 9 * channels * filters + filters
    second = 9 * filters * filters + filters
    return first + second + 2 * 4 * filters


def test_parameters_by_hand():
    encoder = [_block(a, b) for a, b in zip((1, 16, 32, 64, 128), (16, 32, 64, 128, 256))]
    bridge = _block(256, 512)
    decoder = [_block(a + b, b) for a, b in zip((512, 256, 128, 64, 32), (256, 128, 64, 32, 16))]
    model = unet.trunk(32)
    assert model.input_shape == (None, 32, 32, 1)
    assert model.count_params() == sum(encoder) + bridge + sum(decoder) == 7_874_128
    # Encoder and decoder blocks of each width but the bridge's, two norms each.
    moving = 2 * 2 * (2 * (16 + 32 + 64 + 128 + 256) + 512)
    assert sum(int(tf.size(w)) for w in model.non_trainable_weights) == moving == 6_016


@pytest.fixture(scope="module")
def narrow():
    return unet.trunk(64, _FEW)


def test_blocks_are_convolution_relu_norm_twice(narrow):
    kinds = [layer for layer in narrow.layers if layer.weights]
    for convolution, norm in zip(kinds[::2], kinds[1::2]):
        assert isinstance(convolution, tf.keras.layers.Conv2D)
        assert convolution.kernel_size == (3, 3)
        assert convolution.activation is tf.keras.activations.relu
        assert isinstance(norm, tf.keras.layers.BatchNormalization)
        assert norm.input is convolution.output
    names = {layer.name.split("_")[0] for layer in kinds}
    numbers = range(1, 6)
    assert names == {*(f"encoder{n}" for n in numbers), "bridge", *(f"decoder{n}" for n in numbers)}
    assert len(kinds) == 11 * 2 * 2


def test_resolutions_and_skips(narrow):
    assert narrow.output_shape == (None, 64, 64, 2)
    assert narrow.get_layer("bridge_norm2").output_shape == (None, 2, 2, 7)
    for level, (side, skip, below) in enumerate(zip((64, 32, 16, 8, 4), _FEW, _FEW[1:]), start=1):
        joined = narrow.get_layer(f"decoder{level}_concat")
        assert joined.input[1] is narrow.get_layer(f"encoder{level}_norm2").output
        assert joined.output_shape == (None, side, side, below + skip)


def _pictures(seed, images=4):
    """Bright rectangles on noise; the mask is the rectangle."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((images, 32, 32, 1), np.float32)
    for mask in masks:
        top, left = generator.integers(2, 12, 2)
        mask[top : top + 14, left : left + 14] = 1
    noise = generator.uniform(0, 0.2, masks.shape).astype(np.float32)
    elements = collections.OrderedDict(images=0.6 * masks + noise, masks=masks)
    return tf.data.Dataset.from_tensor_slices(elements).batch(2)


class TestFederated:
    @pytest.fixture(scope="class")
    def federated(self):
        runtime.use("device")
        model = _small()
        spec = collections.OrderedDict(
            images=tf.TensorSpec([None, 32, 32, 1]), masks=tf.TensorSpec([None, 32, 32, 1])
        )
        return process.build_process(
            model,
            [weight.numpy() for weight in model.weights],
            private_layers=[],
            batch_spec=spec,
            loss_fn=segmentation_losses.batch_loss,
            client_optimizer=optimizers.client_optimizer("adam", 0.01),
            server_optimizer=optimizers.server_optimizer("average"),
            learning_rate=0.01,
        )

    def _round(self, federated, state, seeds):
        clients = [
            collections.OrderedDict(state=federated.initialize_client(), data=_pictures(seed))
            for seed in seeds
        ]
        return federated.next(state, clients)

    def test_rounds_lower_the_loss_and_repeat_to_the_bit(self, federated):
        losses, weights = [], []
        for _ in range(2):
            state = federated.initialize()
            for _ in range(4):
                state, private, metrics, _ = self._round(federated, state, (0, 1))
                losses.append(float(metrics["round"]["loss"]))
            weights.append(federated.model_weights(state, private[0]))
        assert losses[:4] == losses[4:]
        assert losses[3] < losses[0]
        for first, second in zip(*weights):
            np.testing.assert_array_equal(first, second)

    def test_one_client_trains_like_keras(self, federated):
        state, private, metrics, _ = self._round(federated, federated.initialize(), (5,))
        assert metrics["round"]["images"] == 4
        model, adam = _small(), tf.keras.optimizers.Adam(0.01)
        for batch in _pictures(5):
            with tf.GradientTape() as tape:
                logits = model(batch["images"], training=True)
                loss = tf.reduce_mean(segmentation_losses.bce_dice(batch["masks"], logits))
            adam.apply_gradients(
                zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
            )
        moved = 0
        trained = federated.model_weights(state, private[0])
        for ours, keras, before in zip(trained, model.get_weights(), _small().get_weights()):
            np.testing.assert_allclose(ours, keras, rtol=1e-3, atol=2e-4)
            moved += not np.allclose(ours, before, atol=1e-3)
        assert moved > len(trained) / 2
