"""Who is listed after how many rounds, who is left out then, and that a kill changes neither."""

import pytest

from tffcxr.clients.sampling import Sampler
from tffcxr.learning.robust_aggregators import RobustFactory
from tffcxr.training.quarantine import Quarantine

NAMES = ("a", "b", "c", "d", "e")


def rows(number, status="ok", **suspicions):
    return [
        {"round": number, "client": name, "status": status, "suspicion": suspicions.get(name, "")}
        for name in NAMES
    ]


def quarantine(excludes=True, per_round=None, aggregator=None):
    return Quarantine("federated", Sampler(NAMES, per_round, 0), excludes, aggregator)


def judged(listing, *of_rounds):
    found = []
    for each in of_rounds:
        listing.judge(each)
        found += each
    return found


def of_client(found, client):
    return [row["quarantine"] for row in found if row["client"] == client]


def test_two_of_three_rounds_are_enough_and_one_is_not(capsys):
    listing = quarantine()
    judged(listing, rows(1, a="norm"), rows(2), rows(3, a="direction"))
    assert listing.sample(4) == list(NAMES)
    found = judged(listing, rows(4), rows(5, a="norm+direction"))
    assert of_client(found, "a") == ["", "direction"]
    assert listing.sample(6) == ["b", "c", "d", "e"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "federated: QUARANTINE of a after round 5: updates against those of the others, although "
        "its losses are alike; left out from now on"
    )


def test_a_report_leaves_nobody_out_and_tells_once(capsys):
    listing = quarantine(excludes=False)
    found = judged(listing, *(rows(number, b="loss") for number in range(1, 5)))
    assert of_client(found, "b") == ["", "loss", "loss", "loss"]
    assert listing.sample(5) == list(NAMES)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_rounds_without_the_client_do_not_count():
    listing = quarantine()
    away = rows(2, status="left out: not connected", a="norm")
    judged(listing, rows(1, a="norm"), away)
    assert not listing.excluded
    judged(listing, rows(3), rows(4))
    assert not listing.excluded
    judged(listing, rows(5, a="norm"), away)
    assert not listing.excluded
    judged(listing, rows(6, a="norm"))
    assert listing.excluded == ["a"]


def test_more_than_half_remain(capsys):
    listing = quarantine()
    everyone = dict.fromkeys("abc", "norm")
    judged(listing, rows(1, **everyone), rows(2, **everyone))
    assert listing.sample(3) == ["c", "d", "e"]
    assert capsys.readouterr().err.endswith("not left out, as too many are\n")


def test_krum_of_five_goes_on_with_five_and_says_why(capsys):
    listing = quarantine(aggregator=RobustFactory("krum", 1))
    judged(listing, rows(1, a="norm"), rows(2, a="norm"))
    assert listing.sample(3) == list(NAMES) and not listing.excluded
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "federated: QUARANTINE of a after round 2: updates longer than its images and losses "
        "explain; not left out, since rounds would have 4 clients and krum needs 5 for "
        "--hostile_clients=1"
    )


# Of five clients; the others than Krum need 2 F + 1, and more than half remain in any case.
@pytest.mark.parametrize(
    ("rule", "hostile", "per_round", "excluded"),
    [
        ("trimmed_mean", 1, None, ["a", "b"]),
        ("trimmed_mean", 2, None, []),
        ("median", 1, 4, ["a", "b"]),
        ("geometric_median", 1, 0.8, ["a"]),  # 0.8 of four are three, of three two.
        ("krum", 0, 4, ["a", "b"]),
    ],
)
def test_as_many_remain_as_the_aggregator_needs(rule, hostile, per_round, excluded):
    listing = quarantine(per_round=per_round, aggregator=RobustFactory(rule, hostile))
    everyone = dict.fromkeys("ab", "norm")
    judged(listing, rows(1, **everyone), rows(2, **everyone))
    assert listing.excluded == excluded
    assert len(listing.sample(3)) >= RobustFactory(rule, hostile).least_clients


@pytest.mark.parametrize("status", ["left out: not connected", "update not finite"])
def test_a_round_with_too_few_for_the_aggregator_is_warned_of_once(capsys, status):
    aggregator = RobustFactory("krum", 1)
    fewer = [rows(number) for number in (1, 2, 3)]
    for each in fewer[1:]:
        each[0]["status"] = status
    found = judged(quarantine(excludes=False, aggregator=aggregator), *fewer)
    assert capsys.readouterr().err == (
        "federated: WARNING: round 2 had 4 updates that count, and krum needs 5 for "
        "--hostile_clients=1; such rounds bear 0 hostile ones (said once)\n"
    )
    resumed = quarantine(excludes=False, aggregator=aggregator)
    resumed.resume(found[: 2 * len(NAMES)])
    judged(resumed, *fewer[2:])
    judged(quarantine(aggregator=RobustFactory("median", 1)), *fewer)
    judged(quarantine(), *fewer)
    assert not capsys.readouterr().err


def test_a_resumed_training_goes_on_as_it_would_have():
    rounds = [rows(1, d="norm"), rows(2, a="loss"), rows(3, d="norm", a="loss"), rows(4, e="norm")]
    whole = quarantine()
    found = judged(whole, *rounds)
    for done in range(len(rounds) + 1):
        resumed = quarantine()
        resumed.resume(found[: done * len(NAMES)])
        again = [[{**row, "quarantine": ""} for row in each] for each in rounds[done:]]
        assert judged(resumed, *again) == found[done * len(NAMES) :]
        assert resumed.excluded == whole.excluded == ["a", "d"]


@pytest.mark.parametrize("per_round", [2, 0.5, 5])
def test_others_are_drawn_in_place_of_those_left_out(per_round):
    listing = quarantine(per_round=per_round)
    judged(listing, rows(1, a="norm"), rows(2, a="norm"))
    drawn = [listing.sample(number) for number in range(3, 30)]
    assert {name for each in drawn for name in each} == {"b", "c", "d", "e"}
    assert {len(each) for each in drawn} == {min(4, 2 if per_round == 0.5 else per_round)}
