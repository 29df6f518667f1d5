"""The file that a study is provisioned from, study.toml.

    name = "opacity-and-pneumothorax"
    coordinator = "study.example.org:8443"   # Where hospitals connect to.
    days = 365                              # How long certificates are valid.

    [sites.north]
    finding = "Lung Opacity"                # Only for recipes of findings.

    [sites.south]
    findings = ["Pneumothorax", "Effusion"]

The order of the sites, and of the findings of each, is that of the model's outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import ipaddress
import pathlib
import re
from typing import Any

from tffcxr import files, toml_files
from tffcxr.errors import InputError
from tffcxr.hospitals import authority

AUTHORITY = "authority"
_RESERVED = (AUTHORITY, authority.COORDINATOR)
# As folders, and as common names of certificates, which may have 64 characters.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_LONGEST_HOST = 253
_MOST_DAYS = 3650
_LONGEST_FINDING = 100


@dataclasses.dataclass(frozen=True)
class Site:
    """A hospital of a study.

    Attributes:
      name: of the hospital.
      findings: that it labels; none if all hospitals have the same task.
    """

    name: str
    findings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The name, with the findings behind it."""
        return f"{self.name} ({', '.join(self.findings)})" if self.findings else self.name


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study.toml says.

    Attributes:
      name: of the study.
      coordinator: HOST:PORT that hospitals connect to.
      days: how long certificates are valid.
      sites: the hospitals, in the order of the model's outputs.
    """

    name: str
    coordinator: str
    days: int
    sites: tuple[Site, ...]


def read(path: pathlib.Path) -> Study:
    """Reads a study.toml.

    Raises:
      InputError: it cannot be read, or a key is missing, unknown or has another value than it may.
    """
    table = toml_files.read(path)
    toml_files.check_keys(path, "", table, ("name", "coordinator", "days", "sites"))
    for key in ("name", "coordinator", "sites"):
        if key not in table:
            raise InputError(f"{path}: expected the key {key}, found none")
    _check_name(path, "name", table["name"])
    try:
        split_address(table["coordinator"])
    except InputError as error:
        raise InputError(f"{path}: coordinator: {error}") from None
    days = toml_files.integer(path, "days", table.get("days", 365), 1, _MOST_DAYS)
    return Study(table["name"], table["coordinator"], days, _sites(path, table["sites"]))


def split_address(address: Any) -> tuple[str, int]:
    """The host and the port of HOST:PORT; an IPv6 address stands in brackets, [::1]:443.

    Raises:
      InputError: another form.
    """
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        is_host = _is_ip_address(host) and ":" in host
    else:
        is_host = len(host) <= _LONGEST_HOST and bool(_HOST.fullmatch(host))
        if is_host and host.replace(".", "").isdigit():
            is_host = _is_ip_address(host)
    if not (is_host and re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        raise InputError(f"expected HOST:PORT such as study.example.org:443, found {address!r}")
    return host, int(port)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_name(path: pathlib.Path, key: str, name: Any) -> None:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise InputError(
            f"{path}: {key}: expected a name of at most 64 letters, digits, '.', '_' and '-' that "
            f"begins with a letter or a digit, found {name!r}"
        )


def _sites(path: pathlib.Path, tables: Any) -> tuple[Site, ...]:
    if not isinstance(tables, Mapping) or not tables:
        raise InputError(f"{path}: sites: expected a table [sites.NAME] per hospital, found none")
    sites = tuple(_site(path, name, table) for name, table in tables.items())
    names = [site.name for site in sites]
    if not files.differ_as_names([*names, *_RESERVED]):
        raise InputError(
            f"{path}: sites: expected names that differ in letters or digits from each other and "
            f"from {' and '.join(_RESERVED)}, found {', '.join(names)}"
        )
    without = [site.name for site in sites if not site.findings]
    if 0 < len(without) < len(sites):
        raise InputError(
            f"{path}: sites.{without[0]}.finding: expected a finding at each site or at none, "
            f"found none at {', '.join(without)}"
        )
    return sites


def _site(path: pathlib.Path, name: str, table: Any) -> Site:
    _check_name(path, f"sites.{name}", name)
    if not isinstance(table, Mapping):
        raise InputError(f"{path}: sites.{name}: expected a table [sites.{name}], found {table!r}")
    toml_files.check_keys(path, f"sites.{name}.", table, ("finding", "findings"))
    if "finding" in table and "findings" in table:
        raise InputError(f"{path}: sites.{name}: expected finding or findings, found both")
    if "finding" in table:
        if not is_finding(table["finding"]):
            raise InputError(
                f"{path}: sites.{name}.finding: expected a finding such as 'Lung Opacity', "
                f"found {table['finding']!r}"
            )
        return Site(name, (table["finding"],))
    if "findings" in table:
        return Site(name, _findings(path, f"sites.{name}.findings", table["findings"]))
    return Site(name)


def _findings(path: pathlib.Path, key: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not values or not all(map(is_finding, values)):
        raise InputError(
            f"{path}: {key}: expected a list of findings such as ['Lung Opacity'], found {values!r}"
        )
    if len(set(values)) < len(values):
        raise InputError(f"{path}: {key}: expected each finding once, found {values!r}")
    return tuple(values)


def is_finding(value: Any) -> bool:
    """Whether a value can name a finding: printable text without spaces around it."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _LONGEST_FINDING
        and value.isprintable()
        and value == value.strip()
    )
