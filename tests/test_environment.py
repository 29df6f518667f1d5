"""TensorFlow starts with the settings of `tffcxr.environment`, and computes in every precision."""

import json
import os
import subprocess
import sys

from tests import gradient_program
from tffcxr import environment


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.delenv("TF_CPU_ALLOCATOR_USE_BFC", raising=False)
    environment.prepare()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert os.environ["TF_CPU_ALLOCATOR_USE_BFC"] == "1"


def test_a_gradient_in_bfloat16_in_a_program_of_its_own():
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    ended = subprocess.run(
        [sys.executable, "-m", gradient_program.__name__, "bfloat16"],
        env={**clean, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines()[-1:] == ["finite: True"], ended.stderr[-2000:]


_SMALL = """
import json, os, sys
from tffcxr import environment
import tensorflow as tf
for case in json.load(sys.stdin):
    sys.stdout.flush()
    child = os.fork()  # Before TensorFlow starts.
    if child:
        assert os.waitpid(child, 0)[1] == 0
        continue
    os.environ.update(case["given"])
    if case["starts_before"]: tf.zeros([])
    environment.prepare_for_small_steps()
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    options = tf.config.optimizer.get_experimental_options()
    print(threads, options.get("disable_meta_optimizer", False), flush=True)
    os._exit(0)
"""


def test_small_steps_have_one_thread_and_their_graphs_as_they_are():
    cases = [
        ({"starts_before": False, "given": {}}, "1 True"),
        # The user knows better.
        ({"starts_before": False, "given": {"TF_NUM_INTRAOP_THREADS": "2"}}, "0 False"),
        ({"starts_before": True, "given": {}}, "0 False"),  # Too late, and no harm.
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    ended = subprocess.run(
        [sys.executable, "-c", _SMALL],
        input=json.dumps([case for case, _ in cases]),
        env={**clean, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = ended.stdout.split("\n")[:-1]
    assert (ended.returncode, found) == (0, [line for _, line in cases]), ended.stderr[-2000:]
