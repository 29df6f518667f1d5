"""Files that only the user who wrote them can read, wherever they are copied to.

They are encrypted (Fernet: AES in CBC mode, authenticated by HMAC-SHA256) with a key of the user's,
which is drawn when it is needed first. It lies in the user's configuration, not beside the files:
whoever gets a run's folder does not get it.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import zlib

from tffcxr.errors import InputError
from tffcxr.files import write_atomically

# In the environment: another file for the key, such as one that several people share.
KEY_VARIABLE = "TFFCXR_NAMES_KEY"
SUFFIX = ".sealed"
_KEY_FILE = "names.key"


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes a sealed file, whole or not at all.

    Raises:
      InputError: the key can be neither read nor made.
      OSError: the file cannot be written.
    """
    sealed = _cipher(_key()).encrypt(zlib.compress(content))
    write_atomically(path, lambda file: file.write(sealed))


def read(path: pathlib.Path) -> bytes:
    """Returns what was sealed.

    Raises:
      InputError: it was sealed with another key, or the file is damaged or cannot be read.
    """
    from cryptography.fernet import InvalidToken

    try:
        return zlib.decompress(_cipher(_key()).decrypt(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read: {error.strerror}") from error
    except InvalidToken:
        raise InputError(
            f"{path}: expected names that were sealed with the key {key_file()}, found those of "
            f"another user or computer; {KEY_VARIABLE}=FILE in the environment names their key"
        ) from None


def key_file() -> pathlib.Path:
    """Where the user's key is.

    Raises:
      InputError: the user has no home.
    """
    if os.environ.get(KEY_VARIABLE):
        return pathlib.Path(os.environ[KEY_VARIABLE])
    try:
        folder = os.environ.get("XDG_CONFIG_HOME") or pathlib.Path.home() / ".config"
    except RuntimeError:
        raise InputError(
            "expected a home folder for the key of names of files, found none; "
            f"{KEY_VARIABLE}=FILE in the environment names another place"
        ) from None
    return pathlib.Path(folder) / "tffcxr" / _KEY_FILE


def _cipher(key: bytes):  # type: ignore[no-untyped-def]  # The import takes long.
    from cryptography.fernet import Fernet

    try:
        return Fernet(key)
    except ValueError:
        raise InputError(
            f"{key_file()}: expected a key of names of files, found something else"
        ) from None


def _key() -> bytes:
    path = key_file()
    try:
        if not path.exists():
            _make_key(path)
        return path.read_bytes().strip()
    except OSError as error:
        raise InputError(
            f"{path}: expected a key of names of files that can be read or written: "
            f"{error.strerror}; {KEY_VARIABLE}=FILE in the environment names another place"
        ) from error


def _make_key(path: pathlib.Path) -> None:
    """Draws a key; if another program was faster, its key stays."""
    from cryptography.fernet import Fernet

    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(drawn, path)  # Unlike a rename, it replaces nothing.
    finally:
        drawn.unlink(missing_ok=True)
