"""The coordinator's end of the connections: gRPC with mutual TLS.

Every call is one message to the coordinator and one back, each as a stream of chunks. Only a
certificate of the study's authority gets as far as a call; whose it is, its common name says. A
refused call is logged with its site. What does not get as far as a call (clear text, a certificate
of another authority or out of its dates), gRPC itself logs on the standard error output, in a line
with "Handshake failed"; `handshake_lines` has it said in words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent import futures
import contextlib
import functools
import logging
import socket
import threading
import time

import grpc

from tffcxr.errors import InputError, one_line
from tffcxr.hospitals import authority, heap, protocol, wire
from tffcxr.hospitals.authority import Credentials
from tffcxr.hospitals.protocol import USUAL_TIMING, Reason, RefusedError, Timing

SERVICE = "tffcxr.hospitals"
METHOD = "Exchange"
REFUSED_KEY = "tffcxr-refused"
_CODES = {
    Reason.MEMBER: grpc.StatusCode.PERMISSION_DENIED,
    Reason.SESSION: grpc.StatusCode.UNAUTHENTICATED,
    Reason.STUDY: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TASK: grpc.StatusCode.NOT_FOUND,
    Reason.MESSAGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CUT: grpc.StatusCode.DATA_LOSS,
    Reason.BUSY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.ENDED: grpc.StatusCode.ABORTED,
}
# A hospital has two calls under way. Those whose connection broke end a little later.
_CALLS_OF_ONE = 16
_LONGEST_CALL_SECONDS = 2 * 3600
_SAME_LINE_SECONDS = 60
# What a hospital may send before the coordinator has taken it up. gRPC would let it grow to
# megabytes of memory for each connection; this much passes 10 MB/s where a round trip is 50 ms.
_AHEAD_BYTES = 512 << 10


class Server:
    """Answers the calls of the members of a study until it is stopped."""

    def __init__(
        self,
        credentials: Credentials,
        address: str,
        handle: Callable[[str, wire.Message], wire.Message],
        *,
        members: int,
        revoked: Callable[[], Collection[int]] = frozenset,
        timing: Timing = USUAL_TIMING,
        largest: Callable[[str], int] = protocol.largest,
        store_of: Callable[[str, wire.Message], wire.Store] = lambda *_: wire.in_memory,
    ) -> None:
        """Takes the address; nobody is answered before `start`.

        Args:
          credentials: the coordinator's.
          address: "HOST:PORT" to listen at; port 0 has the system choose one.
          handle: answers a message of a member, given its name; called by many threads. It
            refuses by raising `protocol.RefusedError`.
          members: how many there are, which bounds the threads.
          revoked: the numbers of the certificates that are not valid any more, as of now.
          timing: see there.
          largest: how many bytes a message of a kind may have; see `wire.decode`.
          store_of: what takes the arrays of a message of a member, given its name; likewise.

        Raises:
          InputError: nothing can listen at the address.
        """
        heap.share_arenas()
        self._handle = handle
        self._revoked = revoked
        self._largest = largest
        self._store_of = store_of
        self._lock = threading.Lock()
        self._calls: dict[str, int] = {}
        self._traffic: dict[str, tuple[int, int]] = {}
        self._said: dict[tuple[str, str], float] = {}
        most = _CALLS_OF_ONE * (members + 1)
        serve = grpc.stream_stream_rpc_method_handler(self._serve)
        self._threads = futures.ThreadPoolExecutor(most, "hospitals")
        self._server = grpc.server(
            self._threads,
            [grpc.method_handlers_generic_handler(SERVICE, {METHOD: serve})],
            options=_options(timing),
            maximum_concurrent_rpcs=most,
        )
        tls = grpc.ssl_server_credentials(
            [(credentials.key, credentials.certificate)],
            credentials.authority,
            require_client_auth=True,
        )
        try:
            _check_free(address)
            self.port = self._server.add_secure_port(address, tls)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"expected an address to listen at, found {address!r}, which is not free or not of "
                "this machine"
            ) from error

    def start(self) -> None:
        """Begins to answer."""
        self._server.start()

    def stop(self) -> None:
        """Closes all connections; calls under way that last longer than a second are cut."""
        self._server.stop(grace=1).wait()
        self._threads.shutdown(wait=False)

    def traffic(self, name: str) -> tuple[int, int]:
        """The bytes from a member and to it so far, those of broken messages included."""
        with self._lock:
            return self._traffic.get(name, (0, 0))

    def _serve(self, chunks: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        shown = context.auth_context()
        name = shown["x509_common_name"][0].decode()
        try:
            self._check(name, authority.serial(shown["x509_pem_cert"][0]), context)
            with self._call_of(name):
                for chunk in self._answer(name, self._counted(name, chunks)):
                    self._count(name, 0, len(chunk))
                    yield chunk
        except RefusedError as refused:
            self._log(name, refused)
            context.set_trailing_metadata(((REFUSED_KEY, refused.reason.value),))
            context.abort(_CODES[refused.reason], str(refused))

    def _answer(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        try:
            store_of = functools.partial(self._store_of, name)
            call = wire.decode(chunks, self._largest, store_of)
            return wire.begun(self._handle(name, call))
        except wire.CutMessageError as error:
            raise RefusedError(Reason.CUT, str(error)) from error
        except wire.MessageError as error:
            raise RefusedError(Reason.MESSAGE, str(error)) from error
        except (RefusedError, grpc.RpcError):
            raise
        except Exception as error:
            logging.exception("the answer to %s failed", name)
            line = f"the coordinator failed to answer: {one_line(error)}"
            raise RefusedError(Reason.MESSAGE, line) from error

    def _check(self, name: str, serial: int, context: grpc.ServicerContext) -> None:
        if serial in self._revoked():
            raise RefusedError(Reason.MEMBER, f"the certificate of {name} is revoked")
        left = context.time_remaining()
        if left is None or left > _LONGEST_CALL_SECONDS:
            raise RefusedError(
                Reason.MESSAGE,
                f"expected a call that ends in {_LONGEST_CALL_SECONDS} s, found a longer one",
            )

    @contextlib.contextmanager
    def _call_of(self, name: str) -> Iterator[None]:
        with self._lock:
            if self._calls.get(name, 0) >= _CALLS_OF_ONE:
                raise RefusedError(
                    Reason.BUSY, f"expected at most {_CALLS_OF_ONE} calls at once, found more"
                )
            self._calls[name] = self._calls.get(name, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._calls[name] -= 1

    def _counted(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._count(name, len(chunk), 0)
            yield chunk

    def _count(self, name: str, received: int, sent: int) -> None:
        with self._lock:
            before = self._traffic.get(name, (0, 0))
            self._traffic[name] = (before[0] + received, before[1] + sent)

    def _log(self, name: str, refused: RefusedError) -> None:
        """Says once per minute what is refused, but not what happens in any run."""
        if refused.is_usual:
            return
        now, line = time.monotonic(), str(refused)
        with self._lock:
            self._said = {
                said: at for said, at in self._said.items() if now < at + _SAME_LINE_SECONDS
            }
            if (name, line) in self._said:
                return
            self._said[name, line] = now
        logging.warning("refused %s: %s", name, line)


def _check_free(address: str) -> None:
    """Raises OSError where nothing can listen; gRPC would add lines of its own."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, int(port)), family=family).close()


def _options(timing: Timing) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _AHEAD_BYTES),
        *keepalive(timing),
        # Else it closes connections that probe more often than every 5 minutes.
        ("grpc.http2.min_ping_interval_without_data_ms", int(500 * timing.keepalive)),
    ]


def keepalive(timing: Timing) -> list[tuple[str, int]]:
    """The options of gRPC by which either side probes a silent connection."""
    return [
        ("grpc.keepalive_time_ms", int(1000 * timing.keepalive)),
        ("grpc.keepalive_timeout_ms", int(1000 * timing.keepalive_answer)),
        # Its own minute counts otherwise.
        ("grpc.http2.ping_timeout_ms", int(1000 * timing.keepalive_answer)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
