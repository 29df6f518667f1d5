"""A training on a Ray cluster of its own, parts of which are killed, ends with the same bits.

`TFFCXR_KILLS=20` kills each part so often, at moments that are drawn from `TFFCXR_SEED`.
`tests/runtime/test_ray_engine.py` has the quick test.
"""

from __future__ import annotations

from collections.abc import Callable
import os
import random
import time

import psutil
import pytest

from tests.experiments import compared_runs, programs
from tests.soak import federation, processes
from tffcxr.datasets.phantoms import phantom

KILLS = int(os.environ.get("TFFCXR_KILLS", "1"))
SEED = int(os.environ.get("TFFCXR_SEED", time.time_ns() % 1_000_000))
_ROUNDS_PER_KILL = 6
_PATIENCE_SECONDS = 600.0
_MOST_SECONDS = 7200.0
_TICK_SECONDS = 0.02
_ENDED_BY_RAY = "Worker will terminate"
# What it takes to start again a part that was killed, about.
_START_SECONDS = 10.0

pytestmark = pytest.mark.skipif(KILLS == 1, reason="many kills need TFFCXR_KILLS=20")


class Training:
    """A program that trains on Ray; it fails the test where no round ends for long.

    Where a node dies while the program connects to it, Ray ends the program without any handler.
    Then it is started again by the same command, which resumes.
    """

    def __init__(self, folder, words):
        self._run = folder / "ray"
        self._log = folder / "log.txt"
        self._words = [*words, "--engine=ray", "--ray_workers=2", f"--output_dir={self._run}"]
        self._moved = (-1, time.monotonic())
        self.resumed = 0
        self._start()

    def _start(self):
        self._log.unlink(missing_ok=True)
        self._program = processes.AsUsersDo(self._log, federation.RECIPE, self._words)

    def finished_rounds(self) -> int:
        path = self._run / "rounds.csv"
        return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0

    def has_ended(self) -> bool:
        rounds = self.finished_rounds()
        if rounds != self._moved[0]:
            self._moved = (rounds, time.monotonic())
        status = self._program.status()
        said = self._program.said()[-3000:]
        if status and _ENDED_BY_RAY in said:
            self.resumed += 1
            self._start()
            return False
        assert not status, f"ended with status {status}: {said}"
        is_stuck = time.monotonic() > self._moved[1] + _PATIENCE_SECONDS
        assert not is_stuck, f"no round has ended since {rounds}: {said}"
        return status == 0

    def wait(self, is_so: Callable[[], object], seconds: float = float("inf")) -> None:
        """Waits until something is so, for so long, or until the program has ended."""
        end = time.monotonic() + seconds
        while not (is_so() or self.has_ended() or time.monotonic() > end):
            time.sleep(_TICK_SECONDS)

    def parts(self, name: str) -> list[psutil.Process]:
        """The processes of the cluster whose name begins so."""
        return [each for each in self._program.children() if _is_named(each, name)]

    def close(self) -> None:
        if self._program.status() is None:
            self._program.kill()


def _is_named(process: psutil.Process, name: str) -> bool:
    try:
        return process.name().startswith(name) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", ["raylet", "ray::Client"])
def test_many_kills(tmp_path, name):
    """Of a node with its actors, or of an actor; in rounds, between them and while it starts."""
    print(f"TFFCXR_SEED={SEED}", flush=True)
    rng = random.Random(SEED)
    phantom.write_rsna(tmp_path / "rsna", 40, 0, size=64, workers=1)
    phantom.write_siim(tmp_path / "siim", 40, 1, size=64, workers=1)
    words = [
        *federation.SETTINGS,
        f"--rounds={_ROUNDS_PER_KILL * KILLS}",
        f"--site=north=rsna:{tmp_path / 'rsna'}:Lung Opacity",
        f"--site=south=siim:{tmp_path / 'siim'}:Pneumothorax",
    ]
    started = time.monotonic()
    training = Training(tmp_path, words)
    try:
        for number in range(KILLS):
            rounds = training.finished_rounds()
            if rng.random() < 0.75:
                training.wait(lambda: training.finished_rounds() > rounds)  # noqa: B023
                seconds = rng.choice([0.0, rng.uniform(0, 2)])
            else:
                seconds = rng.uniform(0, _START_SECONDS)
            training.wait(lambda: False, seconds)
            training.wait(lambda: training.parts(name))
            assert not training.has_ended(), f"ended after {number} kills"
            rng.choice(training.parts(name)).kill()
            print(
                f"{time.monotonic() - started:.0f} s, round {training.finished_rounds()}: "
                f"{name} killed for the {number + 1}th time",
                flush=True,
            )
        training.wait(lambda: False)
    finally:
        training.close()
    print(
        f"{KILLS} kills of {name} in {time.monotonic() - started:.0f} s; Ray ended the program and "
        f"the same command resumed {training.resumed} times",
        flush=True,
    )
    programs.succeed(tmp_path / "local", federation.RECIPE, *words, timeout=_MOST_SECONDS)
    tables = ("rounds.csv", "clients.csv", "predictions.csv")
    compared_runs.assert_same(tmp_path / "ray", tmp_path / "local", tables, ("federated",))
