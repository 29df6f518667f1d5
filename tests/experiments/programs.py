"""Runs the programs of `experiments` in processes of their own that start fast.

A server process imports TensorFlow once, and every program is a fork of it: the program's flags
and TensorFlow's state are new each time, and a test may kill it.

Most of a tiny run is Python: the tracing of the network's layers, several times over. Where a test
is not about the U-Net itself, `shallow_unet` gives the program one with a quarter of the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import csv
import dataclasses
import functools
import gc
import importlib
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import psutil

from experiments import recipes
from tffcxr import run_tables

if TYPE_CHECKING:
    from experiments.flags import sweep_flags

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TESTDATA = REPOSITORY / "testdata"
_TIMEOUT = 600.0
# What takes seconds to import; a mistake that needs none of it should be told before.
_PROBE = """
import atexit, runpy, sys
atexit.register(lambda: print("slow:", sorted({"tensorflow", "pandas"} & set(sys.modules))))
module = sys.argv[1]
sys.argv = sys.argv[1:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.experiments.preloaded"])

# In full, so that they are found as dependencies.
_TOOLS = (
    "audit",
    "benchmark",
    "evaluate",
    "hospital",
    "predict",
    "prepare",
    "report",
    "sweep",
    "tensorboard",
)
_MODULES = {
    **{name: f"experiments.{name}" for name in (*recipes.RECIPES, *_TOOLS)},
    "tiny_recipe": "tests.experiments.tiny_recipe",
    "tiny_sweep": "tests.experiments.tiny_sweep",
}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
      status: its exit status; minus the signal's number if it was killed.
      output: of standard output.
      errors: of standard error.
    """

    status: int
    output: str
    errors: str


class Program:
    """A program that was started.

    Args:
      name: the module's name in `experiments`.
      arguments: of its command line.
      shallow_unet: whether its U-Net has one pooling, not five.
      environment: variables that it gets beside those of the tests.
      prepare: called in its process before it starts.
      timeout: seconds, after which `wait` kills it.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[object],
        *,
        shallow_unet: bool = False,
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[], object] | None = None,
        timeout: float = _TIMEOUT,
    ):
        self._timeout = timeout
        self._folder = tempfile.TemporaryDirectory()
        self._process = _CONTEXT.Process(
            target=_run,
            args=(
                name,
                [str(argument) for argument in arguments],
                self._folder.name,
                shallow_unet,
                dict(environment or {}),
                prepare,
            ),
        )
        self._process.start()

    @property
    def status(self) -> int | None:
        """Its exit status, minus the signal's number if it was killed; None while it runs."""
        return self._process.exitcode

    def errors(self) -> str:
        """What it has printed on standard error so far."""
        return _read(pathlib.Path(self._folder.name) / "2")

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._process.kill()

    def send(self, sig: signal.Signals) -> None:
        """Sends it a signal, unless it has ended."""
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, sig)

    def interrupt(self) -> None:
        """Sends what Ctrl-C sends."""
        self.send(signal.SIGINT)

    def terminate(self) -> None:
        """Ends it with SIGTERM."""
        self._process.terminate()

    def children(self) -> list[psutil.Process]:
        """The processes that it has started and that run now."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def wait(self) -> Ended:
        """Waits for its end."""
        self._process.join(self._timeout)
        if self._process.is_alive():
            self.kill()
            self._process.join()
        status = self._process.exitcode
        texts = [_read(pathlib.Path(self._folder.name) / name) for name in ("1", "2")]
        self._folder.cleanup()
        return Ended(status if status is not None else -1, *texts)


def run(name: str, *arguments: object, **options: Any) -> Ended:
    """Runs a program to its end; the arguments are those of `Program`."""
    return Program(name, arguments, **options).wait()


def succeed(folder: pathlib.Path, name: str, *flags: object, **options: Any) -> Ended:
    """Runs a recipe with a folder as its output, which must end well."""
    ended = run(name, f"--output_dir={folder}", *flags, **options)
    assert ended.status == 0, ended.errors
    assert ended.output.rstrip().endswith(f"report: {folder / 'report.html'}")
    return ended


def fork(target: Callable[[], None]) -> multiprocessing.process.BaseProcess:
    """Starts a fork of the server process that calls a function of a module."""
    process = _CONTEXT.Process(target=target)
    process.start()
    return process


@functools.cache
def checked_flags(recipe: str) -> sweep_flags.Answer:
    """What a recipe says of no flags, and of two that a sweep may give it; asked once for all."""
    from experiments.flags import sweep_flags

    return sweep_flags.check(recipe, [[], [("local_epochs", "2"), ("clients_per_round", "1")]])


def in_a_real_process(
    module: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program as its user does; its output ends with which slow modules it imported."""
    return subprocess.run(
        [sys.executable, "-c", _PROBE, module, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def refusal(ended: Ended) -> str:
    """The one line of a program that refused its input; only warnings may stand before it."""
    *before, line = ended.errors.strip().splitlines()
    assert ended.status == 2, ended
    assert line.startswith(tuple(f"{name}: " for name in _MODULES)), ended.errors
    assert all(text.startswith("WARNING:") for text in before), ended.errors
    return line


def files_in(folder: pathlib.Path) -> set[str]:
    """The files that a program left in its folder, at any depth, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def check_kind_and_tables(run: pathlib.Path, kind: str) -> None:
    """Checks that a run says its kind, and that its tables have the columns of their schemas."""
    for name in ("config.json", "metrics.json"):
        assert read_json(run / name)["kind"] == kind
    schemas = {value.file: value for value in vars(run_tables).values() if hasattr(value, "file")}
    for path in run.glob("*.csv"):
        kept_apart = path.stem.split("_")[0] in ("rounds", "clients")  # One for each model.
        schema = schemas[f"{path.stem.split('_')[0]}.csv" if kept_apart else path.name]
        with path.open(newline="", encoding="utf-8") as file:
            schema.check(next(csv.reader(file)))


def read_rows(path: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a CSV file, by the names of the columns, as they are written."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_json(path: pathlib.Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def _read(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _make_unet_shallow() -> None:
    from tffcxr.models.networks import unet

    trunk = functools.partial(unet.trunk, filters=(4, 8))
    unet.ARCHITECTURES["unet"] = dataclasses.replace(unet.ARCHITECTURES["unet"], trunk=trunk)


def _run(
    name: str,
    arguments: list[str],
    folder: str,
    shallow_unet: bool,
    environment: Mapping[str, str],
    prepare: Callable[[], object] | None,
) -> None:
    os.environ.update(environment)
    # A tiny run makes little garbage: looking for it as often as usual is a sixth of its time.
    gc.set_threshold(100_000, 20, 100)
    for descriptor in (1, 2):
        file = os.open(os.path.join(folder, str(descriptor)), os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)  # By lines, as usually.
    module = importlib.import_module(_MODULES[name])
    if shallow_unet:
        _make_unet_shallow()
    if prepare:
        prepare()
    from experiments.flags import command_line

    # The name under which absl knows the flags of a module that is not the main program.
    sys.argv = [module.__name__, *arguments]
    try:
        main = getattr(module, "RECIPE", module).main
        command_line.run(main, getattr(module, "OPERANDS", ""))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
