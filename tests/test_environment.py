"""TensorFlow starts with the settings of `tffcxr.environment`, and computes in every precision."""

import os
import subprocess
import sys

import pytest

from tests import gradient_program
from tffcxr import environment


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.delenv("TF_CPU_ALLOCATOR_USE_BFC", raising=False)
    environment.prepare()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert os.environ["TF_CPU_ALLOCATOR_USE_BFC"] == "1"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gradient_in_a_program_of_its_own(precision):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    ended = subprocess.run(
        [sys.executable, "-m", gradient_program.__name__, precision],
        env={**clean, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines()[-1:] == ["finite: True"], ended.stderr[-2000:]


@pytest.mark.parametrize(("given", "threads"), [({}, 1), ({"TF_NUM_INTRAOP_THREADS": "2"}, 0)])
def test_small_steps_have_one_thread_unless_the_user_says_otherwise(given, threads):
    program = (
        "from tffcxr import environment; environment.prepare_for_small_steps();"
        "import tensorflow as tf; print(tf.config.threading.get_intra_op_parallelism_threads());"
        "tf.zeros([]); environment.prepare_for_small_steps()"  # Too late, and no harm.
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**clean, **given, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout.split()) == (0, [str(threads)]), ended.stderr[-2000:]
