"""Blows to a running study over hospitals: programs are killed, connections cut or stalled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
import dataclasses
import enum
import functools
import random
import threading
import time

from tests.experiments import programs
from tests.soak.federation import SITES, Study

_TICK_SECONDS = 0.02
_ASKED_AGAIN_SECONDS = 1.0
# At first; later so long as it took the last time.
_START_SECONDS = 20.0
_END_SECONDS = 5.0


class Kind(enum.Enum):
    """What happens to a victim."""

    KILL = "killed"
    CUT = "cut off"
    STALL = "not heard any more"


class Moment(enum.Enum):
    """When that happens."""

    STARTING = "while it starts and connects"
    ANY = "at any time in a round"
    MESSAGE = "in the middle of a message"
    BETWEEN = "between two rounds"
    END = "after the last round"


@dataclasses.dataclass(frozen=True)
class Blow:
    """What happens to whom, and when."""

    kind: Kind
    victim: str
    moment: Moment

    def __str__(self) -> str:
        return f"{self.victim} {self.kind.value} {self.moment.value}"


class Campaign:
    """Strikes a study blow after blow, the next one once its hospitals take part again.

    When the rounds are over, all blows that are left come then.

    Args:
      study: that was started.
      rng: of the moments.
    """

    def __init__(self, study: Study, rng: random.Random) -> None:
        self._study = study
        self._rng = rng
        self._struck: list[Blow] = []
        self._started = time.monotonic()
        self._start_seconds = _START_SECONDS
        self._at_round = 0

    def run(self, blows: Iterable[Blow]) -> None:
        """Strikes, starts again what was killed, and waits for the end of the study."""
        study = self._study
        for blow in blows:
            if blow.moment is not Moment.STARTING:
                started = time.monotonic()
                self._await(self._all_take_part)
                self._start_seconds = time.monotonic() - started
            if blow.moment is Moment.END:
                self._await(self._is_over)
            if self._is_over():
                blow = dataclasses.replace(blow, moment=Moment.END)
                self._await(self._all_are_back)
            self._at_round = study.finished_rounds()
            act = self._act(blow)
            if blow.moment is Moment.MESSAGE:
                self._when_bytes_pass(blow.victim, act)
            else:
                self._await_moment(blow.moment)
                assert study.runs(blow.victim), f"the study ended before {blow}"
                act()
            self._struck.append(blow)
            print(f"{self._seconds():.0f} s, round {study.finished_rounds()}: {blow}", flush=True)
            if blow.kind is Kind.KILL:
                study.start_again(blow.victim)
        self._await(lambda: False)

    def summary(self) -> str:
        """What has happened, in lines."""
        rows = programs.read_rows(self._study.run / "clients.csv")
        left_out = [row["status"] for row in rows if row["status"] != "ok"]
        of_kind = list(map(str, self._struck))
        lines = [f"{of_kind.count(each)} times {each}" for each in sorted(set(of_kind))]
        reasons = [f"{left_out.count(each)} {each}" for each in sorted(set(left_out))]
        told = ", ".join(reasons) or "none left out"
        lines.append(
            f"{len(self._struck)} blows in {self._study.rounds} rounds and "
            f"{self._seconds():.0f} s; of {len(rows)} parts in a round {told}; the "
            f"coordinator was started {self._study.resumed} times to wait for results again"
        )
        return "\n".join(lines)

    def _act(self, blow: Blow) -> Callable[[], None]:
        if blow.kind is Kind.KILL:
            return functools.partial(self._study.kill, blow.victim)
        relay = self._study.relays[blow.victim]
        return relay.cut if blow.kind is Kind.CUT else relay.stall

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _is_over(self) -> bool:
        return self._study.finished_rounds() >= self._study.rounds

    def _all_take_part(self) -> bool:
        """Whether all did in the last round, which ended after the last blow."""
        study = self._study
        is_new = study.finished_rounds() > self._at_round
        return self._is_over() or (is_new and all(study.takes_part(site) for site in SITES))

    def _all_are_back(self) -> bool:
        """Whether all hospitals that have not ended are connected."""
        study = self._study
        time.sleep(_ASKED_AGAIN_SECONDS)
        return all(study.is_connected(site) for site in SITES if study.runs(site))

    def _await(self, is_so: Callable[[], bool], seconds: float = float("inf")) -> None:
        """Waits until something is so, the study has ended, or for so long."""
        end = time.monotonic() + seconds
        while not (is_so() or self._study.has_ended() or time.monotonic() > end):
            time.sleep(_TICK_SECONDS)

    def _await_round(self) -> float:
        """Waits until a round has ended; the seconds that this took."""
        started, rounds = time.monotonic(), self._study.finished_rounds()
        self._await(lambda: self._study.finished_rounds() > rounds or self._is_over())
        return time.monotonic() - started

    def _await_moment(self, moment: Moment) -> None:
        if moment is Moment.STARTING:
            self._await(lambda: False, self._rng.uniform(0, self._start_seconds))
        elif moment is Moment.END:
            self._await(lambda: False, self._rng.uniform(0, _END_SECONDS))
        else:
            self._await_round()
            if moment is Moment.ANY:
                self._await(lambda: False, self._rng.uniform(0, self._await_round()))

    def _when_bytes_pass(self, victim: str, act: Callable[[], None]) -> None:
        """Strikes when as many bytes have passed at the victim's relay as in a part of a round."""
        relay = self._study.relays[victim if victim in SITES else self._rng.choice([*SITES])]
        self._await_round()
        before = relay.passed
        self._await_round()
        has_struck = threading.Event()

        def strike() -> None:
            act()
            has_struck.set()

        relay.after(self._rng.randrange(max(1, relay.passed - before)), strike)
        self._await(has_struck.is_set)
        assert has_struck.is_set(), f"the study ended before {victim} was struck"
