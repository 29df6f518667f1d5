"""TensorBoard serves what a run has written, and ends when it is asked to."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest

from experiments import tensorboard
from tests.experiments import programs
from tffcxr.errors import InputError
from tffcxr.evaluation import result_rows

PROGRAM = programs.REPOSITORY / "experiments" / "tensorboard.py"
# Of a machine behind a proxy that nobody answers at; the loopback is to be reached nevertheless.
BEHIND_A_PROXY = {"http_proxy": "http://localhost:9", "https_proxy": "http://localhost:9"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with a curve of two rounds and its record for HParams."""
    import tensorflow as tf

    from tffcxr.studies import run_hparams

    folder = tmp_path_factory.mktemp("run")
    writer = tf.summary.create_file_writer(str(folder / "tensorboard" / "federated"))
    with writer.as_default():
        for step, loss in ((1, 0.75), (2, 0.5)):
            tf.summary.scalar("loss/train", loss, step=step)
    writer.close()
    config = {"recipe": "tiny", "settings": {"rate": 0.1, "schedule": None, "site": ["a=b:c"]}}
    (folder / "config.json").write_text(json.dumps(config))
    row = {"task": "A", "training": "federated", "split": "test", "auroc": 0.875, "images": 9}
    result_rows.write_metrics(folder, "tiny", "findings", [row])
    run_hparams.write(folder)
    assert run_hparams.is_written(folder)
    return folder


def _start(folder):
    """Starts the program as Bazel does: as a file, with the tree's root on the path."""
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), f"--logdir={folder}", "--port=0"],
        env={**environment, **BEHIND_A_PROXY, "PYTHONPATH": str(programs.REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _get(address, body=None):
    request = urllib.request.Request(
        address,
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)


def test_runs_curves_and_hparams_over_http(run):
    program = _start(run)
    try:
        line = program.stdout.readline()
        assert str(run / "tensorboard") in line, program.communicate()
        (address,) = (word for word in line.split() if word.startswith("http://localhost:"))
        server = psutil.Process(program.pid)
        listening = [c.laddr.ip for c in server.net_connections("tcp") if c.status == "LISTEN"]
        assert listening == ["127.0.0.1"]

        assert sorted(_get(f"{address}data/runs")) == ["federated", "results"]
        curves = f"{address}data/plugin/scalars/"
        assert "loss/train" in _get(curves + "tags")["federated"]
        series = _get(curves + "scalars?run=federated&tag=loss/train")
        assert [(step, value) for _, step, value in series] == [(1, 0.75), (2, 0.5)]

        hparams = f"{address}data/plugin/hparams/"
        experiment = _get(hparams + "experiment", {"experimentName": ""})
        assert {info["name"] for info in experiment["hparamInfos"]} == {"rate", "recipe"}
        (metric,) = (info["name"] for info in experiment["metricInfos"])
        assert metric == {"group": "", "tag": "final/A/federated/auroc"}
        groups = _get(
            hparams + "session_groups",
            {
                "experimentName": "",
                "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_RUNNING"],
                "colParams": [{"metric": metric}],
                "startIndex": 0,
                "sliceSize": 10,
            },
        )
        (group,) = groups["sessionGroups"]
        assert group["hparams"] == {"rate": 0.1, "recipe": "tiny"}
        assert group["name"] == run.name
        assert [value["value"] for value in group["metricValues"]] == [0.875]

        children = server.children(recursive=True)
        program.send_signal(signal.SIGTERM)
        output, errors = program.communicate(timeout=60)
        assert (program.returncode, output, errors) == (0, "", "")
        assert not psutil.wait_procs(children, timeout=10)[1]
    finally:
        program.kill()
        program.communicate()


def test_ctrl_c_is_a_good_end(run):
    program = _start(run)
    try:
        assert program.stdout.readline()
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=60)[1] == ""
        assert program.returncode == 0
    finally:
        program.kill()
        program.communicate()


def test_a_sweep_and_other_folders_with_events_are_found(tmp_path):
    events = tmp_path / "runs" / "a" / "tensorboard" / "federated"
    events.mkdir(parents=True)
    (events / "events.out.tfevents.1").touch()
    assert tensorboard.find_events(tmp_path / "runs" / "a") == events.parent
    assert tensorboard.find_events(events) == events
    assert tensorboard.find_events(tmp_path / "runs") == tmp_path / "runs"


@pytest.mark.parametrize("name", ["nowhere", "empty", "new run"])
def test_a_folder_without_events_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "new run" / "tensorboard").mkdir(parents=True)
    with pytest.raises(InputError, match=f"--logdir: expected .* found .*{name}"):
        tensorboard.find_events(tmp_path / name)


@pytest.mark.parametrize(
    "flags,expected",
    [
        ([], "--logdir: expected the folder of a run or of a sweep, found none"),
        (["--logdir=/nowhere"], "--logdir: expected the folder of a run or of a sweep"),
        (["--port=70000"], "--port=70000"),
    ],
)
def test_bad_input_is_told_in_one_line(flags, expected):
    ended = programs.in_a_real_process("experiments.tensorboard", *flags)
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert expected in line


def test_a_port_in_use_is_refused_and_the_default_gives_way(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port: .* found 127.0.0.1:{port}: Address already"):
            tensorboard._free_port("127.0.0.1", port)
        monkeypatch.setattr(tensorboard, "_DEFAULT_PORT", port)
        assert port < tensorboard._free_port("127.0.0.1", None) < port + 100


def test_an_address_of_nobody_is_refused():
    with pytest.raises(InputError, match="--host, .* found no.such.name:0: "):
        tensorboard._free_port("no.such.name", 0)
