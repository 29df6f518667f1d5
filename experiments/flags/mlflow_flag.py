"""The flag that also logs a complete run to MLflow."""

from __future__ import annotations

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from tffcxr.studies.mlflow_log import Store

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flag."""
    flags.DEFINE_string(
        "mlflow",
        None,
        "Also log the complete run to MLflow: file:DIR (settings, metrics, report.html, "
        "metrics.json and the model card), or http(s)://HOST of a tracking server (settings "
        "without paths, and metrics; no file). The same command with this flag adds a run that is "
        "complete already.",
    )


def store() -> Store | None:
    """The store of the flag, None without it.

    Raises:
      InputError: it is no such address, or nothing answers there.
    """
    if "mlflow" not in FLAGS or FLAGS.mlflow is None:
        return None
    from tffcxr.studies import mlflow_log

    return mlflow_log.connect(FLAGS.mlflow)


def log(run: pathlib.Path, target: Store | None) -> None:
    """Logs a complete run, unless the store has it or there is none.

    Raises:
      InputError: the store does not take it.
    """
    if target is None:
        return
    from tffcxr.studies import mlflow_log

    print(mlflow_log.log(run, target), file=sys.stderr)
