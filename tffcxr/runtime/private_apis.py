"""What this project uses of TensorFlow and TFF beyond their public API, in one module.

Seen to work with tensorflow 2.14.1 and tensorflow-federated 0.87.0. Another version may have moved
or changed any of it: run the tests of this package first. No other module of `tffcxr` or
`experiments` may import from `tensorflow.python`, `keras.src`, `tensorflow_federated.python` or
`tensorflow_federated.proto` (`tffcxr/bazel/build_files.py` checks that).

Each name, what it is for, and the public name that would replace it:

- `ANONYMOUS_NAME`: handles that make a new variable at every run. Public: none.
- `is_stateful`: finding the nodes of a graph that make variables and tables. Public: `op_def` of
  a `tf.Operation`, if the graph were imported for that.
- `inference_function`: calling a graph without the work for gradient tapes. Public: the
  `ConcreteFunction`, slower per call.
- `computation_pb2`: annotations: the protocol buffers inside a computation. Public: none.
- `executor_pb2`, `serialize_type`, `deserialize_type`, `arrays`: values as messages between
  processes. Public: `tff.framework.serialize_value`, which copies arrays into lists and back.
- `dtypes`: the numbers of dtypes in those. Public: none.
- `is_compatible_dtype`, `is_compatible_shape`: rejecting the arguments that TFF rejects. Public:
  none.
- `infer_cardinalities`: the number of clients in an argument. Public: none; `tff.framework` has
  only `merge_cardinalities`.
- `coerce_dataset_elements_to_tff_type_spec`: a dataset whose elements have a type's containers.
  Public: none.
- `make_data_set_from_elements`: a dataset from a list of elements. Public: none; `tf.data` has
  other rules for batches.
- `type_to_tf_structure`: the element spec of a dataset. Public:
  `tff.types.type_to_tf_tensor_specs`, which fails for named structs without a Python container.
- `FEDERATED_…`, `SEQUENCE_…`: the URIs of intrinsics. Public: none; `tff.framework` has the
  others.
- `RuntimeErrorContext`: recognising a thread for which no context was chosen. Public: none.
- `WorkerStub`: TFF's stub without its thread that watches the channel. Public:
  `tff.framework.RemoteExecutorGrpcStub` with such an option.
- `invoke_once`: one try of a computation, without TFF's endless repetition. Public:
  `tff.framework.AsyncExecutionContext` with such an option.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
import contextlib
from typing import Any

import grpc
from tensorflow.python.eager import context as eager_context
from tensorflow.python.framework import op_def_registry
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import computation_pb2, executor_pb2, executor_pb2_grpc
from tensorflow_federated.python.core.backends.mapreduce.intrinsics import (
    FEDERATED_SECURE_MODULAR_SUM,
)
from tensorflow_federated.python.core.impl.compiler import array as arrays
from tensorflow_federated.python.core.impl.compiler.array import (
    is_compatible_dtype,
    is_compatible_shape,
)
from tensorflow_federated.python.core.impl.compiler.intrinsic_defs import (
    FEDERATED_SECURE_SELECT,
    FEDERATED_SECURE_SUM,
    FEDERATED_SECURE_SUM_BITWIDTH,
    FEDERATED_SELECT,
    SEQUENCE_MAP,
    SEQUENCE_REDUCE,
    SEQUENCE_SUM,
)
from tensorflow_federated.python.core.impl.context_stack.runtime_error_context import (
    RuntimeErrorContext,
)
from tensorflow_federated.python.core.impl.executors.cardinalities_utils import infer_cardinalities
from tensorflow_federated.python.core.impl.types import dtype_utils as dtypes
from tensorflow_federated.python.core.impl.types.type_conversions import type_to_tf_structure
from tensorflow_federated.python.core.impl.types.type_serialization import (
    deserialize_type,
    serialize_type,
)
from tensorflow_federated.python.core.impl.utils.tensorflow_utils import (
    coerce_dataset_elements_to_tff_type_spec,
    make_data_set_from_elements,
)

__all__ = [
    "ANONYMOUS_NAME",
    "FEDERATED_SECURE_MODULAR_SUM",
    "FEDERATED_SECURE_SELECT",
    "FEDERATED_SECURE_SUM",
    "FEDERATED_SECURE_SUM_BITWIDTH",
    "FEDERATED_SELECT",
    "SEQUENCE_MAP",
    "SEQUENCE_REDUCE",
    "SEQUENCE_SUM",
    "RuntimeErrorContext",
    "WorkerStub",
    "arrays",
    "coerce_dataset_elements_to_tff_type_spec",
    "computation_pb2",
    "deserialize_type",
    "dtypes",
    "executor_pb2",
    "infer_cardinalities",
    "inference_function",
    "invoke_once",
    "is_compatible_dtype",
    "is_compatible_shape",
    "is_stateful",
    "make_data_set_from_elements",
    "serialize_type",
    "type_to_tf_structure",
]

ANONYMOUS_NAME: bytes = eager_context.anonymous_name().encode()


def is_stateful(operation: str) -> bool:
    """Whether an operation, such as "VarHandleOp", keeps state; False for unknown ones."""
    definition = op_def_registry.get(operation)
    return definition is not None and definition.is_stateful


def inference_function(wrapped: Any) -> Callable[..., Any]:
    """The graph of a `ConcreteFunction`, without what the latter does for tapes on every call."""
    return wrapped._inference_function


class WorkerStub(tff.framework.RemoteExecutorGrpcStub):
    """TFF's stub, except that values in a worker that has ended need no disposal."""

    def __init__(self, channel: grpc.Channel) -> None:
        # TFF's constructor would watch the channel's state on a thread for ever.
        self._channel = channel
        self._stub = executor_pb2_grpc.ExecutorGroupStub(channel)

    def dispose(self, request: Any) -> Any:
        """Lets values in the worker go, if there still is one."""
        with contextlib.suppress(grpc.RpcError):
            super().dispose(request)

    def dispose_executor(self, request: Any) -> Any:
        """Lets an executor in the worker go, if there still is one."""
        with contextlib.suppress(grpc.RpcError):
            super().dispose_executor(request)


def invoke_once(
    context: tff.framework.AsyncExecutionContext, comp: Any, arg: Any
) -> Coroutine[Any, Any, Any]:
    """`context.invoke` without TFF's loop around it, which repeats for ever, whatever the reason.

    Raises:
      tff.framework.RetryableError: what TFF's loop would repeat.
    """
    return tff.framework.AsyncExecutionContext.invoke.__wrapped__(context, comp, arg)
