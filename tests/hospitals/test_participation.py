"""Hospitals that are away, late or killed: a round is one of those that took part, to the bit."""

from __future__ import annotations

import pytest

from tests.hospitals import in_memory, runs
from tests.hospitals.test_rounds import CentredFactory, normed
from tests.training import example
from tffcxr import runtime
from tffcxr.clients.sampling import Sampler
from tffcxr.hospitals import coordinated_training, questions

LATE, AWAY = questions.LATE, coordinated_training.AWAY


@pytest.fixture(scope="module", autouse=True)
def _executor():
    runtime.use("device")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return runs.clients(tmp_path_factory.mktemp("clients"))


def warm(setting, tmp_path_factory):
    """Traces what the hospitals would trace, which could make them late."""
    setting.local(tmp_path_factory.mktemp("local"))
    return setting


@pytest.fixture(scope="module")
def kept(data, tmp_path_factory):
    return warm(
        runs.Setting(example.plan(runs.THREE, keeps_optimizer=True), data), tmp_path_factory
    )


@pytest.fixture(scope="module")
def recomputed(data, tmp_path_factory):
    return warm(normed(data, runs.THREE, keeps_optimizer=True), tmp_path_factory)


@pytest.fixture(scope="module")
def in_two_walks(data, tmp_path_factory):
    plan = example.plan(runs.THREE, keeps_optimizer=True, aggregator=CentredFactory())
    return warm(runs.Setting(plan, data), tmp_path_factory)


def check(study, sampler=None):
    """The training gives what one in one place gives with who took part; who was left out."""
    end = study.run(sampler)
    recorded = runs.Recorded.of(study.folder)
    _, state = study.setting.local(study.folder / "local", recorded)
    local = runs.statuses(study.folder / "local")
    found = [row for row in runs.statuses(study.folder) if "left out" not in row["status"]]
    assert found == local
    with open(study.folder / "rounds.csv", encoding="utf-8") as file:
        assert len(file.readlines()) == study.setting.plan.rounds + 1
    runs.assert_same_state(study, end.state, state)
    return runs.left_out(study.folder)


def once(kind, site, round_number, *, later=False):
    """A condition that holds for the first such task of a site alone."""
    open_ = [True]

    def is_so(to, task):
        about = task.about
        is_it = (to, task.kind, about.get("round_number")) == (site, kind, round_number)
        if not (open_ and is_it and (not later or len(about["walks"]) > 1)):
            return False
        open_.clear()
        return True

    return is_so


SECONDS = 2  # After which a hospital is late; others need them on a busy machine.
THREE_SITES = {site: (site,) for site in ("north", "south", "west")}


@pytest.mark.parametrize("late", [(2,), (1, 3)])
def test_a_late_answer_does_not_count(tmp_path, kept, late):
    holding = [once("compute", "south", number) for number in late]
    hub = in_memory.Hub(holds=lambda *asked: any(is_so(*asked) for is_so in holding))
    study = runs.Study(tmp_path, kept, hub=hub, sites=THREE_SITES, seconds=SECONDS)
    assert check(study) == {(number, "south"): LATE for number in late}
    # The hospital has computed it after all, and has gone back to the last round that counts.
    computed = [
        (site, message.about["round_number"], message.about["state"])
        for site, message in hub.sent
        if (site, message.kind) == ("south", "compute")
    ]
    before = [n for n in (1, 2, 3) if n not in late]
    expected = {n: max([b for b in before if b < n], default=0) for n in (1, 2, 3)}
    assert computed == [("south", n, expected[n]) for n in (1, 2, 3)]


def test_a_hospital_may_be_late_in_every_round(tmp_path, recomputed):
    hub = in_memory.Hub(holds=lambda site, task: (site, task.kind) == ("south", "compute"))
    study = runs.Study(tmp_path, recomputed, hub=hub, sites=THREE_SITES, seconds=SECONDS)
    assert check(study) == {(n, "south"): LATE for n in (1, 2, 3)}


def test_late_when_statistics_are_recomputed(tmp_path, recomputed):
    # Its second question of round 2; its state of that round does not count then.
    asked = []

    def holds(site, task):
        if (site, task.kind, task.about.get("round_number")) == ("south", "compute", 2):
            asked.append(task)
        return len(asked) == 2 and asked[-1] is task and site == "south"

    hub = in_memory.Hub(holds=holds)
    study = runs.Study(tmp_path, recomputed, hub=hub, sites=THREE_SITES, seconds=SECONDS)
    assert check(study) == {(2, "south"): LATE}
    assert [task.about["state"] for task in asked] == [1, 2]


def test_late_in_a_later_walk(tmp_path, in_two_walks):
    # The others' first walk serves again; their second begins from other server values.
    hub = in_memory.Hub(holds=once("compute", "south", 2, later=True))
    study = runs.Study(tmp_path, in_two_walks, hub=hub, sites=THREE_SITES, seconds=SECONDS)
    assert check(study) == {(2, "south"): LATE}


def test_lost_in_a_later_walk_and_back_in_time(tmp_path, in_two_walks):
    hub = in_memory.Hub(loses=once("compute", "south", 2, later=True))
    study = runs.Study(tmp_path, in_two_walks, hub=hub)
    comes_back(study, "south", hub)
    assert check(study) == {}


def comes_back(study, site, hub):
    """Starts a hospital again as soon as it is lost."""
    set_member = hub.set_member

    def noting(who, doing):
        set_member(who, doing)
        if doing is None and who == site:
            study.hospital(site)

    hub.set_member = noting


@pytest.mark.parametrize("way", ["loses", "loses_answer"])
def test_a_hospital_that_comes_back_in_time_is_not_missed(tmp_path, kept, way):
    hub = in_memory.Hub(**{way: once("compute", "south", 2)})
    study = runs.Study(tmp_path, kept, hub=hub)
    comes_back(study, "south", hub)
    assert check(study) == {}


@pytest.mark.parametrize("way", ["loses", "loses_answer"])
def test_a_hospital_that_is_killed_comes_back_in_a_later_round(tmp_path, kept, way):
    hub = in_memory.Hub(**{way: once("compute", "south", 2)})

    def after_round(number):
        if number == 2:
            assert "south" not in hub.members()
            study.hospital("south")
            study.await_serving("south")

    study = runs.Study(
        tmp_path, kept, hub=hub, sites=THREE_SITES, seconds=SECONDS, after_round=after_round
    )
    assert check(study) == {(2, "south"): LATE}


def test_a_hospital_that_is_away_is_not_asked(tmp_path, kept):
    hub = in_memory.Hub(loses=once("measure", "south", 1))

    def after_round(number):
        if number == 2:
            study.hospital("south")
            study.await_serving("south")

    study = runs.Study(
        tmp_path, kept, hub=hub, sites=THREE_SITES, seconds=SECONDS, after_round=after_round
    )
    assert check(study) == {(2, "south"): AWAY}
    with open(tmp_path / "rounds.csv", encoding="utf-8") as file:
        _, *rows = file.readlines()
    # Effusions are at South alone, and nobody else knows how they are found.
    assert ["nan" in row or ",," in row for row in rows] == [True, True, False]


class WithoutWest(runs.Study):
    """West joins when a round has ended."""

    def hospital(self, site):
        if site != "west" or (self.folder / "rounds.csv").exists():
            super().hospital(site)


def test_a_hospital_that_joins_late_begins_like_all(tmp_path, kept):
    def after_round(number):
        if number == 2:
            study.hospital("west")
            study.await_serving("west")

    study = WithoutWest(tmp_path, kept, sites=THREE_SITES, after_round=after_round)
    assert check(study) == {(1, "west"): AWAY, (2, "west"): AWAY}


def test_below_the_quorum_a_round_waits(tmp_path, kept, capsys):
    """South is late twice: North alone is too few, and the round begins again."""
    late = [True, True]

    def holds(site, task):
        return (
            (site, task.kind, task.about.get("round_number")) == ("south", "compute", 2)
            and bool(late)
            and late.pop()
        )

    hub = in_memory.Hub(holds=holds)
    study = runs.Study(tmp_path, kept, hub=hub, seconds=SECONDS)
    assert check(study) == {}
    assert capsys.readouterr().err.count(f"round 2 begins again: {LATE} of south") == 2


def test_below_the_quorum_a_round_waits_for_who_is_away(tmp_path, kept):
    hub = in_memory.Hub(loses=once("measure", "south", 1))
    study = runs.Study(tmp_path, kept, hub=hub, seconds=SECONDS)
    comes_back(study, "south", hub)
    assert check(study) == {}


def test_a_round_of_a_sampled_hospital_waits_for_it(tmp_path, kept):
    sampler = Sampler(tuple(runs.SITES), 1, seed=3)
    drawn = sampler.sample(2)[0]
    hub = in_memory.Hub(loses=once("compute", drawn, 2))
    study = runs.Study(tmp_path, kept, hub=hub, seconds=SECONDS)
    comes_back(study, drawn, hub)
    assert check(study, sampler) == {}


def test_who_is_away_at_the_end_is_told_when_it_comes_back(tmp_path, kept):
    """Its connection is lost and comes back; the program there only waits for its next task."""
    hub = in_memory.Hub()

    def after_round(number):
        if number == 3:
            hub.set_member("south", None)

    study = runs.Study(tmp_path, kept, hub=hub, after_round=after_round)
    assert check(study) == {}
    assert study.finished["south"].rounds == 3
