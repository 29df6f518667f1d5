"""A proposal is the same wherever it is, anything else is another, and its words hide nothing."""

import dataclasses
import hashlib
import json

import pytest

from tests.hospitals import studies
from tffcxr.errors import InputError
from tffcxr.hospitals import proposals
from tffcxr.hospitals.proposals import Proposal
from tffcxr.hospitals.study_files import Site
from tffcxr.learning import privacy_accounting


def test_the_bytes_are_canonical():
    proposal = Proposal("s", "r", {"b": [1, 2.5], "a": None}, (Site("n", ("ü",)),), {"p": "3"})
    expected = (
        rb'{"recipe":"r","settings":{"a":null,"b":[1,2.5]},"sites":[{"findings":["\u00fc"],"name":"n"}],'
        rb'"study":"s","versions":{"p":"3"}}'
    )
    assert proposal.to_json() == expected
    assert proposal.hash == hashlib.sha256(expected).hexdigest()


def test_it_is_the_same_on_the_other_side():
    proposal = studies.proposal(weights_sha256={"standard": "ab"}, learning_rate=0.1, flag=True)
    read = proposals.from_json(proposal.to_json())
    assert read == proposal and read.hash == proposal.hash
    spaced = json.dumps(json.loads(proposal.to_json()), indent=2).encode()
    assert proposals.from_json(spaced).hash == proposal.hash


def test_tuples_and_order_make_no_difference():
    one = Proposal("s", "r", {"a": (1,), "b": 2}, (Site("n"),), {})
    other = Proposal("s", "r", {"b": 2, "a": [1]}, (Site("n"),), {})
    assert one.hash == other.hash


@pytest.mark.parametrize(
    "change",
    [
        {"study": "nodules"},
        {"recipe": "covid"},
        {"settings": {"rounds": 11}},
        {"sites": (Site("south", ("Pneumothorax",)), Site("north", ("Lung Opacity",)))},
        {"versions": {}},
    ],
)
def test_every_field_is_part_of_the_hash(change):
    proposal = studies.proposal()
    assert dataclasses.replace(proposal, **change).hash != proposal.hash


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        studies.proposal(x=value).to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": ""}, "study: expected a name, found ''"),
        ({"study": 3}, "study: expected a name, found 3"),
        ({"study": "a" * 101}, "study: expected a name"),
        ({"recipe": ["cheXviz"]}, "recipe: expected a name"),
        ({"settings": []}, "settings: expected values by name"),
        ({"versions": {"python": 3}}, "versions.python: expected a version, found 3"),
        ({"sites": []}, "sites: expected a list of at least one site"),
        ({"sites": {}}, "sites: expected a list of at least one site"),
        ({"sites": [{"name": "n"}]}, "sites: expected name and findings"),
        ({"sites": ["n"]}, "sites: expected name and findings"),
        ({"sites": [{"name": "", "findings": []}]}, "sites.name: expected a name"),
        ({"sites": [{"name": "n", "findings": None}]}, "sites.findings: expected a list"),
        ({"sites": [{"name": "n", "findings": []}] * 2}, "sites: expected each site once"),
        ({"more": 1}, "expected a proposal of .* found 'more, recipe"),
        ({"study": "a\nHash: 0"}, "study: expected printable text"),
        ({"settings": {"rounds": "\x1b[2J1"}}, "settings.rounds: expected printable text"),
        ({"settings": {"a": [{"\u202eb": 1}]}}, "settings.a: expected printable text"),
        ({"settings": {"a": "\ud800"}}, "settings.a: expected printable text"),
    ],
)
def test_one_line_about_what_is_wrong(change, message):
    value = {**json.loads(studies.proposal().to_json()), **change}
    with pytest.raises(InputError, match=message) as caught:
        proposals.from_json(json.dumps(value).encode())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"study": NaN}', b'{"study": Infinity}'],
)
def test_other_bytes(content):
    with pytest.raises(InputError, match="expected a proposal"):
        proposals.from_json(content)


def test_a_number_too_large_to_be_finite():
    content = studies.proposal(rounds=7).to_json().replace(b'"rounds":7', b'"rounds":1e999')
    with pytest.raises(InputError, match="settings.rounds: expected a finite number"):
        proposals.from_json(content)


def test_words_tell_what_is_asked():
    words = studies.proposal(aggregator="dp", dp_noise_multiplier=1.25).words()
    found = dict(line.split(":", 1) for line in words.splitlines() if ":" in line)
    assert found["Study"].strip() == "opacity"
    assert found["Recipe"].strip() == "cheXviz"
    assert found["Hospitals"].strip() == "north (Lung Opacity), south (Pneumothorax)"
    assert found["Networks"].strip() == "standard, densenet121"
    one_line = " ".join(words.split())
    assert "Rounds: 10, each of 3 passes over the hospital's images; before them 2 of" in one_line
    assert "every hospital keeps its task block" in one_line
    assert "local: layer and statistics stay at the hospital" in one_line
    epsilon = privacy_accounting.epsilon({1.25: 12}, 1e-5)  # 10 rounds after 2 of the head.
    assert (
        "Gaussian noise of 1.25 times the clipping norm; in all rounds a client's epsilon is at "
        f"most {epsilon:.3g} at delta 1e-05"
    ) in one_line
    words = studies.proposal(aggregator="dp", target_epsilon=8.0, dp_delta=1e-6).words()
    assert "epsilon at most 8.0 in all rounds, at delta 1e-06" in " ".join(words.split())
    words = studies.proposal(aggregator="dp", dp_noise_multiplier="much").words()
    assert "Gaussian noise of much times the clipping norm Leaves:" in " ".join(words.split())
    cost = privacy_accounting.epsilon({2.0: 36}, 1e-5)  # Three passes in each round.
    words = " ".join(studies.proposal(dp_sgd_noise=2.0).words().split())
    assert (
        "Images: the hospital adds noise of 2.0 times the clipping norm in each step; in all "
        f"rounds an image's epsilon is at most {cost:.3g} at delta 1e-05"
    ) in words


def test_words_list_every_setting_and_version():
    proposal = studies.proposal(only=["standard:rounds=150"], odd={"a": [None, True]})
    lines = proposal.words().splitlines()
    for name in proposal.settings:
        assert any(line.startswith(f"  {name}: ") for line in lines), name
    assert '  odd: {"a": [null, true]}' in lines
    unset = studies.proposal(calibration=None, only=[]).words().splitlines()
    assert "  calibration: not set" in unset and "  only: none" in unset
    assert "  only: standard:rounds=150" in lines
    assert "Exceptions:    standard:rounds=150" in lines
    assert "  tensorflow: 2.14.1" in lines
    assert f"Hash:          {proposal.hash}" in lines


@pytest.mark.parametrize("settings", [{}, {"only": 3, "rounds": [], "share": {}, "model": None}])
def test_words_of_odd_settings_fail_nowhere(settings):
    proposal = Proposal("s", "r", settings, (Site("n"),), {})
    assert proposals.from_json(proposal.to_json()).words().startswith("Study:         s\n")


def test_a_training_per_network_with_exceptions():
    found = studies.proposal(only=["a:rounds=5", "b:share=all", "a:rounds=6"]).trainings()
    assert list(found) == ["", "a", "b"]
    assert [each["rounds"] for each in found.values()] == [10, "6", 10]
    assert found["b"]["share"] == "all" and found[""]["share"] == "representation"
