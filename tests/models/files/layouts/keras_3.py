"""Files as Keras 3 writes them, which these tests cannot import: its layout, by hand.

Seen in Keras 3.15: `layers/<class>_<number>/vars/<number>`, with the layer's name in an attribute
of `vars`; an archive is not compressed.
"""

import json
import zipfile

import h5py

from tffcxr.models.files.layouts import matching

_DTYPE = {
    "module": "keras",
    "class_name": "DTypePolicy",
    "config": {"name": "float32"},
    "registered_name": None,
}


def write_weights(path, model):
    """Writes `.weights.h5`."""
    counts: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        file.create_group("vars").attrs["name"] = "functional"
        for layer in model.layers:
            kind = matching.snake_case(type(layer).__name__)
            number = counts[kind] = counts.get(kind, -1) + 1
            name = f"{kind}_{number}" if number else kind
            group = file.create_group(f"layers/{name}/vars")
            group.attrs["name"] = layer.name
            for place, weight in enumerate(layer.weights):
                group[str(place)] = weight.numpy()


def write_archive(path, model):
    """Writes `.keras`."""
    weights = path.with_suffix(".weights.h5")
    write_weights(weights, model)
    layers = [
        {
            "module": "keras.layers",
            "class_name": type(layer).__name__,
            "config": {"name": layer.name, "dtype": _DTYPE},
            "registered_name": None,
            "name": layer.name,
            "inbound_nodes": [
                {"args": [{"class_name": "__keras_tensor__", "config": {}}], "kwargs": {}}
            ],
        }
        for layer in model.layers
    ]
    config = {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {"name": "functional", "layers": layers},
        "registered_name": "Functional",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights, "model.weights.h5")
