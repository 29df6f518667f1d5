"""Kits are made once and whole, whatever kills their making, and certificates are replaced."""

import datetime
import json
import stat

import pytest

from tests.hospitals import studies
from tffcxr import files
from tffcxr.errors import InputError
from tffcxr.hospitals import authority, kits, policy, provision

_MEMBERS = ("coordinator", "north", "south")


def _serial(folder, member):
    return authority.serial((folder / member / "certificate.pem").read_bytes())


def _serials(folder):
    return {member: _serial(folder, member) for member in _MEMBERS}


def _revoked(folder):
    return {int(n) for n in json.loads((folder / "coordinator" / "revoked.json").read_text())}


def test_kits_can_be_read_and_hold_what_the_study_says(tmp_path):
    folder = studies.make_kits(tmp_path)
    coordinator = kits.read_coordinator(folder / "coordinator")
    north = kits.read_site(folder / "north")
    assert [(s.name, *s.findings) for s in coordinator.sites] == [
        ("north", "Lung Opacity"), ("south", "Pneumothorax")
    ]  # fmt: skip
    assert coordinator.revoked() == frozenset()
    assert (north.role, north.study, north.site) == ("site", "opacity", "north")
    assert north.address == "study.example.org:443"
    assert policy.read(folder / "north" / "policy.toml") == policy.Policy()
    assert not (folder / "coordinator" / "policy.toml").exists()


def test_only_the_owner_reads_keys(tmp_path):
    folder = studies.make_kits(tmp_path)
    keys = sorted(folder.rglob("key.pem"))
    assert len(keys) == 4
    for key in keys:
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert all(b"PRIVATE" not in p.read_bytes() for p in folder.rglob("*") if p.is_file()
               and p.name != "key.pem")  # fmt: skip


def test_the_same_command_keeps_everything(tmp_path):
    folder = studies.make_kits(tmp_path)
    (folder / "north" / "policy.toml").write_text("most_rounds = 3\n")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = provision.provision(tmp_path / "study.toml", folder)
    assert [line.split(" ")[1] for line in lines] == ["kept"] * 3
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_new_sites_are_added_in_their_order(tmp_path):
    folder = studies.make_kits(tmp_path)
    before = _serials(folder)
    text = studies.STUDY.replace("[sites.north]", '[sites.east]\nfinding = "Edema"\n[sites.north]')
    lines = provision.provision(studies.write_study(tmp_path, text), folder)
    assert lines[1].startswith(f"east: made {folder / 'east'}; valid until 20")
    assert _serials(folder) == before
    kit = kits.read_coordinator(folder / "coordinator")
    assert [site.name for site in kit.sites] == ["east", "north", "south"]


def test_a_site_that_left_the_study(tmp_path):
    folder = studies.make_kits(tmp_path)
    text = studies.STUDY.partition("[sites.south]")[0]
    lines = provision.provision(studies.write_study(tmp_path, text), folder)
    assert lines[-1] == "south: not in the study any more; --revoke=south revokes its certificate"
    assert [site.name for site in kits.read_coordinator(folder / "coordinator").sites] == ["north"]
    provision.provision(tmp_path / "study.toml", folder, revoke=["south"])
    assert _revoked(folder) == {_serial(folder, "south")}
    assert len(provision.provision(tmp_path / "study.toml", folder)) == 2


def test_a_renewed_certificate_replaces_a_revoked_one(tmp_path):
    folder = studies.make_kits(tmp_path)
    before = _serials(folder)
    (folder / "north" / "policy.toml").write_text("most_rounds = 3\n")
    studies.make_kits(tmp_path, renew=["north"])
    after = _serials(folder)
    assert after["north"] != before["north"]
    assert {**after, "north": 0} == {**before, "north": 0}
    assert kits.read_coordinator(folder / "coordinator").revoked() == {before["north"]}
    assert kits.read(folder / "north").site == "north"
    assert (folder / "north" / "policy.toml").read_text() == "most_rounds = 3\n"


def test_a_revoked_site_stays_out_until_it_is_renewed(tmp_path):
    folder = studies.make_kits(tmp_path)
    old = _serial(folder, "south")
    for changes in ({"revoke": ["south"]}, {}):
        lines = provision.provision(tmp_path / "study.toml", folder, **changes)
        state = "revoked, --renew=south issues another certificate"
        assert lines[-1] == f"south: kept {folder / 'south'}; {state}"
        assert _revoked(folder) == {old}
    provision.provision(tmp_path / "study.toml", folder, renew=["south"])
    assert _revoked(folder) == {old} and _serial(folder, "south") != old


def test_a_kit_that_went_to_its_hospital_is_not_made_twice(tmp_path):
    folder = studies.make_kits(tmp_path)
    old = _serial(folder, "north")
    (folder / "north").rename(tmp_path / "elsewhere")
    lines = provision.provision(tmp_path / "study.toml", folder)
    assert lines[1].startswith(f"north: made before, not in {folder / 'north'}; valid until 20")
    assert not (folder / "north").exists()
    provision.provision(tmp_path / "study.toml", folder, revoke=["north"])
    assert _revoked(folder) == {old}
    provision.provision(tmp_path / "study.toml", folder, renew=["north"])
    assert kits.read(folder / "north").site == "north" and _serial(folder, "north") != old


def test_an_expired_certificate_is_told(monkeypatch, tmp_path):
    now = datetime.datetime.now(datetime.timezone.utc)
    past = authority.Period(now - datetime.timedelta(9), now - datetime.timedelta(seconds=1))
    with monkeypatch.context() as patch:
        patch.setattr(authority.Period, "of_days", lambda _: past)
        patch.setattr(
            authority,
            "make_authority",
            lambda study, make=authority.make_authority: make(
                study, authority.Period(past.start, now + datetime.timedelta(99))
            ),
        )
        folder = studies.make_kits(tmp_path)
    for line in provision.provision(tmp_path / "study.toml", folder):
        member = line.partition(":")[0]
        assert f"; expired on {past.end:%Y-%m-%d}, --renew={member} issues" in line
    lines = provision.provision(tmp_path / "study.toml", folder, renew=_MEMBERS)
    assert all("; valid until 20" in line for line in lines)
    assert {kits.read(folder / member).site for member in _MEMBERS} == set(_MEMBERS)


def test_revocations_need_the_coordinators_kit(tmp_path):
    folder = studies.make_kits(tmp_path)
    (folder / "coordinator").rename(tmp_path / "elsewhere")
    for changes in ({}, {"revoke": ["north"]}):
        with pytest.raises(InputError, match="expected the coordinator's kit in .*coordinator"):
            provision.provision(tmp_path / "study.toml", folder, **changes)
    provision.provision(tmp_path / "study.toml", folder, renew=["coordinator"], revoke=["north"])
    assert _revoked(folder) == {_serial(folder, "north")}


def test_another_address_reaches_all_kits_that_are_there(tmp_path):
    folder = studies.make_kits(tmp_path)
    before = _serials(folder)
    text = studies.STUDY.replace("study.example.org:443", "10.0.0.1:8443")
    lines = provision.provision(studies.write_study(tmp_path, text), folder)
    assert lines[0].startswith("the address was study.example.org:443 and is 10.0.0.1:8443: ")
    assert {kits.read(folder / member).address for member in _MEMBERS} == {"10.0.0.1:8443"}
    certificate = (folder / "coordinator" / "certificate.pem").read_bytes()
    assert authority.is_for(certificate, "10.0.0.1")
    after = _serials(folder)
    assert after["coordinator"] != before["coordinator"] and after["north"] == before["north"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"renew": ["nort"]}, r"--renew: .*found 'nort' \(did you mean north\?\)"),
        ({"revoke": ["nort"]}, r"--revoke: .*found 'nort' \(did you mean north\?\)"),
        ({"revoke": ["coordinator"]}, "--revoke: expected north, south, found 'coordinator'"),
        ({"renew": ["north"], "revoke": ["north"]}, "not renewed, found north"),
    ],
)
def test_wrong_names_change_nothing(tmp_path, changes, message):
    folder = studies.make_kits(tmp_path)
    before = _serials(folder)
    with pytest.raises(InputError, match=message):
        provision.provision(tmp_path / "study.toml", folder, **changes)
    assert _serials(folder) == before and _revoked(folder) == set()


def test_the_kits_of_another_study_are_left_alone(tmp_path):
    folder = studies.make_kits(tmp_path)
    text = studies.STUDY.replace('"opacity"', '"nodules"')
    with pytest.raises(InputError, match="expected the kits of nodules .*found those of opacity"):
        provision.provision(studies.write_study(tmp_path, text), folder)


@pytest.mark.parametrize("damage", ["missing", "foreign", "garbage"])
def test_a_damaged_authority_is_not_replaced(tmp_path, damage):
    folder = studies.make_kits(tmp_path)
    key = folder / "authority" / "key.pem"
    if damage == "missing":
        key.unlink()
    else:
        key.write_bytes((folder / "north" / "key.pem").read_bytes() if damage == "foreign" else b"")
    with pytest.raises(InputError, match="expected the authority of a study in"):
        provision.provision(tmp_path / "study.toml", folder)


class _KilledError(BaseException):
    """In place of a kill."""


def _killed(monkeypatch, tmp_path, writes, **changes):
    """Provisions until so many files are written; whether it was killed before its end."""
    real = files.write_atomically
    left = [writes]

    def write(path, content):
        if not left[0]:
            path.with_name(f".{path.name}.4711.tmp").write_bytes(b"half")
            raise _KilledError
        left[0] -= 1
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", write)
        try:
            studies.make_kits(tmp_path, **changes)
        except _KilledError:
            return True
    return False


@pytest.mark.parametrize("change", ["none", "renew", "revoke"])
def test_the_same_command_completes_what_a_kill_cut_off(monkeypatch, tmp_path, change):
    writes, was_killed = 0, True
    while was_killed:
        folder = tmp_path / str(writes)
        folder.mkdir()
        changes = {} if change == "none" else {change: ["north"]}
        if changes:
            old = _serial(studies.make_kits(folder), "north")
        was_killed = _killed(monkeypatch, folder, writes, **changes)
        for again in ({}, changes):
            made = studies.make_kits(folder, **again)
            assert {kits.read(made / member).site for member in _MEMBERS} == set(_MEMBERS)
        revoked = kits.read_coordinator(made / "coordinator").revoked()
        if changes:
            assert old in revoked
        assert (_serial(made, "north") in revoked) == (change == "revoke")
        assert _serial(made, "south") not in revoked
        assert not list(made.rglob(".*.tmp"))
        writes += 1
    assert writes > {"none": 15, "renew": 5, "revoke": 1}[change]
