"""nnU-Net's network: its shapes and parameters, and the published implementation's logits."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests import nnunetv2_package
from tffcxr.models import blocks, network_configs
from tffcxr.models.spec import ModelSpec, PlannedSpec
from tffcxr.nnunet import plain_unet
from tffcxr.nnunet.topology import Topology, topology

_SMALL = Topology((8, 24), ((1, 1), (2, 2), (1, 2)), ((3, 3), (1, 3), (3, 3)), (3, 4, 6))

# Writes the state and the logits of a random network for random patches.
_REFERENCE = """
import json, pathlib, sys
import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
root = pathlib.Path(sys.argv[1])
plan = json.loads(sys.argv[2])
torch.manual_seed(1)
stages = len(plan["features"])
net = PlainConvUNet(
    1, stages, plan["features"], torch.nn.Conv2d, plan["kernel_sizes"], plan["strides"],
    [2] * stages, 2, [2] * (stages - 1), True, torch.nn.InstanceNorm2d,
    {"eps": 1e-5, "affine": True}, None, None, torch.nn.LeakyReLU, {"inplace": True},
    deep_supervision=True)
net.apply(net.initialize)
for parameter in net.parameters():  # Biases, scales and shifts too.
    parameter.data += 0.1 * torch.randn_like(parameter)
count = sum(p.numel() for p in net.parameters())
arrays = {"count": np.array(count)}
if sys.argv[3] == "logits":
    images = torch.randn(2, 1, *plan["patch_size"])
    with torch.no_grad():
        logits = net(images)
    arrays.update({k: v.numpy() for k, v in net.state_dict().items() if "all_modules" not in k})
    arrays.update({f"logits{n}": v.numpy() for n, v in enumerate(logits)})
    arrays["images"] = images.numpy()
np.savez(root / "reference.npz", **arrays)
"""


def _reference(folder, planned, what):
    plan = {
        "features": planned.features,
        "kernel_sizes": planned.kernel_sizes,
        "strides": planned.strides,
        "patch_size": planned.patch_size,
    }
    nnunetv2_package.run(_REFERENCE, str(folder), json.dumps(plan), what)
    return np.load(folder / "reference.npz")


def _theirs(layer, stages):
    """The name of the PyTorch module that is one of our layers."""
    if layer.startswith("head"):
        return f"decoder.seg_layers.{stages - 1 - int(layer[4:])}"
    stage, part = layer.split("_")
    level = int(stage[7:])
    if part == "up":
        return f"decoder.transpconvs.{stages - 1 - level}"
    number = int(part[4:]) - 1
    inside = f"convs.{number}.{part[:4]}"
    if stage.startswith("encoder"):
        return f"encoder.stages.{level - 1}.0.{inside}"
    return f"decoder.stages.{stages - 1 - level}.{inside}"


class TestAgainstPyTorch:
    def test_logits(self, tmp_path):
        reference = _reference(tmp_path, _SMALL, "logits")
        model = plain_unet.network(_SMALL)
        for layer in model.layers:
            if layer.weights:
                name = _theirs(layer.name, len(_SMALL.features))
                kernel = reference[f"{name}.weight"]
                # [out, in, h, w], or [in, out, h, w] where transposed: Keras turns both round.
                kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel
                layer.set_weights([kernel, reference[f"{name}.bias"]])
        found = model(reference["images"].transpose(0, 2, 3, 1))
        assert len(found) == 2
        for number, logits in enumerate(found):
            expected = reference[f"logits{number}"].transpose(0, 2, 3, 1)
            np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
        assert model.count_params() == reference["count"]

    def test_parameters_of_the_plan_for_rsna(self, tmp_path):
        planned = topology((1.0, 1.0), (1024, 1024))
        assert planned.parameters(1, 2) == _reference(tmp_path, planned, "count")["count"]


def test_parameters_of_the_plan_for_rsna():
    planned = topology((1.0, 1.0), (1024, 1024))
    # Counted with dynamic_network_architectures 0.4.4.
    assert planned.parameters(1, plain_unet.CLASSES) == 59_177_296
    for small in (_SMALL, topology((1.0, 1.0), (20, 40))):
        assert plain_unet.network(small).count_params() == small.parameters(1, plain_unet.CLASSES)


def test_heads_of_every_resolution():
    model = plain_unet.network(_SMALL)
    assert model.output_shape == [(None, 8, 24, 2), (None, 4, 12, 2)]
    assert plain_unet.head_names(_SMALL) == ("head1", "head2")
    assert all(output.dtype == tf.float32 for output in model.outputs)


def test_weights_start_as_he_et_al_say():
    layer = plain_unet.network(topology((1.0, 1.0), (16, 16))).get_layer("encoder3_conv2")
    kernel, bias = layer.get_weights()
    expected = np.sqrt(2 / (1 + 0.01**2) / (9 * 128))
    assert kernel.std() == pytest.approx(expected, rel=0.01)
    assert np.all(bias == 0)


def test_norm_is_of_each_image_and_channel():
    model = plain_unet.network(_SMALL)
    norm = model.get_layer("encoder1_norm1")
    maps = np.random.default_rng(0).normal(3, 2, (2, 8, 24, 3)).astype(np.float32)
    normed = norm(maps).numpy()
    expected = (maps - maps.mean((1, 2), keepdims=True)) / np.sqrt(
        maps.var((1, 2), keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(normed, expected, atol=1e-5)


class TestBuild:
    def test_blocks_and_seed(self):
        model, again, other = (
            PlannedSpec(_SMALL, 16, False, seed=seed).build() for seed in (3, 3, 4)
        )
        assert model.task == ("head1", "head2")
        assert model.outputs == 2
        kernels = [
            [w for w in one.keras.get_weights() if w.ndim == 4] for one in (model, again, other)
        ]
        assert all(np.array_equal(a, b) for a, b in zip(kernels[0], kernels[1]))
        assert not any(np.array_equal(a, b) for a, b in zip(kernels[0], kernels[2]))

    def test_a_graph_holds_the_same_weights(self):
        network_configs.describe_planned.cache_clear()
        with tf.Graph().as_default():
            named = blocks.named_weights(PlannedSpec(_SMALL, 16, False, seed=3).build().keras)
            with tf.compat.v1.Session() as session:
                session.run(tf.compat.v1.global_variables_initializer())
                values = session.run([weight for _, weight in named])
        eager = blocks.named_weights(PlannedSpec(_SMALL, 16, False, seed=3).build().keras)
        for value, (_, weight) in zip(values, eager):
            np.testing.assert_array_equal(value, weight.numpy())

    def test_lower_precision_has_float32_logits(self):
        model = PlannedSpec(_SMALL, 16, False, "bfloat16").build().keras
        assert model.get_layer("encoder1_conv1").compute_dtype == "bfloat16"
        assert all(output.dtype == tf.float32 for output in model.outputs)

    @pytest.mark.parametrize(("size", "stages"), [(32, 4), (352, 6)])
    def test_by_name_for_whole_images(self, size, stages):
        model = ModelSpec("nnunet", size).build()
        assert model.keras.output_shape == (None, size, size, 1)
        assert model.task == ("task",)
        names = {layer.name.split("_")[0] for layer in model.keras.layers}
        assert f"encoder{stages}" in names
        assert f"encoder{stages + 1}" not in names
