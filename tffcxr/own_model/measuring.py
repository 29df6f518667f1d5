"""Keras' own metrics of a user's model after every round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import logging

import numpy as np
import tensorflow as tf

from tffcxr.own_model.compiled_model import CompiledModel

_logger = logging.getLogger(__name__)

# The values of all variables of a model's metrics, in order.
State = list[np.ndarray]


class KerasEvaluator:
    """An `evaluators.validation.Evaluator` of a compiled model, by `tf.keras.Model.evaluate`.

    The columns are `<split>/<metric>`, the loss first. For several clients, the variables of each
    metric are added, as TFF's own metrics are. That is right for Keras' metrics, which count, sum
    or average; one that the user has written is NaN then, unless it leaves that to Keras.

    Args:
      model: its weights and the states of its metrics are overwritten.
      data: client -> what its model is measured on; clients that are missing are not measured.
      split: what that is, "validation" or "training".
    """

    def __init__(self, model: CompiledModel, data: Mapping[str, tf.data.Dataset], split: str):
        for metric in model.keras.metrics if len(data) > 1 else ():
            if not _is_additive(metric):
                _logger.warning(
                    "metric %s cannot be added up over %d clients: its column is NaN",
                    *(metric.name, len(data)),
                )
        self._model = model
        self._data = data
        self.columns = tuple(f"{split}/{name}" for name in model.metric_names) if data else ()

    def score(self, weights: Sequence[np.ndarray], client: str) -> State | None:
        """See `Evaluator`; None if the client has nothing to be measured on."""
        if client not in self._data:
            return None
        keras = self._model.keras
        keras.set_weights(weights)
        keras.evaluate(self._data[client], verbose=0)
        if not keras.metrics[0].count:
            return None  # A dataset that gives its batches only once.
        return [variable.numpy() for metric in keras.metrics for variable in metric.variables]

    def metrics(self, parts: Sequence[State | None]) -> dict[str, float]:
        """See `Evaluator`; NaN without data."""
        states = [part for part in parts if part is not None]
        if not states:
            return dict.fromkeys(self.columns, float("nan"))
        metrics = self._model.keras.metrics
        variables = [variable for metric in metrics for variable in metric.variables]
        for variable, *values in zip(variables, *states):
            variable.assign(np.sum(values, axis=0))
        return {
            column: float(np.mean(metric.result()))
            if len(states) == 1 or _is_additive(metric)
            else float("nan")
            for column, metric in zip(self.columns, metrics)
        }


def _is_additive(metric: tf.keras.metrics.Metric) -> bool:
    """Whether Keras itself updates the metric's variables and makes the result of them."""
    methods = (getattr(type(metric), name) for name in ("update_state", "result"))
    return all(str(method.__module__).startswith("keras") for method in methods)
