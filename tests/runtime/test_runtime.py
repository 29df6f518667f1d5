"""`runtime.use` chooses where computations run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tensorflow_federated as tff

from tests.runtime.programs import increase
from tffcxr import errors, runtime
from tffcxr.runtime import device, native


@pytest.fixture(autouse=True)
def _same_context_afterwards():
    stack = tff.framework.get_context_stack()
    before = stack.current
    yield
    stack.set_default_context(before)


def test_device():
    said = runtime.use("device", devices=["CPU:0"])
    assert said == "clients are computed on CPU:0"
    context = tff.framework.get_context_stack().current
    assert isinstance(context, device.DeviceContext)
    assert context.workers == ("/CPU:0",)
    assert increase(1) == 2


def test_the_cpu_computes_two_clients_at_once():
    expected = "CPU:0 (2 clients at once)" if (os.cpu_count() or 1) > 1 else "CPU:0"
    assert runtime.use("device") == f"clients are computed on {expected}"


def test_native(tmp_path):
    log_file = tmp_path / "logs" / "worker.log"
    assert "native" in runtime.use("native", log_file=log_file)
    context = tff.framework.get_context_stack().current
    assert isinstance(context, native.NativeContext)
    assert increase(1) == 2
    assert log_file.read_text()
    context.close()


def test_unknown_executor():
    with pytest.raises(errors.InputError, match="'cloud'"):
        runtime.use("cloud")


def test_a_program_that_ends_before_it_has_chosen_ends_quietly():
    program = "import sys; from tffcxr.runtime import device; sys.exit(2)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_importing_the_package_is_cheap():
    program = "import sys, tffcxr.runtime; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
