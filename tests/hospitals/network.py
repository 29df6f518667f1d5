"""A study's certificates, and what stands between its members, for tests over loopback."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import datetime
import functools
import math
import socket
import threading
import time

import numpy as np
import pytest

from tffcxr.hospitals import authority, outgoing, protocol, wire
from tffcxr.hospitals.authority import Credentials, Period
from tffcxr.hospitals.hub import CoordinatorHub
from tffcxr.hospitals.link import HospitalLink
from tffcxr.hospitals.protocol import Reason, RefusedError, Timing
from tffcxr.hospitals.rpc_channel import Channel

VERSIONS = {"tffcxr": "0.1.0", "tensorflow": "2.14.1"}
_CHUNK = 1 << 13
QUICK = Timing(
    wait=0.5, beat=0.1, gone=1.0, retry=0.2, exchange=20, keepalive=0.5, keepalive_answer=0.5
)


def days(first: float, last: float) -> Period:
    now = datetime.datetime.now(datetime.timezone.utc)
    return Period(now + datetime.timedelta(days=first), now + datetime.timedelta(days=last))


def study(name: str = "own") -> authority.Authority:
    return _study(name)


@functools.cache
def _study(name: str) -> authority.Authority:
    return authority.make_authority(name, days(-30, 30))


@functools.cache
def coordinator() -> Credentials:
    return authority.issue_to_coordinator(study(), "127.0.0.1", days(-1, 1))


def site(name: str = "north") -> Credentials:
    return _site(name)


@functools.cache
def _site(name: str) -> Credentials:
    return authority.issue_to_site(study(), name, days(-1, 1))


def numbers(megabytes: float = 0.0, kind: str = "numbers", **about) -> wire.Message:
    array = np.arange(max(1, int(megabytes * (1 << 18))), dtype=np.float32)
    return wire.Message(kind, about, (wire.Field("x", array),))


def until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    """Waits until something is so, or fails."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Relay:
    """Passes bytes on to a port, and cuts or stalls connections on request.

    Attributes:
      connections: how many were made.
      passed: bytes that came, in both directions.
      bytes_per_second: that pass at most in each direction of a connection.
      connect_lines: the first lines of the requests, where it is an HTTP proxy.
    """

    def __init__(
        self, port: int = 0, *, is_proxy: bool = False, bytes_per_second: float = math.inf
    ) -> None:
        self.connections = 0
        self.passed = 0
        self.bytes_per_second = bytes_per_second
        self.connect_lines: list[str] = []
        self._to = port
        self._stalled = 0
        self._is_proxy = is_proxy
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._due: tuple[int, Callable[[], object]] | None = None
        self._is_closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._is_closed.set()
        self.cut()

    def cut(self) -> None:
        """Cuts all connections."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def stall(self) -> None:
        """Passes nothing on any more of the connections that there are; they stay open."""
        self._stalled = self.connections

    def after(self, more: int, act: Callable[[], object]) -> None:
        """Does something once, when exactly so many more bytes have passed, in any direction."""
        with self._lock:
            self._due = (self.passed + more, act)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here: socket.socket) -> None:
        with here, contextlib.suppress(OSError):
            to = self._requested(here) if self._is_proxy else self._to
            with socket.create_connection(("127.0.0.1", to)) as there:
                self.connections += 1
                number = self.connections
                self._open += [here, there]
                back = threading.Thread(target=self._pass, args=(number, there, here), daemon=True)
                back.start()
                self._pass(number, here, there)
                back.join()

    def _requested(self, here: socket.socket) -> int:
        request = b""
        while b"\r\n\r\n" not in request:
            request += here.recv(1 << 10)
        line = request.split(b"\r\n")[0].decode()
        self.connect_lines.append(line)
        here.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return int(line.split()[1].rpartition(":")[2])

    def _pass(self, number: int, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(_CHUNK):
                time.sleep(len(content) / self.bytes_per_second)
                before, act = self._count(len(content))
                if act is not None:
                    target.sendall(content[:before])
                    act()
                    content = content[before:]
                if number <= self._stalled:
                    self._is_closed.wait()
                target.sendall(content)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _count(self, length: int) -> tuple[int, Callable[[], object] | None]:
        """Counts bytes that came; how many of them pass before what is due, and what that is."""
        with self._lock:
            passed, self.passed = self.passed, self.passed + length
            if self._due is None or self._due[0] >= self.passed:
                return 0, None
            (at, act), self._due = self._due, None
            return at - passed, act


def hub(port: int = 0, sites: tuple[str, ...] = ("north", "south"), **settings) -> CoordinatorHub:
    """A hub that is to be started."""
    settings = {"timing": QUICK, **settings}
    return CoordinatorHub(coordinator(), f"127.0.0.1:{port}", sites, VERSIONS, **settings)


def link(port: int, log: outgoing.OutgoingLog, site: str = "north", **settings) -> HospitalLink:
    """A link that is to be entered."""
    settings = {
        "credentials": _site(site),
        "outgoing": log,
        "versions": VERSIONS,
        "instance": "folder",
        "approve": _never_asked,
        "timing": QUICK,
        **settings,
    }
    return HospitalLink(address=f"127.0.0.1:{port}", **settings)


def _never_asked(proposal: bytes) -> str:
    raise AssertionError("nothing to approve")


class Hospital:
    """A hospital that says what its test has it say, and nothing on its own."""

    def __init__(self, port: int, site: str, **about) -> None:
        credentials = coordinator() if site == authority.COORDINATOR else _site(site)
        self._channel = Channel(credentials, f"127.0.0.1:{port}", QUICK)
        self._hello = {
            "protocol": protocol.VERSION,
            "versions": VERSIONS,
            "instance": "folder",
            "process": "1",
            "approved": None,
            **about,
        }
        self.session = ""

    def close(self) -> None:
        self._channel.close()

    def send(self, message: wire.Message) -> wire.Message:
        return self._channel.call(message, 10)

    def hello(self, **about) -> wire.Message:
        reply = self.send(wire.Message("hello", {**self._hello, **about}))
        self.session = reply.about.get("session", "")
        return reply

    def poll(self, *has: str, wait: float = 5) -> wire.Message:
        about = {"session": self.session, "has": list(has), "wait": wait}
        return self.send(wire.Message("poll", about))

    def beat(self, doing: str = "", error: str = "") -> wire.Message:
        about = {"session": self.session, "doing": doing, "error": error}
        return self.send(wire.Message("beat", about))

    def answer(self, task: str, message: wire.Message) -> wire.Message:
        about = {"session": self.session, "task": task}
        return self.send(protocol.wrap("answer", about, message))

    def call(self, message: wire.Message) -> wire.Message:
        return protocol.unwrap(self.send(protocol.wrap("call", {"session": self.session}, message)))


def refused(reason: Reason, call: Callable[..., object], *arguments: object, **about) -> str:
    """The line by which a call is refused, for this reason."""
    with pytest.raises(RefusedError) as error:
        call(*arguments, **about)
    assert error.value.reason is reason and "\n" not in str(error.value)
    return str(error.value)
