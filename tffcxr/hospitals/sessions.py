"""Which process of each hospital the coordinator talks to, one at a time.

A process that says hello gets a session, whose token its further calls carry. A hospital that is
started again in its folder takes its session over at once; a copy of its kit elsewhere is refused
while the first process is heard of. Nothing here locks: the hub does.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import hmac
import secrets
import time

from tffcxr.hospitals import protocol, wire
from tffcxr.hospitals.protocol import Reason, RefusedError


@dataclasses.dataclass
class Session:
    """Of one process of a hospital.

    Attributes:
      token: its calls carry it.
      before: the token of its process's session before; empty if that was another process's, None
        if the coordinator knows of none.
      instance: of the folder that the hospital works in.
      process: of the process.
      study: the hash of what the hospital approved; None where nothing was proposed.
      since: when it began, in seconds since 1970.
      seen: when it was last heard of, likewise.
      heard: the same on the clock that nobody sets, in seconds.
      begun: when it began, on that clock.
      doing: what it does, in its own words.
      error: what went wrong there last.
      polls: how many polls there were; only the last one waits.
      answered: the tasks whose answers counted.
      knows_end: whether the hospital knows that the study is over.
      knows_stop: whether it knows that the coordinator stops.
    """

    token: str
    before: str | None
    instance: str
    process: str
    study: str | None
    since: float
    seen: float
    heard: float
    begun: float
    doing: str = ""
    error: str = ""
    polls: int = 0
    answered: set[str] = dataclasses.field(default_factory=set)
    knows_end: bool = False
    knows_stop: bool = False


class Sessions:
    """Of all hospitals of a study."""

    def __init__(self, sites: tuple[str, ...], versions: Mapping[str, str], gone: float) -> None:
        """Begins without sessions.

        Args:
          sites: the study's hospitals.
          versions: of what the coordinator computes with; a hospital must have the same.
          gone: after so many seconds of silence a process is not there any more.
        """
        self._sites = sites
        self._versions = versions
        self._gone = gone
        self._current: dict[str, Session] = {}
        self._replaced: set[str] = set()

    def check(self, site: str, hello: wire.Message) -> None:
        """Checks that a process may have a session.

        Raises:
          RefusedError: it may not, and never will.
          MessageError: `hello` lacks something.
        """
        self.check_site(site)
        found = hello.about.get("protocol")
        if found != protocol.VERSION:
            raise RefusedError(
                Reason.MEMBER,
                f"expected protocol {protocol.VERSION} of the coordinator, "
                f"found protocol {found!r:.20} at {site}",
            )
        line = protocol.different_versions(
            self._versions, protocol.texts(hello, "versions"), "the coordinator", site
        )
        if line:
            raise RefusedError(Reason.MEMBER, line)
        self._check_only_one(site, hello)

    def check_site(self, site: str) -> None:
        """Checks that a certificate is of a hospital of the study.

        Raises:
          RefusedError: it is not.
        """
        if site not in self._sites:
            raise RefusedError(
                Reason.MEMBER,
                f"expected a site of the study ({', '.join(self._sites)}), found {site}",
            )

    def begin(self, site: str, hello: wire.Message, study: str | None) -> Session:
        """Begins a session, after `check`; the one before it ends."""
        before = self._current.get(site)
        process = protocol.text(hello, "process")
        instance = protocol.text(hello, "instance")
        now = time.time()
        token = secrets.token_hex(16)
        clock = time.monotonic()
        earlier = None
        if before is not None:
            earlier = before.token if before.process == process else ""
        session = Session(token, earlier, instance, process, study, now, now, clock, clock)
        if before is not None and before.process != process:
            self._replaced.add(before.process)
        elif before is not None:
            session.since = before.since
            session.doing, session.error = before.doing, before.error
            session.answered = before.answered
        self._current[site] = session
        return session

    def find(self, site: str, call: wire.Message) -> Session:
        """The session of a call; it was heard of now.

        Raises:
          RefusedError: the call carries the token of no session, or of an earlier one.
          MessageError: it carries none.
        """
        self.check_site(site)
        session = self._current.get(site)
        token = protocol.text(call, "session")
        if session is None or not hmac.compare_digest(session.token.encode(), token.encode()):
            raise RefusedError(
                Reason.SESSION,
                f"expected the current session of {site}, found an earlier one",
                is_usual=session is None or self._may_be_late(session, token),
            )
        session.seen, session.heard = time.time(), time.monotonic()
        return session

    def is_current(self, site: str, session: Session) -> bool:
        """Whether no later session took its place."""
        return self._current.get(site) is session

    def last(self, site: str) -> Session | None:
        """The last session of a site, be its process there or not; None if there was none."""
        return self._current.get(site)

    def alive(self) -> dict[str, Session]:
        """The sessions of processes that are there, by site, in the order of the study."""
        return {
            site: self._current[site]
            for site in self._sites
            if site in self._current and self._is_alive(self._current[site])
        }

    def _may_be_late(self, session: Session, token: str) -> bool:
        """Whether a call of an earlier session may have been under way when this one began.

        A coordinator that was started again knows no earlier token.
        """
        is_new = time.monotonic() < session.begun + self._gone
        return is_new and session.before in (None, token)

    def _is_alive(self, session: Session) -> bool:
        return time.monotonic() < session.heard + self._gone

    def _check_only_one(self, site: str, hello: wire.Message) -> None:
        current = self._current.get(site)
        if current is None or not self._is_alive(current):
            return
        process = protocol.text(hello, "process")
        is_restart = (
            protocol.text(hello, "instance") == current.instance and process not in self._replaced
        )
        if process != current.process and not is_restart:
            raise RefusedError(
                Reason.MEMBER,
                f"the kit of {site} is used twice: another process with it is connected since "
                f"{_clock(current.since)}; stop one of them, and wait {self._gone:g} s",
            )


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
