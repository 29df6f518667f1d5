"""What a sweep runs: grids and named configurations, expanded into one folder per run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import dataclasses
import itertools
import json
import pathlib
import re
from typing import Any

from tffcxr.errors import InputError

# Name and text of a flag, as on a command line; a multi-flag may stand there several times.
Setting = tuple[str, str]
# What the sweep gives to every run itself, or does not give at all.
RESERVED = ("output_dir", "cache_dir", "phantom_dir", "seed")
_LONGEST_NAME = 120


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One set of values of the flags that a sweep varies.

    Attributes:
      name: unique; "local_epochs=1,clients_per_round=2" or the name in the file.
      settings: the flags that it sets.
      folder: its name as a folder's.
    """

    name: str
    settings: tuple[Setting, ...]
    folder: str

    def text(self, flag: str) -> str | None:
        """What it sets a flag to, several values with spaces between; None where it does not."""
        values = [value for name, value in self.settings if name == flag]
        return " ".join(values) if values else None


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep: a configuration with a seed, and its folder in the sweep's."""

    configuration: Configuration
    repeat: int
    seed: int

    @property
    def folder(self) -> str:
        """Where it runs, relative to the sweep's folder."""
        return f"runs/{self.configuration.folder}/repeat_{self.repeat}"

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.configuration.name}, repeat {self.repeat}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
      fixed: settings of all runs.
      swept: names of the flags that configurations set, in the order of the tables.
      configurations: in order.
      runs: in the order in which they run: every configuration once, then its repeats.
    """

    fixed: tuple[Setting, ...]
    swept: tuple[str, ...]
    configurations: tuple[Configuration, ...]
    runs: tuple[Run, ...]


def parse_grid(texts: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Reads `--grid`: NAME=VALUE,VALUE,… each.

    Raises:
      InputError: another form, an empty value, or something that is there twice.
    """
    axes: list[tuple[str, tuple[str, ...]]] = []
    for text in texts:
        name, separator, list_of_values = text.partition("=")
        values = tuple(value.strip() for value in list_of_values.split(","))
        if not name or not separator:
            raise InputError(f"--grid: expected NAME=VALUE,VALUE,… found {text!r}")
        if not all(values):
            raise InputError(f"--grid: expected a value between commas, found none in {text!r}")
        if len(set(values)) < len(values):
            raise InputError(f"--grid: expected every value once, found {text!r}")
        if name in dict(axes):
            raise InputError(f"--grid: expected {name} once, found it twice")
        axes.append((name, values))
    return axes


def parse_settings(texts: Sequence[str]) -> list[Setting]:
    """Reads `--set`: NAME=VALUE each.

    Raises:
      InputError: another form.
    """
    settings = []
    for text in texts:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise InputError(f"--set: expected NAME=VALUE, found {text!r}")
        settings.append((name, value))
    return settings


def read_configurations(path: pathlib.Path) -> list[tuple[str, tuple[Setting, ...]]]:
    """Reads a file of named configurations.

    It holds a JSON object with an object of flags per name; a list gives a flag several times:

      {"small": {"model": "standard", "image_size": 64},
       "two hospitals": {"site": ["a=rsna:PATH:FINDING", "b=siim:PATH:FINDING"]}}

    Raises:
      InputError: something else, or a name or flag that is there twice.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repetition)
    except OSError as error:
        raise InputError(
            f"--configurations: expected a JSON file, found {path}: {error.strerror}"
        ) from error
    except InputError as error:
        raise InputError(f"--configurations: {path}: {error}") from error
    except ValueError as error:
        raise InputError(f"--configurations: expected JSON in {path}, found {error}") from error
    expected = f'--configurations: expected {{"NAME": {{"FLAG": VALUE}}}} in {path}, found'
    if not isinstance(found, dict) or not found:
        raise InputError(f"{expected} {_shown(found)}")
    named = []
    for name, flags in found.items():
        if not name.strip() or not isinstance(flags, dict):
            raise InputError(f"{expected} {_shown({name: flags})}")
        named.append((name, tuple(_settings_of(flags, expected))))
    return named


def make(
    named: Sequence[tuple[str, tuple[Setting, ...]]],
    axes: Sequence[tuple[str, tuple[str, ...]]],
    fixed: Sequence[Setting],
    repeats: int,
    seed: int,
) -> Plan:
    """Expands named configurations times grid times repeats.

    Args:
      named: of `read_configurations`; empty for a grid alone.
      axes: of `parse_grid`; the last varies fastest.
      fixed: of `parse_settings`.
      repeats: runs per configuration, at least 1; with the seeds `seed`, `seed` + 1, …
      seed: of the first repeat. A grid over the seed goes before it.

    Raises:
      InputError: a flag is set in two places, or is the sweep's own.
    """
    swept = tuple(
        dict.fromkeys([name for _, s in named for name, _ in s] + [name for name, _ in axes])
    )
    check_sources(named, axes, fixed, repeats)
    configurations: list[Configuration] = []
    for title, settings in named or [("", ())]:
        for values in itertools.product(*(values for _, values in axes)):
            point = tuple(zip((name for name, _ in axes), values))
            parts = [title, *(f"{name}={value}" for name, value in point)]
            name = ",".join(filter(None, parts)) or "default"
            folder = _folder_name(name, [each.folder for each in configurations])
            configurations.append(Configuration(name, (*settings, *point), folder))
    runs = []
    for configuration in configurations:
        own = configuration.text("seed")
        for repeat in range(1, repeats + 1):
            runs.append(Run(configuration, repeat, seed + repeat - 1 if own is None else _int(own)))
    # Stable, so that a first look at all configurations comes before their repeats.
    runs.sort(key=lambda run: run.repeat)
    return Plan(tuple(fixed), swept, tuple(configurations), tuple(runs))


def arguments(settings: Sequence[Setting]) -> list[str]:
    """Settings as arguments of a command line; a file of flags first, so that others go before."""
    in_order = sorted(settings, key=lambda setting: setting[0] != "flagfile")
    return [f"--{name}={value}" for name, value in in_order]


def check_sources(
    named: Sequence[tuple[str, tuple[Setting, ...]]],
    axes: Sequence[tuple[str, tuple[str, ...]]],
    fixed: Sequence[Setting],
    repeats: int,
) -> None:
    """Checks that every flag is set in one place, and none that is the sweep's own; see `make`.

    Raises:
      InputError: one is not.
    """
    in_grid = {name for name, _ in axes}
    in_file = {name for _, settings in named for name, _ in settings}
    is_set = {name for name, _ in fixed}
    for name in RESERVED:
        if name in is_set | in_file or (name in in_grid and name != "seed"):
            raise InputError(f"expected flags of the recipe, found {name}, which the sweep sets")
    for names, where in (
        (in_grid & is_set, "--grid and --set"),
        (in_grid & in_file, "--grid and --configurations"),
        (in_file & is_set, "--configurations and --set"),
    ):
        if names:
            raise InputError(f"expected {min(names)} in one place, found it in {where}")
    if "flagfile" in in_grid | in_file:
        raise InputError("expected flagfile in --set alone, found it in the flags to vary")
    if "seed" in in_grid and repeats > 1:
        raise InputError(f"--repeats: expected 1 with a grid over seed, found {repeats}")


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--grid: expected whole numbers for seed, found {text!r}") from None


def _settings_of(flags: dict[str, Any], expected: str) -> Iterable[Setting]:
    for name, value in flags.items():
        values = value if isinstance(value, list) else [value]
        if not values:
            raise InputError(f"{expected} no value of {name}")
        for each in values:
            if not isinstance(each, (str, int, float)):
                raise InputError(f"{expected} {_shown({name: value})}")
            yield name, each if isinstance(each, str) else json.dumps(each)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"expected every name once, found {name!r} twice")
    return dict(pairs)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _folder_name(name: str, taken: Sequence[str]) -> str:
    """A name without what is not safe in a file name, unlike those that are taken."""
    safe = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", name)[:_LONGEST_NAME].strip(".-") or "default"
    used = {each.lower() for each in taken}
    free = (f"{safe}-{n}" if n > 1 else safe for n in itertools.count(1))
    return next(candidate for candidate in free if candidate.lower() not in used)
