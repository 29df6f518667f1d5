"""A run that is killed with SIGKILL and started again ends as one that was not."""

import os
import random
import shutil
import signal
import time

import psutil
import pytest

from tests.experiments import compared_runs, programs

# More kills than a quick test affords: TFFCXR_KILLS=20.
KILLS = int(os.environ.get("TFFCXR_KILLS", "1"))


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    from tffcxr.datasets.phantoms import phantom

    root = tmp_path_factory.mktemp("phantoms")
    phantom.write_rsna(root / "rsna", 24, seed=1, size=64, workers=1)
    phantom.write_siim(root / "siim", 24, seed=2, size=64, workers=1)
    phantom.write_rsna(root / "far", 12, seed=3, size=64, workers=1)
    return (
        f"--external_site=far=rsna:{root / 'far'}:Lung Opacity",
        f"--site=opacity=rsna:{root / 'rsna'}:Lung Opacity",
        f"--site=pneumothorax=siim:{root / 'siim'}:Pneumothorax",
    )


def _start(folder, sites):
    return programs.Program(
        "cheXviz",
        [
            f"--output_dir={folder}",
            *sites,
            "--image_size=32",
            "--batch_size=4",
            "--rounds=3",
            "--schedule=plateau",
            "--plateau_patience=0",
            "--early_stopping=1",
            "--server_optimizer=adam",
            "--server_learning_rate=0.01",
            "--clients_per_round=1",
            "--partition=iid",
            "--clients_per_site=2",
            "--baseline=pooled",
            "--width=0.25",
            "--heatmaps=0",
            "--noheat_metrics",
            "--bootstrap=10",
        ],
    )


def _assert_same(ours, theirs):
    tables = ("rounds.csv", "clients.csv", "rounds_pooled.csv", "predictions.csv")
    compared_runs.assert_same(ours, theirs, tables, ("federated", "pooled"))


def test_kills_at_random_moments_leave_no_trace(tmp_path, sites):
    started = time.monotonic()
    whole = _start(tmp_path / "whole", sites).wait()
    seconds = time.monotonic() - started
    assert whole.status == 0, whole.errors

    rng = random.Random(time.time_ns())
    folder = tmp_path / "killed"
    moments: list[float] = []
    while len(moments) < KILLS:
        program = _start(folder, sites)
        moment = rng.uniform(0.05, 0.9) * seconds
        time.sleep(moment)
        children = program.children()
        program.kill()
        ended = program.wait()
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive, f"processes outlived the program: {alive}"
        if ended.status == -signal.SIGKILL:
            moments.append(round(moment, 2))
        else:  # It was done before: judge what it left, and kill a new run, sooner.
            assert ended.status == 0, f"kills after {moments} s: {ended.errors}"
            _assert_same(folder, tmp_path / "whole")
            shutil.rmtree(folder)
            seconds *= 0.8
    ended = _start(folder, sites).wait()
    assert ended.status == 0, f"kills after {moments} s: {ended.errors}"
    _assert_same(folder, tmp_path / "whole")
