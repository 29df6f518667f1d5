"""How results are named, coloured and rounded, the same in every table and figure.

The colours are those of Okabe & Ito, "Color Universal Design", 2008, which people with any kind
of colour vision tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import itertools
import math
import re
from typing import Any

_TRAINING_NAMES = {
    "site": "Site alone",
    "pooled": "All sites pooled",
    "federated_private_norm": "Federated, private batch norm",
    "federated_private_output": "Federated, private output",
    "federated_private_both": "Federated, private batch norm and output",
    "federated": "Federated",
}
_TRAINING_COLOURS = {
    "site": "#D55E00",
    "pooled": "#009E73",
    "federated_private_norm": "#CC79A7",
    "federated_private_output": "#E69F00",
    "federated_private_both": "#56B4E9",
    "federated": "#0072B2",
}
_OF_SITE = "site_"  # The own model of a site, where it is measured on the images of another.
_AS_AT_SITE = f"federated_{_OF_SITE}"  # The federated model with a site's own layers, likewise.
_OTHER_TRAINING_COLOUR = "#555555"
# What papers call the networks of `tffcxr/options.py`.
_CLASSIFIER_NAMES = {
    "standard": "standard",
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "seresnet18": "SE-ResNet18",
    "seresnet34": "SE-ResNet34",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "densenet121": "DenseNet121",
    "densenet169": "DenseNet169",
    "resnext18": "ResNeXt18",
    "resnext50": "ResNeXt50",
    "mobilenet": "MobileNet",
    "mobilenetv2": "MobileNetV2",
    "efficientnetb0": "EfficientNet-B0",
    "efficientnetb4": "EfficientNet-B4",
    "efficientnetlite0": "EfficientNet-Lite0",
    "covidnet": "COVID-Net",
}
_SEGMENTER_NAMES = {"unet": "U-Net", "unetplusplus": "U-Net++"}
_MODEL_NAMES = {
    **_CLASSIFIER_NAMES,
    **_SEGMENTER_NAMES,
    "nnunet": "nnU-Net",
    **{
        f"{segmenter}_{encoder}": f"{segmenter_name} ({encoder_name})"
        for segmenter, segmenter_name in _SEGMENTER_NAMES.items()
        for encoder, encoder_name in _CLASSIFIER_NAMES.items()
    },
}
_IMAGES = ("full", "segmented")
# For what is not a kind of training (sites, findings, variants); none of the three colours above.
SERIES_COLOURS = ("#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#6A3D9A", "#999999")
UNDEFINED = "–"
NOT_COMPARED = "not compared"  # Not a gap: there is nothing that the model was to be compared with.
_MINUS = "\N{MINUS SIGN}"
_NO_BREAK = "\N{NO-BREAK SPACE}"


def training_name(training: str) -> str:
    """Returns what a reader calls a kind of training or a variant.

    "Federated" for "federated", "Trained at north" for "site_north", "Federated, as at north" for
    "federated_site_north", "ResNet50, segmented" for "resnet50 segmented", "ResNet50, pooled" for
    "resnet50 pooled", "ResNet50, Effusion" for "resnet50 Effusion".
    """
    if training in _TRAINING_NAMES:
        return _TRAINING_NAMES[training]
    if is_elsewhere(training):
        return f"Trained at {training.removeprefix(_OF_SITE)}"
    if is_federated_as_at(training):
        return f"Federated, as at {training.removeprefix(_AS_AT_SITE)}"
    model, *about = training.split(" ")
    if about and model in _MODEL_NAMES and about[0] not in (*_IMAGES, *_TRAINING_NAMES):
        return f"{model_name(model)}, {' '.join(about)}"  # A network and its task.
    is_variant = all(word in (*_IMAGES, *_TRAINING_NAMES) for word in about)
    if not is_variant or not (about or model in _MODEL_NAMES):
        return training
    return ", ".join([model_name(model), *about])


def is_elsewhere(training: str) -> bool:
    """Whether a row is of a site's own model on the images of another."""
    return training.startswith(_OF_SITE)


def is_federated_as_at(training: str) -> bool:
    """Whether a row is of the federated model with one site's own layers, on another's images."""
    return training.startswith(_AS_AT_SITE)


def split_training(name: str) -> tuple[str, str]:
    """Splits a model's name into its variant and its training, either of them perhaps empty."""
    variant, _, training = name.rpartition(" ")
    if training not in _TRAINING_NAMES:
        return name, ""
    return variant, training


def model_name(model: str) -> str:
    """Returns what a reader calls a model: "U-Net (ResNet34)" for "unet_resnet34"."""
    return _MODEL_NAMES.get(model, model)


def training_colour(training: str) -> str:
    """Returns the colour of a kind of training, as #RRGGBB."""
    kind = "federated" if is_federated_as_at(training) else training
    return _TRAINING_COLOURS.get(kind, _OTHER_TRAINING_COLOUR)


def colours(names: Iterable[str]) -> dict[str, str]:
    """Returns a colour (#RRGGBB) for each name: a training's own, the next of a series else."""
    result: dict[str, str] = {}
    others = itertools.cycle(SERIES_COLOURS)
    for name in names:
        if name not in result:
            known = name in _TRAINING_COLOURS
            result[name] = training_colour(name) if known else next(others)
    return result


def training_order(training: str) -> tuple[int, str]:
    """A sort key: baselines first, the federated model last."""
    known = list(_TRAINING_NAMES)
    if is_federated_as_at(training) or is_elsewhere(training):
        return (known.index(training.split("_")[0]), training)
    return (known.index(training) if training in known else len(known), training)


def split_order(split: str) -> tuple[int, str]:
    """A sort key: the test set first."""
    known = ["test", "validation", "train"]
    return (known.index(split) if split in known else len(known), split)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number: not None, NaN or a text."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    """Returns a number with so many decimals, a dash if it is undefined; 0 has no sign."""
    return _written(f"{value:.{digits}f}") if is_number(value) else UNDEFINED


def signed(value: Any, digits: int = 3) -> str:
    """Returns a difference with its sign: "+0.010", and a minus sign rather than a hyphen.

    What is 0 in so many decimals has none.
    """
    return _written(f"{value:+.{digits}f}") if is_number(value) else UNDEFINED


def _written(text: str) -> str:
    """Returns a number as it is printed."""
    return text.replace("-", _MINUS) if re.search("[1-9]", text) else text.lstrip("+-")


def counted(count: float, noun: str) -> str:
    """Returns a number of things: "1 round", "2 rounds", "1 negative image"."""
    return f"{count:.0f} {noun}" + ("" if count == 1 else "s")


def p_value(value: Any) -> str:
    """Returns a p-value with three decimals, "<0.001" below."""
    if is_number(value) and value < 0.001:
        return "<0.001"
    return number(value)


def with_interval(row: Mapping[str, Any], metric: str, digits: int = 3) -> str:
    """Returns a metric and its interval: "0.912 (0.880-0.940)", with an en dash.

    Between numbers with a sign stands "to".
    """
    text = number(row.get(metric), digits)
    low: Any = row.get(f"{metric}_low")
    high: Any = row.get(f"{metric}_high")
    if is_number(low) and is_number(high):
        between = " to " if low < 0 else "–"
        text += f" ({number(low, digits)}{between}{number(high, digits)})"
    return text


def value_and_interval(text: str) -> tuple[str, str]:
    """Splits what `with_interval` gives, or another number with something in brackets."""
    value, bracket, interval = text.partition(" (")
    return value, f"({interval}" if bracket else ""


def percent(share: Any) -> str:
    """Returns a share in 0..1 as "82 %", a dash if it is undefined."""
    return f"{100 * share:.0f} %" if is_number(share) else UNDEFINED


def interval_heading(metric: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns the heading of a metric with its interval; the level if all intervals have one."""
    texts = [row["interval"] for row in rows if isinstance(row.get("interval"), str)]
    levels = {text.split(" %")[0] for text in texts}
    return f"{metric} ({levels.pop()} % CI)" if len(levels) == 1 else f"{metric} (CI)"


def unbroken_brackets(heading: str) -> str:
    """Returns a heading whose brackets, such as "(95 % CI)", stay in one line of a page."""
    return re.sub(r"\([^()]*\)", lambda found: found.group().replace(" ", _NO_BREAK), heading)


def slug(task: str) -> str:
    """Returns a task's name as part of a file name: "Lung Opacity" -> "lung-opacity"."""
    return re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-") or "task"
