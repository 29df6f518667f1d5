"""The open tasks of a hospital: handed out again until they are answered or withdrawn.

Nothing here locks: the hub does.
"""

from __future__ import annotations

from collections.abc import Collection
import concurrent.futures
import dataclasses
import secrets

from tffcxr.hospitals import wire


@dataclasses.dataclass(eq=False)
class Task:
    """What a hospital is asked.

    Attributes:
      key: names it, at random.
      asked: what the hospital gets.
      answer: gets what it answers.
      store: takes the arrays of the answer as they arrive.
    """

    key: str
    asked: wire.Message
    answer: concurrent.futures.Future[wire.Message]
    store: wire.Store


class Tasks:
    """The open tasks of all hospitals, in the order in which they were asked."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, Task]] = {}

    def add(self, site: str, asked: wire.Message, store: wire.Store) -> Task:
        """Opens a task of a site."""
        task = Task(secrets.token_hex(8), asked, concurrent.futures.Future(), store)
        self._open.setdefault(site, {})[task.key] = task
        return task

    def next(self, site: str, but: Collection[str]) -> Task | None:
        """The first open task of a site, but those that it has; None if there is none."""
        return next(
            (task for task in self._open.get(site, {}).values() if task.key not in but), None
        )

    def find(self, site: str, key: str) -> Task | None:
        """A task of a site; None if it is not open."""
        return self._open.get(site, {}).get(key)

    def close(self, site: str, key: str) -> Task | None:
        """Takes a task of a site away; None if it is not open."""
        return self._open.get(site, {}).pop(key, None)

    def all(self) -> list[Task]:
        """The open tasks of all sites."""
        return [task for tasks in self._open.values() for task in tasks.values()]
