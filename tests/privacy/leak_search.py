"""Searches every byte of a folder for identifiers."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
import dataclasses
import pathlib

import numpy as np

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
        self._lowered = _Forms(form for each in identifiers for form in each.lowered)
        self._exact = _Forms(form for each in identifiers for form in each.exact)
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
            for form in sorted(
                self._lowered.inside(piece.content.lower()) | self._exact.inside(piece.content)
            )
        ]


class _Forms:
    """Finds any of many byte strings, in time that hardly depends on how many they are.

    A table says for every number of 20 bits whether one of the strings begins with four bytes that
    have it as their hash; few places of a content pass it.
    """

    _BITS = 20

    def __init__(self, forms: Iterable[bytes]):
        self._by_start: dict[bytes, list[bytes]] = collections.defaultdict(list)
        self._begins = np.zeros(2**self._BITS, bool)
        for form in dict.fromkeys(forms):
            self._by_start[form[:4]].append(form)
            self._begins[self._hashes(form[:4])] = True

    def inside(self, content: bytes) -> set[bytes]:
        """Returns those that a content has."""
        if len(content) < 4:
            return set()
        places = np.flatnonzero(self._begins[self._hashes(content)]).tolist()
        return {
            form
            for place in places
            for form in self._by_start.get(content[place : place + 4], ())
            if content.startswith(form, place)
        }

    def _hashes(self, content: bytes) -> np.ndarray:
        """The hash of the four bytes at each place but the last three: uint32 [N - 3]."""
        single = np.frombuffer(content, np.uint8).astype(np.uint32)
        four = single[:-3] | single[1:-2] << 8 | single[2:-1] << 16 | single[3:] << 24
        return (four * np.uint32(2654435761)) >> np.uint32(32 - self._BITS)
