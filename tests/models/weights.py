"""Weights of models compared."""

import numpy as np


def are_same(one, other):
    """Whether two models have the same weights in the same order, to the bit."""
    pairs = zip(one.keras.get_weights(), other.keras.get_weights())
    return all(np.array_equal(a, b) for a, b in pairs)
