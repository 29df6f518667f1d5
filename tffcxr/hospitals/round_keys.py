"""The keys that hospitals agree on masks by: fresh for each attempt at a round, and signed.

The coordinator relays them. A hospital takes another one's key only with a signature (ECDSA on
P-256) by a certificate of the study's authority for that site, over what the key is for, and only
of a hospital that the approved study names: the coordinator has a certificate of that authority,
too. So a coordinator that puts its own key in place of another, or beside the others, is found out,
unless it also has the key of the authority.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses
import datetime
import json
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tffcxr.errors import RunError
from tffcxr.hospitals import authority

_PURPOSE = "tffcxr: key of a hospital for the masks of a secure sum"


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What a key is for.

    Attributes:
      study: its name and hash.
      training: of the study.
      round_number: of the training.
      attempt: names this attempt at the round, at random.
    """

    study: str
    training: str
    round_number: int
    attempt: str

    def statement(self, site: str, public: bytes) -> bytes:
        """What a hospital signs."""
        about = [_PURPOSE, *dataclasses.astuple(self), site, public.hex()]
        return json.dumps(about).encode()


class Signer:
    """A hospital's certificate, and the study that it is for.

    Args:
      credentials: the hospital's.
      study: its name and hash.
      hospitals: that take part in it, this one included, by name.
    """

    def __init__(
        self, credentials: authority.Credentials, study: str, hospitals: Collection[str]
    ) -> None:
        self.study = study
        self._hospitals = frozenset(hospitals) - {authority.COORDINATOR}
        self.site = authority.name(credentials.certificate)
        self._credentials = credentials

    def signed(self, private: X25519PrivateKey, attempt: Attempt) -> dict[str, str]:
        """A public key as `public_key` takes it: texts."""
        public = private.public_key().public_bytes_raw()
        signer = serialization.load_pem_private_key(self._credentials.key, None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        signature = signer.sign(attempt.statement(self.site, public), ec.ECDSA(hashes.SHA256()))
        return {
            "public": public.hex(),
            "signature": signature.hex(),
            "certificate": self._credentials.certificate.decode(),
        }

    def public_key(self, site: str, found: Any, attempt: Attempt) -> X25519PublicKey:
        """The key of another hospital.

        Args:
          site: its name.
          found: see `signed`.
          attempt: what the key has to be for.

        Raises:
          RunError: it is not signed by that hospital for that attempt, or the study has no such
            hospital.
        """
        if site not in self._hospitals:
            raise RunError(
                f"expected a hospital of the study, {', '.join(sorted(self._hospitals))}, found "
                f"{site!r}"
            )
        try:
            public = bytes.fromhex(found["public"])
            certificate = x509.load_pem_x509_certificate(found["certificate"].encode())
            issuer = x509.load_pem_x509_certificate(self._credentials.authority)
            certificate.verify_directly_issued_by(issuer)
            key = certificate.public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(
                bytes.fromhex(found["signature"]),
                attempt.statement(site, public),
                ec.ECDSA(hashes.SHA256()),
            )
            named = authority.name(found["certificate"].encode())
            result = X25519PublicKey.from_public_bytes(public)
        except (
            KeyError, TypeError, ValueError, AttributeError, AssertionError, InvalidSignature
        ) as error:  # fmt: skip
            raise RunError(
                f"expected a key of {site} that it has signed for this attempt with a certificate "
                "of the study's authority, found another"
            ) from error
        if named != site:
            raise RunError(f"expected a key of {site}, found one of {named!r}")
        now = datetime.datetime.now(datetime.timezone.utc)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise RunError(
                f"expected a certificate of {site} that is valid now, found one from "
                f"{certificate.not_valid_before_utc:%Y-%m-%d} to "
                f"{certificate.not_valid_after_utc:%Y-%m-%d}"
            )
        return result
