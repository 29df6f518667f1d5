"""The flags that say where rounds run; no result depends on them."""

from __future__ import annotations

import re

from absl import flags

from experiments.flags import checks
from tffcxr import options, runtime
from tffcxr.errors import InputError

FLAGS = flags.FLAGS
_ADDRESS = re.compile(r"auto|[^/\s]+:\d+")


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_enum(
        "engine",
        "local",
        list(options.ENGINES),
        "Where clients are computed: local, in this program, or ray, on a Ray cluster, with the "
        "same results. Clients read their decoded images themselves, so --cache_dir must be a "
        "folder that all machines share; preparation, validation and baselines stay in this "
        "program.",
    )
    flags.DEFINE_string(
        "ray_address",
        None,
        "The running Ray cluster of --engine=ray, as HOST:PORT, or auto for the one on this "
        "machine. To start one in a trusted network, with tffcxr installed alike everywhere: "
        "`ray start --head --port=6379` on the machine of this program, "
        "`ray start --address=HOST:6379` on every other. Default: a cluster of this program's own, "
        "on this machine.",
    )
    flags.DEFINE_integer(
        "ray_workers",
        None,
        "Ray actors that compute clients, each on a GPU or with one CPU. Default: one per GPU of "
        "the cluster, or two per machine without GPUs.",
    )
    flags.DEFINE_enum(
        "executor",
        "device",
        list(options.EXECUTORS),
        "What computes in this program: device, on its GPUs or CPU, or native, in TFF's C++ "
        "worker.",
    )


def check() -> None:
    """Checks the flags alone.

    Raises:
      InputError: a flag has no effect, or conflicts with another.
    """
    is_ray = FLAGS.engine == "ray"
    checks.used(is_ray, "ray_address", "--engine=ray", "engine")
    checks.used(is_ray, "ray_workers", "--engine=ray", "engine")
    checks.at_least(1, "ray_workers")
    if is_ray and FLAGS.executor != "device":
        raise InputError(
            f"--engine=ray: expected --executor=device with it, found --executor={FLAGS.executor}"
        )
    if FLAGS.ray_address is not None and not _ADDRESS.fullmatch(FLAGS.ray_address):
        raise InputError(f"--ray_address: expected HOST:PORT or auto, found {FLAGS.ray_address!r}")


def settings() -> runtime.EngineSettings:
    """Where clients are computed."""
    return runtime.EngineSettings(FLAGS.engine, FLAGS.ray_address, FLAGS.ray_workers)
