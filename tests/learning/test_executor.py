"""A process for which nobody has chosen an executor is computed in this program alone."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest
import tensorflow_federated as tff

from tests.learning import tiny
from tffcxr.runtime import device

_PROGRAM = """
import psutil
from tests.learning import tiny

process = tiny.scalar_process()
client = tiny.client(process.initialize_client(), tiny.scalars([4.0]))
state, *_ = process.next(process.initialize(), [client])
print(float(state["weights"]["trainable"][0][0, 0]), psutil.Process().children(recursive=True))
"""


@pytest.fixture(autouse=True)
def _same_context_afterwards():
    stack = tff.framework.get_context_stack()
    before = stack.current
    yield
    stack.set_default_context(before)


def test_a_program_leaves_no_process_and_closes_its_output():
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        # Ends when nobody holds the other end of the pipe any more.
        output, _ = program.communicate(timeout=120)
        assert (program.returncode, output.splitlines()[-1]) == (0, "4.0 []"), output
        with pytest.raises(ProcessLookupError):
            os.killpg(program.pid, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def test_a_thread_of_its_own_has_one_too():
    found = []

    def work():
        process = tiny.scalar_process()
        process.initialize()
        found.append(tff.framework.get_context_stack().current)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(found[0], device.DeviceContext)


def test_a_choice_stays():
    chosen = device.device_context(["CPU:0"])
    tff.framework.get_context_stack().set_default_context(chosen)
    tiny.scalar_process()
    assert tff.framework.get_context_stack().current is chosen
