"""Whether what is sent looks like noise: the chi-square of its bytes."""

import numpy as np

# Of 255 degrees of freedom, exceeded by chance once in 10^6: 255 + 4.75 sqrt(2 * 255) + 15.
LARGEST_CHI_SQUARE = 377.0


def chi_square(array):
    """Of all bytes, which are 256 equally frequent ones if the values are uniform."""
    counts = np.bincount(np.ascontiguousarray(array).view(np.uint8).reshape(-1), minlength=256)
    expected = counts.sum() / 256
    return float(np.sum((counts - expected) ** 2) / expected)
