"""A connection that fails before it arrives: a line in words, and nothing else that is lost."""

import os
import pathlib
import pty
import subprocess
import sys

import pytest

from tests.experiments import programs
from tffcxr.hospitals import handshake_lines

LOG = (
    b"I0000 00:00:1795971035.684084   17285 ssl_transport_security.cc:1756] Handshake failed with "
    b"error SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: "
)
PREAMBLE = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
)
EXPIRED = b"refused a connection: its certificate has expired"

# A coordinator that hospitals with good and with bad certificates call.
SERVER = """
import contextlib, socket, sys
from tffcxr.hospitals import handshake_lines

stack = contextlib.ExitStack()
stack.enter_context(handshake_lines.in_words())
import grpc
from tests.hospitals import network
from tffcxr.hospitals import authority, rpc_server, wire

def tls_of(study, first, last):
    shown = authority.issue_to_site(network.study(study), "north", network.days(first, last))
    return grpc.ssl_channel_credentials(own, shown.key, shown.certificate)

def call(tls):
    with grpc.secure_channel(f"127.0.0.1:{server.port}", tls) as channel:
        method = channel.stream_stream(f"/{rpc_server.SERVICE}/{rpc_server.METHOD}")
        try:
            wire.decode(method(wire.encode(wire.Message("beat")), timeout=10), lambda _: 1000)
            print("let in")
        except grpc.RpcError:
            print("kept out")

def send(content):
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        plain.sendall(content + bytes(100))
        plain.recv(1)

own = network.coordinator().authority
server = rpc_server.Server(
    network.coordinator(), "127.0.0.1:0", lambda _, message: message, members=1
)
server.start()
call(tls_of("own", -1, 1))
call(tls_of("other", -1, 1))
call(tls_of("other", -1, 1))
call(tls_of("own", 1, 2))
call(tls_of("own", -9, -1))
call(grpc.ssl_channel_credentials(own))
send(b"POST / HTTP/1.1")
send(b"")
call(tls_of("own", -1, 1))
server.stop()
stack.close()
"""


def run(code, **settings):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=programs.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **settings,
    )


def test_every_refused_connection_is_said_in_words_at_the_coordinator():
    # A shell may have silenced gRPC.
    ended = run(SERVER, env={**os.environ, "GRPC_VERBOSITY": "NONE"})
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["let in", *["kept out"] * 5, "let in"]
    hint = "; `hospital check` says at a hospital whether its kit is in order"
    assert ended.stderr.splitlines() == [
        f"refused a connection: its certificate is not from this study's authority{hint}",
        f"refused a connection: its certificate is not valid yet by the clock here{hint}",
        f"refused a connection: its certificate has expired{hint}",
        "refused a connection: it shows no certificate",
        "refused a connection: expected TLS, found clear text (HTTP)",
        "refused a connection: expected TLS, found clear text",
    ]


WRITES = f"""
import logging, os, subprocess, sys
from tffcxr.hospitals import handshake_lines
print("before", file=sys.stderr)
early = logging.StreamHandler()
with handshake_lines.in_words():
    late = logging.StreamHandler()
    print("of Python", file=sys.stderr)
    os.write(2, b"of C\\n\\xff\\xfe without a newline")
    os.write(2, {LOG + b"certificate has expired"!r} + b"\\n")
    os.write(2, {LOG + b"certificate has expired"!r} + b"\\n")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, bytes([10]) + b'of a child')"])
    for handler, text in ((early, "early"), (late, "late")):
        handler.emit(logging.LogRecord("", 0, "", 0, text, (), None))
    END
"""


@pytest.mark.parametrize(
    ("end", "status", "last"),
    [
        ("pass", 0, "after"),
        ("raise ValueError('a fault')", 1, "ValueError: a fault"),
        ("os.write(2, b'Fatal error'); os.abort()", -6, "Fatal error"),
        ("os.write(2, b'killed'); os.kill(os.getpid(), 9)", -9, "killed"),
        ("sys.exit('a message')", 1, "a message"),
    ],
    ids=["normal", "traceback", "abort", "kill", "exit"],
)
def test_nothing_else_is_lost_however_the_process_ends(end, status, last):
    code = WRITES.replace("END", end) + "print('after', file=sys.stderr)\n"
    ended = run(code, errors="surrogateescape")
    assert ended.returncode == status
    lines = ended.stderr.splitlines()
    assert lines[0] == "before"
    for line in ("of Python", "of C", "early", "late", EXPIRED.decode(), "of a child", last):
        assert ended.stderr.count(line) == 1, line
    assert b"\xff\xfe without a newline" in ended.stderr.encode(errors="surrogateescape")
    assert last in lines[-1] or status < 0
    assert ("Traceback" in ended.stderr) == (last == "ValueError: a fault")


def test_python_still_sees_a_terminal_and_the_descriptor_is_restored():
    code = (
        "import os, sys\n"
        "from tffcxr.hospitals import handshake_lines\n"
        "before = os.stat(2).st_rdev\n"
        "with handshake_lines.in_words():\n"
        "    assert sys.stderr.isatty() and not os.isatty(2)\n"
        "    print('50 %', end='\\r', file=sys.stderr)\n"
        "assert os.isatty(2) and os.stat(2).st_rdev == before and sys.stderr is sys.__stderr__\n"
    )
    here, there = pty.openpty()
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=programs.REPOSITORY, stderr=there, timeout=60, check=False
    )
    os.close(there)
    assert (ended.returncode, os.read(here, 100)) == (0, b"50 %\r")
    os.close(here)


def test_a_log_line_in_pieces_and_one_that_is_said_too_often():
    now = [0.0]
    words = handshake_lines.Words(lambda: now[0])
    line = LOG + b"certificate has expired\n"
    assert words.passed(PREAMBLE) == b"" and words.passed(line[:9]) == b"" and words.holds
    shown = words.passed(line[9:] + b"Epoch 1")
    assert shown.startswith(EXPIRED) and shown.endswith(b"\nEpoch 1") and not words.holds
    # It comes while another line has not ended, first too often.
    assert words.passed(b" of 5" + line + b": ") == b" of 5: "
    now[0] = 61
    assert words.passed(line).startswith(b"\n" + EXPIRED)
    assert words.passed(line) == b""


def test_what_is_not_of_a_handshake_stays_as_it_is():
    words = handshake_lines.Words()
    for text in (PREAMBLE + b"E0000 00:00:17 1 lb_policy.cc:3] other\n", b"\n", b"W", b"\r 5 %\r"):
        assert words.passed(text) == text
    assert words.passed(b"E0001 unfinished") == b""
    assert words.rest() == b"E0001 unfinished" and words.rest() == b""
    reason = LOG.replace(b"CERTIFICATE_VERIFY_FAILED", b"NO_SHARED_CIPHER")
    assert words.passed(reason + b"bad\n") == (
        b"\nrefused a connection: no TLS as this study needs it (error SSL_ERROR_SSL: "
        b"error:1000007d:SSL routines:OPENSSL_internal:NO_SHARED_CIPHER: bad)\n"
    )


def test_the_program_needs_nothing_but_the_standard_library():
    path = pathlib.Path(handshake_lines.__file__)
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(path)], input=LOG + b"certificate has expired\nlast",
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0 and ended.stderr.startswith(EXPIRED)
    assert ended.stderr.endswith(b"\nlast")
