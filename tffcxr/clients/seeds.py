"""Seeds as a function of their purpose, the same in every process and on every machine."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> tuple[int, int]:
    """Returns two integers in [0, 2^31) that depend on the parts, and on nothing else.

    Args:
      *parts: what the seed is for, such as (seed, "round", 3, "client", "north"). Parts of
        another type or order give another seed. Python's own `hash` would differ between
        processes.
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    mask = (1 << 31) - 1
    return int.from_bytes(digest[:4], "big") & mask, int.from_bytes(digest[4:8], "big") & mask
