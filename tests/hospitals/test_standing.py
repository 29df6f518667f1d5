"""How far a run is: what a round leaves in hospitals.csv, and what `hospital status` says."""

import collections

from tffcxr.hospitals import hospital_log, status_table
from tffcxr.training.loop import RoundResult

NOTHING = RoundResult((), 0.0, {}, {})
TOOK_PART = {
    "work_seconds": 1.5, "wait_seconds": 0.5, "received_bytes": 10, "sent_bytes": 20,
}  # fmt: skip


class Hospitals:
    """Stands for a coordinator, of whom north and west took part in the last round."""

    def __init__(self):
        self.reported = {}
        self.traffic = {
            "west": {"took_part": "yes", **TOOK_PART},
            "north": {"took_part": "yes", **TOOK_PART},
            "south": {"took_part": "no", **dict.fromkeys(TOOK_PART, 0)},
        }

    def report(self, about):
        self.reported = about


def lines(report, **members):
    return status_table.lines({"report": report, "members": members}, 1000.0)


def test_a_round_is_logged_once_by_hospital_also_when_it_is_trained_again(tmp_path):
    log = hospital_log.HospitalLog(tmp_path / "hospitals.csv", Hospitals())
    for number in (1, 2, 2):
        log({"round": number}, NOTHING, None)
    header, *rows = (tmp_path / "hospitals.csv").read_text().splitlines()
    assert header == "round,site,took_part,work_seconds,wait_seconds,received_bytes,sent_bytes"
    assert [row.split(",")[:3] for row in rows] == [
        [number, site, "no" if site == "south" else "yes"]
        for number in "12"
        for site in ("north", "south", "west")
    ]


def test_the_status_says_which_round_ended_last_and_who_took_part():
    hospitals = Hospitals()
    hospital_log.Standing("standard", 5, hospitals)({"round": 3}, NOTHING, None)
    assert hospitals.reported == {
        "training": "standard", "round": 3, "rounds": 5, "took_part": ["north", "west"],
    }  # fmt: skip
    assert lines(hospitals.reported) == [
        "run: training standard, round 3 of 5 done; took part: north, west"
    ]
    assert lines(collections.ChainMap({"took_part": []}, hospitals.reported))[0].endswith(": none")


def test_the_status_while_results_are_measured_and_at_the_end():
    assert lines({"answered": [], "waiting": ["north", "south"]}) == [
        "run: measuring results; answered: none; waiting for north, south"
    ]
    assert lines({"answered": ["south"], "waiting": ["north"]}) == [
        "run: measuring results; answered: south; waiting for north"
    ]
    assert lines({"answered": ["south"], "waiting": []}) == ["run: finished; results: south"]


def test_the_status_before_the_first_round_and_of_each_hospital():
    away = {"is_connected": False, "since": None, "seen": None, "doing": "", "error": ""}
    here = {
        "is_connected": True, "since": 400.0, "seen": 998.0, "doing": "training standard",
        "error": "a disk was full",
    }  # fmt: skip
    assert lines({}, north=here, south=away) == [
        "run: no round yet",
        "north: connected for 10 min 0 s, heard of 2 s ago, training standard; "
        "last error: a disk was full",
        "south: not connected",
    ]
