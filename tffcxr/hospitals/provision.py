"""Makes the kits of a study: certificates for the coordinator and for every hospital.

    authority/      certificate.pem, key.pem; issued.json says what was issued to whom
    coordinator/    the coordinator's kit
    NAME/           the kit of the hospital NAME

A kit that was moved away, to its hospital, stays issued: no second one is made unless it is to be
renewed. All steps are in an order in which the same command completes what a killed one has begun:
what is issued is recorded before it is written, and a kit has its kit.json last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import datetime
import json
import os
import pathlib
from typing import Any, BinaryIO

from tffcxr import files
from tffcxr.errors import InputError, did_you_mean
from tffcxr.hospitals import authority, kits, policy, study_files
from tffcxr.hospitals.study_files import Study

_ISSUED = "issued.json"
_LOCK = ".lock"


def provision(
    study_file: pathlib.Path,
    output_dir: pathlib.Path,
    renew: Sequence[str] = (),
    revoke: Sequence[str] = (),
) -> list[str]:
    """Makes the kits that a study lacks.

    Args:
      study_file: see `study_files`.
      output_dir: where the kits are made, or were made before.
      renew: sites of the study, or "coordinator", whose certificate is replaced by a new one; a
        site's old ones are revoked.
      revoke: sites whose certificates are revoked.

    Returns:
      a line per member: what was done, or that nothing was.

    Raises:
      InputError: the study file or a name is wrong, or the kits are another study's.
    """
    study = study_files.read(study_file)
    _make_folder(output_dir)
    with files.locked(output_dir / _LOCK):
        return _Provisioning(study, output_dir).run(renew, revoke)


@dataclasses.dataclass(frozen=True)
class _Issued:
    """A certificate that was issued; times are ISO 8601 in UTC, to the second."""

    serial: str
    member: str
    issued: str
    expires: str
    revoked: str = ""


class _Provisioning:
    """One run of `provision`, which holds the lock of the folder."""

    def __init__(self, study: Study, folder: pathlib.Path) -> None:
        self._study = study
        self._folder = folder
        self._authority = _authority(study, folder / study_files.AUTHORITY)
        self._issued = _read_issued(folder / study_files.AUTHORITY / _ISSUED)
        self._host, _ = study_files.split_address(study.coordinator)
        self._lines: list[str] = []

    def run(self, renew: Sequence[str], revoke: Sequence[str]) -> list[str]:
        sites = [site.name for site in self._study.sites]
        issued_to = dict.fromkeys(each.member for each in self._issued)
        _check_members("--renew", renew, [authority.COORDINATOR, *sites])
        _check_members(
            "--revoke", revoke, [name for name in issued_to if name != authority.COORDINATOR]
        )
        both = sorted(set(renew) & set(revoke))
        if both:
            raise InputError(f"--revoke: expected sites that are not renewed, found {both[0]}")
        self._check_coordinator(renew)
        self._tell_address()
        for name in revoke:
            self._revoke(name)
        for name in (authority.COORDINATOR, *sites):
            self._make(name, name in renew)
        self._write_for_coordinator()
        for name in issued_to:
            if name not in (authority.COORDINATOR, *sites) and self._valid(name):
                self._lines.append(
                    f"{name}: not in the study any more; --revoke={name} revokes its certificate"
                )
        return self._lines

    def _check_coordinator(self, renew: Sequence[str]) -> None:
        folder = self._folder / authority.COORDINATOR
        was_issued = any(each.member == authority.COORDINATOR for each in self._issued)
        if was_issued and not folder.exists() and authority.COORDINATOR not in renew:
            raise InputError(
                f"expected the coordinator's kit in {folder}, where new sites and revocations are "
                "written, found none; copy it there, or make another with "
                f"--renew={authority.COORDINATOR}"
            )

    def _tell_address(self) -> None:
        """Says so if the address changes, which kits that went to their hospitals cannot know."""
        try:
            before = json.loads((self._folder / authority.COORDINATOR / kits.KIT).read_bytes())[
                "address"
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return
        if before != self._study.coordinator:
            self._lines.append(
                f"the address was {before} and is {self._study.coordinator}: hospitals that have "
                f"their kit write it into their {kits.KIT}"
            )

    def _make(self, member: str, is_renewed: bool) -> None:
        """Makes a member's kit if there is none, or completes or renews it."""
        folder = self._folder / member
        given_out = [each for each in self._issued if each.member == member]
        if given_out and not folder.exists() and not is_renewed:
            self._lines.append(f"{member}: made before, not in {folder}; {self._state(member)}")
            return
        _make_folder(folder)
        files.remove_unfinished(folder)
        if is_renewed or not _is_whole(folder) or self._has_moved(folder, member):
            self._revoke(member)
            self._issue(folder, member)
            self._lines.append(f"{member}: made {folder}; {self._state(member)}")
        else:
            self._lines.append(f"{member}: kept {folder}; {self._state(member)}")
        if member != authority.COORDINATOR and not (folder / kits.POLICY).exists():
            files.write_text(folder / kits.POLICY, policy.DEFAULT_TEXT)
        self._write_about(folder, member)

    def _state(self, member: str) -> str:
        """Whether a member's certificate is valid, and what to do if it is not."""
        valid = self._valid(member)
        if not valid:
            return f"revoked, --renew={member} issues another certificate"
        end = valid[-1].expires
        if end <= _now():
            return f"expired on {end[:10]}, --renew={member} issues another certificate"
        return f"valid until {end[:10]}"

    def _issue(self, folder: pathlib.Path, member: str) -> None:
        period = authority.Period.of_days(self._study.days)
        if member == authority.COORDINATOR:
            credentials = authority.issue_to_coordinator(self._authority, self._host, period)
        else:
            credentials = authority.issue_to_site(self._authority, member, period)
        self._record(
            _Issued(
                str(authority.serial(credentials.certificate)),
                member,
                _now(),
                authority.expires(credentials.certificate).isoformat(timespec="seconds"),
            )
        )
        _write_secret(folder / kits.KEY, credentials.key)
        _write(folder / kits.CERTIFICATE, credentials.certificate)
        _write(folder / kits.AUTHORITY, credentials.authority)

    def _has_moved(self, folder: pathlib.Path, member: str) -> bool:
        """Whether the coordinator's certificate is not for the address of the study."""
        return member == authority.COORDINATOR and not authority.is_for(
            (folder / kits.CERTIFICATE).read_bytes(), self._host
        )

    def _write_about(self, folder: pathlib.Path, member: str) -> None:
        is_coordinator = member == authority.COORDINATOR
        if is_coordinator:
            self._write_for_coordinator()
        _write_json(
            folder / kits.KIT,
            {
                "format": kits.FORMAT,
                "study": self._study.name,
                "role": kits.COORDINATOR if is_coordinator else kits.SITE,
                "site": member,
                "address": self._study.coordinator,
            },
        )

    def _write_for_coordinator(self) -> None:
        """Writes what the coordinator knows of the sites."""
        folder = self._folder / authority.COORDINATOR
        sites = [dataclasses.asdict(site) for site in self._study.sites]
        _write_json(folder / kits.STUDY, {"name": self._study.name, "sites": sites})
        revoked = {
            each.serial: {"site": each.member, "time": each.revoked}
            for each in self._issued
            if each.revoked and each.member != authority.COORDINATOR
        }
        _write_json(folder / kits.REVOKED, revoked)

    def _valid(self, member: str) -> list[_Issued]:
        """The certificates of a member that are not revoked."""
        return [each for each in self._issued if each.member == member and not each.revoked]

    def _revoke(self, member: str) -> None:
        valid = self._valid(member)
        if not valid:
            return
        self._issued = [
            dataclasses.replace(each, revoked=_now()) if each in valid else each
            for each in self._issued
        ]
        self._write_issued()
        if (self._folder / authority.COORDINATOR).exists():
            self._write_for_coordinator()

    def _record(self, issued: _Issued) -> None:
        self._issued = [*self._issued, issued]
        self._write_issued()

    def _write_issued(self) -> None:
        _write_json(
            self._folder / study_files.AUTHORITY / _ISSUED,
            [dataclasses.asdict(each) for each in self._issued],
        )


def _authority(study: Study, folder: pathlib.Path) -> authority.Authority:
    """The authority in a folder, made if there is none.

    Its certificate is written last: without it nothing was issued.
    """
    certificate, key = folder / kits.CERTIFICATE, folder / kits.KEY
    _make_folder(folder)
    files.remove_unfinished(folder)
    if not certificate.exists():
        made = authority.make_authority(study.name)
        _write_secret(key, made.key)
        _write(certificate, made.certificate)
    try:
        found = authority.Authority(certificate.read_bytes(), key.read_bytes())
        is_fitting = kits.key_fits(found.certificate, found.key)
        owner = authority.study(found.certificate)
    except (OSError, ValueError, TypeError):
        is_fitting, owner = False, ""
    if not is_fitting:
        raise InputError(
            f"expected the authority of a study in {folder}, found no {kits.CERTIFICATE} with the "
            f"{kits.KEY} of it"
        )
    if owner != study.name:
        raise InputError(
            f"--output_dir: expected the kits of {study.name} or an empty folder, found those of "
            f"{owner} in {folder.parent}"
        )
    return found


def _read_issued(path: pathlib.Path) -> list[_Issued]:
    if not path.exists():
        return []
    try:
        return [_Issued(**each) for each in json.loads(path.read_bytes())]
    except (ValueError, TypeError):
        raise InputError(f"{path}: expected a list of certificates, found other values") from None


def _is_whole(folder: pathlib.Path) -> bool:
    """Whether a kit was written to its end, with a key that fits its certificate."""
    if not (folder / kits.KIT).exists():
        return False
    try:
        certificate = (folder / kits.CERTIFICATE).read_bytes()
        return (folder / kits.AUTHORITY).exists() and kits.key_fits(
            certificate, (folder / kits.KEY).read_bytes()
        )
    except (OSError, ValueError, TypeError):
        return False


def _check_members(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(
                f"{flag}: expected {', '.join(known) or 'a site that has a certificate'}, "
                f"found {name!r}{hint}"
            )


def _make_folder(folder: pathlib.Path) -> None:
    """Makes a folder that only its owner can read; one that is there is left as it is."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"expected a folder at {folder}, found {error.strerror}") from None


def _write_secret(path: pathlib.Path, content: bytes) -> None:
    def write(file: BinaryIO) -> None:
        os.fchmod(file.fileno(), 0o600)  # Before there is anything in it.
        file.write(content)

    files.write_atomically(path, write)


def _write(path: pathlib.Path, content: bytes) -> None:
    write: Callable[[BinaryIO], Any] = lambda file: file.write(content)  # noqa: E731
    files.write_atomically(path, write)


def _write_json(path: pathlib.Path, value: Any) -> None:
    """Writes JSON unless the file has it already."""
    try:
        if json.loads(path.read_bytes()) == value:
            return
    except (OSError, ValueError):
        pass
    files.write_json(path, value)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
