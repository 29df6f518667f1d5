"""Whom certificates let in: OpenSSL judges them, in handshakes as a study's members make them."""

import datetime
import ssl

from cryptography import x509
import pytest

from tffcxr.errors import InputError
from tffcxr.hospitals import authority
from tffcxr.hospitals.authority import Period

_HOST = "study.example.org"


@pytest.fixture(name="own", scope="module")
def _own():
    return authority.make_authority("opacity")


@pytest.fixture(name="other", scope="module")
def _other():
    return authority.make_authority("opacity")


def _context(folder, credentials, protocol):
    context = ssl.SSLContext(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    files = []
    for name in ("authority", "certificate", "key"):
        files.append(folder / f"{protocol.name}_{name}.pem")
        files[-1].write_bytes(getattr(credentials, name))
    context.load_verify_locations(files[0])
    context.load_cert_chain(files[1], files[2])
    return context


def _shake_hands(folder, client, server, host=_HOST):
    """The server's view of the client's name, after each has checked the other."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = _context(folder, client, ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
        to_client, to_server, server_hostname=host
    )
    server_side = _context(folder, server, ssl.PROTOCOL_TLS_SERVER).wrap_bio(
        to_server, to_client, server_side=True
    )
    waiting = [client_side, server_side]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    subject = dict(pair for part in server_side.getpeercert()["subject"] for pair in part)
    return subject["commonName"]


def _days(start, end):
    now = datetime.datetime.now(datetime.timezone.utc)
    return Period(now + datetime.timedelta(days=start), now + datetime.timedelta(days=end))


@pytest.mark.parametrize("host", [_HOST, "localhost", "127.0.0.1"])
def test_a_hospital_and_the_coordinator_know_each_other(tmp_path, own, host):
    north = authority.issue_to_site(own, "north", _days(-1, 1))
    coordinator = authority.issue_to_coordinator(own, _HOST, _days(-1, 1))
    assert _shake_hands(tmp_path, north, coordinator, host) == "north"


@pytest.mark.parametrize("address", ["10.1.2.3", "::1"])
def test_a_coordinator_at_an_ip_address(tmp_path, own, address):
    north = authority.issue_to_site(own, "north", _days(-1, 1))
    coordinator = authority.issue_to_coordinator(own, address, _days(-1, 1))
    assert _shake_hands(tmp_path, north, coordinator, address) == "north"
    assert authority.is_for(coordinator.certificate, address)
    assert not authority.is_for(coordinator.certificate, "10.1.2.4")
    assert not authority.is_for(north.certificate, address)


def test_another_host_is_not_the_coordinator(tmp_path, own):
    north = authority.issue_to_site(own, "north", _days(-1, 1))
    coordinator = authority.issue_to_coordinator(own, _HOST, _days(-1, 1))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake_hands(tmp_path, north, coordinator, "other.example.org")


def test_an_authority_of_the_same_name_lets_nobody_in(tmp_path, own, other):
    north = authority.issue_to_site(own, "north", _days(-1, 1))
    coordinator = authority.issue_to_coordinator(other, _HOST, _days(-1, 1))
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(tmp_path, north, coordinator)


@pytest.mark.parametrize(
    ("period", "reason"), [(_days(-2, -1), "has expired"), (_days(1, 2), "not yet valid")]
)
def test_a_certificate_counts_only_in_its_period(tmp_path, own, period, reason):
    north = authority.issue_to_site(own, "north", _days(-1, 1))
    coordinator = authority.issue_to_coordinator(own, _HOST, period)
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        _shake_hands(tmp_path, north, coordinator)


def test_a_hospital_cannot_serve(tmp_path, own):
    north = authority.issue_to_site(own, "north", _days(-1, 1))
    with pytest.raises(ssl.SSLCertVerificationError, match="(unsupported|unsuitable) certificate"):
        _shake_hands(tmp_path, north, north)


def test_the_coordinator_can_ask_itself(tmp_path, own):
    coordinator = authority.issue_to_coordinator(own, _HOST, _days(-1, 1))
    assert _shake_hands(tmp_path, coordinator, coordinator) == authority.COORDINATOR


def test_what_a_certificate_says(own):
    period = _days(-1, 30)
    north = authority.issue_to_site(own, "north", period)
    south = authority.issue_to_site(own, "south", period)
    assert authority.name(north.certificate) == "north"
    assert authority.study(north.certificate) == "opacity"
    assert authority.expires(north.certificate) == period.end.replace(microsecond=0)
    assert authority.serial(north.certificate) != authority.serial(south.certificate)


def test_only_the_authority_signs(own):
    def can_sign(certificate):
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert constraints.critical and usage.critical
        return constraints.value.ca, usage.value.key_cert_sign

    north = authority.issue_to_site(own, "north", _days(-1, 1))
    assert can_sign(own.certificate) == (True, True)
    assert can_sign(north.certificate) == (False, False)


def test_days_begin_before_now_since_clocks_differ():
    now = datetime.datetime.now(datetime.timezone.utc)
    period = Period.of_days(3)
    assert datetime.timedelta(hours=1) >= now - period.start > datetime.timedelta(minutes=59)
    assert datetime.timedelta(days=3) <= period.end - now < datetime.timedelta(days=3, minutes=1)


def test_no_certificate_outlives_its_authority():
    own = authority.make_authority("opacity", _days(-1, 10))
    authority.issue_to_site(own, "north", _days(-1, 9))
    with pytest.raises(InputError, match="before their authority does"):
        authority.issue_to_site(own, "north", _days(-1, 11))


def test_the_key_is_not_shown(own):
    north = authority.issue_to_site(own, "north", _days(-1, 1))
    for shown in (repr(north), repr(own)):
        assert "BEGIN CERTIFICATE" in shown and "PRIVATE" not in shown
