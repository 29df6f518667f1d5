"""Why a connection cannot be made, in words: gRPC says little, and waiting does not always help.

A handshake is made once more, by Python's own TLS, with the same demands on the other side. Nothing
is sent in it but the hospital's certificate, and that only to a coordinator that proved to be it.
"""

from __future__ import annotations

import base64
import datetime
import http.client
import os
import socket
import ssl
import time
import urllib.parse

from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import authority
from tffcxr.hospitals.authority import Credentials

_AGAIN_SECONDS = 0.5
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXIES = ("no_grpc_proxy", "no_proxy")
# Of OpenSSL's x509_vfy.h: not yet valid, expired; another host name, another IP address.
_DATES = {9: "is not valid yet", 10: "has expired"}
_HOSTS = (62, 64)


def problem(credentials: Credentials, address: str, seconds: float) -> InputError | RunError | None:
    """What is wrong with the connection that does not heal by waiting.

    Args:
      credentials: the hospital's.
      address: of the coordinator, "HOST:PORT".
      seconds: to wait at most for a word of the other side.

    Returns:
      An error to raise; None if the handshake succeeds, or the coordinator cannot be reached.
    """
    expires = authority.expires(credentials.certificate)
    if expires < datetime.datetime.now(datetime.timezone.utc):
        return InputError(
            f"expected a valid certificate in the kit, found one that expired on {expires:%Y-%m-%d}"
        )
    try:
        if not _is_closed(credentials, address, seconds):
            return None
        time.sleep(_AGAIN_SECONDS)  # A coordinator that just stops closes connections, too.
        if not _is_closed(credentials, address, seconds):
            return None
    except _HandshakeError as found:
        return RunError(str(found))
    except OSError:
        return None
    return RunError(
        f"the coordinator at {address} does not accept the certificate of this kit: it has expired "
        "by the clock there, or is of another authority"
    )


class _HandshakeError(Exception):
    """The coordinator's side of a handshake is wrong, in a line."""


def _is_closed(credentials: Credentials, address: str, seconds: float) -> bool:
    """Whether the coordinator proves to be it, and closes the connection once it knows who calls.

    Raises:
      _HandshakeError: it does not prove to be the coordinator.
      OSError: the connection cannot be made.
    """
    coordinator = f"the coordinator at {address}"
    with _connect(address, seconds) as plain:
        try:
            with _context(credentials).wrap_socket(plain, server_hostname=_host(address)) as secure:
                return not secure.recv(1)
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in _DATES:
                line = f"the certificate of {coordinator} {_DATES[error.verify_code]}"
            elif error.verify_code in _HOSTS:
                line = f"the certificate of {coordinator} is for another address"
            else:
                line = (
                    f"the certificate of {coordinator} is not of the authority of this kit: the "
                    "kit is of another study, or another server answers there"
                )
            raise _HandshakeError(line) from error
        except ssl.SSLError as error:
            if error.reason == "WRONG_VERSION_NUMBER":
                raise _HandshakeError(f"expected TLS of {coordinator}, found clear text") from error
            raise


def _context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=credentials.authority.decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    # Python reads keys from files alone; this one is in memory.
    with open(os.memfd_create("kit"), "wb") as file:
        file.write(credentials.certificate + credentials.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def _connect(address: str, seconds: float) -> socket.socket:
    """Connects to the coordinator, through a proxy where gRPC would take one.

    Raises:
      OSError: it cannot be reached.
    """
    host, port = _host(address), int(address.rpartition(":")[2])
    proxy = _proxy(host)
    if not proxy:
        return socket.create_connection((host, port), seconds)
    url = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    tunnel = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=seconds)
    login = f"{url.username or ''}:{url.password or ''}"
    headers = {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
    tunnel.set_tunnel(host, port, headers if url.username else {})
    tunnel.connect()
    return tunnel.sock


def _proxy(host: str) -> str:
    proxy = next((os.environ[name] for name in _PROXIES if os.environ.get(name)), "")
    without = next((os.environ[name] for name in _NO_PROXIES if os.environ.get(name)), "")
    hosts = [each.strip().lstrip(".") for each in without.split(",")]
    is_direct = any(host == each or (each and host.endswith(f".{each}")) for each in hosts)
    return "" if is_direct else proxy


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
