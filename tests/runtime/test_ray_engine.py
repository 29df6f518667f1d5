"""Two Ray actors compute what this process computes, also when they are killed.

One cluster serves all tests, since it takes half a minute to start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import numpy as np
import psutil
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.runtime import loopback
from tests.runtime.executors import run
from tffcxr import errors
from tffcxr.runtime import device, placed, ray_actor, ray_engine

LOCAL = device.device_context(["CPU:0"])
WEIGHTS = 100_000
KILLS = int(os.environ.get("TFFCXR_KILLS", "1"))


@tff.tensorflow.computation((np.float32, [WEIGHTS]), np.int32)
def train(weights, steps):
    """Some milliseconds per step; fails if there are none."""
    with tf.control_dependencies([tf.debugging.assert_positive(steps, "no images")]):
        steps = tf.identity(steps)
    return tf.while_loop(
        lambda step, _: step < steps,
        lambda step, w: (step + 1, tf.sin(w) + tf.reduce_mean(w) * 1e-3),
        (0, weights),
    )[1]


@tff.federated_computation(
    tff.FederatedType((np.float32, [WEIGHTS]), tff.SERVER),
    tff.FederatedType(np.int32, tff.CLIENTS),
)
def average(weights, steps):
    return tff.federated_mean(tff.federated_map(train, (tff.federated_broadcast(weights), steps)))


@tff.tensorflow.computation((np.float32, [WEIGHTS]))
def whole(weights):
    return tf.cast(tf.round((weights + 2.0) * 2**16), tf.int64)


@tff.federated_computation(
    tff.FederatedType((np.float32, [WEIGHTS]), tff.SERVER),
    tff.FederatedType(np.int32, tff.CLIENTS),
)
def secure_sum(weights, steps):
    trained = tff.federated_map(train, (tff.federated_broadcast(weights), steps))
    return tff.federated_secure_sum_bitwidth(tff.federated_map(whole, trained), 20)


START = np.linspace(-1.0, 1.0, WEIGHTS, dtype=np.float32)


class OneActor:
    """An engine whose clients all belong to the first actor."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def lanes(self, sizes):
        return [0] * len(sizes)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    shard = tmp_path_factory.mktemp("shards") / "shard"
    shard.write_bytes(b"pixels")
    started = ray_engine.start(None, 2, [str(shard)])
    yield started
    children = psutil.Process().children(recursive=True)
    folder = started._cluster._folder
    assert folder is not None
    started.close()
    _, left = psutil.wait_procs(children, timeout=30)
    assert not [each for each in left if "ray" in each.name()]
    assert not folder.path.exists()


@pytest.fixture
def there(engine):
    return device.DeviceContext(["/CPU:0"], elsewhere=loopback.remote(engine))


def same(context, steps):
    """Whether a context gives the bits that this process gives."""
    found = run(context, average, START, steps)
    return found.tobytes() == run(LOCAL, average, START, steps).tobytes()


def test_one_and_two_actors_give_the_bits_of_this_process(engine, there):
    steps = [3, 1, 4, 1, 5]
    assert engine.describe().startswith("2 Ray actors (host ")
    assert same(there, steps)
    assert same(
        device.DeviceContext(["/CPU:0"], elsewhere=loopback.remote(OneActor(engine))), steps
    )


def test_a_client_that_fails_is_named_as_it_is_here(there):
    said = []
    for context in (LOCAL, there):
        with pytest.raises(placed.ClientError, match="(?s)client 1: .*no images") as caught:
            run(context, average, START, [1, 0, 1])
        said.append(str(caught.value).partition("[Op:")[0])  # The graph has a number of its own.
    assert said[0] == said[1]


def test_files_that_differ_are_named_with_their_host(engine, tmp_path):
    shard = tmp_path / "shard"
    shard.write_bytes(b"other")
    fingerprint = ray_actor.fingerprint(str(shard), True)
    engine.check([fingerprint])
    shard.write_bytes(b"pixel")
    with pytest.raises(errors.InputError, match=r"^host \S+: .* found .*shard: other content; "):
        engine.check([fingerprint])
    shard.unlink()
    with pytest.raises(errors.InputError, match="shard: No such file"):
        engine.check([fingerprint])
    engine._files = engine._files[:1]


def test_actors_that_are_killed_change_nothing(engine, there):
    steps = [300, 300, 200, 100]
    expected = run(LOCAL, average, START, steps).tobytes()
    for _ in range(KILLS):
        first, second = engine.processes()
        killer = threading.Timer(0.3, os.kill, (first, signal.SIGKILL))
        killer.start()
        assert run(there, average, START, steps).tobytes() == expected  # One goes on alone.
        killer.join()
        os.kill(second, signal.SIGKILL)  # Between two rounds.
        assert run(there, average, START, steps).tobytes() == expected
        assert set(engine.processes()) != {first, second}  # Another has come.


class KillsWithKeys:
    """An engine, an actor of which is killed once the keys for masks are there."""

    def __init__(self, engine):
        self._engine = engine
        self.killed = False

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def ask(self, lane, computation, task, shared):
        for process in self._engine.processes() if task.keys else ():
            if not self.killed:
                with contextlib.suppress(ProcessLookupError):  # It was killed by another test.
                    os.kill(process, signal.SIGKILL)
                    self.killed = True
        return self._engine.ask(lane, computation, task, shared)


def test_a_secure_sum_is_begun_again_where_an_actor_with_its_masks_is_killed(engine, caplog):
    steps = [30, 30, 20, 10]
    expected = run(LOCAL, secure_sum, START, steps).tobytes()
    killing = KillsWithKeys(engine)
    context = device.DeviceContext(["/CPU:0"], elsewhere=loopback.remote(killing))
    assert run(context, secure_sum, START, steps).tobytes() == expected
    assert killing.killed
    assert "the masks of secure sums were lost: beginning them again" in caplog.text


@pytest.mark.parametrize("service", ["raylet"] if KILLS == 1 else ["raylet", "gcs_server"])
def test_a_cluster_that_ends_is_started_again(there, service):
    steps = [300, 300, 200, 100]
    expected = run(LOCAL, average, START, steps).tobytes()
    for _ in range(KILLS):
        (victim,) = _running(service)
        killer = threading.Timer(0.2, victim.kill)
        killer.start()
        assert run(there, average, START, steps).tobytes() == expected
        killer.join()
        assert run(there, average, START, steps).tobytes() == expected
        (another,) = _running(service)
        assert another.pid != victim.pid


def _running(service):
    return [
        child
        for child in psutil.Process().children()
        if child.name() == service and child.status() != psutil.STATUS_ZOMBIE
    ]
