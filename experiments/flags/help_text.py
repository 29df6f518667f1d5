"""What `--help` prints: the program's flags in groups, the most important ones first."""

from __future__ import annotations

from collections.abc import Iterable
import shutil
import textwrap
from typing import Any

from absl import flags

# The ten that a new user needs; a program shows those that it defines.
_FIRST = (
    "site",
    "output_dir",
    "model",
    "task",
    "rounds",
    "image_size",
    "batch_size",
    "learning_rate",
    "local_epochs",
    "clients_per_round",
)
# The group of every other flag; flags in no group are listed last.
_GROUPS = {
    "Data": (
        "external_site",
        "same",
        "columns",
        "uncertain",
        "views",
        "phantom_patients",
        "phantom_dir",
        "cache_dir",
        "fit",
        "augmentation",
        "nnunet_augmentation",
        "max_rejected_fraction",
        "test_fraction",
        "test_images",
        "validation_fraction",
        "class_balance",
        "images",
        "segmentation_model",
        "patients_per_stratum",
        "field_of_view",
        "ct_window",
        "suv_maximum",
        "seed",
        "split_seed",
    ),
    "Model": ("weights", "width", "initialization", "batch_norm", "precision", "gpu_memory_gb"),
    "Federation": (
        "partition",
        "clients_per_site",
        "alpha",
        "share",
        "private",
        "weighting",
        "aggregator",
        "hostile_clients",
        "attack",
        "attackers",
        "attack_strength",
        "quarantine",
        "dp_noise_multiplier",
        "target_epsilon",
        "epsilon_budget",
        "dp_clip",
        "dp_delta",
        "dp_sgd_noise",
        "dp_sgd_clip",
        "server_optimizer",
        "server_learning_rate",
        "proximal",
        "baseline",
        "pooled_epochs",
        "central",
        "central_epochs",
    ),
    "Where rounds run": (
        "engine",
        "kit",
        "quorum",
        "round_seconds",
        "listen",
        "proposal",
        "ray_address",
        "ray_workers",
        "executor",
    ),
    "Optimisation": (
        "optimizer",
        "only",
        "schedule",
        "momentum",
        "nesterov",
        "weight_decay",
        "clip_norm",
        "adam_epsilon",
        "keep_optimizer",
        "plateau_patience",
        "plateau_factor",
        "head_rounds",
        "head_learning_rate",
        "early_stopping",
    ),
    "Output": (
        "report_round",
        "calibration",
        "export",
        "bootstrap",
        "heatmaps",
        "heat_metrics",
        "published",
        "tensorboard_histograms",
    ),
}
_KINDS = {"int": "N", "float": "X", "comma separated list of strings": "A,B,…"}
_WIDEST = 100
_INDENT = 6


def of_program(doc: str, own: Iterable[flags.Flag]) -> str:
    """Returns the help of a program.

    Args:
      doc: the docstring of its module.
      own: its flags.
    """
    by_name = {flag.name: flag for flag in own}
    parts = [doc.strip()]
    for title, names in _sections(by_name):
        parts.append("\n".join([f"{title}:", *(_entry(by_name[name]) for name in names)]))
    parts.append(
        "--flagfile=FILE reads flags from a file, or from a paper's preset by its name. "
        "--helpfull also lists absl's own flags."
    )
    return "\n\n".join(parts)


def _sections(by_name: dict[str, flags.Flag]) -> list[tuple[str, list[str]]]:
    """The titles, and the names of the flags below each."""
    if "rounds" not in by_name:  # A tool: its flags in the order of definition.
        return [("Flags", list(by_name))]
    placed = {*_FIRST, *(name for names in _GROUPS.values() for name in names)}
    found = [("Flags that matter first", [name for name in _FIRST if name in by_name])]
    found += [(title, [n for n in names if n in by_name]) for title, names in _GROUPS.items()]
    found.append(("Further flags", [name for name in by_name if name not in placed]))
    return [(title, names) for title, names in found if names]


def _entry(flag: flags.Flag) -> str:
    """One flag: its values, its meaning and its default."""
    values = getattr(flag.parser, "enum_values", None)
    kind = "|".join(values) if values else _KINDS.get(flag.flag_type(), "TEXT")
    head = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}={kind}"
    # absl prepends the values of an enumeration, and appends to a list how to give several.
    text = str(flag.help).partition(">: ")[2] if values else str(flag.help)
    text = text.partition(";\n")[0]
    default = _default(flag)
    if default and "efault" not in text:
        text += f" Default: {default}."
    width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    indent = " " * _INDENT
    # Values have no space between them to break a line at.
    spaced = textwrap.wrap(
        head.replace("|", "| "), width, subsequent_indent=indent, break_on_hyphens=False
    )
    return "\n".join(
        [
            *(line.replace("| ", "|") for line in spaced),
            *textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent),
        ]
    )


def _default(flag: flags.Flag) -> str:
    value: Any = flag.default
    if value is None or value == []:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)
