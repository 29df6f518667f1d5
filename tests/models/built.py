"""Models that several tests read, each built once: building is what most tests here take."""

import functools

from tffcxr.models.spec import ModelSpec


@functools.cache
def model(*args, **kwargs):
    """`ModelSpec(*args, **kwargs).build()`, of which no test may change a weight or a layer."""
    return ModelSpec(*args, **kwargs).build()
