"""Brings a TFF computation into the form that both executors run.

That is TFF's compiler for its native runtime, after TFF's replacement of the secure aggregations by
sums in the clear. The native runtime has no secure aggregation, and a simulation, which holds the
values of all clients in one memory anyway, has nothing to hide from itself.
"""

from __future__ import annotations

import logging
from typing import Any

from tensorflow_federated.python.core.backends.native import compiler as native_compiler
from tensorflow_federated.python.core.backends.test import compiler as test_compiler
from tensorflow_federated.python.core.impl.compiler import building_blocks, tree_analysis

_logger = logging.getLogger(__name__)


def compile_computation(comp: Any) -> Any:
    """The computation in TFF's native form, as a computation of the same type."""
    if tree_analysis.contains(comp.to_building_block(), _is_secure):
        _logger.warning("simulation: secure sums and selections are computed in the clear")
        comp = test_compiler.replace_secure_intrinsics_with_bodies(comp)
    return native_compiler.desugar_and_transform_to_native(comp)


def _is_secure(block: building_blocks.ComputationBuildingBlock) -> bool:
    return isinstance(block, building_blocks.Intrinsic) and "_secure_" in block.uri
