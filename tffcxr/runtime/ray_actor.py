"""A Ray actor that computes clients' parts of computations; runs on the machines of a cluster.

Arguments and results are texts, numbers, bytes and arrays of uint8. Ray copies arrays once, into
its object store, and gives them to an actor without copying them again.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import socket
from typing import Any

import numpy as np
import ray

_Packed = tuple[bytes, tuple[np.ndarray, ...]]  # What `messages.Packed` has.


class ClientActor:
    """A worker of `ray_engine.RayEngine` on one device; see `client_part.ClientPart`.

    Args:
      settings: what `tensorflow_settings` has returned where rounds are coordinated.
      on_gpu: whether the actor has a GPU of its own.
    """

    def __init__(self, settings: dict[str, Any], on_gpu: bool) -> None:
        import tensorflow as tf

        _apply(settings)
        self._device = "GPU:0" if on_gpu else "CPU:0"
        if on_gpu:
            for gpu in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(gpu, True)
        else:
            tf.config.set_visible_devices([], "GPU")
        from tffcxr.runtime import client_part, graphs

        self._part = client_part.ClientPart(f"/{self._device}", graphs.GraphFunctions())

    def describe(self, files: list[tuple[str, int, str]]) -> dict[str, Any]:
        """Where this is, and which of the clients' files cannot be read there.

        Args:
          files: the path, size and digest of each, see `fingerprint`.

        Returns:
          `host`, `device`, `process`, and `problem`: one line, empty if all files are the same.
        """
        return {
            "host": socket.gethostname(),
            "device": self._device,
            "process": os.getpid(),
            "problem": next(filter(None, (_problem(*file) for file in files)), ""),
        }

    def load(self, name: str, content: bytes) -> None:
        """See `client_part.ClientPart`."""
        from tffcxr.runtime import engine

        self._part.load(engine.Computation(name, content))

    def answer(self, task: dict[str, Any], *shared: _Packed) -> tuple[_Packed, str]:
        """See `client_part.ClientPart`; `task` has the fields of an `engine.Task`."""
        from tffcxr.runtime import engine, messages

        asked = engine.Task(**{**task, "argument": messages.Packed(*task["argument"])})
        answer = self._part.answer(asked, [messages.Packed(*each) for each in shared])
        return (answer.content.head, answer.content.arrays), answer.failed

    @ray.method(concurrency_group="control")
    def forget(self, invocation: str) -> None:
        """See `client_part.ClientPart`; does not wait for the other methods."""
        self._part.forget(invocation)


def fingerprint(path: str, with_digest: bool) -> tuple[str, int, str]:
    """The path, size in bytes and SHA-256 of a file; without a digest, that is empty.

    Raises:
      OSError: it cannot be read.
    """
    digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() if with_digest else ""
    return path, os.stat(path).st_size, digest


def tensorflow_settings() -> dict[str, Any]:
    """How TensorFlow computes in this process, which decides the last bits of its results."""
    import tensorflow as tf

    threads = tf.config.threading
    return {
        "intra_op": threads.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0)),
        "inter_op": threads.get_inter_op_parallelism_threads(),
        "optimizer": tf.config.optimizer.get_experimental_options(),
    }


def _apply(settings: dict[str, Any]) -> None:
    import tensorflow as tf

    if "TF_NUM_INTRAOP_THREADS" not in os.environ:
        tf.config.threading.set_intra_op_parallelism_threads(settings["intra_op"])
    tf.config.threading.set_inter_op_parallelism_threads(settings["inter_op"])
    tf.config.optimizer.set_experimental_options(settings["optimizer"])


def _problem(path: str, size: int, digest: str) -> str:
    try:
        found = fingerprint(path, bool(digest))
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return "" if found == (path, size, digest) else f"{path}: other content"
