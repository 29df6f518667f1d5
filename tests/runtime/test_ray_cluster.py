"""A Ray cluster of the program's own that does not start at the first attempt.

Scripts with the names of Ray's services stand in for these.
"""

from __future__ import annotations

import logging
import pathlib
import subprocess

import psutil
import pytest

from tffcxr import errors
from tffcxr.runtime import ray_cluster

_SCRIPT = "#!/bin/sh\nsleep 60 &\nwait\n"


class Ray:
    """Stands in for Ray.

    Args:
      folder: of the scripts.
      starts: what each start does: the services that live, and whether Ray raises an error.
    """

    def __init__(self, folder, starts):
        self.processes: list[psutil.Process] = []
        self.folders: list[str] = []
        self._folder = folder
        self._starts = iter(starts)
        for name in ("gcs_server", "raylet"):
            (folder / name).write_text(_SCRIPT)
            (folder / name).chmod(0o755)

    def init(self, *, _temp_dir, **unused):
        services, fails = next(self._starts)
        self.folders.append(_temp_dir)
        for name in services:
            started = subprocess.Popen([self._folder / name, f"--session={_temp_dir}"])
            self.processes.append(psutil.Process(started.pid))
        if fails:
            raise Exception("The current node timed out during startup.\nThis could happen")

    def shutdown(self):
        pass

    def cluster_resources(self):
        return {"CPU": 2.0}


@pytest.fixture
def with_ray(tmp_path, monkeypatch):
    stand_ins = []

    def with_ray(*starts):
        stand_ins.append(Ray(tmp_path, starts))
        monkeypatch.setattr(ray_cluster, "ray", stand_ins[-1])
        monkeypatch.setattr(ray_cluster.tempfile, "gettempdir", lambda: "/tmp")
        return stand_ins[-1]

    yield with_ray
    for process in stand_ins[-1].processes:
        if process.is_running():
            process.kill()


BOTH = ("gcs_server", "raylet")


@pytest.mark.parametrize(
    "first", [(("gcs_server",), True), (("gcs_server",), False)], ids=["said", "unsaid"]
)
def test_a_service_that_is_killed_while_the_cluster_starts(with_ray, first, caplog):
    caplog.set_level(logging.WARNING)
    ray = with_ray(first, (BOTH, False))
    cluster = ray_cluster.Cluster(None, 1)
    assert not cluster.is_lost
    left, *running = ray.processes
    assert _has_ended(left) and not any(map(_has_ended, running))
    (line,) = caplog.messages
    assert line.startswith("a Ray cluster did not start (") and "\n" not in line
    cluster.disconnect()
    assert all(map(_ends, ray.processes))
    assert not any(map(_exists, ray.folders))


def test_a_cluster_that_never_starts_is_said_in_a_line(with_ray):
    ray = with_ray(*[(("gcs_server",), True)] * 5)
    with pytest.raises(
        errors.RunError, match="^a Ray cluster did not start on .*timed out"
    ) as caught:
        ray_cluster.Cluster(None, 1)
    assert "\n" not in str(caught.value)
    assert len(ray.folders) == 5 and not any(map(_exists, ray.folders))
    assert all(map(_ends, ray.processes))


def test_a_service_whose_command_is_not_yet_to_be_read_is_ended_too(with_ray, monkeypatch):
    """As for a moment while the kernel loads a program."""
    ray = with_ray((BOTH, False))
    read, asked = psutil.Process.cmdline, set()

    def cmdline(process):
        if process.pid in asked:
            return read(process)
        asked.add(process.pid)
        return []

    monkeypatch.setattr(psutil.Process, "cmdline", cmdline)
    cluster = ray_cluster.Cluster(None, 1)
    cluster.disconnect()
    assert all(map(_ends, ray.processes))


def _ends(process):
    return _has_ended(process, 10)


def _has_ended(process, seconds=0.2):
    try:
        process.wait(10 if process.status() == psutil.STATUS_ZOMBIE else seconds)
    except psutil.TimeoutExpired:
        return False
    except psutil.NoSuchProcess:
        pass
    return True


def _exists(folder):
    return pathlib.Path(folder).exists()
