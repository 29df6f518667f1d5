"""The certificates of a study: an authority of its own, and what it issues to its members.

The authority signs one certificate per hospital, whose common name is the site, and one for the
coordinator, which holds the addresses that hospitals may connect to. A certificate says what it is
for: a hospital's cannot serve. The coordinator's can also connect, to ask itself for the status; a
hospital it cannot be, since that is no site's name. The format is X.509, see RFC 5280; all keys are
on the curve P-256.
"""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tffcxr.errors import InputError

COORDINATOR = "coordinator"
_AUTHORITY_DAYS = 7305
# Clocks differ: a new certificate is valid at a hospital whose clock is behind.
_CLOCKS_DIFFER = datetime.timedelta(hours=1)
_LOCAL = ("localhost", "127.0.0.1")


@dataclasses.dataclass(frozen=True)
class Credentials:
    """What a member of a study shows others, and checks others by; each is PEM.

    Attributes:
      authority: the certificate of the study's authority.
      certificate: the member's own.
      key: the private key of `certificate`.
    """

    authority: bytes
    certificate: bytes
    key: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Authority:
    """Who signs the certificates of a study; both are PEM.

    Attributes:
      certificate: signed by itself.
      key: its private key.
    """

    certificate: bytes
    key: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Period:
    """When a certificate is valid: from one time to another, both with a time zone."""

    start: datetime.datetime
    end: datetime.datetime

    @classmethod
    def of_days(cls, days: int) -> Period:
        """From now for so many days; it starts an hour ago, since clocks differ."""
        now = datetime.datetime.now(datetime.timezone.utc)
        return cls(now - _CLOCKS_DIFFER, now + datetime.timedelta(days=days))


def make_authority(study: str, period: Period | None = None) -> Authority:
    """Makes the authority of a study, which is valid for 20 years unless a period is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(study, f"authority of {study}"[:64])
    certificate = (
        _builder(name, name, key.public_key(), period or Period.of_days(_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(certificate), _key_pem(key))


def issue_to_site(authority: Authority, site: str, period: Period) -> Credentials:
    """Issues a certificate by which a hospital connects.

    Raises:
      InputError: the period ends after the authority's.
    """
    return _issue(authority, site, [ExtendedKeyUsageOID.CLIENT_AUTH], period, [])


def issue_to_coordinator(authority: Authority, host: str, period: Period) -> Credentials:
    """Issues a certificate by which the coordinator serves, and asks itself for the status.

    It is also valid for "localhost" and 127.0.0.1, at which a hospital reaches the coordinator
    through a tunnel.

    Args:
      authority: of the study.
      host: the name or the IP address that hospitals connect to.
      period: when it is valid.

    Raises:
      InputError: the period ends after the authority's.
    """
    hosts = [_general_name(each) for each in dict.fromkeys([host, *_LOCAL])]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(authority, COORDINATOR, purposes, period, hosts)


def serial(certificate: bytes) -> int:
    """The number of a certificate (PEM), by which it is revoked."""
    return x509.load_pem_x509_certificate(certificate).serial_number


def name(certificate: bytes) -> str:
    """Whom a certificate (PEM) was issued to: its common name; empty if it has none."""
    subject = x509.load_pem_x509_certificate(certificate).subject
    return _text(subject, NameOID.COMMON_NAME)


def study(certificate: bytes) -> str:
    """The study that a certificate (PEM) is for; empty if it names none."""
    subject = x509.load_pem_x509_certificate(certificate).subject
    return _text(subject, NameOID.ORGANIZATION_NAME)


def is_for(certificate: bytes, host: str) -> bool:
    """Whether a certificate (PEM) is the coordinator's at a host name or an IP address."""
    extensions = x509.load_pem_x509_certificate(certificate).extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return _general_name(host) in names


def expires(certificate: bytes) -> datetime.datetime:
    """When a certificate (PEM) ceases to be valid, in UTC."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def _issue(
    authority: Authority,
    site: str,
    purposes: list[x509.ObjectIdentifier],
    period: Period,
    hosts: list[x509.GeneralName],
) -> Credentials:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    if period.end > issuer.not_valid_after_utc:
        raise InputError(
            f"expected certificates that expire before their authority does, on "
            f"{issuer.not_valid_after_utc:%Y-%m-%d}, found one until {period.end:%Y-%m-%d}"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(_text(issuer.subject, NameOID.ORGANIZATION_NAME), site)
    builder = (
        _builder(subject, issuer.subject, key.public_key(), period)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    signer = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    certificate = builder.sign(signer, hashes.SHA256())
    return Credentials(authority.certificate, _pem(certificate), _key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, period: Period
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(period.start)
        .not_valid_after(period.end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(study: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, study),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _text(subject: x509.Name, attribute: x509.ObjectIdentifier) -> str:
    return "".join(str(each.value) for each in subject.get_attributes_for_oid(attribute))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
