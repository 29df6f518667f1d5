"""What `--weights` names for each network, and what it means for `--width`."""

from __future__ import annotations

import json
import pathlib
import re

from absl import flags

from tffcxr import options
from tffcxr.errors import InputError, one_line

FLAGS = flags.FLAGS

_ALL = ""  # In place of a network: for all that have no entry of their own.
_ENTRY = re.compile(r"(\w+)=(.*)", re.DOTALL)
_VOLUMES = "unet"  # The network of recipes without --model.


class _WeightsFlag(flags.Flag):  # type: ignore[misc]  # absl has no types.
    """A text to which a repeated flag adds; a value for a network, or all, replaces the former."""

    def parse(self, argument: str) -> None:
        """Takes the value of the flag once more, as of a file of flags and of the command line."""
        if self.present:
            new = _split(argument)
            replaced = {network for text in new for network in _entry(text)}
            old = [text for text in _split(self.value) if replaced.isdisjoint(_entry(text))]
            argument = ",".join([*old, *new])
        super().parse(argument)


def flag() -> flags.Flag:
    """The flag; its value is one text, as recorded with every run."""
    return _WeightsFlag(
        flags.ArgumentParser(),
        flags.ArgumentSerializer(),
        "weights",
        "none",
        "Initial weights as [NETWORK=]WEIGHTS, for all networks or for one; repeatable, or "
        "separated by commas. WEIGHTS is none (random), imagenet, the folder of a run, or a file "
        "of weights (README lists which).",
    )


def by_network(text: str) -> dict[str, str]:
    """Reads `[NETWORK=]WEIGHTS,…`; those for all networks stand under "".

    Raises:
      InputError: a network, or what is for all, is given twice.
    """
    found: dict[str, str] = {}
    for part in _split(text):
        for network, weights in _entry(part).items():
            if network in found:
                what = network or "those for all networks"
                raise InputError(f"--weights: expected {what} once, found {text!r}")
            found[network] = weights
    return found


def of(network: str) -> str:
    """The weights that a network of this run starts from: "none", "imagenet" or a path."""
    given = by_network(FLAGS.weights)
    return given.get(network, given.get(_ALL, "none"))


def is_imagenet() -> bool:
    """Whether a network starts from ImageNet's weights."""
    return "imagenet" in by_network(FLAGS.weights).values()


def check() -> None:
    """Checks that the weights are there, of this run's networks, and that these are as wide.

    Raises:
      InputError: they are not.
    """
    wanted = width()
    if wanted not in (None, FLAGS.width):
        raise InputError(
            f"--width: expected {wanted:g}, that of the run whose --weights are given, "
            f"found {FLAGS.width:g}"
        )
    known = _networks()
    for network in by_network(FLAGS.weights):
        if network not in (_ALL, *known):
            raise InputError(
                f"--weights: expected weights of {' or '.join(known)}, the networks of this run, "
                f"found those of {network!r}"
            )
    for path in paths(FLAGS.weights).values():
        if path.is_file():
            continue
        from tffcxr.models.files import run_models

        try:
            run_models.in_run(path)
        except InputError as error:
            raise InputError(f"--weights: {error}") from error


def width() -> float | None:
    """The width of the networks of the runs that `--weights` is, or has as one of its model files.

    None for other weights, and for runs that do not say.

    Raises:
      InputError: a run's configuration cannot be used, or two runs have different widths.
    """
    given = [_width_of(path) for path in paths(FLAGS.weights).values()]
    widths = sorted({one for one in given if one is not None})
    if len(widths) > 1:
        raise InputError(
            "--weights: expected runs of one width, found "
            + ", ".join(f"{one:g}" for one in widths)
        )
    return widths[0] if widths else None


def paths(text: str) -> dict[str, pathlib.Path]:
    """The files and folders that the flag names, by network.

    Raises:
      InputError: one is not there.
    """
    return {
        network: _existing(weights)
        for network, weights in by_network(text).items()
        if weights not in options.WEIGHTS_WITHOUT_FILE
    }


def _split(text: str) -> list[str]:
    """Separates at commas, unless a file of this name has one."""
    return [text] if _exists(text) else text.split(",")


def _entry(part: str) -> dict[str, str]:
    """One network, or "", and its weights; a path may hold an equals sign."""
    entry = None if _exists(part) else _ENTRY.fullmatch(part)
    return {entry[1]: entry[2]} if entry else {_ALL: part}


def _exists(text: str) -> bool:
    try:
        return bool(text) and pathlib.Path(text).exists()
    except OSError:
        return False


def _existing(weights: str) -> pathlib.Path:
    path = pathlib.Path(weights)
    try:
        if weights and (path.is_file() or path.is_dir()):
            return path
        found = repr(weights)
    except OSError as error:
        found = f"{error.strerror}: {weights[:80]!r}"
    raise InputError(f"--weights: expected none, imagenet, a run's folder or a file, found {found}")


def _networks() -> list[str]:
    """The networks that this run trains, those of `--central` included."""
    if "model" not in FLAGS:
        return [_VOLUMES]
    model = FLAGS.model
    trained = [model] if isinstance(model, str) else list(model)
    if "central" in FLAGS and FLAGS.baseline == "pooled":
        trained += [text.partition(":")[0] for text in FLAGS.central]
    return list(dict.fromkeys(trained))


def _width_of(folder: pathlib.Path) -> float | None:
    """The width of the networks of a run, by its folder or one of its models."""
    if folder.is_file():
        models = folder.absolute().parent
        folder = models.parent
        if models.name != "models":
            return None
    if not (folder / "config.json").is_file():
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        given: float | None = config.get("derived", {}).get("width")
        if given is None or 0 < given <= 1:
            return given
        found = f"width {given}"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        found = one_line(error)
    raise InputError(
        f"--weights: expected a run's configuration in {folder / 'config.json'}, found {found}"
    )
