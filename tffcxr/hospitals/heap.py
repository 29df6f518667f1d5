"""The C library's heap in a coordinator, whose many threads each pass large messages on."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8  # In glibc's malloc.h.
_ARENAS = 2


def share_arenas() -> None:
    """Has all threads share two arenas of glibc's malloc; other C libraries have none.

    Otherwise threads get their own, up to eight per core, and each arena keeps what its largest
    burst took: memory would grow with the number of hospitals, each of which has threads here.
    To be called before there are many threads.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
