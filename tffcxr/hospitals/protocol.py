"""What the coordinator and a hospital agree on: the calls, their limits and how one is refused.

A hospital calls, the coordinator answers. The kinds of calls and of their answers:

    hello    what this hospital is          session, or proposal where it has to approve one first
    poll     which tasks it has, and waits  task, or nothing after a while
    beat     what it does, what went wrong  noted
    answer   to a task                      noted
    call     of a kind that is handled      reply, or later where there is no answer yet
    status   of whom                        status
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import enum
from typing import Any

from tffcxr.errors import RunError
from tffcxr.hospitals import wire

# A coordinator that stops, to be started again, adds `STOPPING` to answers that say nothing else.
STOPPING = "stopping"
NOTHING_TO_SAY = ("nothing", "noted", "later")
VERSION = 1
LARGEST_CONTENT = 2 << 30
_LONGEST_LINE = 600
_LARGEST = {
    "hello": 64 << 10,
    "poll": 64 << 10,
    "beat": 64 << 10,
    "status": 64 << 10,
    "answer": LARGEST_CONTENT,
    "call": LARGEST_CONTENT,
}


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long one side waits for the other, in seconds.

    Attributes:
      wait: a poll or a call waits at the coordinator at most so long for something to say.
      beat: between two signs of life of a hospital.
      gone: a hospital that was not heard of for so long is not there any more.
      retry: the longest time between two attempts to reach the coordinator.
      exchange: a call takes at most so long, transfer included.
      keepalive: after so much silence a side probes whether the other is still there.
      keepalive_answer: a connection whose probe is not answered for so long is closed.
    """

    wait: float = 20
    beat: float = 5
    gone: float = 15
    retry: float = 5
    exchange: float = 3600
    keepalive: float = 20
    keepalive_answer: float = 10


USUAL_TIMING = Timing()


class Reason(enum.Enum):
    """Why the coordinator refuses a call, and so what the hospital can do about it."""

    MEMBER = "member"  # It is no member, or its process may not be: nothing.
    SESSION = "session"  # Its session is not the current one: say hello.
    STUDY = "study"  # Another study is proposed than its session is for: say hello.
    TASK = "task"  # The task is not open: drop the answer.
    MESSAGE = "message"  # The message cannot be used: nothing.
    CUT = "cut"  # The end of the message is missing: send it again.
    BUSY = "busy"  # Too many calls of it are under way: try again.
    ENDED = "ended"  # The study is over: stop.


_USUAL = (Reason.STUDY, Reason.CUT, Reason.ENDED)


class RefusedError(RunError):
    """The coordinator refuses a call.

    Attributes:
      reason: see `Reason`.
      is_usual: whether it happens in any run, so that nobody needs to read of it.
    """

    def __init__(self, reason: Reason, line: str, *, is_usual: bool = False) -> None:
        super().__init__(plain(line))
        self.reason = reason
        self.is_usual = is_usual or reason in _USUAL


class StudyEndedError(RunError):
    """The coordinator says that the study is over; the message is its reason."""


class UnreachableError(RunError):
    """The coordinator cannot be reached, or the connection to it broke; it may come back."""


def largest(kind: str) -> int:
    """How many bytes a message of a kind to the coordinator may have.

    Raises:
      MessageError: there is no such call.
    """
    if kind not in _LARGEST:
        raise wire.MessageError(f"expected one of {', '.join(_LARGEST)}, found {kind[:40]!r}")
    return _LARGEST[kind]


def wrap(kind: str, about: Mapping[str, Any], message: wire.Message) -> wire.Message:
    """A message of a kind that carries another, with values that concern the carrying."""
    return wire.Message(
        kind, {**about, "kind": message.kind, "about": dict(message.about)}, message.fields
    )


def unwrap(message: wire.Message) -> wire.Message:
    """The message that one carries.

    Raises:
      MessageError: it carries none.
    """
    about = message.about.get("about")
    if not isinstance(about, dict):
        raise wire.MessageError("expected a message in a message, found other values")
    return wire.Message(text(message, "kind"), about, message.fields)


def text(message: wire.Message, key: str) -> str:
    """A text in what a message says.

    Raises:
      MessageError: there is none.
    """
    value = message.about.get(key)
    if isinstance(value, str) and _is_unicode(value):
        return value
    raise wire.MessageError(f"expected a text as {key} of {message.kind}, found {value!r:.40}")


def texts(message: wire.Message, key: str) -> dict[str, str]:
    """Texts by name in what a message says.

    Raises:
      MessageError: there are none.
    """
    value = message.about.get(key)
    if not (isinstance(value, dict) and all(isinstance(each, str) for each in value.values())):
        raise wire.MessageError(f"expected texts as {key} of {message.kind}, found {value!r:.40}")
    return value


def different_versions(
    expected: Mapping[str, str], found: Mapping[str, str], expected_at: str, found_at: str
) -> str:
    """A line that names the versions in which two sides differ; empty if they are the same."""
    names = sorted(
        name for name in {*expected, *found} if expected.get(name) != found.get(name)
    )  # fmt: skip
    if not names:
        return ""
    return (
        f"expected the versions of {expected_at} ({_listed(expected, names)}), "
        f"found at {found_at} {_listed(found, names)}"
    )


def plain(text: str) -> str:
    """What others said, fit for a log and a terminal: one line of at most 600 characters."""
    line = " ".join(text[:_LONGEST_LINE].split())
    return "".join(character for character in line if character.isprintable())


def _is_unicode(value: str) -> bool:
    """JSON can also say halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _listed(versions: Mapping[str, str], names: list[str]) -> str:
    return ", ".join(f"{name} {versions.get(name, 'absent')}" for name in names)
