"""A kit is used only if its files belong together and its certificate is valid."""

import datetime
import json
import os
import shutil

import pytest

from tests.hospitals import studies
from tffcxr.errors import InputError
from tffcxr.hospitals import authority, kits
from tffcxr.hospitals.study_files import Site


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    return studies.make_kits(tmp_path_factory.mktemp("study"))


@pytest.fixture(name="folder")
def _folder(made, tmp_path):
    """Copies of the kits, to be damaged."""
    return shutil.copytree(made, tmp_path / "kits")


def _refusal(folder, **time):
    with pytest.raises(InputError) as caught:
        kits.read(folder, **time)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_credentials_are_the_files(folder):
    north = kits.read(folder / "north").credentials()
    assert authority.name(north.certificate) == "north"
    assert b"PRIVATE" in north.key
    assert north.authority == kits.read(folder / "coordinator").credentials().authority


def test_one_role_for_another(folder):
    with pytest.raises(InputError, match="expected the coordinator's kit, found that of north"):
        kits.read_coordinator(folder / "north")
    with pytest.raises(InputError, match="expected a hospital's kit, found the coordinator's"):
        kits.read_site(folder / "coordinator")
    assert kits.read_site(folder / "north") == kits.read(folder / "north")


def test_no_kit(folder):
    assert "expected a kit of a study in" in _refusal(folder / "nowhere")
    assert "found no kit.json there" in _refusal(folder / "authority")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "expected a kit of format 1, found 2"),
        ("role", "server", "expected the role site or coordinator, found 'server'"),
        ("site", 7, "expected a text at site, found 7"),
        ("address", "nowhere", "address: expected HOST:PORT"),
    ],
)
def test_another_kit_json(folder, key, value, message):
    path = folder / "north" / "kit.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert message in _refusal(folder / "north")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format"'])
def test_a_kit_json_that_is_cut_off(folder, content):
    (folder / "north" / "kit.json").write_text(content)
    assert "kit.json: expected JSON" in _refusal(folder / "north").replace("a JSON object", "JSON")


@pytest.mark.parametrize("name", ["authority.pem", "certificate.pem", "key.pem"])
def test_missing_and_damaged_files(folder, name):
    path = folder / "north" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "expected PEM files" in _refusal(folder / "north")
    path.unlink()
    assert f"{name}: expected a file of a kit, found No such file" in _refusal(folder / "north")


def test_a_key_of_another_certificate(folder):
    shutil.copy(folder / "south" / "key.pem", folder / "north" / "key.pem")
    assert "expected the certificate of key.pem, found another one's" in _refusal(folder / "north")


def test_another_hospitals_certificate_and_key(folder):
    for name in ("certificate.pem", "key.pem"):
        shutil.copy(folder / "south" / name, folder / "north" / name)
    assert "expected the certificate of north, found that of 'south'" in _refusal(folder / "north")


def test_another_authority(folder, tmp_path):
    other = authority.make_authority("opacity")
    (folder / "north" / "authority.pem").write_bytes(other.certificate)
    assert "expected a certificate signed by authority.pem" in _refusal(folder / "north")


def test_times_at_which_it_is_not_valid(folder):
    now = datetime.datetime.now(datetime.timezone.utc)
    late, early = now + datetime.timedelta(days=31), now - datetime.timedelta(hours=2)
    end = authority.expires((folder / "north" / "certificate.pem").read_bytes())
    assert f"expired at {end:%Y-%m-%d %H:%M} UTC" in _refusal(folder / "north", now=late)
    assert "becomes valid at" in _refusal(folder / "north", now=early)
    assert kits.read(folder / "north", now=now + datetime.timedelta(days=29)).site == "north"


def test_revocations_are_read_while_the_coordinator_runs(folder):
    kit = kits.read_coordinator(folder / "coordinator")
    path = folder / "coordinator" / "revoked.json"
    assert kit.revoked() == frozenset()
    path.write_text('{"12": {"site": "north", "time": "2026-01-01T00:00:00+00:00"}}')
    assert kit.revoked() == {12}
    path.write_text('{"no number": {}}')
    with pytest.raises(InputError, match="expected serial numbers"):
        kit.revoked()
    path.unlink()
    with pytest.raises(InputError, match="expected a file"):
        kit.revoked()


def test_an_unchanged_file_is_read_once(folder):
    kit = kits.read_coordinator(folder / "coordinator")
    path = folder / "coordinator" / "revoked.json"
    before = path.stat()
    content = path.read_bytes()
    with path.open("r+b") as file:  # The same file, size and time, so nothing seems changed.
        file.write(b"x" * len(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kit.revoked() == frozenset()


@pytest.mark.parametrize("name", ["study.json", "revoked.json"])
def test_a_coordinator_without_a_file(folder, name):
    (folder / "coordinator" / name).unlink()
    assert f"{name}: expected a file" in _refusal(folder / "coordinator")


@pytest.mark.parametrize(
    "content", ['{"name": "other", "sites": [{"name": "a", "finding": ""}]}',
                '{"name": "opacity", "sites": []}', '{"name": "opacity", "sites": [{"name": 1}]}',
                '{"name": "opacity", "sites": [{"name": 1, "finding": ""}]}']
)  # fmt: skip
def test_sites_of_another_study(folder, content):
    (folder / "coordinator" / "study.json").write_text(content)
    assert "expected the sites of opacity" in _refusal(folder / "coordinator")


@pytest.mark.parametrize(
    ("site", "findings"),
    [({"findings": ["A", "B"]}, ("A", "B")), ({"finding": "A"}, ("A",)), ({"finding": ""}, ())],
)
def test_findings_of_a_site_also_as_earlier_kits_have_them(folder, site, findings):
    study = {"name": "opacity", "sites": [{"name": "a", **site}]}
    (folder / "coordinator" / "study.json").write_text(json.dumps(study))
    assert kits.read_coordinator(folder / "coordinator").sites == (Site("a", findings),)
