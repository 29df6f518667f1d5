"""What the process of `fork_server` imports before it forks: all that takes a recipe time.

No module with flags, as a recipe defines those itself, and nothing that starts TensorFlow.
"""

from tffcxr import environment

environment.prepare()

import tensorflow as tf  # noqa: E402, F401
import tensorflow_federated as tff  # noqa: E402, F401

from tffcxr.studies.classes import class_study  # noqa: E402, F401
from tffcxr.studies.findings import findings_study  # noqa: E402, F401
from tffcxr.studies.masks import mask_study  # noqa: E402, F401
from tffcxr.studies.volumes import volume_study  # noqa: E402, F401
