"""Starts TFF's worker where nobody else can reach it, and ends it with the program.

This module is run as a program of its own, by `native.py`, with nothing but the standard library,
so that it starts in milliseconds and never imports TensorFlow. It stands between the training
program and `worker_binary`:

    program ──(Unix socket in a private folder)── launcher ──(loopback)── worker_binary

The worker listens on every network interface and runs any graph it is sent. Two ways keep it
unreachable, neither needs root, and they are tried in this order:

*   `namespace`: launcher and worker enter a new user and network namespace, which has no
    interface but its own loopback. The worker is reachable through the launcher's socket alone,
    and that lies in a folder that only the user may enter.
*   `loopback`: where the system forbids new namespaces, the worker runs under a seccomp filter
    that hands its `bind` calls to the launcher, which replaces the "any interface" address by
    127.0.0.1. Other users of the same machine could still connect, other machines cannot.

If neither is allowed, the launcher starts nothing and reports this, unless `--isolation=none`.

The launcher watches the program through a pidfd, and the kernel kills the worker when the
launcher ends (`PR_SET_PDEATHSIG`), so that no way to end any of the three leaves a process.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import sys
import threading
import time

from tffcxr.runtime import native_bind_filter

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_RELAY_BYTES = 1 << 20
EXIT_NOT_ISOLATED = 3

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def _enter_namespace() -> None:
    """Moves this process into a user and network namespace that has only a loopback device.

    Raises:
      OSError: the system does not let this user make namespaces. The process is unchanged.
    """
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET), "unshare")
    # Without a mapping for the own ids, no file could be created any more.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _can_enter_namespace() -> bool:
    """Whether namespaces are allowed here, tried in a child so that failing changes nothing."""
    child = os.fork()
    if child == 0:
        try:
            _enter_namespace()
        except OSError as error:
            print(f"no network namespace: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start_worker(command: list[str], isolation: str) -> tuple[int, socket.socket]:
    """Forks and executes the worker; returns its process id and our end of a socket pair.

    In `loopback` isolation the filter's listener arrives through the pair. In the others nothing
    does, and the far end closes as soon as the worker runs.
    """
    launcher = os.getpid()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child != 0:
        theirs.close()
        return child, ours
    try:
        _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
        if os.getppid() != launcher:  # The launcher died before the line above.
            os._exit(1)
        if isolation == "loopback":
            listener = native_bind_filter.install()
            socket.send_fds(theirs, [b"f"], [listener])
        os.execv(command[0], command)
    except OSError as error:
        print(f"worker not started: {error}", file=sys.stderr, flush=True)
    os._exit(EXIT_NOT_ISOLATED)


def _serve_bind_calls(pair: socket.socket) -> None:
    """Receives the filter's listener and answers it on a thread until the worker ends."""
    _, descriptors, _, _ = socket.recv_fds(pair, 1, 1)
    if not descriptors:
        print("no seccomp filter with user notification here", file=sys.stderr, flush=True)
        os._exit(EXIT_NOT_ISOLATED)
    threading.Thread(target=native_bind_filter.serve, args=descriptors, daemon=True).start()


def _connect(port: int) -> socket.socket:
    """Connects to the worker on loopback, waiting until it listens."""
    while True:
        for address in ("127.0.0.1", "::1"):
            try:
                return socket.create_connection((address, port))
            except OSError:
                continue
        time.sleep(0.02)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    buffer = bytearray(_RELAY_BYTES)
    view = memoryview(buffer)
    try:
        while count := source.recv_into(buffer):
            sink.sendall(view[:count])
    except OSError:
        pass  # One side is gone, which the other learns below.
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _relay(listener: socket.socket, port: int) -> None:
    """Joins every connection on `listener` to one of the worker's."""
    while True:
        near, _ = listener.accept()
        far = _connect(port)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=pair, daemon=True).start()


def _wait_for_either(program: int, worker: int) -> None:
    """Returns when the program or the worker has ended."""
    watched = select.poll()
    for process in (program, worker):
        watched.register(os.pidfd_open(process), select.POLLIN)
    if os.getppid() == program:  # Otherwise it ended before it was watched.
        watched.poll()


def main() -> int:
    """Runs the worker until it or the program ends; returns an exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program to answer.
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=int, required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--isolation", choices=("auto", "namespace", "loopback", "none"))
    parser.add_argument("--worker", required=True)
    args, worker_flags = parser.parse_known_args()

    isolation = args.isolation
    if isolation == "auto":
        isolation = "namespace" if _can_enter_namespace() else "loopback"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(args.socket)
    listener.listen()
    if isolation == "namespace":
        try:
            _enter_namespace()
        except OSError as error:
            print(f"no network namespace: {error}", file=sys.stderr, flush=True)
            return EXIT_NOT_ISOLATED
    port = _unused_port()
    worker, pair = _start_worker([args.worker, f"--port={port}", *worker_flags], isolation)
    if isolation == "loopback":
        _serve_bind_calls(pair)
    print(f"worker {worker}, isolation: {isolation}", flush=True)
    threading.Thread(target=_relay, args=(listener, port), daemon=True).start()
    _wait_for_either(args.program, worker)
    shutil.rmtree(os.path.dirname(args.socket), ignore_errors=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    print(f"worker ended with status {status}", flush=True)
    os._exit(status if 0 <= status < 256 else 128 - status)  # Threads still wait in sockets.
