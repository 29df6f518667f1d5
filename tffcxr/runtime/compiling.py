"""Brings a TFF computation into the form that the executors run.

Both run TFF's call-dominant form: one flat list of federated operations over TensorFlow graphs. The
native worker gets it from TFF's own native compiler, which also optimises every graph. For the
device executor that would be lost time: TensorFlow optimises its functions when they first run.

The native worker has no secure aggregation: there, secure sums become sums in the clear before, by
TFF's own replacement. Otherwise they stay, see `secure_sums.py`.
"""

from __future__ import annotations

import logging
from typing import Any

import tensorflow_federated as tff

_logger = logging.getLogger(__name__)


def compile_for_native(comp: Any) -> Any:
    """The computation as the native worker takes it, a computation of the same type."""
    if has_secure_sums(comp):
        _logger.warning(
            "secure sums and selections are computed in the clear by TFF's native worker"
        )
        comp = tff.backends.test.replace_secure_intrinsics_with_bodies(comp)
    return tff.backends.native.desugar_and_transform_to_native(comp)


def compile_for_device(comp: Any) -> tff.framework.ComputationBuildingBlock:
    """The computation as `interpreter.py` takes it."""
    block = comp.to_building_block()  # It takes a second for a deep network.
    block, _ = tff.tensorflow.replace_intrinsics_with_bodies(block)
    return tff.framework.to_call_dominant(block)


def has_secure_sums(comp: Any) -> bool:
    """Whether a computation, as it was built, has secure sums or selections."""
    # Changes nothing: a block is reported as changed if it is secure.
    _, found = tff.framework.transform_postorder(
        comp.to_building_block(), lambda part: (part, _is_secure(part))
    )
    return found


def _is_secure(block: tff.framework.ComputationBuildingBlock) -> bool:
    return isinstance(block, tff.framework.Intrinsic) and "_secure_" in block.uri
