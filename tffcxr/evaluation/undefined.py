"""Gathers the warnings of metrics without a value, so that many rows say the same thing once."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import warnings

from sklearn import exceptions


class Gathered:
    """Warnings of several rows, each told once with what it is about."""

    def __init__(self) -> None:
        self._about: dict[str, list[str]] = {}

    @contextlib.contextmanager
    def about(self, name: str) -> Iterator[None]:
        """Keeps the warnings of undefined metrics that are given inside; others are given on."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for each in caught:
            if issubclass(each.category, exceptions.UndefinedMetricWarning):
                names = self._about.setdefault(str(each.message), [])
                if name not in names:
                    names.append(name)
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)

    @property
    def messages(self) -> list[str]:
        """The warnings, without what they are about."""
        return list(self._about)

    def tell(self) -> None:
        """Gives each warning once."""
        for message, names in self._about.items():
            text = f"{', '.join(names)}: {message}"
            warnings.warn(text, exceptions.UndefinedMetricWarning, stacklevel=2)
        self._about = {}


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Gives the warnings of undefined metrics inside on with the name of what they are about."""
    gathered = Gathered()
    with gathered.about(name):
        yield
    gathered.tell()
