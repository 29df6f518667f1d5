"""What is logged to MLflow, in a folder of it and to a server, and what is kept."""

import http.server
import json
import pathlib
import threading

from absl import flags
from mlflow.tracking import MlflowClient
import pytest

from experiments.flags import mlflow_flag, training_flags
from tffcxr.errors import InputError
from tffcxr.studies import mlflow_log

_ROW = {"task": "Lung: left", "model": "unet", "training": "federated", "split": "test"}
_SETTINGS = {
    "rounds": 2,
    "optimizer": "adam",
    "site": ["north=csv:/secret-place/north:Pneumonia"],
    "segmentation_model": "/secret-place/lungs",
    "weights": "none",
    "columns": ["/secret-place/columns.toml"],
    "server_learning_rate": None,
}


@pytest.fixture(name="run")
def _run(tmp_path):
    run = tmp_path / "secret-place" / "run"
    (run / "models").mkdir(parents=True)
    derived = {"calibration": "platt", "cache": "/secret-place/c", "server_learning_rate": 0.5}
    config = {
        "recipe": "tiny", "kind": "findings", "settings": _SETTINGS, "derived": derived,
        "command": ["tffcxr", "tiny", "--output_dir=/secret-place/run"],
    }  # fmt: skip
    (run / "config.json").write_text(json.dumps(config))
    _write_metrics(run, 0.75)
    (run / "rounds.csv").write_text(
        "round,seconds,images,clients,failed_clients,learning_rate,train_loss,Lung: left/auroc,"
        "stage\n1,2,7,2,0,0.1,0.5,,head\n2,2,7,2,0,0.1,0.25,0.625,all\n"
    )
    (run / "report.html").write_text("images of patients")
    (run / "models" / "MODEL_CARD.md").write_text("card")
    return run


def _write_metrics(run, auroc):
    rows = [{**_ROW, "auroc": auroc, "dice": None}, {**_ROW, "training": "site", "auroc": 0.5}]
    content = {"recipe": "tiny", "kind": "findings", "rows": rows, "complete": True}
    (run / "metrics.json").write_text(json.dumps(content))


def _logged(folder):
    client = MlflowClient(folder.as_uri())
    (experiment,) = (e for e in client.search_experiments() if e.name == "tiny")
    return client, client.search_runs([experiment.experiment_id])


def test_a_folder_gets_settings_metrics_rounds_and_files(run, tmp_path):
    line = mlflow_log.log(run, mlflow_log.connect(f"file:{tmp_path / 'a store'}"))
    client, (logged,) = _logged(tmp_path / "a store")
    assert logged.info.run_id in line
    assert (logged.info.status, logged.info.run_name) == ("FINISHED", "run")
    assert logged.data.params == {
        "rounds": "2", "optimizer": "adam", "weights": "none", "calibration": "platt",
        "site": "north=csv:/secret-place/north:Pneumonia", "server_learning_rate": "0.5",
        "segmentation_model": "/secret-place/lungs", "columns": "/secret-place/columns.toml",
        "cache": "/secret-place/c",
    }  # fmt: skip
    final = logged.data.metrics
    assert final["Lung_ left/federated/auroc"] == 0.75
    assert final["Lung_ left/site/auroc"] == 0.5
    assert final["Lung_ left/federated/dice"] != final["Lung_ left/federated/dice"]  # NaN.
    history = client.get_metric_history(logged.info.run_id, "train_loss")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 0.25)]
    # The first round was not measured.
    history = client.get_metric_history(logged.info.run_id, "Lung_ left/auroc")
    assert [(m.step, m.value) for m in history] == [(2, 0.625)]
    assert "stage" not in final
    files = {file.path for file in client.list_artifacts(logged.info.run_id)}
    assert files == {"report.html", "metrics.json", "MODEL_CARD.md"}


def test_a_run_is_logged_once_and_again_with_other_results(run, tmp_path):
    store = mlflow_log.connect(f"file:{tmp_path / 'store'}")
    mlflow_log.log(run, store)
    assert "has this run already" in mlflow_log.log(run, store)
    assert len(_logged(tmp_path / "store")[1]) == 1
    _write_metrics(run, 0.875)
    mlflow_log.log(run, store)
    assert len(_logged(tmp_path / "store")[1]) == 2


def test_a_failure_is_one_line_and_is_made_good_by_the_next_call(run, tmp_path, monkeypatch):
    def fail(*unused_arguments):
        raise OSError("no space\nleft")

    store = mlflow_log.connect(f"file:{tmp_path / 'store'}")
    with monkeypatch.context() as patched:
        patched.setattr(type(store.client), "log_artifact", fail)
        with pytest.raises(InputError, match="the run is complete, and the same") as raised:
            mlflow_log.log(run, store)
    assert "\n" not in str(raised.value)
    mlflow_log.log(run, store)
    assert {r.info.status for r in _logged(tmp_path / "store")[1]} == {"FAILED", "FINISHED"}


def test_images_stay_though_an_experiment_keeps_its_files_elsewhere(run, tmp_path):
    store = mlflow_log.connect(f"file:{tmp_path / 'store'}")
    store.client.create_experiment("tiny", artifact_location="s3://elsewhere/files")
    with pytest.raises(InputError, match="stay on this computer.*s3://elsewhere/files"):
        mlflow_log.log(run, store)
    assert _logged(tmp_path / "store")[1] == []


@pytest.mark.parametrize(
    "address, expected",
    [
        ("runs/mlflow", "expected file:DIR"),
        ("file:", "expected file:DIR"),
        ("file://elsewhere/folder", "expected file:DIR"),
        ("http:/host", "expected file:DIR"),
        ("http://[1", "expected file:DIR"),
        ("databricks", "expected file:DIR"),
        ("sqlite:///a.db", "expected file:DIR"),
        ("https://me:word@host", "without user and password"),
    ],
)
def test_a_wrong_address(address, expected):
    with pytest.raises(InputError, match=expected) as raised:
        mlflow_log.connect(address)
    assert "word@" not in str(raised.value)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a folder that can be made"):
        mlflow_log.connect(f"file:{tmp_path / 'file' / 'store'}")


class _Server(http.server.ThreadingHTTPServer):
    """Keeps path, body and headers of every request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.requests: list[tuple[str, str, str]] = []


class _Answers(http.server.BaseHTTPRequestHandler):
    """As much of a tracking server as a run needs."""

    server: _Server

    _RUN = {"info": {"run_id": "abc", "run_uuid": "abc", "status": "RUNNING"}}
    _ANSWERS = {
        "experiments/search": {"experiments": []},
        "runs/search": {"runs": []},
        "experiments/create": {"experiment_id": "7"},
        "runs/create": {"run": _RUN},
        "runs/get": {"run": _RUN},
        "runs/log-batch": {},
        "runs/update": {"run_info": {"run_id": "abc", "status": "FINISHED"}},
    }

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.requests.append((self.path, body, str(self.headers)))
        name = self.path.partition("/mlflow/")[2].partition("?")[0]
        answer = self._ANSWERS.get(name, {"error_code": "RESOURCE_DOES_NOT_EXIST"})
        self.send_response(200 if name in self._ANSWERS else 404)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_GET = do_POST = _answer  # noqa: N815 - the base class calls them so.

    def log_message(self, *unused_arguments):
        pass


@pytest.fixture(name="server")
def _server():
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_server_gets_no_path_no_file_and_no_image(run, server):
    address = f"http://127.0.0.1:{server.server_port}"
    assert "as run abc" in mlflow_log.log(run, mlflow_log.connect(address))
    sent = "\n".join(map(str, server.requests))
    assert "artifact" not in sent
    for secret in ("secret-place", "images of patients", str(pathlib.Path.home())):
        assert secret not in sent
    (batch,) = (json.loads(body) for path, body, _ in server.requests if "log-batch" in path)
    params = {param["key"]: param["value"] for param in batch["params"]}
    assert params["optimizer"] == "adam"
    assert params["site"] == "north=csv:[left out]"
    assert {m["key"] for m in batch["metrics"]} >= {"Lung_ left/federated/auroc", "train_loss"}


def test_a_server_that_is_none(monkeypatch, server):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(_Answers, "_ANSWERS", {})
    with pytest.raises(InputError, match="HOST of an MLflow server, found http://127") as raised:
        mlflow_log.connect(f"http://127.0.0.1:{server.server_port}")
    assert "\n" not in str(raised.value)


def test_nobody_answers(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match="found http://127.0.0.1:1: ") as raised:
        mlflow_log.connect("http://127.0.0.1:1")
    assert "\n" not in str(raised.value)


def test_without_the_flag_there_is_no_store(run, monkeypatch):
    values = flags.FlagValues()
    monkeypatch.setattr(mlflow_flag, "FLAGS", values)
    assert mlflow_flag.store() is None  # A program without the flag.
    flags.DEFINE_string("mlflow", None, "", flag_values=values)
    values(["program"])
    assert mlflow_flag.store() is None
    mlflow_flag.log(run, None)
    assert "mlflow" in training_flags.UNRECORDED


def test_different_names_stay_different():
    names: dict[str, str] = {}
    told = [mlflow_log._name(name, names) for name in ("a/b:c", "a/b;c", "a//b", "../x", "a/b:c")]
    assert told == ["a/b_c", "a/b_c_", "a/b", "_/x", "a/b_c"]
