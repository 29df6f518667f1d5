"""What the server process of `programs` imports before it forks: all that takes time."""

from tffcxr import environment

environment.prepare()

import tensorflow as tf  # noqa: E402, F401
import tensorflow_federated as tff  # noqa: E402, F401

from tffcxr.report import run_report  # noqa: E402, F401
from tffcxr.studies.findings import findings_study  # noqa: E402, F401
