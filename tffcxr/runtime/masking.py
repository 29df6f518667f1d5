"""Masks that hide what each client adds to a sum, and that cancel in the sum.

Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017,
section 4.0.1, without its secret sharing: a sum that a client drops out of is begun again. Each
pair of clients (i, j) with i < j shares a key, from which a stream cipher makes a mask m_ij. Client
i sends, modulo R,

    y_i = x_i + sum of m_ij over j > i - sum of m_ji over j < i

Each y_i alone, and every set of them but that of all clients, is uniformly distributed, and the sum
of all y_i is that of all x_i. R is 2^bits of an integer type, which is how its arithmetic wraps
around, or the modulus of a modular sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
import numpy as np

_KEY_BYTES = 32
_CHUNK = 1 << 16  # Values that are masked at once: what they take stays in the processor's cache.
_WORD = np.dtype("<u8")


@dataclasses.dataclass(frozen=True)
class Pair:
    """What a client shares with another one for one sum.

    Attributes:
      key: 32 bytes, see `pair_key`; for no other sum.
      adds: whether this client adds the mask, which is the one that comes first of the two.
    """

    key: bytes = dataclasses.field(repr=False)
    adds: bool


@dataclasses.dataclass(frozen=True)
class Summand:
    """An array of integers that is added to those of other clients.

    Attributes:
      largest: value of a client; none is less than 0.
      modulus: R, at most 2^63; None for 2^bits of the type.
    """

    largest: int
    modulus: int | None = None

    def width(self, dtype: np.dtype, clients: int) -> int:
        """How many bytes of each masked value have to be sent, its lowest ones.

        A sum modulo 2^bits is also one modulo any smaller power of two. This one is at least 64
        times as large as the sum can be, so that masks which do not cancel are noticed.

        Args:
          dtype: of the values.
          clients: of the sum.
        """
        largest = 64 * clients * (self.largest + 1) - 1 if self.modulus is None else self.largest
        return min(dtype.itemsize, -(-largest.bit_length() // 8))


def pair_key(secret: bytes, context: bytes) -> bytes:
    """The key of one sum, from a secret of two clients (HKDF with SHA-256, RFC 5869).

    Args:
      secret: that only the two know.
      context: names the sum and the two clients; one secret must not serve a context twice.
    """
    return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=context).derive(secret)


def masked(
    values: Sequence[np.ndarray], moduli: Sequence[int | None], pairs: Sequence[Pair]
) -> list[np.ndarray]:
    """What a client sends in place of its values.

    Args:
      values: integers of any shapes; those with a modulus are at least 0 and less than it.
      moduli: R of each, at most 2^63; None for 2^bits of its type.
      pairs: one with each other client of the sum.

    Returns:
      Arrays of the same shapes and types.

    Raises:
      ValueError: a value is not in the range of its modulus.
      TypeError: values that are no integers.
    """
    results = [np.array(value, order="C") for value in values]
    for value, modulus in zip(results, moduli):
        if value.dtype.kind not in "iu":
            raise TypeError(f"expected integers to mask, found {value.dtype}")
        if modulus is not None and value.size and not 0 <= value.min() <= value.max() < modulus:
            raise ValueError(f"expected values from 0 to {modulus - 1} to mask, found others")
    for pair in pairs:
        stream = _Stream(pair.key)
        for value, modulus in zip(results, moduli):
            for chunk in _chunks(value):
                if modulus is None:
                    _wrap_around(chunk, stream, pair.adds)
                else:
                    mask = stream.below(modulus, chunk.size)
                    chunk[:] = _added(chunk, mask if pair.adds else modulus - mask, modulus)
    return results


def narrowed(values: np.ndarray, size: int) -> np.ndarray:
    """uint8 [values, size]: the lowest bytes of each value."""
    little = np.ascontiguousarray(values.reshape(-1), values.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(-1, values.itemsize)[:, :size]


def widened(narrow: np.ndarray, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """The values of which `narrowed` has left so much, at least 0, unless it has left all."""
    values = np.zeros((len(narrow), dtype.itemsize), np.uint8)
    values[:, : narrow.shape[1]] = narrow
    return values.view(dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def added_modulo(total: np.ndarray, value: np.ndarray, modulus: int) -> np.ndarray:
    """(total + value) mod modulus, of the type of `total`; both are from 0 to modulus - 1."""
    return _added(total, np.asarray(value).astype(np.uint64), modulus)


def _added(values: np.ndarray, others: np.ndarray, modulus: int) -> np.ndarray:
    """No sum of two integers up to 2^63 leaves the range of 64 bits without a sign."""
    return ((values.astype(np.uint64) + others) % np.uint64(modulus)).astype(values.dtype)


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK]


def _wrap_around(chunk: np.ndarray, stream: _Stream, adds: bool) -> None:
    """Adds or subtracts a mask in place, modulo 2^bits of the type."""
    unsigned = np.dtype(f"u{chunk.dtype.itemsize}")
    mask = np.frombuffer(stream.take(chunk.nbytes), unsigned.newbyteorder("<"))
    view = chunk.view(unsigned)
    (np.add if adds else np.subtract)(view, mask, out=view)


class _Stream:
    """ChaCha20 (RFC 8439). The key is of one sum alone, so that the nonce may be zero."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()

    def take(self, size: int) -> bytes:
        """The next so many bytes."""
        return self._cipher.update(bytes(size))

    def below(self, modulus: int, count: int) -> np.ndarray:
        """The next uint64 [count], uniform from 0 to modulus - 1.

        Words of 64 bits from the largest multiple of the modulus on are left out, so that no
        remainder is more frequent than others.
        """
        end = (1 << 64) // modulus * modulus
        found: list[np.ndarray] = []
        while missing := count - sum(each.size for each in found):
            words = np.frombuffer(self.take(missing * _WORD.itemsize), _WORD)
            found.append(words[words <= np.uint64(end - 1)] % np.uint64(modulus))
        return np.concatenate(found) if found else np.zeros(0, np.uint64)
