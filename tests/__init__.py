"""Tests; no test writes the key of names of files into the home of whoever runs it."""

import atexit
import os
import shutil
import tempfile

if "TFFCXR_NAMES_KEY" not in os.environ:
    _folder = tempfile.mkdtemp(prefix="tffcxr-key-")
    os.environ["TFFCXR_NAMES_KEY"] = os.path.join(_folder, "names.key")
    # In the process that made it: others that import this know the variable.
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
