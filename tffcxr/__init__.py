"""Federated learning for chest X-rays with Keras models and TensorFlow Federated.

A Keras model of one's own, trained across clients:

    clients = tffcxr.clients_from_datasets({"north": north, "south": south})
    result = tffcxr.train(model, clients, loss="binary_crossentropy", metrics=["auc"], rounds=10,
                          private=["head"])
    result.history          # a pandas DataFrame, a row per round
    result.model("north")   # a Keras model: the shared layers and north's own head

The model of a recipe's run:

    model = tffcxr.load_model("runs/study")
    model.predict("image.dcm")  # {"Lung Opacity": 0.12, "Pneumothorax": 0.03}
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets.phantoms.phantom import draw as draw_phantom
    from .errors import InputError, RunError
    from .models.files.export import load as load_model
    from .own_model.dataset_clients import clients_from_datasets
    from .own_model.image_folders import clients_from_folders
    from .own_model.process_of_model import Federation, learning_process
    from .own_model.train import Result, Training, train

__all__ = [
    "Federation",
    "InputError",
    "Result",
    "RunError",
    "Training",
    "clients_from_datasets",
    "clients_from_folders",
    "draw_phantom",
    "learning_process",
    "load_model",
    "train",
]

# Where each name is, and its name there. Imported at the first use: TensorFlow takes seconds.
_MODULES = {
    "Federation": ("own_model.process_of_model", "Federation"),
    "InputError": ("errors", "InputError"),
    "RunError": ("errors", "RunError"),
    "Result": ("own_model.train", "Result"),
    "Training": ("own_model.train", "Training"),
    "train": ("own_model.train", "train"),
    "clients_from_datasets": ("own_model.dataset_clients", "clients_from_datasets"),
    "clients_from_folders": ("own_model.image_folders", "clients_from_folders"),
    "draw_phantom": ("datasets.phantoms.phantom", "draw"),
    "learning_process": ("own_model.process_of_model", "learning_process"),
    "load_model": ("models.files.export", "load"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _MODULES[name]
    value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
