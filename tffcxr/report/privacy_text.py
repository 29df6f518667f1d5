"""What a report says of differential privacy, from `privacy.json`, and of what that leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

from tffcxr import errors, run_tables
from tffcxr.report import run_files, style

# N. Ponomareva et al., "How to DP-fy ML: A Practical Guide to Machine Learning with Differential
# Privacy", JAIR 77 (2023), section 5.2: tiers of epsilon, for leaving out or adding one.
_STRONG, _REASONABLE = 1.0, 10.0
_CERTAIN = 0.99
_NUMBERS = (
    "noise_multiplier", "noise_multiplier_of_updates", "noise_of_count", "clients",
    "clients_per_round", "rounds", "most_rounds_of_a_client", "epsilon", "epsilon_left_out",
    "right_guesses",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Privacy:
    """The section of a report.

    Attributes:
      headings: of the table.
      cells: of the table, a row per training.
      sentences: what epsilon means here.
      not_covered: what is given away besides, in sentences.
    """

    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    sentences: Sequence[str]
    not_covered: Sequence[str]


def read(run_dir: pathlib.Path) -> dict[str, Any]:
    """Reads `privacy.json`; empty without the file.

    Raises:
      errors.InputError: the file is damaged.
    """
    path = run_dir / run_tables.PRIVACY
    if not path.exists():
        return {}
    found = run_files.read_json(path)
    trainings, together = found.get("trainings"), found.get("together")
    is_whole = (
        style.is_number(found.get("delta"))
        and isinstance(trainings, dict)
        and bool(trainings)
        and all(
            isinstance(each, dict) and all(style.is_number(each.get(name)) for name in _NUMBERS)
            for each in trainings.values()
        )
        and isinstance(together, dict)
        and all(style.is_number(together.get(name)) for name in ("epsilon", "right_guesses"))
    )
    if not is_whole:
        raise errors.InputError(f"expected delta and numbers of each training in {path}")
    return found


def stopped(privacy: Mapping[str, Any]) -> set[str]:
    """Returns the trainings that ended because another round could exceed the budget."""
    return {name for name, each in _trainings(privacy) if each.get("stopped_by_budget") is True}


def of(privacy: Mapping[str, Any], config: Mapping[str, Any]) -> Privacy | None:
    """Returns what to say of a run, None of one without differential privacy.

    Args:
      privacy: as `read` returns it.
      config: `config.json`.
    """
    trainings = _trainings(privacy)
    if not trainings:
        return None
    return Privacy(
        ("Training", "ε", "ε if left out", "ε if samples are secret", "δ", "Noise multiplier",
         "Clients", "Clients per round", "Sampling rate", "Rounds", "Most rounds of a client"),
        [_cells(name, each, privacy["delta"]) for name, each in trainings],
        _sentences(privacy, trainings),
        _not_covered(config),
    )  # fmt: skip


def _trainings(privacy: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(privacy.get("trainings", {}).items())


def _cells(name: str, each: Mapping[str, Any], delta: float) -> list[str]:
    secret = each.get("epsilon_of_secret_samples")
    return [
        name,
        _short(each["epsilon"]),
        _short(each["epsilon_left_out"]),
        style.UNDEFINED if secret is None else _short(secret),
        f"{delta:g}",
        _short(each["noise_multiplier"]),
        style.number(each["clients"], 0),
        style.number(each["clients_per_round"], 0),
        style.percent(each["clients_per_round"] / each["clients"]),
        style.number(each["rounds"], 0),
        style.number(each["most_rounds_of_a_client"], 0),
    ]


def _sentences(
    privacy: Mapping[str, Any], trainings: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[str]:
    together = privacy["together"]
    found = [verdict(together["epsilon"], together["right_guesses"], trainings[0][1]["clients"])]
    if len(trainings) > 1:
        found[0] = f"All {len(trainings)} trainings together: {found[0]}"
    found += [
        "Mechanism: each client's update is clipped to a norm that adapts to the median, and the "
        "server adds Gaussian noise to their sum, and to the count by which the norm adapts; ε "
        "covers both. Every client counts the same. What the noise hides, it hides from whoever "
        "sees the averaged models, not from the server, which sees each update.",
        "Neighbours: all images of one client are replaced by any others. With “left out”, one "
        "client sends nothing instead, as most papers count. δ is the probability with which the "
        "guarantee may fail altogether.",
        "Sampling: who takes part in a round follows from the seed and stands in clients.csv, so ε "
        "counts the rounds that the client with most rounds took part in, and no chance of being "
        "absent. The ε of secret samples would hold if nobody knew these.",
    ]
    for name, each in trainings:
        if each.get("stopped_by_budget") is True:
            found.append(
                f"{name}: stopped after {style.counted(each['rounds'], 'round')}, since another "
                f"could have cost a client more than the budget of ε = {_short(each['budget'])}."
            )
    return found


def verdict(epsilon: float, right_guesses: float, clients: float) -> str:
    """Says in words what an epsilon is worth.

    Args:
      epsilon: of neighbours whose data are replaced.
      right_guesses: see `tffcxr.learning.privacy_accounting.right_guesses`.
      clients: how many there are.
    """
    if epsilon <= _STRONG:
        worth = "strong protection"
    elif epsilon <= _REASONABLE:
        worth = "reasonable protection"
    elif right_guesses < _CERTAIN:
        worth = "weak protection"
    else:
        worth = "no protection: it protects nobody"
    return (
        f"With {style.counted(clients, 'client')}, ε = {_short(epsilon)} is {worth}. Whoever knows "
        "two data sets, one of which a client has, can tell which from the averaged models in up "
        f"to {100 * right_guesses:.1f} % of cases; a coin does in 50 %. (Up to 1 is called strong, "
        "up to 10 reasonable, more weak or none: Ponomareva et al., “How to DP-fy ML”, JAIR 77, "
        "2023.)"
    )


def _not_covered(config: Mapping[str, Any]) -> list[str]:
    """Returns what leaves clients without noise."""
    settings = config.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    found = [
        "Each client's number of images, training loss and failures (clients.csv), and metrics of "
        "validation and test images.",
        "What is chosen by these: the best round, the end of training, rates of "
        "--schedule=plateau, calibration and operating points.",
        "Models of sites alone and of pooled images, and statistics of the training images' pixels "
        "(models/*.images.npz).",
    ]
    if settings.get("share") == "representation" or settings.get("private"):
        found.append(
            "Layers that stay at a client: they are trained without noise, and exported models "
            "contain them."
        )
    if settings.get("batch_norm") == "local":
        found.append("Batch norm, which stays at each client; exported models contain it.")
    if settings.get("class_balance") == "weights":
        found.append("Each client's counts of images by class, which weigh the loss.")
    if settings.get("task") == "segmentation" and "gpu_memory_gb" in settings:
        found.append("nnU-Net's fingerprint: statistics of sizes and intensities.")
    found.append(
        "Anything, to whoever has the file noise_key in the run's folder: it decides the noise, so "
        "that a resumed run has the same. The noise is rounded to 32 bits, which an attack on the "
        "last digits might use."
    )
    return found


def _short(number: float) -> str:
    """A number with three digits."""
    return f"{number:.3g}" if number < 1e4 else f"{number:.0e}"
