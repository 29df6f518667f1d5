"""How large the networks of a run are, by which papers explain what federation costs them."""

from __future__ import annotations

from collections.abc import Iterable
import math

from tffcxr.training.plan import Plan


def trainable(plans: Iterable[Plan]) -> dict[str, int]:
    """The number of trainable parameters of each network, by its name.

    Statistics of batch norm are not among them, nor is a layer that is never trained.
    """
    return {
        plan.model.network: sum(
            math.prod(weight.shape) for weight in plan.structure().keras.trainable_weights
        )
        for plan in plans
    }
