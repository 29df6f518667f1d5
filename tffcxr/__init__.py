"""Federated learning for chest X-rays with Keras models and TensorFlow Federated.

model = tffcxr.load_model("runs/study")
model.predict("image.dcm")  # {"Lung Opacity": 0.12, "Pneumothorax": 0.03}
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models.files.export import Exported

__all__ = ["load_model"]


def load_model(path: str | os.PathLike[str], name: str | None = None) -> Exported:
    """Loads the exported model of a run. For research: it is not a medical device.

    Args:
      path: the folder of a complete run, or a `.keras` file of one.
      name: of the model, such as "federated_resnet50", where the run has several; without it the
        first is taken.

    Raises:
      InputError: there is no such model, or it cannot be used.
    """
    # Here, since TensorFlow takes seconds to import; relative, since every package depends on this
    # one.
    from .models.files import export

    return export.load(path, name)
