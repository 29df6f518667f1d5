"""Where the clients' parts of a computation are computed: the interface, and what helps to deal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import concurrent.futures
import contextlib
import contextvars
from typing import Any, Protocol

from tffcxr.runtime import placed

_sizes: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("sizes", default=())


class MasksLostError(Exception):
    """The masks of a secure sum do not cancel, since who made some of them is not there any more.

    Who asked for the computation may begin it again.
    """


class Parts(Protocol):
    """Where the clients' parts of one invocation are computed.

    Attributes:
      ahead: how many clients of one lane may be computed, or wait, and not be accumulated yet.
      masks: whether what clients add to secure sums comes masked.
    """

    @property
    def masks(self) -> bool:
        """See the class."""

    @property
    def ahead(self) -> int:
        """See the class."""

    def lanes(self) -> Sequence[int]:
        """Who computes each client; a lane computes its clients one after the other."""

    def ask(self, client: int, walk: placed.Walk) -> concurrent.futures.Future[Any]:
        """Has one client's part of a walk computed."""

    def values(
        self, client: int, walk: placed.Walk, asked: concurrent.futures.Future[Any]
    ) -> list[Any]:
        """Waits for what was asked, and makes the values of it, as `placed.Walk.compute` does."""

    def give_up(self, asked: Sequence[concurrent.futures.Future[Any]]) -> None:
        """Ends what was asked for, and waits until nothing in this process computes it."""

    def close(self) -> None:
        """Forgets the invocation."""


@contextlib.contextmanager
def sized(sizes: Sequence[int]) -> Iterator[None]:
    """Tells what is called from here on how large each of its clients is, in images.

    That decides who computes which client, and no result.
    """
    token = _sizes.set(tuple(sizes))
    try:
        yield
    finally:
        _sizes.reset(token)


def sizes_of(clients: int) -> tuple[int, ...]:
    """The sizes of so many clients: those of `sized`; all the same without it."""
    sizes = _sizes.get()
    return sizes if len(sizes) == clients else (1,) * clients
