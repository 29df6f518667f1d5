"""What a run asks of the hospitals, as a value, as bytes and in words.

A proposal is known by the SHA-256 of its bytes: JSON in ASCII with sorted keys and without spaces.
The same settings give the same bytes, and any other setting gives other ones.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import math
from typing import Any, NoReturn

from tffcxr.errors import InputError, one_line
from tffcxr.hospitals import proposal_words
from tffcxr.hospitals.study_files import Site

_KEYS = ("recipe", "settings", "sites", "study", "versions")
_LONGEST_NAME = 100


@dataclasses.dataclass(frozen=True)
class Proposal:
    """What a run asks of the hospitals.

    Attributes:
      study: the study's name.
      recipe: the program's name, such as "cheXviz".
      settings: the value of every flag that results depend on, by its name.
      sites: the hospitals, in the order of the model's outputs.
      versions: of Python and the packages at the coordinator, by name.
    """

    study: str
    recipe: str
    settings: Mapping[str, Any]
    sites: tuple[Site, ...]
    versions: Mapping[str, str]

    @property
    def hash(self) -> str:
        """The SHA-256 of `to_json()`, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """The proposal as bytes, the same for equal proposals.

        Raises:
          ValueError: a setting is not finite.
          TypeError: a setting is no JSON value.
        """
        value = {
            "study": self.study,
            "recipe": self.recipe,
            "settings": dict(self.settings),
            "sites": [dataclasses.asdict(site) for site in self.sites],
            "versions": dict(self.versions),
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    def trainings(self) -> dict[str, dict[str, Any]]:
        """The settings of each network that has some to itself, and under "" those of the others.

        What `--only` gives a network is text, as it was typed.
        """
        found = {"": dict(self.settings)}
        only = self.settings.get("only")
        for text in only if isinstance(only, list) else []:
            network, _, setting = str(text).partition(":")
            name, _, value = setting.partition("=")
            found.setdefault(network, dict(self.settings))[name] = value
        return found

    def words(self) -> str:
        """What a hospital is asked, in lines for a person to read."""
        return proposal_words.describe(self)


def from_json(content: bytes) -> Proposal:
    """Reads what `Proposal.to_json` wrote.

    All text in it is printable, so that `words` shows all that is asked, and nothing else.

    Raises:
      InputError: these are other bytes, or a field has another value than it may.
    """
    try:
        value = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected a proposal, found {one_line(error)}") from None
    if not isinstance(value, dict) or sorted(value) != sorted(_KEYS):
        found = ", ".join(sorted(value)) if isinstance(value, dict) else type(value).__name__
        raise InputError(f"expected a proposal of {', '.join(_KEYS)}, found {found!r}")
    _check_values("proposal", value)
    for key in ("study", "recipe"):
        if not _is_name(value[key]):
            raise _wrong(key, "a name", value[key])
    for key in ("settings", "versions"):
        if not isinstance(value[key], dict):
            raise _wrong(key, "values by name", value[key])
    for name, version in value["versions"].items():
        if not _is_name(version):
            raise _wrong(f"versions.{name}", "a version", version)
    return Proposal(
        value["study"],
        value["recipe"],
        value["settings"],
        _sites(value["sites"]),
        value["versions"],
    )


def _sites(value: Any) -> tuple[Site, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong("sites", "a list of at least one site", value)
    for each in value:
        if not isinstance(each, dict) or sorted(each) != ["findings", "name"]:
            raise _wrong("sites", "name and findings of each site", each)
        if not _is_name(each["name"]):
            raise _wrong("sites.name", "a name", each["name"])
        findings = each["findings"]
        if not isinstance(findings, list) or not all(map(_is_name, findings)):
            raise _wrong("sites.findings", "a list of findings", findings)
        if len(set(findings)) < len(findings):
            raise _wrong("sites.findings", "each finding once", findings)
    sites = tuple(Site(each["name"], tuple(each["findings"])) for each in value)
    if len({site.name for site in sites}) != len(sites):
        raise _wrong("sites", "each site once", [site.name for site in sites])
    return sites


def _check_values(where: str, value: Any) -> None:
    """Raises InputError if a text cannot be printed, or a number is not finite, however deep."""
    if isinstance(value, str) and not value.isprintable():
        raise _wrong(where, "printable text", value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(where, "a finite number", value)
    if isinstance(value, dict):
        for key, each in value.items():
            _check_values(f"a name in {where}", key)
            _check_values(f"{where}.{key}", each)
    if isinstance(value, list):
        for each in value:
            _check_values(where, each)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value == value.strip()


def _wrong(where: str, expected: str, found: Any) -> InputError:
    return InputError(f"proposal: {where}: expected {expected}, found {ascii(found)[:200]}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
