"""Runs one computation in TFF's native worker and in the device executor, and compares."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tffcxr.runtime import device, native


@functools.cache
def contexts() -> dict[str, tff.framework.SyncContext]:
    return {"native": native.native_context(), "device": device.device_context(["CPU:0"])}


def run(context: tff.framework.SyncContext, function, *arguments: Any) -> Any:
    with tff.framework.get_context_stack().install(context):
        return function(*arguments)


def run_both(function, *arguments: Any) -> Any:
    """The result in the device executor, after checking it against the native worker's."""
    expected = run(contexts()["native"], function, *arguments)
    found = run(contexts()["device"], function, *arguments)
    assert_same(found, expected)
    return found


def assert_same(found: Any, expected: Any, rtol: float = 1e-5) -> None:
    """Equal in containers, names and dtypes; floats within `rtol` (graphs are optimised apart)."""
    if isinstance(expected, tf.data.Dataset):
        assert found.element_spec == expected.element_spec
        found, expected = list(found), list(expected)
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same(found[name], expected[name], rtol)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert_same(one, other, rtol)
    elif hasattr(type(expected), "__attrs_attrs__"):
        for attribute in type(expected).__attrs_attrs__:
            name = attribute.name
            assert_same(getattr(found, name), getattr(expected, name), rtol)
    elif isinstance(expected, (np.ndarray, np.generic, tf.Tensor)):
        assert found.dtype == expected.dtype
        if np.issubdtype(np.asarray(expected).dtype, np.inexact):
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-6)
        else:
            np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected
