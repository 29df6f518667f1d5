"""A study over two hospitals whose programs run as users start them, and may be struck meanwhile.

coordinator ◄── relay ◄── hospital north
            ◄── relay ◄── hospital south
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import json
import math
import pathlib
import re
import signal
import socket
import threading
import time

import psutil
import pytest

from tests.experiments import programs
from tests.hospitals import network
from tests.soak import processes
from tffcxr.datasets.phantoms import phantom
from tffcxr.errors import RunError
from tffcxr.hospitals import exchanged_results, joining, kits, provision

RECIPE, COORDINATOR = "cheXviz", "coordinator"
SITES = {"north": ("rsna", "Lung Opacity"), "south": ("siim", "Pneumothorax")}
# Small, and without what no kill in a round can change.
SETTINGS = (
    "--model=standard", "--width=0.25", "--image_size=32", "--batch_size=8", "--local_epochs=2",
    "--baseline=none", "--heatmaps=0", "--noheat_metrics", "--bootstrap=10",
    "--early_stopping=0", "--report_round=last", "--calibration=none",
)  # fmt: skip
# What this hospital computes can be compared with one place only if everything may leave it.
_POLICY = "most_rounds = 100000\nfewest_images = 1\nsmallest_count = 1\nscores_per_image = true\n"
_HASH = re.compile(r"\bhash ([0-9a-f]{8,})")
_PATIENTS = 40
_SHOWN_CHARACTERS = 3000
_ENDS_SECONDS = 60.0
_SLOW_SECONDS = 1.0


class Study:
    """A study of two hospitals with phantoms; its programs run within its `with` block.

    Args:
      folder: for all that it writes.
      rounds: that are planned.
      seconds: `--round_seconds`.
      bytes_per_second: see `network.Relay`; a round has some 120 KB for each hospital.
      patience: seconds, after which a study in which no round ends is said to hang.
      aggregator: `--aggregator`; with "secure", every round needs both hospitals.
      in_forks: whether the programs are forks of one that has imported TensorFlow, which start in
        a fraction of the time; then a hospital is what `hospital join` leaves behind, and that
        itself does not run.

    Attributes:
      relays: by hospital.
      resumed: how often the coordinator had ended without the results of a hospital that was away
        for too long, and was started again to wait for them.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        rounds: int,
        *,
        seconds: float,
        patience: float,
        bytes_per_second: float = math.inf,
        aggregator: str = "mean",
        in_forks: bool = False,
    ) -> None:
        self.folder = folder
        self.rounds = rounds
        self.resumed = 0
        self.relays: dict[str, network.Relay] = {}
        self._aggregator = aggregator
        self._in_forks = in_forks
        self._bytes_per_second = bytes_per_second
        self._patience = patience
        self._seconds = seconds
        self._processes: dict[str, processes.Process] = {}
        self._started_at: dict[str, float] = {}
        self._killed: dict[str, list[psutil.Process]] = {}
        self._moved = (-1, time.monotonic())
        self._stack = contextlib.ExitStack()
        self._hash = ""

    @property
    def run(self) -> pathlib.Path:
        """The folder of the coordinator's run."""
        return self.folder / COORDINATOR / "run"

    def hospital_run(self, site: str) -> pathlib.Path:
        """The folder of a hospital's own run."""
        return self.folder / site / "run"

    @property
    def settings(self) -> list[str]:
        """The flags of the recipe that results depend on."""
        return [*SETTINGS, f"--rounds={self.rounds}", f"--aggregator={self._aggregator}"]

    @property
    def site_flags(self) -> list[str]:
        """The flags of a run in one place on the same images."""
        return [f"--site={self._site(site)}" for site in SITES]

    def __enter__(self) -> Study:
        with self._stack as stack:
            self._listen = f"127.0.0.1:{_free_port()}"
            self._make_kits(stack)
            for seed, (site, (loader, _)) in enumerate(SITES.items()):
                draw = {"rsna": phantom.write_rsna, "siim": phantom.write_siim}[loader]
                draw(self.folder / site / "images", _PATIENTS, seed, size=64, workers=1)
            stack.callback(self._end)
            self.start(COORDINATOR)
            self._hash = self._await_hash()
            for site in SITES:
                self.start(site)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *unused: object) -> None:
        self._stack.close()

    def start(self, name: str) -> None:
        """Starts a member's program, always by the same command."""
        start = processes.Fork if self._in_forks else processes.AsUsersDo
        program, words = self._command(name)
        self._started_at[name] = time.time()
        self._processes[name] = start(self.folder / name / "log.txt", program, words)

    def kill(self, name: str) -> None:
        """Kills a member's program, at once; it is to be started again."""
        self._killed[name] = self._processes[name].children()
        self._processes[name].kill()

    def start_again(self, name: str) -> None:
        """Starts a program that was killed, of which nothing may be left."""
        _, alive = psutil.wait_procs(self._killed.pop(name), timeout=_ENDS_SECONDS)
        assert not alive, f"processes outlived {name}: {alive}"
        self.start(name)

    @contextlib.contextmanager
    def slow(self, name: str) -> Iterator[None]:
        """Lets a member's program run for a tenth of the time only."""
        is_over = threading.Event()
        slowing = threading.Thread(target=self._slow, args=(name, is_over))
        slowing.start()
        try:
            yield
        finally:
            is_over.set()
            slowing.join()

    def _slow(self, name: str, is_over: threading.Event) -> None:
        while not is_over.wait(0.1 * _SLOW_SECONDS):
            process = self._processes[name]
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send(signal.SIGSTOP)
                is_over.wait(0.9 * _SLOW_SECONDS)
                process.send(signal.SIGCONT)

    def runs(self, name: str) -> bool:
        """Whether a member's program runs."""
        return self._processes[name].status() is None

    def finished_rounds(self) -> int:
        """How many rounds have ended."""
        path = self.run / "rounds.csv"
        return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0

    def takes_part(self, site: str) -> bool:
        """Whether a hospital took part in the last round that ended."""
        rows = programs.read_rows(self.run / "clients.csv") if self.finished_rounds() else []
        last = [row for row in rows if row["client"] == site][-1:]
        return bool(last) and last[0]["status"] == "ok"

    def is_connected(self, site: str) -> bool:
        """Whether a hospital's program is connected and does its part, by `hospital status`."""
        try:
            about = joining.ask_status(kits.read(self.folder / COORDINATOR / "kit"))
        except RunError:
            return False
        member = about["members"][site]
        is_new = (member["since"] or 0) > self._started_at[site]
        return bool(member["is_connected"] and is_new and member["doing"])

    def has_ended(self) -> bool:
        """Whether all programs have ended; fails if one did not end well, or if nothing moves."""
        self._wait_for_results_again()
        statuses = {name: process.status() for name, process in self._processes.items()}
        for name, status in statuses.items():
            if status and name not in self._killed:
                pytest.fail(f"{name} ended with status {status}{self._told()}")
        rounds = self.finished_rounds()
        if rounds != self._moved[0]:
            self._moved = (rounds, time.monotonic())
        if time.monotonic() > self._moved[1] + self._patience:
            pytest.fail(f"no round has ended for {self._patience} s after {rounds}{self._told()}")
        return not self._killed and None not in statuses.values()

    def _wait_for_results_again(self) -> None:
        """Starts a coordinator again that has ended without the results of all hospitals."""
        process = self._processes[COORDINATOR]
        if process.status() == 0 and exchanged_results.missing(self.run / "hospitals"):
            self.resumed += 1
            self.start(COORDINATOR)

    def _told(self) -> str:
        return "".join(
            f"\n--- {name} ({process.status()}): {process.said()[-_SHOWN_CHARACTERS:]}"
            for name, process in self._processes.items()
        )

    def _make_kits(self, stack: contextlib.ExitStack) -> None:
        study = self.folder / "study.toml"
        sites = "".join(f'[sites.{site}]\nfinding = "{of[1]}"\n' for site, of in SITES.items())
        study.write_text(f'name = "soak"\ncoordinator = "{self._listen}"\ndays = 2\n{sites}')
        provision.provision(study, self.folder / "kits")
        for name in (COORDINATOR, *SITES):
            (self.folder / name).mkdir()
            (self.folder / "kits" / name).rename(self.folder / name / "kit")
        for site in SITES:
            kit = self.folder / site / "kit"
            (kit / kits.POLICY).write_text(_POLICY)
            port = int(self._listen.rpartition(":")[2])
            self.relays[site] = stack.enter_context(
                network.Relay(port, bytes_per_second=self._bytes_per_second)
            )
            about = json.loads((kit / kits.KIT).read_text())
            about["address"] = self.relays[site].address
            (kit / kits.KIT).write_text(json.dumps(about))

    def _await_hash(self) -> str:
        end = time.monotonic() + self._patience
        while not (found := _HASH.search(self._processes[COORDINATOR].said())):
            assert time.monotonic() < end and not self.has_ended(), self._told()
            time.sleep(0.05)
        return found[1]

    def _site(self, site: str) -> str:
        loader, finding = SITES[site]
        return f"{site}={loader}:{self.folder / site / 'images'}:{finding}"

    def _command(self, name: str) -> tuple[str, list[str]]:
        kit, run = self.folder / name / "kit", self.folder / name / "run"
        own = [f"--kit={kit}", f"--output_dir={run}"]
        if name == COORDINATOR:
            quorum = 2 if self._aggregator == "secure" else 1
            how = [f"--listen={self._listen}", f"--quorum={quorum}"]
            how += [f"--round_seconds={self._seconds}"]
            return RECIPE, ["--engine=hospitals", *own, *how, *self.settings]
        own += [f"--site={self._site(name)}"]
        if not self._in_forks:
            return "hospital", ["join", f"--approve={self._hash}", *own]
        return RECIPE, ["--engine=hospitals", f"--proposal={self._approved(name)}", *own]

    def _approved(self, site: str) -> pathlib.Path:
        """The proposed study, once the hospital has approved it."""
        path = self.folder / site / "proposal.json"
        if not path.exists():
            from experiments.flags import federation_flags

            kit = kits.read_site(self.folder / site / "kit")
            approve = joining.ask_for_approval(kit, self._hash, False, input)
            with joining.connected(kit, federation_flags.versions(), approve) as (_, proposal):
                path.write_bytes(proposal.to_json())
        return path

    def _end(self) -> None:
        for process in self._processes.values():
            if process.status() is None:
                process.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
