"""A proposal in words: what a hospital is asked, for the people who approve it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import json
import math
import textwrap
from typing import TYPE_CHECKING, Any

from tffcxr import options
from tffcxr.hospitals import proposed_privacy

if TYPE_CHECKING:
    from tffcxr.hospitals.proposals import Proposal

_INDENT = 15
_WIDEST = 100
_SHARES = {
    "representation": "the weights of the representation; every hospital keeps its task block",
    "all": "all weights",
}
_BATCH_NORM = {
    "aggregate": "its statistics leave the hospital with the weights",
    "recompute": "its statistics are taken once more from all images of a round, as sums",
    "local": "layer and statistics stay at the hospital",
    "frozen": "not trained",
    "group": "replaced by group norm, which has no statistics",
}
_AGGREGATORS = {
    "mean": "the mean of the updates",
    "robust": "updates that are far from the others are clipped or set to zero",
    "compression": "large updates are compressed, with loss",
    "secure": "the updates are clipped, rounded and masked: the coordinator sees only the sum of "
    "all hospitals' updates; SECURITY.md says what that does not protect from",
    "dp": "the updates are clipped, and their mean gets Gaussian noise",
    "median": "the median of each weight's updates",
    "trimmed_mean": "the mean of each weight's updates without the largest and the smallest",
    "krum": "the mean of the updates that are nearest to others",
    "geometric_median": "the point that is nearest to all updates together",
}
_LEAVES = (
    "updates of the shared weights, counts of images, losses and metrics of many images together"
)
_STAYS = "images, labels, names and paths; scores of single images unless policy.toml allows them"


def describe(proposal: Proposal) -> str:
    """What a hospital is asked, in lines; all settings are listed at the end."""
    lines = [_line(title, text) for title, text in _summary(proposal)]
    lines.append("All settings:")
    lines += [f"  {name}: {_text(value)}" for name, value in sorted(proposal.settings.items())]
    lines.append("Versions at the coordinator:")
    lines += [f"  {name}: {version}" for name, version in sorted(proposal.versions.items())]
    return "\n".join(lines)


def _line(title: str, text: str) -> str:
    start = f"{title}:".ljust(_INDENT)
    return textwrap.fill(text, _WIDEST, initial_indent=start, subsequent_indent=" " * _INDENT)


def _summary(proposal: Proposal) -> Iterator[tuple[str, str]]:
    yield "Study", proposal.study
    yield "Recipe", proposal.recipe
    yield "Hospitals", ", ".join(map(str, proposal.sites))
    for name, title in (("task", "Task"), ("model", "Networks")):
        if name in proposal.settings:
            yield title, _text(proposal.settings[name])
    yield from _training(proposal.settings)
    if proposal.settings.get("only"):
        yield "Exceptions", _text(proposal.settings["only"])
    yield "Leaves", _LEAVES
    yield "Stays", _STAYS
    yield "Hash", proposal.hash


def _training(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is asked of all networks that have no exceptions."""
    if "rounds" in settings:
        text = f"{_text(settings['rounds'])}, each of {_text(settings.get('local_epochs', 1))} "
        text += "passes over the hospital's images"
        if settings.get("head_rounds"):
            text += f"; before them {_text(settings['head_rounds'])} of the task block alone"
        yield "Rounds", text
    if "clients_per_round" in settings:
        yield "Clients", f"{_text(settings['clients_per_round'])} in each round"
    yield "Shared", _meaning(settings.get("share", "all"), _SHARES)
    if "batch_norm" in settings:
        yield "Batch norm", _meaning(settings["batch_norm"], _BATCH_NORM)
    if "aggregator" in settings:
        text = _meaning(settings["aggregator"], _AGGREGATORS)
        if settings["aggregator"] == "dp":
            text += _noise(settings)
        yield "Aggregation", text
    if settings.get("dp_sgd_noise"):
        yield "Images", _image_noise(settings)


def _noise(settings: Mapping[str, Any]) -> str:
    """How much noise there is, and what it costs a client that takes part in all rounds."""
    target = settings.get("target_epsilon")
    if target is not None:
        return (
            f", as much as keeps a client's epsilon at most {_text(target)} in all rounds, at "
            f"delta {_text(settings.get('dp_delta', options.DP_DELTA))}"
        )
    text = f" of {_text(settings.get('dp_noise_multiplier'))} times the clipping norm"
    return text + _cost(settings, proposed_privacy.of_client, "a client's")


def _image_noise(settings: Mapping[str, Any]) -> str:
    """What each image has of the noise that the hospital adds in each step of its training."""
    text = (
        f"the hospital adds noise of {_text(settings['dp_sgd_noise'])} times the clipping norm in "
        "each step"
    )
    return text + _cost(settings, proposed_privacy.of_image, "an image's")


def _cost(settings: Mapping[str, Any], of: Callable[..., float], whose: str) -> str:
    delta = proposed_privacy.delta(settings)
    found = math.inf if math.isnan(delta) else of([settings], delta)
    if math.isinf(found):
        return ""
    return f"; in all rounds {whose} epsilon is at most {found:.3g} at delta {delta:g}"


def _meaning(value: Any, meanings: Mapping[str, str]) -> str:
    text = _text(value)
    return f"{text}: {meanings[text]}" if text in meanings else text


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    if value in ("", []):
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        return ", ".join(map(_text, value))
    return json.dumps(value, sort_keys=True)
