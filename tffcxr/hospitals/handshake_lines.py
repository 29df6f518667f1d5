"""Says in words what gRPC logs of connections that fail before they reach the coordinator.

gRPC for Python has no hook for a handshake that fails: its core writes a line of OpenSSL's to the
standard error output of the process. While `in_words` lasts, what the process and its children
write there passes through a child, which replaces these lines and nothing else:

    fd 2 ──► pipe ──► this file as a program ──► the standard error output as it was

A child, because a process that crashes cannot pass on its own last words. `sys.stderr` writes
directly, so progress bars still see a terminal. This changes nothing of the connections: gRPC alone
decides who is let in. The file imports the standard library alone, to start in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
import time

_CHUNK = 1 << 16
_HELD_SECONDS = 0.2
_SAME_LINE_SECONDS = 60
_ENDED_SECONDS = 2
_REFUSED = "refused a connection: "
_ITS_CERTIFICATE = f"{_REFUSED}its certificate "
_TRY = "; `hospital check` says at a hospital whether its kit is in order"
_REASONS = {
    "certificate has expired": f"{_ITS_CERTIFICATE}has expired{_TRY}",
    "certificate is not yet valid": f"{_ITS_CERTIFICATE}is not valid yet by the clock here{_TRY}",
    "CERTIFICATE_VERIFY_FAILED": f"{_ITS_CERTIFICATE}is not from this study's authority{_TRY}",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": f"{_REFUSED}it shows no certificate",
    "HTTP_REQUEST": f"{_REFUSED}expected TLS, found clear text (HTTP)",
    "HTTPS_PROXY_REQUEST": f"{_REFUSED}expected TLS, found clear text (HTTP)",
    "WRONG_VERSION_NUMBER": f"{_REFUSED}expected TLS, found clear text",
}
# A line of gRPC's log, and one that its log begins with.
_FAILED = re.compile(
    rb"[IWE]\d{4} [^\n]*ssl_transport_security[^\n]*Handshake failed with ([^\n]*)"
)
_PREAMBLE = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
)
_TELLING = len(b"WARNING: All log")
_MAY_BE_LOG = re.compile(rb"[IWE]\d{4} [^\n]*")


class Words:
    """Replaces gRPC's lines in what is written to the standard error output.

    Args:
      clock: the time in seconds; the same line is said once per minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held = b""
        self._said: dict[bytes, float] = {}
        self._is_at_start = True

    @property
    def holds(self) -> bool:
        """Whether something was held back that may be the beginning of a line of gRPC's."""
        return bool(self._held)

    def passed(self, written: bytes) -> bytes:
        """What of this, and of what was held back, is to be shown now."""
        lines = (self._held + written).splitlines(keepends=True) or [b""]
        self._held = b""
        shown = []
        for number, line in enumerate(lines):
            is_last = number == len(lines) - 1
            if self._is_at_start and is_last and self._may_go_on(line):
                self._held += line
            elif self._is_at_start and line == _PREAMBLE:
                # A line of gRPC's that is replaced takes its preamble along.
                following = b"".join(lines[number + 1 :])
                if number == len(lines) - 2 and self._may_go_on(following):
                    self._held = line
                elif not _FAILED.match(following):
                    shown.append(line)
            elif failed := _FAILED.search(line):
                before, words = line[: failed.start()], self._of(failed[1])
                is_whole = self._is_at_start and not before
                shown.append(before + (b"\n" if words and not is_whole else b"") + words)
                self._is_at_start = is_whole or bool(words)
            else:
                shown.append(line)
                self._is_at_start = line.endswith((b"\n", b"\r")) or (
                    self._is_at_start and not line
                )
        return b"".join(shown)

    def rest(self) -> bytes:
        """What was held back, as it is."""
        held, self._held = self._held, b""
        self._is_at_start = held.endswith(b"\n") or (self._is_at_start and not held)
        return held

    def _may_go_on(self, line: bytes) -> bool:
        is_log = bool(_MAY_BE_LOG.fullmatch(line))
        return is_log or (len(line) >= _TELLING and _PREAMBLE.startswith(line))

    def _of(self, reason: bytes) -> bytes:
        """The line for a reason; empty if it was said a short while ago."""
        text = reason.decode("utf-8", "replace").strip()
        line = next((words for key, words in _REASONS.items() if key in text), None)
        line = line or f"{_REFUSED}no TLS as this study needs it ({text})"
        said = line.encode() + b"\n"
        now = self._clock()
        if now < self._said.get(said, -_SAME_LINE_SECONDS) + _SAME_LINE_SECONDS:
            return b""
        self._said[said] = now
        return said


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Has failed handshakes said in words on the standard error output, see the module.

    To be called before gRPC is imported, which then reads how much it is to log.
    """
    if os.environ.get("GRPC_VERBOSITY", "").upper() in ("NONE", "ERROR"):
        del os.environ["GRPC_VERBOSITY"]  # It would say nothing of a hospital that is refused.
    sys.stderr.flush()
    kept = os.dup(2)  # Stays open: log handlers that are made meanwhile keep writing to it.
    program = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=kept,
    )
    assert program.stdin is not None
    os.dup2(program.stdin.fileno(), 2)
    program.stdin.close()
    try:
        with _python_writes_to(kept):
            yield
    finally:
        os.dup2(kept, 2)
        # A child of this process may still have the pipe; the program passes on what it writes.
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(_ENDED_SECONDS)


@contextlib.contextmanager
def _python_writes_to(descriptor: int) -> Iterator[None]:
    """Has `sys.stderr` write there, if it wrote to the process's own standard error output."""
    before = sys.stderr
    try:
        is_own = before.fileno() == 2
    except (OSError, ValueError, AttributeError):
        is_own = False
    if not is_own:  # Somebody reads it, such as a test.
        yield
        return
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False)),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=True,
    )
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before


def main() -> None:
    """Passes the standard input on to the standard error output until nobody writes any more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # What others say of their end is passed on, too.
    words = Words()
    while True:
        if words.holds and not select.select([0], [], [], _HELD_SECONDS)[0]:
            _write(words.rest())
        written = os.read(0, _CHUNK)
        if not written:
            break
        _write(words.passed(written))
    _write(words.rest())


def _write(content: bytes) -> None:
    while content:
        content = content[os.write(2, content) :]


if __name__ == "__main__":
    main()
