"""Logs a complete run to MLflow: its settings, its final metrics, and its rounds as steps.

Files, and settings with their paths, go to a store on this computer alone: `report.html` has images
of patients. A tracking server gets no file, no path and no name of the user or the computer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import re
import time
from typing import TYPE_CHECKING, Any
import urllib.parse
import urllib.request

from tffcxr import run_tables
from tffcxr.errors import InputError, one_line
from tffcxr.evaluation import result_rows
from tffcxr.report import model_card, run_files, shared_copy
from tffcxr.studies import run_hparams

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_EXPECTED = "--mlflow: expected file:DIR, or http(s)://HOST of an MLflow server"
_FILES = ("report.html", "metrics.json", model_card.FILE)
_TAG = "tffcxr.results"  # Tells whether a run is logged already.
# MLflow would try for minutes whether a server answers.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_LONGEST_NAME = 250
_NOT_IN_A_NAME = re.compile(r"[^/\w.\- ]")


@dataclasses.dataclass(frozen=True)
class Store:
    """Where runs are logged.

    Attributes:
      address: as the user gave it.
      client: of MLflow.
      is_local: whether it is a folder of this computer, and so may have files and paths.
    """

    address: str
    client: MlflowClient
    is_local: bool


def connect(address: str) -> Store:
    """Opens a store and checks that it answers; a folder is made.

    Raises:
      InputError: the address is none of a folder or a server, or nothing answers there.
    """
    uri = _uri(address)
    from mlflow.tracking import MlflowClient

    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    with _failures(address):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    return Store(address, client, uri.startswith("file:"))


def log(run: pathlib.Path, store: Store) -> str:
    """Logs a complete run, unless the store has it.

    Returns:
      A line that says what was done.

    Raises:
      InputError: a file of the run is damaged, or the store does not take it.
    """
    config = run_files.read_json(run / "config.json")
    rows = result_rows.read_metrics(run)["rows"]
    digest = _digest(run, config)
    settings = _settings(config, store.is_local)
    finals = run_hparams.results(rows)
    metrics = [
        *((name.partition("/")[2], value, 0) for name, value in finals.items()),
        *_rounds(run),
    ]
    # A folder's name is a part of a path.
    title = run.resolve().name if store.is_local else f"{config['recipe']} {digest[:8]}"
    with _failures(store.address, "; the run is complete, and the same command logs it"):
        experiment = _experiment(store, str(config["recipe"]))
        found = store.client.search_runs(
            [experiment], f"tags.`{_TAG}` = '{digest}' and attributes.status = 'FINISHED'"
        )
        if found:
            return f"mlflow: {store.address} has this run already, as {found[0].info.run_id}"
        tags = {_TAG: digest, "tffcxr.kind": str(config.get("kind"))}
        identity = store.client.create_run(experiment, tags=tags, run_name=title).info.run_id
        try:
            _log(store, identity, settings, metrics)
            if store.is_local:
                for name in _FILES:
                    if (run / name).exists():
                        store.client.log_artifact(identity, str(run / name))
        except BaseException:
            with contextlib.suppress(Exception):  # The first error is the one to tell.
                store.client.set_terminated(identity, "FAILED")
            raise
        store.client.set_terminated(identity, "FINISHED")
    return f"mlflow: logged to {store.address} as run {identity}"


def _uri(address: str) -> str:
    """The address as MLflow takes it.

    Raises:
      InputError: it is none of a folder or a server, or has a password.
    """
    try:
        parts = urllib.parse.urlsplit(address)
        host, is_secret = parts.hostname, "@" in parts.netloc
    except ValueError as error:
        raise InputError(f"{_EXPECTED}, found {address!r} ({error})") from error
    if parts.scheme == "file":
        is_url = address.startswith("file://")
        path = urllib.request.url2pathname(parts.path) if is_url else address[len("file:") :]
        if not path or (is_url and parts.netloc not in ("", "localhost")):
            raise InputError(f"{_EXPECTED}, found {address!r}")
        folder = pathlib.Path(path).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--mlflow: expected a folder that can be made, found {error.strerror}: {folder}"
            ) from error
        return folder.resolve().as_uri()
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{_EXPECTED}, found {address!r}")
    if is_secret:  # The command is recorded with the run.
        raise InputError(
            "--mlflow: expected an address without user and password (MLflow takes them from "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD), found one with them"
        )
    return address


@contextlib.contextmanager
def _failures(address: str, afterwards: str = "") -> Iterator[None]:
    """Says in one line that a store does not answer or does not take something."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{_EXPECTED}, found {address}: {one_line(error)}{afterwards}") from error


def _digest(run: pathlib.Path, config: Mapping[str, Any]) -> str:
    """Tells runs with other settings or results apart."""
    settings = json.dumps(config.get("settings"), sort_keys=True).encode()
    return hashlib.sha256(settings + (run / "metrics.json").read_bytes()).hexdigest()


def _settings(config: Mapping[str, Any], is_local: bool) -> dict[str, str]:
    """The settings; for others without paths, and without texts that may be one."""
    if not is_local:
        config = {
            group: {name: shared_copy.setting(name, value) for name, value in values.items()}
            for group, values in config.items()
            if group in ("settings", "derived")
        }
    return run_hparams.settings(config)


def _rounds(run: pathlib.Path) -> Iterator[tuple[str, float, int]]:
    """Name, value and round of every number in `rounds.csv`."""
    table = run_files.read_table(run, run_tables.ROUNDS)
    for row in table.drop(columns=[*run_tables.ROUNDS.texts], errors="ignore").to_dict("records"):
        number = int(row.pop("round"))
        for name, value in row.items():
            if not math.isnan(value):
                yield str(name), value, number


def _experiment(store: Store, name: str) -> str:
    """The experiment of a recipe, a new one if there is none.

    Raises:
      InputError: its files would leave this computer.
    """
    found = store.client.get_experiment_by_name(name)
    if found is None:
        return str(store.client.create_experiment(name))
    place = str(found.artifact_location)
    if store.is_local and urllib.parse.urlsplit(place).scheme not in ("", "file"):
        raise InputError(
            f"--mlflow: expected an experiment {name} in {store.address} whose files stay on this "
            f"computer, since report.html has images of patients, found {place}"
        )
    return str(found.experiment_id)


def _log(
    store: Store,
    identity: str,
    settings: Mapping[str, str],
    metrics: Iterable[tuple[str, float, int]],
) -> None:
    from mlflow.entities import Metric, Param

    now = int(1000 * time.time())
    names: dict[str, str] = {}
    named = [(_name(name, names), value, step) for name, value, step in metrics]
    store.client.log_batch(
        identity,
        metrics=[Metric(name, value, now, step) for name, value, step in named],
        params=[Param(name, text) for name, text in settings.items()],
    )


def _name(name: str, names: dict[str, str]) -> str:
    """A name that MLflow takes, another one for each; `names` are those so far."""
    if name not in names:
        parts = [part for part in _NOT_IN_A_NAME.sub("_", name).split("/") if part]
        told = "/".join("_" if part in (".", "..") else part for part in parts)[:_LONGEST_NAME]
        while told in names.values():
            told = f"{told[: _LONGEST_NAME - 1]}_"
        names[name] = told
    return names[name]
