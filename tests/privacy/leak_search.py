"""Searches every byte of a folder for identifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import pathlib
import re

from tests.privacy import pieces
from tests.privacy.written_forms import Identifier


@dataclasses.dataclass(frozen=True)
class Leak:
    """An identifier that was found.

    Attributes:
      place: the path of the file, and what of it.
      kind: of the identifier.
      form: the bytes that were found.
    """

    place: str
    kind: str
    form: bytes


class Searcher:
    """Looks for some identifiers.

    Args:
      identifiers: the ones.
    """

    def __init__(self, identifiers: Sequence[Identifier]):
        self._lowered = _pattern(identifiers, lambda each: each.lowered)
        self._exact = _pattern(identifiers, lambda each: each.exact)
        self._kind_of = {
            form: each.kind for each in identifiers for form in (*each.lowered, *each.exact)
        }

    def in_folder(self, folder: pathlib.Path) -> list[Leak]:
        """Returns what is found in a folder: in its files, in what they hold, and in names.

        Raises:
          pieces.ClosedError: something cannot be opened.
        """
        return self.in_pieces(pieces.of_folder(folder))

    def in_pieces(self, found: Iterable[pieces.Piece]) -> list[Leak]:
        """Returns what is found in some pieces of bytes, each form of a piece once."""
        return [
            Leak(piece.place, self._kind_of[form], form)
            for piece in found
            for form in sorted(self._forms(piece.content))
        ]

    def _forms(self, content: bytes) -> set[bytes]:
        return {*self._lowered.findall(content.lower()), *self._exact.findall(content)}


def _pattern(
    identifiers: Iterable[Identifier], forms: Callable[[Identifier], Sequence[bytes]]
) -> re.Pattern[bytes]:
    every = {form for each in identifiers for form in forms(each)}
    # The longest first: of two forms that begin alike, it says more.
    return re.compile(b"|".join(re.escape(form) for form in sorted(every, key=len, reverse=True)))
