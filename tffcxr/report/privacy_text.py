"""What a report says of privacy.

Of differential privacy, from `privacy.json`, and of what that leaves out; of secure sums, from
`config.json`.
"""

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
_OF_STEPS = ("noise_multiplier", "clip", "batch_size", "local_epochs")
_OF_IMAGES = (
    "images", "passes", "epsilon", "epsilon_left_out", "epsilon_of_poisson_batches",
    "right_guesses",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Privacy:
    """The section of a report.

    Attributes:
      tables: of clients and of single images, whichever the run protects.
      not_covered: what is given away besides, in sentences.
      sums: what is said of secure sums, in sentences; none where the run asks for none.
    """

    tables: Sequence[Table]
    not_covered: Sequence[str]
    sums: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """What is said of one kind of protection.

    Attributes:
      title: what is protected.
      headings: of the table.
      cells: its rows.
      sentences: what epsilon means here.
    """

    title: str
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    sentences: Sequence[str]


def read(run_dir: pathlib.Path) -> dict[str, Any]:
    """Reads `privacy.json`; empty without the file.

    Raises:
      errors.InputError: the file is damaged.
    """
    path = run_dir / run_tables.PRIVACY
    if not path.exists():
        return {}
    found = run_files.read_json(path)
    trainings, images = found.get("trainings"), found.get("images")
    is_whole = (
        style.is_number(found.get("delta"))
        and _have(found.get("together"), ("epsilon", "right_guesses"))
        and isinstance(trainings, dict)
        and all(_have(each, _NUMBERS) for each in trainings.values())
        and isinstance(images, dict)
        and all(
            _have(each, _OF_STEPS)
            and isinstance(each.get("clients"), dict)
            and all(_have(client, _OF_IMAGES) for client in each["clients"].values())
            for each in images.values()
        )
    )
    if not is_whole:
        raise errors.InputError(f"expected delta and numbers of each training in {path}")
    return found


def _have(found: Any, names: Sequence[str]) -> bool:
    return isinstance(found, dict) and all(style.is_number(found.get(name)) for name in names)


def stopped(privacy: Mapping[str, Any]) -> set[str]:
    """Returns the trainings that ended because another round could exceed the budget."""
    return {name for name, each in _trainings(privacy) if each.get("stopped_by_budget") is True}


def has_budget_elsewhere(privacy: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether another program, the coordinator of hospitals, keeps a privacy budget.

    Args:
      privacy: as `read` returns it.
      config: `config.json`.
    """
    settings = _settings(config)
    limits = settings.get("epsilon_budget"), settings.get("target_epsilon")
    return not _trainings(privacy) and any(limit is not None for limit in limits)


def of(privacy: Mapping[str, Any], config: Mapping[str, Any]) -> Privacy | None:
    """Returns what to say of a run, None of one that asks for no kind of privacy.

    Args:
      privacy: as `read` returns it.
      config: `config.json`.
    """
    tables = [table for table in (_clients(privacy), _images(privacy)) if table is not None]
    sums = _sums(config)
    if not tables and not sums:
        return None
    return Privacy(tables, _not_covered(config) if tables else (), sums)


def _clients(privacy: Mapping[str, Any]) -> Table | None:
    trainings = _trainings(privacy)
    if not trainings:
        return None
    return Table(
        "All images of a client together",
        ("Training", "ε", "ε if left out", "ε if samples are secret", "δ", "Noise multiplier",
         "Clients", "Clients per round", "Sampling rate", "Rounds", "Most rounds of a client"),
        [_cells(name, each, privacy["delta"]) for name, each in trainings],
        _sentences(privacy, trainings),
    )  # fmt: skip


def _images(privacy: Mapping[str, Any]) -> Table | None:
    trainings = privacy.get("images", {})
    if not trainings:
        return None
    worst = max(
        (client for each in trainings.values() for client in each["clients"].values()),
        key=lambda client: client["epsilon"],
        default=None,
    )
    sentences = [
        f"Mechanism: the gradient of each image is clipped to the norm {_short(each['clip'])}, and "
        f"the sum over a batch of {each['batch_size']:.0f} gets Gaussian noise of "
        f"{_short(each['noise_multiplier'])} times that norm, at the client, so that it protects "
        f"also from the server ({name})."
        for name, each in trainings.items()
    ]
    if worst is not None:
        sentences.insert(0, verdict(worst["epsilon"], worst["right_guesses"], 1, "image"))
    sentences += [
        "Neighbours: one image of a client is replaced by any other; a patient with several images "
        "is protected less. With “left out”, one image is missing instead.",
        "Sampling: batches are shuffled passes, not Poisson samples. ε counts on no lucky draw: "
        "an image is in one batch of each pass, so its ε follows from the number of passes alone. "
        "Most papers state the ε of Poisson batches, which holds only if each image is drawn for "
        "each batch by itself, in secret; that is given for comparison and is no guarantee here.",
    ]
    if len(trainings) > 1:
        sentences.append("Each training costs its own ε; together they cost more.")
    return Table(
        "Single images",
        ("Training", "Client", "Images", "Passes", "ε", "ε if left out", "ε of Poisson batches",
         "δ", "Noise multiplier"),
        [
            [
                name,
                client,
                style.number(of["images"], 0),
                style.number(of["passes"], 0),
                _short(of["epsilon"]),
                _short(of["epsilon_left_out"]),
                _short(of["epsilon_of_poisson_batches"]),
                f"{privacy['delta']:g}",
                _short(each["noise_multiplier"]),
            ]
            for name, each in trainings.items()
            for client, of in each["clients"].items()
        ],
        sentences,
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


def verdict(epsilon: float, right_guesses: float, clients: float, protected: str = "client") -> str:
    """Says in words what an epsilon is worth.

    Args:
      epsilon: of neighbours whose data are replaced.
      right_guesses: see `tffcxr.learning.privacy_accounting.right_guesses`.
      clients: how many there are.
      protected: what has one of two values: a client its images, or an image its content.
    """
    if epsilon <= _STRONG:
        worth = "strong protection"
    elif epsilon <= _REASONABLE:
        worth = "reasonable protection"
    elif right_guesses < _CERTAIN:
        worth = "weak protection"
    else:
        worth = "no protection: it protects nobody"
    if protected == "client":
        begin = f"With {style.counted(clients, 'client')}, ε = {_short(epsilon)} is {worth}. "
        begin += "Whoever knows two data sets, one of which a client has, can tell which"
    else:
        begin = f"For the client with most passes, ε = {_short(epsilon)} is {worth}. Whoever knows "
        begin += "two images, one of which a client has, and all its others, can tell which"
    return (
        f"{begin} from the models in up to {100 * right_guesses:.1f} % of cases; a coin does in "
        "50 %. (Up to 1 is called strong, up to 10 reasonable, more weak or none: Ponomareva et "
        "al., “How to DP-fy ML”, JAIR 77, 2023.)"
    )


def _not_covered(config: Mapping[str, Any]) -> list[str]:
    """Returns what leaves clients without noise."""
    settings = _settings(config)
    found = [
        "Each client's number of images, training loss and failures (clients.csv), and metrics of "
        "validation and test images.",
        "What is chosen by these: the best round, the end of training, rates of "
        "--schedule=plateau, calibration and operating points.",
        "Models of sites alone and of pooled images, and statistics of the training images' pixels "
        "(models/*.images.npz).",
    ]
    keeps_layers = settings.get("share") == "representation" or settings.get("private")
    if keeps_layers and not settings.get("dp_sgd_noise"):
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


def _sums(config: Mapping[str, Any]) -> list[str]:
    """Returns what `--aggregator=secure` was worth in a run."""
    settings = _settings(config)
    only = settings.get("only")
    networks = only if isinstance(only, list) else []
    if settings.get("aggregator") != "secure" and not any(
        str(each).endswith(":aggregator=secure") for each in networks
    ):
        return []
    if config.get("engine") == "ray":
        return [
            "The workers of the Ray cluster masked the updates of --aggregator=secure, so that the "
            "program that combined them read only the sum of all clients. This does not protect "
            "from its user, who decides what the workers compute; hospitals (--engine=hospitals) "
            "decide themselves."
        ]
    if config.get("engine") != "hospitals":
        return [
            "The updates of --aggregator=secure were added in the clear: they were clipped and "
            "rounded as for secure sums, but nothing was masked, since one computer had all "
            "clients. Hospitals (--engine=hospitals) mask what they send."
        ]
    return [
        "Each hospital masked its update (--aggregator=secure), so that the coordinator could read "
        "only the sum of all. Each two hospitals agreed on the masks with keys that their "
        "certificates signed.",
        "In the clear came each client’s number of images, number of known labels, training loss "
        "and failures (clients.csv), and the metrics of validation and test images.",
        "The sum itself is not protected, nor does this help against a coordinator that invents "
        "hospitals or has a round begun again without one; SECURITY.md says more.",
    ]


def _settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = config.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def _short(number: float) -> str:
    """A number with three digits."""
    return f"{number:.3g}" if number < 1e4 else f"{number:.0e}"
