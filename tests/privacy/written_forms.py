"""The bytes in which a file may hold an identifier.

An identifier is looked for in every encoding that Python, TensorFlow or a browser may have given
it. What a form has in common with another one is left to that: of a name each part is looked for
by itself, which finds "Last^First" and "First Last" alike.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
import dataclasses
import datetime
import functools
import html
import json
import pathlib
import unicodedata
import urllib.parse

# Shorter texts stand in files by chance.
_LEAST_LENGTH = 4
_LEAST_BYTES_IN_BASE64 = 6
_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_DATES = (
    "%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y:%m:%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y",
    "%d-%m-%Y", "%d%m%Y", "%-d.%-m.%Y", "%-d/%-m/%Y", "%-m/%-d/%Y", "%d.%m.%y", "%d %b %Y",
    "%-d %b %Y", "%d %B %Y", "%-d %B %Y", "%b %d, %Y", "%b %-d, %Y", "%B %d, %Y", "%B %-d, %Y",
    "%d-%b-%Y",
)  # fmt: skip
_EPOCH = datetime.date(1970, 1, 1)
_EPOCH_OF_EXCEL = datetime.date(1899, 12, 30)
# What pandas, NumPy and Parquet count from 1970 on, in 64 bits.
_TICKS_PER_DAY = (86_400, 86_400_000, 86_400_000_000, 86_400_000_000_000)


@dataclasses.dataclass(frozen=True)
class Identifier:
    """Something that tells who a patient is.

    Attributes:
      kind: what it is, such as "patient's name".
      texts: all ways to write it.
      numbers: all ways to store it as a number, as bytes.
    """

    kind: str
    texts: tuple[str, ...]
    numbers: tuple[bytes, ...] = ()

    @functools.cached_property
    def exact(self) -> tuple[bytes, ...]:
        """What is looked for as it is: numbers, and base64, of which upper case is a part."""
        cases = [form for text in self.texts for form in (text, text.lower(), text.upper())]
        plain = [form.encode(encoding) for form in cases for encoding in ("utf-8", "utf-16-le")]
        return (*self.numbers, *_distinct(part for one in plain for part in _base64(one)))

    @functools.cached_property
    def lowered(self) -> tuple[bytes, ...]:
        """What is looked for in bytes whose letters A to Z were made small."""
        written = [form for text in self.texts for form in _written(text)]
        encoded = [_encoded(form, encoding) for form in written for encoding in _ENCODINGS]
        hexadecimal = [form.encode("utf-8").hex().encode() for form in written]
        return _distinct(form.lower() for form in (*encoded, *hexadecimal) if form)


def name(kind: str, text: str) -> Identifier:
    """A name such as "Last^First": each part of it."""
    parts = [part for part in text.replace("^", " ").split() if len(part) >= _LEAST_LENGTH]
    if not parts:
        raise ValueError(f"expected a part of {_LEAST_LENGTH} letters or more, found {text!r}")
    return Identifier(kind, tuple(parts))


def code(kind: str, text: str) -> Identifier:
    """An id, also as spreadsheets make it: without the zeros that it begins with."""
    texts = _distinct_texts((text, text.lstrip("0")))
    if min(map(len, texts)) < _LEAST_LENGTH:
        raise ValueError(f"expected {_LEAST_LENGTH} characters or more, found {text!r}")
    return Identifier(kind, texts)


def date(kind: str, day: datetime.date) -> Identifier:
    """A date, as people, DICOM files and programs write it."""
    days = (day - _EPOCH).days
    in_excel = f"<v>{(day - _EPOCH_OF_EXCEL).days}</v>"
    return Identifier(
        kind,
        _distinct_texts((*(day.strftime(form) for form in _DATES), in_excel)),
        tuple((days * ticks).to_bytes(8, "little", signed=True) for ticks in _TICKS_PER_DAY),
    )


def path(kind: str, place: pathlib.PurePath) -> Identifier:
    """A path, also with the separators of Windows."""
    return Identifier(kind, _distinct_texts((place.as_posix(), str(place).replace("/", "\\"))))


def _written(text: str) -> Iterator[str]:
    """A text as it is, in capitals, decomposed, and escaped as programs and pages do."""
    for form in (text, text.lower(), text.upper(), text.title()):
        for normal in ("NFC", "NFD"):
            plain = unicodedata.normalize(normal, form)
            yield plain
            yield json.dumps(plain)[1:-1]
            yield json.dumps(plain)[1:-1].replace("/", "\\/")
            yield html.escape(plain)
            yield plain.encode("ascii", "xmlcharrefreplace").decode()
            yield urllib.parse.quote(plain)
            yield urllib.parse.quote(plain, safe="")
            yield urllib.parse.quote_plus(plain)


def _encoded(text: str, encoding: str) -> bytes:
    """A text in an encoding; nothing if that lacks a letter of it."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return b""


def _base64(content: bytes) -> Iterator[bytes]:
    """What base64 makes of some bytes inside of others: at each of three places, without its ends.

    The first and the last characters also depend on the bytes around.
    """
    for skipped in range(3):
        whole = content[(3 - skipped) % 3 :]
        whole = whole[: len(whole) - len(whole) % 3]
        if len(whole) >= _LEAST_BYTES_IN_BASE64:
            yield base64.b64encode(whole)
            yield base64.urlsafe_b64encode(whole)


def _distinct(forms: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(forms))


def _distinct_texts(forms: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(forms))
