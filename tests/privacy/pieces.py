"""Opens what files hold: every name, and every piece of bytes, however deep it is packed.

A piece is searched as it is and, where it is a container, by its content too. A container that
cannot be opened is an error: what was not looked at is not known to be free of identifiers.
"""

from __future__ import annotations

import base64
import binascii
import bz2
from collections.abc import Callable, Iterator
import dataclasses
import gzip
import io
import lzma
import os
import pathlib
import re
import struct
import tarfile
import urllib.parse
import zipfile
import zlib

import h5py
import numpy as np
import pyarrow.parquet
import pydicom

_DEEPEST = 12
# Packed in ways that nothing here opens.
_CLOSED = {
    b"\x28\xb5\x2f\xfd": "Zstandard", b"7z\xbc\xaf\x27\x1c": "7-Zip", b"Rar!": "RAR",
    b"\x04\x22\x4d\x18": "LZ4", b"%PDF": "PDF",
}  # fmt: skip
_PNG = b"\x89PNG\r\n\x1a\n"
_DATA_URI = re.compile(rb"data:[\w.+/-]*(?:;[\w.+=-]+)*?(;base64)?,([\w+/=%.~!*'();:@&$?-]+)")
# Of 24 characters or more, as shorter runs are words; or in lines, as mail has it.
_BASE64 = re.compile(
    rb"(?:[\w+/-]{60,76}\r?\n)+[\w+/-]*={0,2}|(?<![\w+/=-])[\w+/-]{24,}={0,2}", re.ASCII
)
# Where pictures begin that others hold without packing them, such as TensorBoard's events.
_INSIDE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff[\xe0\xe1\xdb]|\x1f\x8b\x08[\x00-\x1f]")
_MOST_FROM_BASE64 = 64 * 2**20


class ClosedError(Exception):
    """A container that cannot be opened, and so not be searched."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """Bytes that were found.

    Attributes:
      place: where: the path of the file, and what of it.
      content: the bytes.
    """

    place: str
    content: bytes


def of_folder(folder: pathlib.Path) -> Iterator[Piece]:
    """Yields the pieces of all files of a folder, and their names.

    Links are not followed; where they lead to is a piece.

    Raises:
      ClosedError: a container cannot be opened.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        yield Piece(f"{name} (its name)", os.fsencode(name))
        if path.is_symlink():
            yield Piece(f"{name} (where it leads)", os.fsencode(os.readlink(path)))
        elif path.is_file():
            yield from of_bytes(name, path.read_bytes())


def of_bytes(place: str, content: bytes, depth: int = 0) -> Iterator[Piece]:
    """Yields bytes, and all that they hold.

    Args:
      place: where they were found.
      content: the bytes.
      depth: of containers around them.

    Raises:
      ClosedError: a container cannot be opened.
    """
    yield Piece(place, content)
    if depth > _DEEPEST:
        raise ClosedError(f"{place}: expected at most {_DEEPEST} containers in one another")
    for magic, what in _CLOSED.items():
        if content.startswith(magic):
            raise ClosedError(f"{place}: expected no {what}, which cannot be searched")
    opened = False
    for is_one, parts in _CONTAINERS:
        if is_one(content):
            opened = True
            try:
                found = list(parts(content))
            except Exception as error:  # Whatever the reason: it was not searched.
                raise ClosedError(
                    f"{place}: expected content of {parts.__name__}: {error}"
                ) from error
            for name, part in found:
                yield from of_bytes(f"{place} > {name}", part, depth + 1)
    if not opened:
        for name, part in _embedded(content):
            yield from of_bytes(f"{place} > {name}", part, depth + 1)


_Parts = Iterator[tuple[str, bytes]]


def _zip(content: bytes) -> _Parts:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        yield "comment", archive.comment
        for each in archive.infolist():
            yield f"{each.filename} (its name)", each.filename.encode("utf-8", "surrogateescape")
            yield f"{each.filename} (its comment)", each.comment
            yield each.filename, archive.read(each)


def _tar(content: bytes) -> _Parts:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for each in archive.getmembers():
            named = f"{each.name} {each.linkname} {each.uname} {each.pax_headers}"
            yield f"{each.name} (its name)", named.encode("utf-8", "surrogateescape")
            file = archive.extractfile(each) if each.isfile() else None
            yield each.name, file.read() if file else b""


def _gzip(content: bytes) -> _Parts:
    yield "gzip", gzip.decompress(content)


def _bz2(content: bytes) -> _Parts:
    yield "bzip2", bz2.decompress(content)


def _xz(content: bytes) -> _Parts:
    yield "xz", lzma.decompress(content)


def _is_zlib(content: bytes) -> bool:
    is_header = content[:1] == b"\x78" and int.from_bytes(content[:2], "big") % 31 == 0
    return is_header and _inflated(content) is not None


def _inflated(content: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(content)
    except zlib.error:
        return None


def _zlib(content: bytes) -> _Parts:
    yield "zlib", _inflated(content) or b""


def _records(content: bytes) -> _Parts:
    """The records of a TFRecord file, which TensorBoard's files are, too."""
    position, number = 0, 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        start = position + 12
        if start + length + 4 > len(content):
            raise ValueError("a record ends behind the file")
        yield f"record {number}", content[start : start + length]
        position, number = start + length + 4, number + 1


def _is_records(content: bytes) -> bool:
    if len(content) < 16:
        return False
    (length,) = struct.unpack_from("<Q", content)
    return 0 < length <= len(content) - 16 and _masked_crc(content[:8]) == content[8:12]


def _masked_crc(content: bytes) -> bytes:
    """The check sum of a TFRecord's length: CRC-32C, rotated, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def _hdf5(content: bytes) -> _Parts:
    found: list[tuple[str, bytes]] = []

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        found.append((f"{name} (its name)", name.encode()))
        found.extend((f"{name}@{key}", _as_bytes(value)) for key, value in node.attrs.items())
        if isinstance(node, h5py.Dataset):
            found.append((name, _as_bytes(node[()])))

    with h5py.File(io.BytesIO(content), "r") as file:
        found += [(f"@{key}", _as_bytes(value)) for key, value in file.attrs.items()]
        file.visititems(visit)
    yield from found


def _as_bytes(value: object) -> bytes:
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        texts = [one if isinstance(one, bytes) else str(one).encode() for one in array.ravel()]
        return b"\n".join(texts)
    return array.tobytes()


def _png(content: bytes) -> _Parts:
    """The texts of a PNG file, which may be compressed."""
    position = len(_PNG)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        chunk = content[position + 8 : position + 8 + length]
        position += 12 + length
        if kind == b"zTXt":
            keyword, _, rest = chunk.partition(b"\0")
            yield f"zTXt {keyword!r}", zlib.decompress(rest[1:])
        elif kind == b"iTXt":
            keyword, _, rest = chunk.partition(b"\0")
            text = rest[2:].split(b"\0", 2)[2]
            yield f"iTXt {keyword!r}", zlib.decompress(text) if rest[0] else text
        elif kind == b"iCCP":
            yield "iCCP", zlib.decompress(chunk.partition(b"\0")[2][1:])
        elif kind == b"eXIf":
            yield "eXIf", chunk


def _dicom(content: bytes) -> _Parts:
    """Every value of a DICOM file, which may be deflated."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    for part in (dataset.file_meta, dataset):
        for element in part.iterall() if part is dataset else part:
            if element.VR == "SQ":
                continue
            value = element.value
            yield str(element.tag), value if isinstance(value, bytes) else str(value).encode()


def _parquet(content: bytes) -> _Parts:
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    yield "schema", str(table.schema).encode() + str(table.schema.metadata).encode()
    for name in table.column_names:
        texts = [str(value) for value in table[name].to_pylist()]
        yield name, "\n".join(texts).encode()


_CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], _Parts]], ...] = (
    (lambda content: content[:4] in (b"PK\x03\x04", b"PK\x05\x06"), _zip),
    (lambda content: content[257:262] == b"ustar", _tar),
    (lambda content: content[:3] == b"\x1f\x8b\x08", _gzip),
    (lambda content: content[:3] == b"BZh" and content[4:10] == b"1AY&SY", _bz2),
    (lambda content: content[:6] == b"\xfd7zXZ\x00", _xz),
    (_is_zlib, _zlib),
    (_is_records, _records),
    (lambda content: content[:8] == b"\x89HDF\r\n\x1a\n", _hdf5),
    (lambda content: content.startswith(_PNG), _png),
    (lambda content: content[128:132] == b"DICM", _dicom),
    (lambda content: content[:4] == b"PAR1" and content[-4:] == b"PAR1", _parquet),
)


def _embedded(content: bytes) -> _Parts:
    """What lies in the midst of other bytes: data URIs, base64, pictures and gzip."""
    for number, found in enumerate(_DATA_URI.finditer(content)):
        is_base64, data = found.groups()
        plain = urllib.parse.unquote_to_bytes(data)
        yield f"data URI {number}", _from_base64(plain) or b"" if is_base64 else plain
    for number, found in enumerate(_BASE64.finditer(content)):
        decoded = _from_base64(found[0])
        if decoded is not None and not _follows_data_uri(content, found.start()):
            yield f"base64 {number}", decoded
    for number, found in enumerate(_INSIDE.finditer(content)):
        if found.start() == 0:
            continue
        rest = content[found.start() :]
        if rest.startswith(b"\x1f\x8b"):
            unpacked = _inflated_gzip(rest)
            if unpacked:
                yield f"gzip inside {number}", unpacked
        else:
            yield f"picture inside {number}", rest[: _end_of_picture(rest)]


def _follows_data_uri(content: bytes, start: int) -> bool:
    return content[max(0, start - 8) : start].endswith(b";base64,")


def _from_base64(text: bytes) -> bytes | None:
    text = re.sub(rb"\s+", b"", text).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    if len(text) % 4 == 1 or len(text) > _MOST_FROM_BASE64:
        return None
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None


def _inflated_gzip(content: bytes) -> bytes | None:
    """What a gzip stream holds that others bytes may follow; None if it is none."""
    try:
        return zlib.decompressobj(wbits=31).decompress(content)
    except zlib.error:
        return None


def _end_of_picture(content: bytes) -> int:
    end = b"IEND\xaeB`\x82" if content.startswith(_PNG) else b"\xff\xd9"
    place = content.find(end)
    return len(content) if place < 0 else place + len(end)
