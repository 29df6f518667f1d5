"""How the coordinator and the hospitals talk, whatever carries their messages.

Hospitals connect to the coordinator, never the other way. The coordinator hands out tasks; a
hospital asks for the next one, waiting at the coordinator until there is one, and sends the answer.
What a hospital wants to know or to tell apart from tasks, it sends as a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import concurrent.futures
import dataclasses
from typing import Any, Protocol

from tffcxr.hospitals import wire


@dataclasses.dataclass(frozen=True)
class Member:
    """A hospital as the coordinator sees it.

    Attributes:
      site: its name, that of its certificate.
      since: when it connected, in seconds since 1970.
      seen: when it was last heard of, likewise.
      doing: what it does, as it says itself, see `Link.doing`.
      error: what went wrong there last, in one line; empty if nothing did.
      received: bytes from the hospital so far.
      sent: bytes to the hospital so far.
    """

    site: str
    since: float
    seen: float
    doing: str = ""
    error: str = ""
    received: int = 0
    sent: int = 0


class Hub(Protocol):
    """The coordinator's side.

    Attributes:
      report: what a status tells of the run beside its members, such as the round; JSON values.
    """

    report: dict[str, Any]

    def members(self) -> Mapping[str, Member]:
        """The hospitals that are connected now, by site."""

    def wait_for(self, is_so: Callable[[Mapping[str, Member]], bool], seconds: float) -> bool:
        """Waits until something is so of the members, at most so long; whether it is."""

    def handle(self, kind: str, answer: Callable[[str, wire.Message], wire.Message | None]) -> None:
        """Has calls of a kind answered by a function of the site and the message.

        Where it returns None, there is no answer yet: the hospital asks again.
        """

    def ask(
        self, site: str, task: wire.Message, store: wire.Store = wire.in_memory
    ) -> concurrent.futures.Future[wire.Message]:
        """Hands a task to a hospital, which gets it when it asks for one.

        A hospital that comes back after it was away gets its open tasks again. The first answer to
        a task counts, and no other. `store` takes the arrays of an answer; a RunError that it
        raises is the result of the task.
        """

    def withdraw(self, asked: concurrent.futures.Future[wire.Message]) -> None:
        """Takes a task back; an answer to it is not accepted any more."""


class Link(Protocol):
    """The hospital's side. Where the coordinator cannot be reached, its calls wait until it can.

    A hospital may take further tasks before it has answered one.
    """

    def doing(self, what: str) -> None:
        """Tells the coordinator what this hospital does from now on: "training standard", say."""

    def call(self, message: wire.Message) -> wire.Message:
        """Sends a message of a kind that the coordinator handles; waits for the answer.

        Raises:
          errors.RunError: the coordinator refuses it, or the study has ended.
        """

    def next_task(self) -> tuple[str, wire.Message]:
        """Waits for a task: its id, and what it is.

        Raises:
          errors.RunError: as `call`.
        """

    def answer(self, task: str, message: wire.Message) -> None:
        """Sends the answer to a task; one that was withdrawn meanwhile is dropped without a word.

        Any thread may call this. After an error, the other calls raise it, too.

        Raises:
          errors.RunError: as `call`.
        """
