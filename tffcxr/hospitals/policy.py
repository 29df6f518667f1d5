"""What a hospital allows, in its own policy.toml, which no coordinator can change or see."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
import pathlib
from typing import Any

from tffcxr import options, toml_files
from tffcxr.errors import InputError, did_you_mean
from tffcxr.hospitals import proposed_privacy
from tffcxr.hospitals.proposals import Proposal

ANY = "*"
_MOST = 10**9
_KEEPS_APART = 3  # Hospitals of a secure sum in which none can tell another's part.

DEFAULT_TEXT = """\
# What this hospital allows. The coordinator can neither change nor see it. A key that is missing
# has the value that it has here.

# Studies that may run, by name; "*" is any that the kit's authority has signed.
studies = ["*"]

# Recipes that may run, such as ["cheXviz"].
recipes = ["*"]

# Findings that a study may train, at any of its hospitals, such as ["Lung Opacity"].
findings = ["*"]

# Most rounds of a network's training, those of the task block alone included.
most_rounds = 200

# No update leaves a client with fewer training images than this.
fewest_images = 20

# Neither a count of images below this nor a metric of so few images is reported.
smallest_count = 10

# Whether the model's scores of single images may leave the hospital.
scores_per_image = false

# Whether nnU-Net's fingerprint of the training images may leave: counts of image sizes, however
# few, and a histogram of the intensities inside the outlines.
fingerprints = false

# Values of --aggregator that are acceptable, such as ["dp"].
aggregators = ["*"]

# With --aggregator=secure, fewest hospitals whose updates are summed, this one included; 2 or more.
# With the number of all hospitals, no round goes on without one that is late.
fewest_hospitals = 2

# Least --dp_noise_multiplier; above 0, only --aggregator=dp is acceptable.
least_noise = 0.0

# Most epsilon, at the delta below, that all rounds and networks of a study may cost: of all images
# here together, by the noise that the coordinator is to add (--aggregator=dp) ...
most_epsilon = inf

# ... and of each image, by the noise that this hospital adds itself (--dp_sgd_noise).
most_epsilon_of_images = inf

# The delta of these two.
delta = 1e-5
"""


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a hospital allows; where names are listed, "*" is any.

    Attributes:
      studies: names of studies that may run.
      recipes: names of recipes that may run.
      findings: that a study may train, at any of its hospitals.
      most_rounds: of a network's training, those of the task block alone included.
      fewest_images: training images of a client, below which no update of it leaves.
      smallest_count: images, below which neither their count nor a metric of them is reported.
      scores_per_image: whether scores of single images may leave.
      fingerprints: whether nnU-Net's fingerprint of the training images may leave.
      aggregators: values of `--aggregator` that are acceptable.
      fewest_hospitals: in a secure sum, this one included.
      least_noise: least `--dp_noise_multiplier`; above 0, only `--aggregator=dp` is acceptable.
      most_epsilon: that a study may cost, of all images of the hospital together.
      most_epsilon_of_images: likewise of each image.
      delta: of these two.
    """

    studies: tuple[str, ...] = (ANY,)
    recipes: tuple[str, ...] = (ANY,)
    findings: tuple[str, ...] = (ANY,)
    most_rounds: int = 200
    fewest_images: int = 20
    smallest_count: int = 10
    scores_per_image: bool = False
    fingerprints: bool = False
    aggregators: tuple[str, ...] = (ANY,)
    fewest_hospitals: int = 2
    least_noise: float = 0.0
    most_epsilon: float = math.inf
    most_epsilon_of_images: float = math.inf
    delta: float = options.DP_DELTA


def read(path: pathlib.Path) -> Policy:
    """Reads a policy.toml.

    Raises:
      InputError: it cannot be read, or a key is unknown or has another value than it may.
    """
    table = toml_files.read(path)
    toml_files.check_keys(path, "", table, [each.name for each in dataclasses.fields(Policy)])
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in ("studies", "recipes", "findings", "aggregators"):
            values[key] = _names(path, key, value)
        elif key in ("scores_per_image", "fingerprints"):
            values[key] = _boolean(path, key, value)
        elif key == "fewest_hospitals":
            values[key] = toml_files.integer(path, key, value, 2, _MOST)
        elif key == "least_noise":
            values[key] = _noise(path, key, value)
        elif key in ("most_epsilon", "most_epsilon_of_images"):
            values[key] = _epsilon(path, key, value)
        elif key == "delta":
            values[key] = _delta(path, key, value)
        else:
            values[key] = toml_files.integer(path, key, value, 1, _MOST)
    for name in values.get("aggregators", ()):
        if name not in (ANY, *options.AGGREGATORS):
            raise InputError(
                f"{path}: aggregators: expected some of {', '.join(options.AGGREGATORS)}, "
                f"found {name!r}{did_you_mean(name, options.AGGREGATORS)}"
            )
    return Policy(**values)


def problems(policy: Policy, proposal: Proposal) -> list[str]:
    """What a policy has against a proposal, in one line each; empty if it allows it."""
    findings = [finding for site in proposal.sites for finding in site.findings]
    found = [
        *_others("studies", policy.studies, [proposal.study]),
        *_others("recipes", policy.recipes, [proposal.recipe]),
        *_others("findings", policy.findings, list(dict.fromkeys(findings))),
    ]
    for network, settings in proposal.trainings().items():
        for problem in _training_problems(policy, settings, len(proposal.sites)):
            if problem not in found:
                found.append(f"{problem} for {network}" if network else problem)
    return [*found, *_privacy_problems(policy, proposal)]


def warning(policy: Policy, proposal: Proposal) -> str:
    """What a hospital should know of a proposal that its policy allows, in a line; or empty.

    Of two hospitals in a secure sum, each subtracts its own part from the sum.
    """
    found = proposal.trainings().values()
    if all(str(settings.get("aggregator")) != "secure" for settings in found):
        return ""
    other = "each can compute the other's update from the sum"
    if len(proposal.sites) < _KEEPS_APART:
        return f"--aggregator=secure in a study of two hospitals: {other}"
    if policy.fewest_hospitals < _KEEPS_APART:
        return (
            f"fewest_hospitals = {policy.fewest_hospitals}: where a secure sum has two hospitals, "
            f"{other}; {_KEEPS_APART} or more prevents it"
        )
    return ""


def _privacy_problems(policy: Policy, proposal: Proposal) -> list[str]:
    found = []
    for key, most, of, flag in (
        ("most_epsilon", policy.most_epsilon, proposed_privacy.of_client, "--aggregator=dp"),
        (
            "most_epsilon_of_images",
            policy.most_epsilon_of_images,
            proposed_privacy.of_image,
            "--dp_sgd_noise",
        ),
    ):
        if math.isinf(most):
            continue
        cost = of(proposed_privacy.networks(proposal), policy.delta)
        if not cost <= most:
            found.append(
                f"{key}: expected at most {most:g} at delta {policy.delta:g}, found "
                + (f"no noise ({flag})" if math.isinf(cost) else f"{cost:.4g}")
            )
    return found


def _training_problems(policy: Policy, settings: Mapping[str, Any], sites: int) -> list[str]:
    found = []
    rounds = proposed_privacy.number(settings.get("rounds")) + proposed_privacy.number(
        settings.get("head_rounds", 0)
    )
    if not rounds <= policy.most_rounds:
        found.append(f"most_rounds: expected at most {policy.most_rounds} rounds, found {rounds:g}")
    aggregator = str(settings.get("aggregator"))
    found += _others("aggregators", policy.aggregators, [aggregator])
    if aggregator == "secure" and sites < policy.fewest_hospitals:
        found.append(
            f"fewest_hospitals: expected at least {policy.fewest_hospitals} in the study, found "
            f"{sites}"
        )
    noise, target = (
        proposed_privacy.number(settings.get("dp_noise_multiplier")),
        settings.get("target_epsilon"),
    )
    if aggregator != "dp" and policy.least_noise > 0:
        found.append(f"least_noise: expected --aggregator=dp, found {aggregator}")
    if aggregator == "dp" and not noise >= policy.least_noise:
        found.append(
            f"least_noise: expected --dp_noise_multiplier of at least {policy.least_noise:g}, "
            + (f"found {noise:g}" if target is None else f"found --target_epsilon={target}")
        )
    return found


def _others(key: str, allowed: tuple[str, ...], asked: list[str]) -> list[str]:
    """A line for every name that is asked for and not allowed."""
    if ANY in allowed:
        return []
    known = {name.casefold() for name in allowed}
    return [
        f"{key}: expected {' or '.join(allowed) or 'none at all'}, found {name}"
        for name in asked
        if name.casefold() not in known
    ]


def _names(path: pathlib.Path, key: str, value: Any) -> tuple[str, ...]:
    if value == ANY:
        return (ANY,)
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise InputError(f'{path}: {key}: expected a list of names or "*", found {value!r}')
    return tuple(value)


def _boolean(path: pathlib.Path, key: str, value: Any) -> bool:
    if type(value) is not bool:
        raise InputError(f"{path}: {key}: expected true or false, found {value!r}")
    return value


def _noise(path: pathlib.Path, key: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise InputError(f"{path}: {key}: expected a number of at least 0, found {value!r}")
    return float(value)


def _epsilon(path: pathlib.Path, key: str, value: Any) -> float:
    if type(value) not in (int, float) or not value > 0:
        raise InputError(f"{path}: {key}: expected a number above 0 or inf, found {value!r}")
    return float(value)


def _delta(path: pathlib.Path, key: str, value: Any) -> float:
    if type(value) is not float or not 1e-12 <= value <= 1e-2:
        raise InputError(f"{path}: {key}: expected a number from 1e-12 to 0.01, found {value!r}")
    return value
