"""What a study.toml may say, and the one line about what it may not."""

import pytest

from tests.hospitals import studies
from tffcxr.errors import InputError
from tffcxr.hospitals import study_files
from tffcxr.hospitals.study_files import Site, Study


def test_a_study_keeps_the_order_of_its_sites(tmp_path):
    text = studies.STUDY.replace("north", "zoo")
    assert study_files.read(studies.write_study(tmp_path, text)) == Study(
        "opacity",
        "study.example.org:443",
        30,
        (Site("zoo", ("Lung Opacity",)), Site("south", ("Pneumothorax",))),
    )


def test_a_site_may_have_several_findings(tmp_path):
    text = studies.STUDY.replace('finding = "Pneumothorax"', 'findings = ["Mass", "Edema"]')
    north, south = study_files.read(studies.write_study(tmp_path, text)).sites
    assert (north.findings, south.findings) == (("Lung Opacity",), ("Mass", "Edema"))
    assert (str(north), str(south)) == ("north (Lung Opacity)", "south (Mass, Edema)")


def test_days_and_findings_can_be_left_out(tmp_path):
    text = 'name="a"\ncoordinator="[::1]:8443"\n[sites.n-1]\n[sites.n-2]\n'
    study = study_files.read(studies.write_study(tmp_path, text))
    assert study == Study("a", "[::1]:8443", 365, (Site("n-1"), Site("n-2")))


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("study.example.org:443", ("study.example.org", 443)),
        ("localhost:1", ("localhost", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
    ],
)
def test_addresses(address, parts):
    assert study_files.split_address(address) == parts


@pytest.mark.parametrize(
    "address",
    ["study.example.org", "host:", ":443", "host:0", "host:65536", "host:-1", "host:４４３",
     "ho st:443", "https://host:443", "-host:443", "host..org:443", "[host]:443", "::1:443",
     "10.0.0.256:443", "[10.0.0.1]:443", "a" * 64 + ":443", "host/path:443", 443, None],
)  # fmt: skip
def test_no_addresses(address):
    with pytest.raises(InputError, match="expected HOST:PORT"):
        study_files.split_address(address)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("days", "dais", r"study.toml: expected the keys name, .*found dais \(did you mean days\?"),
        ("finding =", "findng =", r"found sites.north.findng \(did you mean finding\?\)"),
        ('name = "opacity"', "", "study.toml: expected the key name, found none"),
        ('"opacity"', '"a/b"', "study.toml: name: expected a name"),
        ('"opacity"', f'"{"a" * 65}"', "study.toml: name: expected a name"),
        ('"opacity"', "3", "study.toml: name: expected a name .* found 3"),
        (":443", "", "study.toml: coordinator: expected HOST:PORT"),
        ("30", "0", "study.toml: days: expected an integer of 1 to 3650, found 0"),
        ("30", "true", "study.toml: days: expected an integer .* found True"),
        ("[sites.north]", "[sites.'no rth']", "sites.no rth: expected a name"),
        ("[sites.north]", "[sites.'..']", r"sites.\.\.: expected a name"),
        ("north", "SOUTH", "expected names that differ .* found SOUTH, south"),
        ("north", "coordinator", "from authority and coordinator, found coordinator, south"),
        ("north", "Authority", "from authority and coordinator, found Authority, south"),
        ('"Lung Opacity"', '""', "sites.north.finding: expected a finding such as"),
        ('"Lung Opacity"', r'"a\u001bb"', "sites.north.finding: expected a finding such as"),
        ('finding = "Lung Opacity"', "", "sites.north.finding: .*none at north"),
        ("finding =", "findings =", "sites.north.findings: expected a list of findings such as"),
        ('finding = "Lung Opacity"', "findings = []", "sites.north.findings: expected a list"),
        ('finding = "Lung Opacity"', 'findings = ["A", "A"]', "expected each finding once"),
        ("finding =", 'findings = ["A"]\nfinding =', "expected finding or findings, found both"),
        ("name", "name =", "study.toml: expected TOML in UTF-8"),
    ],
)
def test_one_line_about_what_is_wrong(tmp_path, old, new, message):
    path = studies.write_study(tmp_path, studies.STUDY.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        study_files.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sites", ["", "[sites]", "sites = []", "sites = 'north'"])
def test_a_study_without_sites(tmp_path, sites):
    path = studies.write_study(tmp_path, f'name = "a"\ncoordinator = "b:1"\n{sites}')
    with pytest.raises(InputError, match="sites"):
        study_files.read(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="expected a file to read, found No such file"):
        study_files.read(tmp_path / "study.toml")
    (tmp_path / "study.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(InputError, match="expected TOML in UTF-8"):
        study_files.read(tmp_path / "study.toml")
