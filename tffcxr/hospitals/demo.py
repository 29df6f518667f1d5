"""A study of three hospitals on one computer, in folders and processes of their own.

The hospitals have phantoms, and everything is done with the programs that real ones use, over
loopback:

    hospital provision ─► kits ─► one recipe that coordinates ◄─ three times hospital join
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

from tffcxr import child_process, files
from tffcxr.datasets.phantoms import phantom
from tffcxr.errors import InputError, RunError

STUDY = "demo"
_RECIPE, _HOSPITAL = "cheXviz", "hospital"
_COORDINATOR, _PROVISION = "coordinator", "provision"
_LOG = "log.txt"
_HASH = re.compile(r"\bhash ([0-9a-f]{8,})")
# No proxy carries what stays on this computer.
_DIRECT = {"no_grpc_proxy": "127.0.0.1"}
_TICK_SECONDS = 0.2
_PATIENCE_SECONDS = 5
_SHOWN_LINES = 15


@dataclasses.dataclass(frozen=True)
class Hospital:
    """A hospital of the demo.

    Attributes:
      name: in the study.
      finding: that it labels.
      loader: of its images.
      draw: writes phantoms in that layout: a folder, how many patients, and a seed.
    """

    name: str
    finding: str
    loader: str
    draw: Callable[[pathlib.Path, int, int], object]


HOSPITALS = (
    Hospital("north", "Lung Opacity", "rsna", phantom.write_rsna),
    Hospital("south", "Pneumothorax", "siim", phantom.write_siim),
    Hospital("west", "Lung Opacity", "rsna", phantom.write_rsna),
)
NAMES = (_COORDINATOR, *(hospital.name for hospital in HOSPITALS))


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is computed.

    With the defaults each hospital has 28 test patients, half of them with the finding, and so may
    report its results: its policy keeps those of fewer than 10 with or without it.

    Attributes:
      patients: of each hospital, one image each.
      settings: of the recipe, by flag.
    """

    patients: int = 140
    settings: Mapping[str, object] = dataclasses.field(
        default_factory=lambda: {
            "rounds": 5,
            "local_epochs": 4,
            "image_size": 48,
            "batch_size": 8,
            "learning_rate": 0.004,
            "width": 0.5,
            "bootstrap": 200,
            "heatmaps": 1,
        }
    )


@contextlib.contextmanager
def opened(output_dir: pathlib.Path | None) -> Iterator[pathlib.Path]:
    """The demo's folder; without `output_dir` one that is removed at the end.

    Raises:
      InputError: `output_dir` is a file, or has something in it.
    """
    if output_dir is None:
        with tempfile.TemporaryDirectory(prefix="tffcxr-demo-") as folder:
            yield pathlib.Path(folder).resolve()
        return
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise InputError(f"--output_dir: expected a new or an empty folder, found {output_dir}")
    output_dir.mkdir(parents=True, exist_ok=True)
    yield output_dir.resolve()


def run(folder: pathlib.Path, say: Callable[[str], None], size: Size = Size()) -> None:
    """Runs the study to its end. However it ends, no process of it is left.

    To be called in the main thread, see `child_process.start`.

    Args:
      folder: empty; gets a folder for the coordinator and one for each hospital.
      say: gets lines: the commands, and what the coordinator prints.
      size: of the study.

    Raises:
      RunError: one of the programs failed; the end of what it printed was said.
    """
    address = f"127.0.0.1:{_free_port()}"
    with contextlib.ExitStack() as stack:
        programs = _Programs(stack, say)
        _hand_out_kits(folder, address, programs, say)
        coordinator = programs.start(
            _COORDINATOR,
            folder / _COORDINATOR / _LOG,
            _RECIPE,
            "--engine=hospitals",
            f"--kit={folder / _COORDINATOR / 'kit'}",
            f"--listen={address}",
            *(f"--{name}={value}" for name, value in size.settings.items()),
            f"--output_dir={folder / _COORDINATOR / 'run'}",
        )
        say(f"phantoms of {size.patients} patients: {folder}/NAME/images")
        for seed, hospital in enumerate(HOSPITALS):
            hospital.draw(folder / hospital.name / "images", size.patients, seed)
        programs.follow(coordinator, lambda: _HASH.search(coordinator.text()) is not None)
        hash_of_study = _HASH.search(coordinator.text())
        if hash_of_study is None:
            raise RunError("expected a study that the coordinator proposes, found none")
        for hospital in HOSPITALS:
            own = folder / hospital.name
            programs.start(
                hospital.name,
                own / _LOG,
                _HOSPITAL,
                "join",
                f"--kit={own / 'kit'}",
                f"--site={hospital.name}={hospital.loader}:{own / 'images'}:{hospital.finding}",
                f"--approve={hash_of_study[1]}",
                f"--output_dir={own / 'run'}",
            )
        programs.follow(coordinator, programs.have_ended)


def _hand_out_kits(
    folder: pathlib.Path, address: str, programs: _Programs, say: Callable[[str], None]
) -> None:
    """Writes the study, has the kits made, and gives each to its owner."""
    sites = "".join(f'[sites.{each.name}]\nfinding = "{each.finding}"\n' for each in HOSPITALS)
    study, kits = folder / "study.toml", folder / "kits"
    files.write_text(study, f'name = "{STUDY}"\ncoordinator = "{address}"\ndays = 1\n{sites}')
    words = ("provision", f"--study={study}", f"--output_dir={kits}")
    programs.follow(
        programs.start(_PROVISION, folder / _LOG, _HOSPITAL, *words), programs.have_ended
    )
    say(f"each gets its kit: {folder}/NAME/kit")
    for name in NAMES:
        (folder / name).mkdir()
        shutil.move(kits / name, folder / name / "kit")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class _Program:
    """A program that runs, and the log of what it prints."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
        self.name = name
        self.process = process
        self._log = log
        self._read_bytes = 0

    def text(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def new_lines(self) -> list[str]:
        """The whole lines that it has printed since the last call."""
        new = self._log.read_bytes()[self._read_bytes :]
        new = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(new)
        return new.decode("utf-8", "replace").splitlines()


class _Programs:
    """Starts programs and watches them.

    Args:
      stack: ends them when it is closed.
      say: see `run`.
    """

    def __init__(self, stack: contextlib.ExitStack, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._say = say
        self._all: list[_Program] = []

    def start(self, name: str, log: pathlib.Path, program: str, *words: str) -> _Program:
        """Starts a program of `experiments` that prints into a file."""
        self._say(f"{name}$ {program} {shlex.join(words)}")
        with log.open("wb") as file:
            process = child_process.start(f"experiments.{program}", words, file, **_DIRECT)
        self._stack.callback(child_process.stop, process, _PATIENCE_SECONDS)
        self._all.append(_Program(name, process, log))
        return self._all[-1]

    def have_ended(self) -> bool:
        """Whether no program runs any more."""
        return all(each.process.poll() is not None for each in self._all)

    def follow(self, program: _Program, is_enough: Callable[[], bool]) -> None:
        """Says what a program prints until it is enough, or all programs have ended.

        Raises:
          RunError: a program failed.
        """
        is_over = False
        while not is_over:
            is_over = self.have_ended() or is_enough()
            for line in program.new_lines():
                self._say(line)
            self._check(program)
            if not is_over:
                time.sleep(_TICK_SECONDS)

    def _check(self, followed: _Program) -> None:
        """Raises RunError if a program failed; says before what it printed last."""
        for each in self._all:
            status = each.process.poll()
            if status:
                if each is not followed:
                    self._say(f"the end of what {each.name} printed:")
                    for line in each.text().splitlines()[-_SHOWN_LINES:]:
                        self._say(f"  {line}")
                raise RunError(f"{each.name} ended with status {status}; its last lines are above")
