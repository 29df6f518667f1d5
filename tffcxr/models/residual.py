"""Sums that begin without their deeper branch, so that a deep network begins as a shallow one.

P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", arXiv:1706.02677,
2017, section 5.1: the last batch norm of each residual branch is scaled by 0 at first, so that the
sum is its shortcut. torchvision calls it `zero_init_residual`. A federation takes few steps, and at
first a deep network of random weights hardly tells images apart: after eight passes over 275
phantoms of three classes and severity 1 (64 pixels, a quarter of the channels, Adam 2e-3)
COVID-Net's training loss was 0.96 without it and 0.22 with it, MobileNetV2's 0.98 and 0.63,
ResNeXt18's 0.51 and 0.24, ResNet18's 0.44 and 0.25. `ModelSpec.initialization` switches it off.
"""

from __future__ import annotations

from typing import Any

_NORMS = ("BatchNormalization", "GroupNormalization")
_ZEROS: dict[str, Any] = {
    "module": "keras.initializers",
    "class_name": "Zeros",
    "config": {},
    "registered_name": None,
}


def start_as_shortcuts(config: dict[str, Any]) -> list[str]:
    """Scales by 0 the norms that end residual branches, in a functional model's configuration.

    The deepest input of a sum is the branch. One that does not end with a norm stays, as does a
    norm that is not trained: its scale would be 0 for ever.

    Args:
      config: `model.get_config()` of a flat functional model; changed in place.

    Returns:
      The names of the norms, in the order of the model.
    """
    layers = {layer["config"]["name"]: layer for layer in config["layers"]}
    depths: dict[str, int] = {}
    changed = []
    for name, layer in layers.items():  # Each after its inputs.
        inputs = [source for node in layer["inbound_nodes"] for source, *_ in node]
        depths[name] = 1 + max((depths[source] for source in inputs), default=0)
        if layer["class_name"] != "Add":
            continue
        branch = layers[max(inputs, key=depths.__getitem__)]
        if branch["class_name"] in _NORMS and branch["config"]["trainable"]:
            branch["config"]["gamma_initializer"] = dict(_ZEROS)
            changed.append(branch["config"]["name"])
    return changed
