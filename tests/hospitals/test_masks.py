"""A hospital masks its part with hospitals that have signed their keys, and once."""

import datetime

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
import numpy as np
import pytest

from tests.hospitals import network, runs
from tffcxr.errors import RunError
from tffcxr.hospitals import authority, masks, questions, round_keys, wire
from tffcxr.hospitals.work import CannotError
from tffcxr.runtime import masking

CLIENTS = {"alps": "alps", "coast 1": "coast", "coast 2": "coast", "dale": "dale"}
ATTEMPT = round_keys.Attempt("the study", "standard", 3, "attempt")
ZERO = np.zeros(64, np.int64)


@pytest.fixture
def hospitals():
    return {site: masks.Masks(runs.signer(site)) for site in sorted(set(CLIENTS.values()))}


def asked_for_keys(hospitals, attempt="attempt", round_number=3):
    about = {"training": "standard", "round_number": round_number, "attempt": attempt}
    message = wire.Message(questions.KEY, about)
    return {site: part.key(message).about["key"] for site, part in hospitals.items()}


def question(keys, clients=None, attempt="attempt", number=1, **changes):
    masking_of = {"attempt": attempt, "clients": clients or CLIENTS, "keys": keys}
    about = {
        "round_number": 3, "computation": "c", "walks": [[0]], "arrays": [1],
        "masking": masking_of, **changes,
    }  # fmt: skip
    return wire.Message(questions.COMPUTE, about, network.numbers(number).fields)


def agree(part, message, client):
    mine = [each for each, site in CLIENTS.items() if site == CLIENTS[client]]
    return part.agree(message, masks.content(message), client, mine)


def masked(hospitals, client, message):
    (found,) = masking.masked([ZERO], [None], agree(hospitals[CLIENTS[client]], message, client))
    return found


def refusal(part, message, client="alps"):
    with pytest.raises(CannotError) as found:
        agree(part, message, client)
    return found.value.reported, str(found.value)


def test_masks_of_all_clients_cancel(hospitals):
    message = question(asked_for_keys(hospitals))
    found = [masked(hospitals, client, message) for client in CLIENTS]
    assert all(each.any() for each in found) and not sum(found).any()
    assert sum(found[1:3]).any()  # Nor do those of one hospital's clients alone.


def test_each_walk_and_attempt_has_other_masks(hospitals):
    keys = asked_for_keys(hospitals)
    first = masked(hospitals, "alps", question(keys))
    second = masked(hospitals, "alps", question(keys, walks=[[0], [1]]))
    again = question(asked_for_keys(hospitals, "again"), attempt="again")
    assert len({each.tobytes() for each in (first, second, masked(hospitals, "alps", again))}) == 3


def test_masks_do_not_cancel_where_one_hospital_is_sent_other_weights(hospitals):
    keys = asked_for_keys(hospitals)
    same, other = question(keys), question(keys, number=2)
    found = [masked(hospitals, each, other if each == "dale" else same) for each in CLIENTS]
    assert np.count_nonzero(sum(found)) > 50


def forged(site, attempt, credentials):
    """A key in the name of a site."""
    signer = round_keys.Signer(credentials, "the study", runs.HOSPITALS)
    signer.site = site
    return signer.signed(X25519PrivateKey.generate(), attempt)


def test_a_key_that_the_coordinator_has_put_in_place_of_anothers_is_refused(hospitals):
    keys = asked_for_keys(hospitals)
    strangers = authority.make_authority("the study")
    period = authority.Period.of_days(1)
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    expired = authority.Period(yesterday - datetime.timedelta(hours=1), yesterday)
    own = X25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    wrong = {
        "of another hospital": keys["coast"],
        "swapped": {**keys["dale"], "public": own},
        "unsigned": {**keys["dale"], "signature": ""},
        "of another authority": forged(
            "dale", ATTEMPT, authority.issue_to_site(strangers, "dale", period)
        ),
        "of a certificate of another": forged("dale", ATTEMPT, runs.credentials("coast")),
        "of another attempt": asked_for_keys(hospitals, "earlier")["dale"],
        "of an expired certificate": forged(
            "dale", ATTEMPT, runs.credentials("dale", expired)
        ),
        "absent": None,
        "a text": "key",
    }  # fmt: skip
    for what, key in wrong.items():
        reported, line = refusal(hospitals["alps"], question({**keys, "dale": key}))
        assert reported == questions.WRONG_KEY, what
        assert line.startswith("expected a") and "dale" in line and "\n" not in line, line
    # Nothing of that was agreed to.
    assert masked(hospitals, "alps", question(keys)).any()


@pytest.mark.parametrize("stranger", ["coordinator", "a hospital of another study"])
def test_whoever_is_no_hospital_of_the_study_has_no_part_in_a_sum(hospitals, stranger):
    own = round_keys.Signer(runs.credentials(stranger), "the study", runs.HOSPITALS)
    keys = asked_for_keys({**hospitals, stranger: masks.Masks(own)})
    message = question(keys, {"alps": "alps", "invented": stranger})
    reported, line = refusal(hospitals["alps"], message)
    assert reported == questions.WRONG_KEY
    expected = "expected a hospital of the study, alps, coast, dale, north, south, west, found "
    assert line == f"{expected}{stranger!r}"
    assert masked(hospitals, "alps", question(keys)).any()


def test_a_key_that_gives_no_secret_is_refused(hospitals, monkeypatch):
    keys = asked_for_keys(hospitals)
    zero = round_keys.X25519PublicKey.from_public_bytes(bytes(32))
    monkeypatch.setattr(round_keys.Signer, "public_key", lambda *_: zero)
    assert refusal(hospitals["alps"], question(keys))[0] == questions.WRONG_KEY


@pytest.mark.parametrize(
    ("clients", "client"),
    [({"alps": "alps"}, "alps"), ({"coast 1": "coast", "coast 2": "coast"}, "coast 1")],
)
def test_a_sum_of_one_hospital_is_refused(hospitals, clients, client):
    site = CLIENTS[client]
    message = question(asked_for_keys(hospitals), clients)
    reported, line = refusal(hospitals[site], message, client)
    assert reported == questions.TOO_FEW_HOSPITALS
    assert line == (
        f"expected at least 2 hospitals in a secure sum, found {site} alone: the fewer there are, "
        "the more their sum tells of each"
    )


def test_a_hospital_may_want_more_than_two(hospitals, capsys):
    wary = masks.Masks(runs.signer("alps"), fewest=3)
    keys = asked_for_keys({**hospitals, "alps": wary})
    fewer = {client: site for client, site in CLIENTS.items() if site != "dale"}
    assert refusal(wary, question(keys, fewer))[0] == questions.TOO_FEW_HOSPITALS
    assert not capsys.readouterr().err
    agree(wary, question(keys), "alps")
    assert capsys.readouterr().err == "round 3: secure sums over alps, coast, dale\n"


def test_an_attempt_serves_one_set_one_question_and_one_round(hospitals):
    keys = asked_for_keys(hospitals)
    message = question(keys)
    agree(hospitals["alps"], message, "alps")
    fewer = {client: site for client, site in CLIENTS.items() if site != "dale"}
    for again in (
        message,
        question(keys, fewer),
        question(keys, fewer, walks=[[0], [1]]),
        question(keys, walks=[[0], [1]], round_number=4),
        question({**keys, "dale": asked_for_keys(hospitals)["dale"]}, walks=[[0]]),
    ):
        assert refusal(hospitals["alps"], again)[0] == questions.OTHER_ATTEMPT
    agree(hospitals["alps"], question(keys, walks=[[0], [1]]), "alps")


def test_a_round_has_the_same_clients_of_a_hospital_in_every_attempt(hospitals):
    """Otherwise the sums of two attempts differ by one client's part alone."""
    keys = asked_for_keys(hospitals)
    agree(hospitals["coast"], question(keys), "coast 1")
    fewer = {client: site for client, site in CLIENTS.items() if client != "coast 2"}
    without_dale = {client: site for client, site in CLIENTS.items() if site != "dale"}
    for name in ("second", "third"):
        again = asked_for_keys(hospitals, name)
        reported, line = refusal(hospitals["coast"], question(again, fewer, name), "coast 1")
        assert reported == questions.OTHER_CLIENTS
        assert line == (
            "expected coast 1, coast 2 of this hospital in every secure sum of round 3, found "
            "coast 1: two such sums differ by what the others add"
        )
        agree(hospitals["alps"], question(again, fewer, name), "alps")  # Its own are the same.
        hospitals["coast"].forget()  # As after a measurement that a coordinator may ask for.
        asked_for_keys(hospitals, "next", round_number=4)
    again = asked_for_keys(hospitals, "last")
    agree(hospitals["coast"], question(again, without_dale, "last"), "coast 1")
    later = asked_for_keys(hospitals, "of 4", round_number=4)
    agree(hospitals["coast"], question(later, fewer, "of 4", round_number=4), "coast 1")


def test_clients_that_are_not_this_hospitals_are_refused(hospitals):
    keys = asked_for_keys(hospitals)
    for clients in (
        {**CLIENTS, "alps": "dale"},
        {**CLIENTS, "alps 2": "alps"},
    ):
        reported, line = refusal(hospitals["alps"], question(keys, clients))
        assert reported == questions.OTHER_ATTEMPT and "this hospital's clients" in line


def test_a_hospital_that_was_started_again_has_no_key(hospitals):
    keys = asked_for_keys(hospitals)
    again = masks.Masks(runs.signer("alps"))
    assert refusal(again, question(keys))[0] == questions.NO_KEY
    hospitals["alps"].forget()
    assert refusal(hospitals["alps"], question(keys))[0] == questions.NO_KEY
    asked_for_keys(hospitals, "next", round_number=4)  # Ends what round 3 was.
    assert refusal(hospitals["coast"], question(keys), "coast 1")[0] == questions.NO_KEY


def test_a_signed_key_is_that_of_its_attempt_alone():
    private = X25519PrivateKey.generate()
    key = runs.signer("alps").signed(private, ATTEMPT)
    found = runs.signer("dale").public_key("alps", key, ATTEMPT)
    assert found.public_bytes_raw() == private.public_key().public_bytes_raw()
    for changed in (
        round_keys.Attempt("another study", "standard", 3, "attempt"),
        round_keys.Attempt("the study", "another", 3, "attempt"),
        round_keys.Attempt("the study", "standard", 4, "attempt"),
        round_keys.Attempt("the study", "standard", 3, "another"),
    ):
        with pytest.raises(RunError, match="expected a key of alps that it has signed"):
            runs.signer("dale").public_key("alps", key, changed)
