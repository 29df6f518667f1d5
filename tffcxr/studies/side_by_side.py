"""Independent trainings at once, as many as there are devices for.

One training on the CPU leaves a core idle while it reads images, writes files and steps through
Python; federated rounds compute two clients at once for the same reason. Each training has a
thread, weights and files of its own, so what it computes does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import concurrent.futures
import os
import threading
from typing import Any, TypeVar

import tensorflow as tf

_Result = TypeVar("_Result")
_stop = threading.Event()


class Stopped(Exception):  # noqa: N818
    """Ends a training whose neighbour has failed, or whose program has been interrupted."""


def run(tasks: Mapping[str, Callable[[], _Result]]) -> dict[str, _Result]:
    """Calls all tasks, as many at a time as there are devices for; see `at_once`.

    Returns:
      Name to result, in the order of the tasks.

    Raises:
      BaseException: what the first task that failed raised. The others are stopped after their
        round before.
    """
    workers = min(at_once(), len(tasks))
    if workers < 2:
        return {name: task() for name, task in tasks.items()}
    _stop.clear()
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        futures = {name: executor.submit(task) for name, task in tasks.items()}
        try:
            done, _ = concurrent.futures.wait(
                futures.values(), return_when=concurrent.futures.FIRST_EXCEPTION
            )
            for future in done:
                future.result()  # Raises what the task has raised.
        except BaseException:
            _stop.set()
            for future in futures.values():
                future.cancel()
            raise
        return {name: future.result() for name, future in futures.items()}


def at_once() -> int:
    """How many trainings run at once: two on the CPU, one where there is a GPU, which it fills."""
    if tf.config.list_physical_devices("GPU"):
        return 1
    return min(2, os.cpu_count() or 1)


def stop_if_asked(*unused_arguments: Any) -> None:
    """An observer of `loop.Journal` that ends the training when it is to stop.

    Raises:
      Stopped: it is.
    """
    if _stop.is_set() and threading.current_thread() is not threading.main_thread():
        raise Stopped
