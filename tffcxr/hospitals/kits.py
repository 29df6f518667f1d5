"""A kit: the folder by which a hospital or the coordinator takes part in a study.

    kit.json         format, study, role, site, address of the coordinator
    authority.pem    certificate of the study's authority
    certificate.pem  the member's own
    key.pem          its private key
    study.json       the sites and their findings, in order; at the coordinator
    revoked.json     certificates that are not accepted any more; at the coordinator
    policy.toml      what the hospital allows; at a hospital

`provision` writes it, and nothing in a kit can be run.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import datetime
import json
import pathlib
import threading
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from tffcxr.errors import InputError, one_line
from tffcxr.hospitals import authority, study_files
from tffcxr.hospitals.study_files import Site

FORMAT = 1
SITE = "site"
COORDINATOR = authority.COORDINATOR

KIT = "kit.json"
AUTHORITY = "authority.pem"
CERTIFICATE = "certificate.pem"
KEY = "key.pem"
STUDY = "study.json"
REVOKED = "revoked.json"
POLICY = "policy.toml"


@dataclasses.dataclass(frozen=True)
class Kit:
    """What a member of a study has.

    Attributes:
      folder: the kit's.
      role: `SITE` or `COORDINATOR`.
      study: the study's name.
      site: the hospital's name, which is that of its certificate; `COORDINATOR` there.
      address: HOST:PORT of the coordinator, as hospitals connect to it.
    """

    folder: pathlib.Path
    role: str
    study: str
    site: str
    address: str

    def credentials(self) -> authority.Credentials:
        """What the member shows others, and checks others by.

        Raises:
          InputError: a file cannot be read.
        """
        return authority.Credentials(
            *(_content(self.folder / name) for name in (AUTHORITY, CERTIFICATE, KEY))
        )


@dataclasses.dataclass(frozen=True)
class CoordinatorKit(Kit):
    """The coordinator's kit.

    Attributes:
      sites: the hospitals of the study, in the order of the model's outputs.
    """

    sites: tuple[Site, ...] = ()
    _revoked: _Revoked = dataclasses.field(
        default_factory=lambda: _Revoked(), init=False, repr=False, compare=False
    )

    def revoked(self) -> frozenset[int]:
        """The serial numbers of revoked certificates, read again when the file has changed.

        Raises:
          InputError: the file is missing, or is not what `provision` writes.
        """
        return self._revoked.of(self.folder / REVOKED)


def read(folder: pathlib.Path, now: datetime.datetime | None = None) -> Kit:
    """Reads and checks a kit.

    Args:
      folder: the kit's.
      now: when its certificate has to be valid; None for now.

    Returns:
      a `CoordinatorKit` if it is the coordinator's.

    Raises:
      InputError: no kit, or one of another format, or with files that do not belong together, or
        with a certificate that is not valid at this time.
    """
    about = _about(folder)
    kit = Kit(folder, about["role"], about["study"], about["site"], about["address"])
    _check_credentials(kit, now or datetime.datetime.now(datetime.timezone.utc))
    if kit.role == SITE:
        return kit
    made = CoordinatorKit(folder, kit.role, kit.study, kit.site, kit.address, _sites(kit))
    made.revoked()
    return made


def read_coordinator(folder: pathlib.Path) -> CoordinatorKit:
    """Reads and checks a kit that has to be the coordinator's.

    Raises:
      InputError: see `read`; the kit is a hospital's.
    """
    kit = read(folder)
    if not isinstance(kit, CoordinatorKit):
        raise InputError(f"{folder}: expected the coordinator's kit, found that of {kit.site}")
    return kit


def read_site(folder: pathlib.Path) -> Kit:
    """Reads and checks a kit that has to be a hospital's.

    Raises:
      InputError: see `read`; the kit is the coordinator's.
    """
    kit = read(folder)
    if kit.role != SITE:
        raise InputError(f"{folder}: expected a hospital's kit, found the coordinator's")
    return kit


def key_fits(certificate: bytes, key: bytes) -> bool:
    """Whether a certificate and a private key, both PEM, belong together.

    Raises:
      ValueError: one of them is not PEM.
    """
    private = serialization.load_pem_private_key(key, None)
    return private.public_key() == x509.load_pem_x509_certificate(certificate).public_key()


def revoked_serials(path: pathlib.Path) -> frozenset[int]:
    """The serial numbers in a revoked.json, whose keys they are.

    Raises:
      InputError: the file is missing, or is not what `provision` writes.
    """
    table = _json(path)
    try:
        return frozenset(int(serial) for serial in table)
    except ValueError as error:
        raise InputError(f"{path}: expected serial numbers, found {one_line(error)}") from None


class _Revoked:
    """Serial numbers of a file that may be replaced while the coordinator runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: object = None
        self._serials: frozenset[int] = frozenset()

    def of(self, path: pathlib.Path) -> frozenset[int]:
        with self._lock:
            try:
                found = path.stat()
            except OSError as error:
                raise InputError(f"{path}: expected a file, found {error.strerror}") from None
            state = (found.st_ino, found.st_mtime_ns, found.st_size)
            if state != self._state:
                self._serials, self._state = revoked_serials(path), state
            return self._serials


def _about(folder: pathlib.Path) -> Mapping[str, str]:
    """The checked content of kit.json."""
    path = folder / KIT
    if not path.is_file():
        raise InputError(f"expected a kit of a study in {folder}, found no {KIT} there")
    about = _json(path)
    if about.get("format") != FORMAT:
        raise InputError(
            f"{path}: expected a kit of format {FORMAT}, found {about.get('format')!r}; this "
            "version and the one that made the kit differ"
        )
    for key in ("study", "role", "site", "address"):
        if not isinstance(about.get(key), str):
            raise InputError(f"{path}: expected a text at {key}, found {about.get(key)!r}")
    if about["role"] not in (SITE, COORDINATOR):
        raise InputError(
            f"{path}: expected the role {SITE} or {COORDINATOR}, found {about['role']!r}"
        )
    try:
        study_files.split_address(about["address"])
    except InputError as error:
        raise InputError(f"{path}: address: {error}") from None
    return about


def _check_credentials(kit: Kit, now: datetime.datetime) -> None:
    credentials = kit.credentials()
    path = kit.folder / CERTIFICATE
    try:
        certificate = x509.load_pem_x509_certificate(credentials.certificate)
        issuer = x509.load_pem_x509_certificate(credentials.authority)
        is_fitting = key_fits(credentials.certificate, credentials.key)
    except (ValueError, TypeError):
        raise InputError(
            f"{kit.folder}: expected PEM files of certificates and of a key without a password in "
            f"{AUTHORITY}, {CERTIFICATE} and {KEY}, found other bytes"
        ) from None
    if not is_fitting:
        raise InputError(f"{path}: expected the certificate of {KEY}, found another one's")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise InputError(
            f"{path}: expected a certificate signed by {AUTHORITY}, found another authority's"
        ) from None
    name = authority.name(credentials.certificate)
    if name != kit.site:
        raise InputError(f"{path}: expected the certificate of {kit.site}, found that of {name!r}")
    if now < certificate.not_valid_before_utc:
        raise InputError(
            f"{path}: expected a valid certificate, found one that becomes valid at "
            f"{_time(certificate.not_valid_before_utc)}; is this computer's clock right?"
        )
    if now > certificate.not_valid_after_utc:
        raise InputError(
            f"{path}: expected a valid certificate, found one that expired at "
            f"{_time(certificate.not_valid_after_utc)}; `hospital provision --renew={kit.site}` "
            "issues another"
        )


def _sites(kit: Kit) -> tuple[Site, ...]:
    path = kit.folder / STUDY
    content = _json(path)
    try:
        sites = tuple(Site(each["name"], _findings(each)) for each in content["sites"])
        is_right = content["name"] == kit.study and bool(sites)
    except (KeyError, TypeError, AttributeError):
        is_right = False
    if not is_right or not all(
        isinstance(text, str) for site in sites for text in (site.name, *site.findings)
    ):
        raise InputError(f"{path}: expected the sites of {kit.study}, found other values")
    return sites


def _findings(site: Mapping[str, Any]) -> tuple[str, ...]:
    """The findings of a site; one at most in a kit of an earlier version."""
    if "finding" in site:
        return (site["finding"],) if site["finding"] else ()
    return tuple(site["findings"])


def _content(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a file of a kit, found {error.strerror}") from None


def _json(path: pathlib.Path) -> Mapping[str, Any]:
    """The object in a file.

    Raises:
      InputError: the file cannot be read, or has no JSON object.
    """
    try:
        value = json.loads(_content(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found {one_line(error)}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _time(when: datetime.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
