"""The flags of federated training that every recipe has, and their checks."""

from __future__ import annotations

import hashlib
import importlib.metadata
import pathlib
import platform
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import (
    attack_flags,
    checks,
    engine_flags,
    plan_flags,
    privacy_flags,
    reporting_flags,
    typed,
    weights_flag,
)
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    pass

FLAGS = flags.FLAGS

LARGEST_MOMENTUM = 0.9999
# Flag, least and greatest value; NaN is in no range.
_RANGES = (
    ("momentum", 0.0, LARGEST_MOMENTUM),
    ("weight_decay", 0.0, 1e3),
    ("clip_norm", 0.0, 1e6),
    ("adam_epsilon", 1e-16, 1.0),
    ("server_learning_rate", 1e-12, 1e3),
    ("proximal", 0.0, 1e6),
)


def define(
    *,
    rounds: int,
    learning_rate: float,
    batch_size: int,
    local_epochs: int = 1,
    schedule: str = "constant",
    optimizer: str = "adam",
    clients_per_round: str = "all",
    batch_norm: str = "aggregate",
    keep_optimizer: bool = False,
    personal: bool = True,
    has_head: bool = True,
    share: str = "representation",
) -> None:
    """Defines the flags with a recipe's defaults.

    Args:
      rounds: default of the flag.
      learning_rate: of the clients.
      batch_size: in images.
      local_epochs: per round.
      schedule: of the learning rate.
      optimizer: of the clients.
      clients_per_round: default of the flag.
      batch_norm: default of the flag.
      keep_optimizer: default of the flag.
      personal: whether sites have tasks of their own, and so may keep part of the model private.
        Otherwise everything is shared.
      has_head: whether the task block alone may be trained first, as that of a classifier.
      share: default of the flag if sites have tasks of their own.
    """
    flags.DEFINE_integer("rounds", rounds, "Rounds of federated training.")
    flags.DEFINE_integer(
        "local_epochs", local_epochs, "Passes of a client over its own images per round."
    )
    flags.DEFINE_integer("batch_size", batch_size, "Images per optimizer step.")
    flags.DEFINE_float("learning_rate", learning_rate, "Client learning rate of the first round.")
    flags.DEFINE_enum(
        "schedule",
        schedule,
        list(options.SCHEDULES),
        "Learning rate by round: constant; plateau reduces it when the loss stops falling; "
        "polynomial decays it to 0.",
    )
    flags.DEFINE_integer(
        "plateau_patience", 10, "Rounds without a lower loss that --schedule=plateau tolerates."
    )
    flags.DEFINE_float(
        "plateau_factor", 0.1, "Factor by which --schedule=plateau reduces the learning rate."
    )
    flags.DEFINE_enum("optimizer", optimizer, list(options.CLIENT_OPTIMIZERS), "Client optimizer.")
    flags.DEFINE_float("momentum", 0.0, "Momentum of --optimizer=sgd.")
    flags.DEFINE_boolean("nesterov", False, "Whether --momentum is Nesterov's.")
    flags.DEFINE_float(
        "weight_decay", 0.0, "Weight decay: an L2 penalty as in PyTorch, decoupled with adamw."
    )
    flags.DEFINE_float(
        "clip_norm", 0.0, "Maximum global norm of a step's gradients; 0 for no limit."
    )
    flags.DEFINE_float(
        "adam_epsilon",
        options.KERAS_EPSILON,
        "Epsilon of --optimizer=adam and adamw, added to the root of the mean squared gradient; "
        "PyTorch's is 1e-8.",
    )
    flags.DEFINE_boolean(
        "keep_optimizer",
        keep_optimizer,
        "Whether each client keeps its optimizer's state, such as Adam's moments, for its next "
        "round; otherwise it starts fresh in every round. Baselines always keep it.",
    )
    flags.DEFINE_enum(
        "server_optimizer",
        "average",
        list(options.SERVER_OPTIMIZERS),
        "Server optimizer, applied to the clients' mean update; average is FedAvg.",
    )
    flags.DEFINE_float(
        "server_learning_rate",
        None,
        "Learning rate of --server_optimizer; default: 1 for average and momentum, otherwise 0.01."
        + (
            " If sites that label F different findings all take part and keep their task blocks, "
            "the default for average is the root of F."
            if personal
            else ""
        ),
    )
    flags.DEFINE_float("proximal", 0.0, "Proximal term mu of FedProx; 0 is FedAvg.")
    flags.DEFINE_enum(
        "weighting",
        "examples",
        list(options.WEIGHTINGS),
        "A client's weight in the mean: its training images, or equal.",
    )
    flags.DEFINE_enum(
        "aggregator",
        "mean",
        list(options.AGGREGATORS),
        "How updates are combined: mean; robust (adaptive zeroing and clipping); compression "
        "(lossy, for large tensors); secure (clips and rounds the updates; with "
        "--engine=hospitals or ray, they come masked and only their sum can be read, otherwise "
        "they are added in the clear); dp (adaptive clipping and Gaussian noise; needs "
        "--dp_noise_multiplier or --target_epsilon); median, "
        "trimmed_mean, krum, geometric_median (bear --hostile_clients; every client counts the "
        "same, and clients.csv has each update's length and direction).",
    )
    flags.DEFINE_integer(
        "hostile_clients",
        1,
        "How many clients of a round the aggregator bears, whatever they send: trimmed_mean leaves "
        "out so many extremes at either end, krum so many updates; median and geometric_median "
        "bear any minority, and need it only to check that there are enough clients.",
    )
    privacy_flags.define()
    flags.adopt_module_key_flags(privacy_flags)
    attack_flags.define()
    flags.adopt_module_key_flags(attack_flags)
    flags.DEFINE_string(
        "clients_per_round",
        clients_per_round,
        "Clients per round: all, a count (3), or a fraction (0.4).",
    )
    _define_batch_norm(batch_norm, personal)
    flags.DEFINE_enum(
        "initialization",
        "shortcut",
        list(options.INITIALIZATIONS),
        "How random weights begin: shortcut (residual branches at 0, which helps short trainings), "
        "or library (as torchvision and PyTorch's layers begin).",
    )
    reporting_flags.define()
    flags.declare_key_flag("report_round")
    flags.declare_key_flag("early_stopping")
    if has_head:
        _define_head()
    if personal:
        flags.DEFINE_enum(
            "share",
            share,
            list(options.SHARES),
            "What is averaged: representation (every client keeps its task block), or all weights.",
        )
    flags.DEFINE_enum(
        "precision",
        "float32",
        list(options.PRECISIONS),
        "Precision of the base in training; weights, task block and loss stay float32. float16 "
        "uses loss scaling. Lower precision is faster on GPUs, not on most CPUs.",
    )
    flags.DEFINE_integer("seed", 0, "Seed of all random choices.")
    engine_flags.define()
    flags.adopt_module_key_flags(engine_flags)


def _define_batch_norm(default: str, personal: bool) -> None:
    texts = {
        "aggregate": "statistics averaged with the weights",
        "recompute": "statistics re-estimated in one extra pass over the clients' images; needs "
        "--aggregator=mean",
        "local": "layer and statistics kept at the client",
        "frozen": "not trained",
        "group": "replaced by group norm",
    }
    names = [name for name in options.BATCH_NORM if personal or name != "local"]
    text = ", ".join(f"{name} ({texts[name]})" for name in names)
    flags.DEFINE_enum("batch_norm", default, names, f"Batch norm: {text}.")


def _define_head() -> None:
    flags.DEFINE_integer(
        "head_rounds",
        0,
        "Rounds before --rounds that train only the task block, with the base frozen.",
    )
    flags.DEFINE_float("head_learning_rate", 1e-3, "Client learning rate of the --head_rounds.")


# Flags that change nothing about the results.
UNRECORDED = frozenset(
    {
        "cache_dir",
        "engine",
        "executor",
        "export",
        "flagfile",
        "kit",
        "listen",
        "mlflow",
        "output_dir",
        "phantom_dir",
        "proposal",
        "published",
        "quorum",
        "ray_address",
        "ray_workers",
        "round_seconds",
        "tensorboard_histograms",
    }  # fmt: skip
)

_PACKAGES = ("tensorflow", "tensorflow-federated", "keras-cv", "numpy", "scikit-learn")


def recorded_settings() -> dict[str, Any]:
    """The values of the program's flags, except those that change no result."""
    own = FLAGS.get_key_flags_for_module(typed.current().program)
    settings = {flag.name: flag.value for flag in own if flag.name not in UNRECORDED}
    return {**settings, **weights_digests(settings.get("weights") or "none")}


def weights_digests(weights: str) -> dict[str, Any]:
    """What is recorded of `--weights` besides its value: files may change under the same name.

    Returns:
      `weights_sha256`: of the file that all networks start from, or one by network; nothing without
      a file.
    """
    digests = {network: _digest(path) for network, path in weights_flag.paths(weights).items()}
    if not digests:
        return {}
    is_for_all = list(digests) == [""]
    return {"weights_sha256": digests[""] if is_for_all else digests}


def _digest(weights: pathlib.Path) -> str:
    """The SHA-256 of a file, or one of all exported models of a run's folder."""
    if weights.is_file():
        return hashlib.sha256(weights.read_bytes()).hexdigest()
    from tffcxr.models.files import run_models

    digest = hashlib.sha256()
    for file in run_models.in_run(weights):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def facts() -> dict[str, Any]:
    """Further content of `config.json`: the command and the versions."""
    return {
        "command": typed.current().words,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }


def check() -> None:
    """Checks what can be checked before the import of TensorFlow, which takes seconds.

    Raises:
      InputError: a flag is out of range.
    """
    from tffcxr.clients import sampling

    checks.at_least(1, "rounds", "local_epochs", "batch_size", "hostile_clients")
    checks.at_least(0, "seed")
    if "head_rounds" in FLAGS:
        checks.at_least(0, "head_rounds")
        checks.used(FLAGS.head_rounds > 0, "head_learning_rate", "--head_rounds", "head_rounds")
    for name, low, high in _RANGES:
        value = FLAGS[name].value
        if value is not None and not low <= value <= high:
            raise InputError(f"--{name}: expected {low:g} to {high:g}, found {value}")
    sampling.parse_clients_per_round(FLAGS.clients_per_round)
    reporting_flags.check()
    engine_flags.check()
    plan_flags.head_schedule()
    plan_flags.schedule()
    _check_partners()
    privacy_flags.check()
    attack_flags.check()
    if FLAGS.batch_norm == "recompute" and FLAGS.aggregator != "mean":
        raise InputError(
            "--batch_norm=recompute: expected --aggregator=mean with it, since the statistics are "
            f"plain sums over clients, found --aggregator={FLAGS.aggregator} "
            "(--batch_norm=aggregate goes with all)"
        )


def _optimizers() -> set[str]:
    """All that networks of the run have; pooled ones of `--central` have their own."""
    found = {FLAGS.optimizer}
    if "central" in FLAGS and (FLAGS.task, FLAGS.baseline) == ("classification", "pooled"):
        found.update(optimizer for text in FLAGS.central for optimizer in text.split(":")[1:2])
    return found


def _check_partners() -> None:
    plateau = FLAGS.schedule == "plateau"
    checks.used(plateau, "plateau_patience", "--schedule=plateau", "schedule")
    checks.used(plateau, "plateau_factor", "--schedule=plateau", "schedule")
    is_adam = not {"adam", "adamw"}.isdisjoint(_optimizers())
    checks.used(is_adam, "adam_epsilon", "--optimizer=adam or adamw", "optimizer")
    checks.used(FLAGS.optimizer == "sgd", "momentum", "--optimizer=sgd", "optimizer")
    is_used = FLAGS.momentum > 0 or not FLAGS.nesterov
    checks.used(is_used, "nesterov", "a --momentum above 0", "momentum")
    is_proof = FLAGS.aggregator in options.HOSTILE_PROOF
    checks.used(
        is_proof,
        "hostile_clients",
        f"--aggregator={', '.join(options.HOSTILE_PROOF)}",
        "aggregator",
    )
    # With these every client counts the same.
    counts_images = FLAGS.aggregator != "dp" and not is_proof
    checks.used(counts_images, "weighting", "another --aggregator", "aggregator")
