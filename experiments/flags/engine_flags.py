"""The flags that say where rounds run; no result depends on them."""

from __future__ import annotations

import re

from absl import flags

from experiments.flags import checks
from tffcxr import options, runtime
from tffcxr.errors import InputError

FLAGS = flags.FLAGS
_ADDRESS = re.compile(r"auto|[^/\s]+:\d+")
_OF_COORDINATOR = ("quorum", "round_seconds", "listen")


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_enum(
        "engine",
        "local",
        list(options.ENGINES),
        "Where clients are computed, with the same results: local, in this program; ray, on a Ray "
        "cluster, where clients read their decoded images themselves, so --cache_dir must be a "
        "folder that all machines share, while preparation, validation and baselines stay in this "
        "program; or hospitals, each of which runs `hospital join` on its own images.",
    )
    flags.DEFINE_string(
        "kit",
        None,
        "The coordinator's kit of --engine=hospitals, made by `hospital provision`. With a "
        "hospital's kit and --proposal, this program is that hospital; `hospital join` starts it.",
    )
    flags.DEFINE_string(
        "proposal",
        None,
        "At a hospital: the file of an approved study, which `hospital join` writes; its settings "
        "take the place of this program's defaults.",
    )
    flags.DEFINE_integer(
        "quorum",
        None,
        "Hospitals that a round of --engine=hospitals needs; with fewer it waits. Default: all.",
    )
    flags.DEFINE_float(
        "round_seconds",
        600.0,
        "Seconds after which a hospital that has not answered is left out of a round of "
        "--engine=hospitals.",
    )
    flags.DEFINE_string(
        "listen",
        None,
        "Where the coordinator of --engine=hospitals listens, as HOST:PORT. Default: all addresses "
        "of this machine, with the port in the kit.",
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
    checks.at_least(1, "ray_workers", "quorum")
    is_hospitals = FLAGS.engine == "hospitals"
    if is_hospitals and FLAGS.aggregator == "secure" and FLAGS.quorum == 1:
        raise InputError(
            "--quorum: expected at least 2 hospitals with --aggregator=secure, since the sum of "
            "one is its own update, found 1"
        )
    for name in ("kit", "proposal", *_OF_COORDINATOR):
        checks.used(is_hospitals, name, "--engine=hospitals", "engine")
    if is_hospitals and not FLAGS.kit:
        raise InputError("--kit: expected the folder of a kit with --engine=hospitals, found none")
    if FLAGS.listen is not None:
        from tffcxr.hospitals import study_files

        try:
            study_files.split_address(FLAGS.listen)
        except InputError as error:
            raise InputError(f"--listen: {error}") from None
    if not FLAGS.round_seconds > 0:
        raise InputError(f"--round_seconds: expected above 0, found {FLAGS.round_seconds}")
    if FLAGS.engine != "local" and FLAGS.executor != "device":
        raise InputError(
            f"--engine={FLAGS.engine}: expected --executor=device with it, found "
            f"--executor={FLAGS.executor}"
        )
    if FLAGS.ray_address is not None and not _ADDRESS.fullmatch(FLAGS.ray_address):
        raise InputError(f"--ray_address: expected HOST:PORT or auto, found {FLAGS.ray_address!r}")


def settings() -> runtime.EngineSettings:
    """Where clients are computed."""
    return runtime.EngineSettings(FLAGS.engine, FLAGS.ray_address, FLAGS.ray_workers)
