"""Brings a TFF computation into the form that the executors run.

Both run TFF's call-dominant form: one flat list of federated operations over TensorFlow graphs. The
native worker gets it from TFF's own native compiler, which also optimises every graph. For the
device executor that would be lost time: TensorFlow optimises its functions when they first run.

Secure aggregations become sums in the clear before, by TFF's own replacement. The native worker has
no secure aggregation, and a simulation holds the values of all clients in one memory anyway.
"""

from __future__ import annotations

import logging
from typing import Any

from tensorflow_federated.python.core.backends.native import compiler as native_compiler
from tensorflow_federated.python.core.backends.test import compiler as test_compiler
from tensorflow_federated.python.core.environments.tensorflow_backend import (
    tensorflow_tree_transformations,
)
from tensorflow_federated.python.core.impl.compiler import (
    building_blocks,
    transformations,
    tree_analysis,
)

_logger = logging.getLogger(__name__)


def compile_for_native(comp: Any) -> Any:
    """The computation as the native worker takes it, a computation of the same type."""
    if _has_secure_intrinsics(comp.to_building_block()):
        comp = _without_secure_intrinsics(comp)
    return native_compiler.desugar_and_transform_to_native(comp)


def compile_for_device(comp: Any) -> building_blocks.ComputationBuildingBlock:
    """The computation as `interpreter.py` takes it."""
    block = comp.to_building_block()  # It takes a second for a deep network.
    if _has_secure_intrinsics(block):
        block = _without_secure_intrinsics(comp).to_building_block()
    block, _ = tensorflow_tree_transformations.replace_intrinsics_with_bodies(block)
    return transformations.to_call_dominant(block)


def _has_secure_intrinsics(block: building_blocks.ComputationBuildingBlock) -> bool:
    return tree_analysis.contains(block, _is_secure)


def _without_secure_intrinsics(comp: Any) -> Any:
    _logger.warning("simulation: secure sums and selections are computed in the clear")
    return test_compiler.replace_secure_intrinsics_with_bodies(comp)


def _is_secure(block: building_blocks.ComputationBuildingBlock) -> bool:
    return isinstance(block, building_blocks.Intrinsic) and "_secure_" in block.uri
