"""What a policy refuses, and what a policy.toml may say."""

import dataclasses

import pytest

from tests.hospitals import studies
from tffcxr.errors import InputError
from tffcxr.hospitals import joining, kits, policy
from tffcxr.hospitals.policy import Policy
from tffcxr.hospitals.study_files import Site
from tffcxr.learning import privacy_accounting


def _read(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text, "utf-8")
    return policy.read(path)


def test_the_file_of_a_kit_says_the_defaults(tmp_path):
    assert _read(tmp_path, policy.DEFAULT_TEXT) == Policy() == _read(tmp_path, "")


def test_every_key(tmp_path):
    text = """
        studies = "*"
        recipes = ["cheXviz", "tuberculosis"]
        findings = []
        most_rounds = 5
        fewest_images = 100
        smallest_count = 1
        scores_per_image = true
        fingerprints = true
        aggregators = ["dp", "secure"]
        fewest_hospitals = 3
        least_noise = 1
        most_epsilon = 8
        most_epsilon_of_images = 2.5
        delta = 1e-6
    """
    assert _read(tmp_path, text) == Policy(
        studies=("*",),
        recipes=("cheXviz", "tuberculosis"),
        findings=(),
        most_rounds=5,
        fewest_images=100,
        smallest_count=1,
        scores_per_image=True,
        fingerprints=True,
        aggregators=("dp", "secure"),
        fewest_hospitals=3,
        least_noise=1.0,
        most_epsilon=8.0,
        most_epsilon_of_images=2.5,
        delta=1e-6,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("most_round = 3", r"found most_round \(did you mean most_rounds\?\)"),
        ("studies = 'opacity'", r'studies: expected a list of names or "\*", found \'opacity\''),
        ("studies = [1]", r"studies: expected a list of names"),
        ("most_rounds = 0", "most_rounds: expected an integer of 1 to"),
        ("fewest_images = 1.5", "fewest_images: expected an integer of 1 to"),
        ("smallest_count = true", "smallest_count: expected an integer of 1 to"),
        ("scores_per_image = 1", "scores_per_image: expected true or false, found 1"),
        ("fingerprints = 'no'", "fingerprints: expected true or false, found 'no'"),
        ("fewest_hospitals = 1", "fewest_hospitals: expected an integer of 2 to"),
        ("aggregators = ['secured']", r"found 'secured' \(did you mean secure\?\)"),
        ("least_noise = -1", "least_noise: expected a number of at least 0, found -1"),
        ("least_noise = nan", "least_noise: expected a number of at least 0, found nan"),
        ("least_noise = inf", "least_noise: expected a number of at least 0, found inf"),
        ("least_noise = true", "least_noise: expected a number of at least 0, found True"),
        ("most_epsilon = 0", "most_epsilon: expected a number above 0 or inf, found 0"),
        ("most_epsilon = nan", "most_epsilon: expected a number above 0 or inf, found nan"),
        ("most_epsilon_of_images = true", "expected a number above 0 or inf, found True"),
        ("delta = 0.5", "delta: expected a number from 1e-12 to 0.01, found 0.5"),
        ("delta = 0", "delta: expected a number from 1e-12 to 0.01, found 0"),
        ("least_noise", "policy.toml: expected TOML in UTF-8"),
    ],
)
def test_one_line_about_what_is_wrong(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        _read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_the_defaults_allow_a_usual_proposal():
    assert policy.problems(Policy(), studies.proposal()) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"studies": ("nodules",)}, "studies: expected nodules, found opacity"),
        ({"recipes": ()}, "recipes: expected none at all, found cheXviz"),
        ({"findings": ("lung opacity",)}, "findings: expected lung opacity, found Pneumothorax"),
        ({"most_rounds": 11}, "most_rounds: expected at most 11 rounds, found 12"),
        ({"aggregators": ("dp", "secure")}, "aggregators: expected dp or secure, found mean"),
    ],
)
def test_one_line_for_what_is_not_allowed(changes, problem):
    assert policy.problems(Policy(**changes), studies.proposal()) == [problem]


def test_a_study_has_as_many_hospitals_as_a_secure_sum_needs():
    asked = studies.proposal(aggregator="secure")
    assert policy.problems(Policy(fewest_hospitals=2), asked) == []
    assert policy.problems(Policy(fewest_hospitals=3), studies.proposal()) == []
    assert policy.problems(Policy(fewest_hospitals=3), asked) == [
        "fewest_hospitals: expected at least 3 in the study, found 2"
    ]


SEEN = "each can compute the other's update from the sum"


@pytest.mark.parametrize(
    ("sites", "fewest", "settings", "line"),
    [
        (2, 2, {"aggregator": "mean"}, ""),
        (2, 2, {"aggregator": "secure"}, f"secure in a study of two hospitals: {SEEN}"),
        (2, 2, {"only": ["standard:aggregator=secure"]}, f"of two hospitals: {SEEN}"),
        (3, 2, {"aggregator": "secure"}, f"two hospitals, {SEEN}; 3 or more prevents it"),
        (3, 3, {"aggregator": "secure"}, ""),
    ],
)
def test_a_hospital_is_warned_of_a_sum_that_shows_its_update_to_another(
    tmp_path, capsys, sites, fewest, settings, line
):
    kit = kits.read_site(studies.make_kits(tmp_path) / "north")
    (kit.folder / kits.POLICY).write_text(f"fewest_hospitals = {fewest}\n")
    of_study = tuple(Site(name, ("Mass",)) for name in ("north", "south", "west")[:sites])
    proposal = dataclasses.replace(studies.proposal(**settings), sites=of_study)
    approve = joining.ask_for_approval(kit, proposal.hash, False, input)
    for _ in range(2):  # Also where it was approved before.
        approve(proposal)
        errors = capsys.readouterr().err
        assert errors.count("\n") == bool(line) and errors.endswith(f"{line}\n" if line else "")
        assert errors.startswith(f"warning: {kit.folder / kits.POLICY}: " if line else "")


def test_names_are_compared_without_case():
    asked = Policy(studies=("Opacity",), findings=("LUNG OPACITY", "pneumothorax"))
    assert policy.problems(asked, studies.proposal()) == []


def test_every_finding_of_a_site_is_asked_for():
    sites = (Site("north", ("Mass", "Edema")), Site("south", ("Edema", "Hernia")))
    proposal = dataclasses.replace(studies.proposal(), sites=sites)
    asked = Policy(findings=("Mass", "Hernia"))
    assert policy.problems(asked, proposal) == ["findings: expected Mass or Hernia, found Edema"]


@pytest.mark.parametrize(("noise", "is_allowed"), [(0.99, False), (1.0, True), ("many", False)])
def test_noise_that_is_demanded(noise, is_allowed):
    asked = Policy(least_noise=1.0)
    proposal = studies.proposal(aggregator="dp", dp_noise_multiplier=noise)
    assert (policy.problems(asked, proposal) == []) == is_allowed
    assert policy.problems(asked, studies.proposal(dp_noise_multiplier=noise)) == [
        "least_noise: expected --aggregator=dp, found mean"
    ]


def test_noise_that_is_demanded_must_be_stated():
    proposal = studies.proposal(aggregator="dp", dp_noise_multiplier=0.0, target_epsilon=8.0)
    assert policy.problems(Policy(least_noise=1.0), proposal) == [
        "least_noise: expected --dp_noise_multiplier of at least 1, found --target_epsilon=8.0"
    ]


def test_epsilon_of_all_networks_is_limited_at_the_hospitals_own_delta():
    # Twelve rounds of two networks are 24 releases, whatever delta the study prefers.
    proposal = studies.proposal(aggregator="dp", dp_noise_multiplier=20.0, dp_delta=1e-2)
    cost = privacy_accounting.epsilon({20.0: 24}, 1e-5)
    assert policy.problems(Policy(most_epsilon=cost * 1.001), proposal) == []
    assert policy.problems(Policy(most_epsilon=cost * 0.999), proposal) == [
        f"most_epsilon: expected at most {cost * 0.999:g} at delta 1e-05, found {cost:.4g}"
    ]


def test_a_target_is_a_limit_that_two_networks_exceed_together():
    one = studies.proposal(aggregator="dp", target_epsilon=4.0, model=["standard"])
    both = studies.proposal(aggregator="dp", target_epsilon=4.0)
    assert policy.problems(Policy(most_epsilon=4.0), one) == []
    (problem,) = policy.problems(Policy(most_epsilon=4.0), both)
    assert problem.startswith("most_epsilon: expected at most 4 at delta 1e-05, found 5.")


def test_epsilon_of_images_counts_the_passes():
    proposal = studies.proposal(dp_sgd_noise=40.0, model=["standard"])
    cost = privacy_accounting.epsilon({40.0: 36}, 1e-5)  # Three passes in each of twelve rounds.
    assert policy.problems(Policy(most_epsilon_of_images=cost * 1.001), proposal) == []
    (problem,) = policy.problems(Policy(most_epsilon_of_images=cost * 0.999), proposal)
    assert problem.endswith(f"found {cost:.4g}")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"aggregator": "dp", "dp_noise_multiplier": float("nan")},
        {"aggregator": "dp", "target_epsilon": "much"},
        {"aggregator": "dp", "dp_noise_multiplier": 9.0, "rounds": 1.5},
        {"aggregator": "dp", "dp_noise_multiplier": 9.0, "only": ["standard:aggregator=mean"]},
        {"dp_sgd_noise": 0.0},
        {"dp_sgd_noise": 1.0, "local_epochs": 0},
        {"dp_sgd_noise": 1.0, "only": ["standard:dp_sgd_noise=0"]},
    ],
)
def test_what_has_no_noise_is_above_any_limit(settings):
    asked = Policy(most_epsilon=1e6, most_epsilon_of_images=1e6)
    found = policy.problems(asked, studies.proposal(**settings))
    kind = "_of_images" if "dp_sgd_noise" in settings else ""
    assert any(each.startswith(f"most_epsilon{kind}: ") and "no noise" in each for each in found)


def test_a_network_has_no_exception_from_the_policy():
    proposal = studies.proposal(
        only=["standard:rounds=198", "densenet121:rounds=199", "densenet121:aggregator=secure"]
    )
    assert policy.problems(Policy(aggregators=("mean",)), proposal) == [
        "most_rounds: expected at most 200 rounds, found 201 for densenet121",
        "aggregators: expected mean, found secure for densenet121",
    ]


@pytest.mark.parametrize("rounds", [None, "", "ten", True, [1], float("nan"), "nan"])
def test_what_is_no_number_of_rounds_is_not_allowed(rounds):
    (problem,) = policy.problems(Policy(), studies.proposal(rounds=rounds))
    assert problem == "most_rounds: expected at most 200 rounds, found nan"


def test_all_problems_at_once():
    asked = Policy(studies=(), recipes=(), findings=(), most_rounds=1, aggregators=())
    found = policy.problems(asked, studies.proposal())
    keys = [problem.partition(":")[0] for problem in found]
    assert keys == ["studies", "recipes", "findings", "findings", "most_rounds", "aggregators"]
