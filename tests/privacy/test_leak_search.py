"""A planted identifier of each kind is found in each place, and nothing where there is none."""

import base64
import bz2
from collections.abc import Callable
import datetime
import gzip
import html
import io
import json
import lzma
import pathlib
import pickle
import sqlite3
import tarfile
import urllib.parse
import zipfile
import zlib

import h5py
import nibabel
import numpy as np
import pandas as pd
from PIL import Image, PngImagePlugin
import pytest
import tensorflow as tf

from tests.datasets import dicom_files
from tests.privacy import leak_search, pieces, written_forms

# What is looked for, and a text that gives it away.
KINDS = {
    "name": (written_forms.name("name", "Quintrell^Ottoline"), "Herr Quintrell, O."),
    "umlauts": (written_forms.name("umlauts", "Grünwäldlein^Jörg"), "GRÜNWÄLDLEIN"),
    "patient id": (written_forms.code("patient id", "00ZQ731945"), "id ZQ731945"),
    "birth date": (written_forms.date("birth date", datetime.date(1931, 7, 23)), "am 23.7.1931."),
    "study date": (written_forms.date("study date", datetime.date(2019, 11, 28)), "of 20191128"),
    "accession": (written_forms.code("accession", "ACC88172635"), "acc88172635"),
    "institution": (written_forms.name("institution", "Wexcombe Infirmary"), "at Wexcombe"),
    "physician": (written_forms.name("physician", "Brackenbury^Ulf"), "Dr BRACKENBURY"),
    "study": (written_forms.code("study", "1.2.826.0.1.7777.31415"), "1.2.826.0.1.7777.31415.1"),
    "file": (written_forms.code("file", "vortigern_0815"), "x-vortigern_0815.dcm"),
    "folder": (written_forms.path("folder", pathlib.PurePath("/srv/haemstead/ward 7")),
               "csv:/srv/haemstead/ward 7"),
}  # fmt: skip
SEARCHER = leak_search.Searcher([identifier for identifier, _ in KINDS.values()])
HARMLESS = "nothing of anybody"
_PLACES: dict[str, Callable[[pathlib.Path, str], object]] = {}


def _place(write):
    _PLACES[write.__name__.strip("_")] = write
    return write


def _saved(save, *arguments, **options) -> bytes:
    file = io.BytesIO()
    save(file, *arguments, **options)
    return file.getvalue()


def _zipped(content: bytes, name: str = "a") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _png(kind: bytes, content: bytes) -> bytes:
    about = PngImagePlugin.PngInfo()
    about.add(kind, content)
    return _saved(Image.new("L", (4, 4)).save, "PNG", pnginfo=about)


def _compressed_png(text: str) -> bytes:
    return _png(b"zTXt", b"Comment\0\0" + zlib.compress(text.encode()))


def _event(text: str) -> bytes:
    """What TensorBoard writes of a text."""
    value = tf.compat.v1.Summary.Value(tag="a", tensor=tf.make_tensor_proto(text))
    event = tf.compat.v1.Event(summary=tf.compat.v1.Summary(value=[value]))
    return event.SerializeToString()


@_place
def text_file(folder, text):
    (folder / "a").write_text(f"{HARMLESS}\n{text}\n", "utf-8")


@_place
def latin_1_text(folder, text):
    (folder / "a").write_bytes(f"a;{text};b".encode("latin-1"))


@_place
def utf_16_text(folder, text):
    (folder / "a").write_bytes(b"x" + f"a{text}".encode("utf-16-be"))


@_place
def json_with_escapes(folder, text):
    (folder / "a.json").write_text(json.dumps({"a": text}).replace("/", "\\/"))


@_place
def html_with_references(folder, text):
    named = html.escape(text).encode("ascii", "xmlcharrefreplace")
    (folder / "a.html").write_bytes(b"<p>" + named + b"</p>")


@_place
def url(folder, text):
    (folder / "a").write_text("http://x/?a=" + urllib.parse.quote(text, safe=""))


@_place
def hexadecimal(folder, text):
    (folder / "a").write_text(f"0x{text.encode().hex()}")


@_place
def base64_after_other_bytes(folder, text):
    for skipped in range(3):
        content = base64.b64encode(b"x" * skipped + 9 * text.encode())
        (folder / f"{skipped}").write_bytes(b"=" + content)


@_place
def base64_of_a_mail(folder, text):
    content = bz2.compress(text.encode() + bytes(np.random.default_rng(0).bytes(200)))
    (folder / "a").write_bytes(b"a: b\n\n" + base64.encodebytes(content))


@_place
def file_name(folder, text):
    (folder / f"a{urllib.parse.quote(text, safe='')}b").write_text(HARMLESS)


@_place
def folder_name(folder, text):
    (folder / text.strip("/") / "a").mkdir(parents=True)


@_place
def link(folder, text):
    (folder / "a").symlink_to(text)


@_place
def zip_file(folder, text):
    (folder / "a.docx").write_bytes(_zipped(text.encode()))


@_place
def name_in_a_zip(folder, text):
    (folder / "a.keras").write_bytes(_zipped(b"", name=text))


@_place
def zip_in_a_zip(folder, text):
    (folder / "a.npz").write_bytes(_zipped(_zipped(_zipped(text.encode()))))


@_place
def gzip_file(folder, text):
    (folder / "a.gz").write_bytes(gzip.compress(text.encode()))


@_place
def gzip_within_other_bytes(folder, text):
    (folder / "a").write_bytes(b"\0\1" + gzip.compress(text.encode()) + b"\2")


@_place
def bzip2_and_xz(folder, text):
    (folder / "a").write_bytes(bz2.compress(lzma.compress(text.encode())))


@_place
def zlib_stream(folder, text):
    (folder / "a").write_bytes(zlib.compress(text.encode()))


@_place
def tar_file(folder, text):
    with tarfile.open(folder / "a.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("a")
        member.size = len(text.encode())
        archive.addfile(member, io.BytesIO(text.encode()))


@_place
def array_of_texts(folder, text):
    np.savez_compressed(folder / "a.npz", a=np.array([text]))


@_place
def pickled(folder, text):
    (folder / "a.pickle").write_bytes(pickle.dumps({"a": [text]}))


@_place
def workbook(folder, text):
    pd.DataFrame({"a": [text]}).to_excel(folder / "a.xlsx")


@_place
def parquet(folder, text):
    pd.DataFrame({"a": [text] * 9}).to_parquet(folder / "a", compression="gzip")


@_place
def sqlite(folder, text):
    connection = sqlite3.connect(folder / "a.db")
    with connection:
        connection.execute("create table a (b text)")
        connection.execute("insert into a values (?)", (text,))
    connection.close()


@_place
def hdf5_data(folder, text):
    content = np.frombuffer((text + " " * 500).encode(), np.uint8)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("a/b", data=content, compression="gzip")


@_place
def hdf5_attribute(folder, text):
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_group("a").attrs["b"] = np.array([text], dtype=h5py.string_dtype())


@_place
def tensorboard(folder, text):
    with tf.io.TFRecordWriter(str(folder / "events.out.tfevents.1")) as writer:
        writer.write(_event(HARMLESS))
        writer.write(_event(text))


@_place
def picture_in_tensorboard(folder, text):
    picture = tf.compat.v1.Summary.Image(encoded_image_string=_compressed_png(text))
    value = tf.compat.v1.Summary.Value(tag="a", image=picture)
    event = tf.compat.v1.Event(summary=tf.compat.v1.Summary(value=[value]))
    with tf.io.TFRecordWriter(str(folder / "events.out.tfevents.1")) as writer:
        writer.write(event.SerializeToString())


@_place
def compressed_records(folder, text):
    for kind in ("GZIP", "ZLIB"):
        with tf.io.TFRecordWriter(str(folder / kind), kind) as writer:
            writer.write(text.encode())


@_place
def png_text(folder, text):
    (folder / "a.png").write_bytes(_png(b"tEXt", b"Comment\0" + text.encode("latin-1")))


@_place
def png_compressed_text(folder, text):
    (folder / "a.png").write_bytes(_compressed_png(text))


@_place
def png_international_text(folder, text):
    content = b"Comment\0\1\0de\0Bemerkung\0" + zlib.compress(text.encode())
    (folder / "a.png").write_bytes(_png(b"iTXt", content))


@_place
def jpeg_exif(folder, text):
    exif = Image.Exif()
    exif[0x9C9B] = text.encode("utf-16-le")  # The title, as Windows has it.
    Image.new("L", (4, 4)).save(folder / "a.jpg", exif=exif)


@_place
def picture_in_a_page(folder, text):
    data = base64.b64encode(_compressed_png(text)).decode()
    (folder / "a.html").write_text(f'<img src="data:image/png;base64,{data}">')


@_place
def svg_in_a_page(folder, text):
    data = urllib.parse.quote(f"<svg><text>{text}</text></svg>")
    (folder / "a.html").write_text(f"<img src='data:image/svg+xml;charset=utf-8,{data}'>")


@_place
def dicom(folder, text):
    _write_dicom(folder, text, "1.2.840.10008.1.2.1")


@_place
def deflated_dicom(folder, text):
    _write_dicom(folder, text, "1.2.840.10008.1.2.1.99")


def _write_dicom(folder, text, syntax):
    inner = dicom_files.dataset(np.zeros((2, 2), np.uint8))
    inner.SpecificCharacterSet = "ISO_IR 192"
    inner.ImageComments = text
    made = dicom_files.dataset(np.zeros((2, 2), np.uint8))
    made.SpecificCharacterSet = "ISO_IR 192"
    del inner.PixelData
    made.ReferencedImageSequence = [inner]
    made.file_meta.TransferSyntaxUID = syntax
    made.save_as(folder / "a", enforce_file_format=True)


@_place
def nifti(folder, text):
    volume = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    volume.header["descrip"] = text.encode()
    nibabel.save(volume, folder / "a.nii.gz")


@pytest.mark.parametrize("place", _PLACES)
def test_a_planted_identifier_of_each_kind_is_found(place, tmp_path):
    for number, (kind, (_, text)) in enumerate(KINDS.items()):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        _PLACES[place](folder, text)
        found = SEARCHER.in_folder(folder)
        assert {leak.kind for leak in found} == {kind}, found


@pytest.mark.parametrize("place", _PLACES)
def test_nothing_is_found_where_there_is_nothing(place, tmp_path):
    _PLACES[place](tmp_path, HARMLESS)
    assert list(pieces.of_folder(tmp_path))
    assert SEARCHER.in_folder(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    ["19310723", "1931-07-23", "23.07.1931", "23.7.1931", "07/23/1931", "7/23/1931", "23.07.31",
     "July 23, 1931", "23 Jul 1931", "<v>11527</v>"],
)  # fmt: skip
def test_dates_are_found_as_people_write_them(text):
    found = SEARCHER.in_pieces([pieces.Piece("a", b"x " + text.encode() + b".")])
    assert {leak.kind for leak in found} == {"birth date"}


def test_dates_are_found_as_numbers():
    for unit in ("s", "ms", "us", "ns"):
        stored = np.array(["2019-11-28"], f"datetime64[{unit}]").tobytes()
        (leak,) = SEARCHER.in_pieces([pieces.Piece("a", b"x" + stored)])
        assert leak.kind == "study date"


def test_names_are_found_in_every_order_and_case():
    for text in ("QUINTRELL^OTTOLINE", "Ottoline Quintrell", "quintrell, o.", "MR_OTTOLINE"):
        found = SEARCHER.in_pieces([pieces.Piece("a", text.encode())])
        assert {leak.kind for leak in found} == {"name"}


def test_what_is_found_says_where(tmp_path):
    zip_in_a_zip(tmp_path, "by Brackenbury")
    (leak,) = SEARCHER.in_folder(tmp_path)
    assert leak == leak_search.Leak("a.npz > a > a > a", "physician", b"brackenbury")


def test_what_cannot_be_opened_is_an_error(tmp_path):
    for name, content in {
        "a.zst": b"\x28\xb5\x2f\xfd\0\0",
        "a.pdf": b"%PDF-1.7",
        "a.zip": _zipped(b"a" * 99)[:60],
        "a.gz": gzip.compress(b"a")[:-4],
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(pieces.ClosedError, match=name):
            SEARCHER.in_folder(tmp_path)
        path.unlink()


def test_identifiers_that_stand_in_files_by_chance_are_refused():
    with pytest.raises(ValueError, match="found '00123'"):
        written_forms.code("id", "00123")
    with pytest.raises(ValueError, match="found 'Li'"):
        written_forms.name("name", "Li")
