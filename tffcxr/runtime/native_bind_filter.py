"""A seccomp filter under which a process can listen on the loopback interface alone.

The filter hands every `bind` call to a supervisor (`SECCOMP_RET_USER_NOTIF`, seccomp_unotify(2),
Linux 5.0 or newer), which rewrites the wildcard addresses `0.0.0.0` and `::` in the memory of the
calling process to 127.0.0.1 and lets the call continue. It needs no privilege, and works where user
namespaces are forbidden. Nothing here guards against a process that works against its supervisor
(it could change the address again in between): the worker is not such a process.

Used by `native_launcher.py`, standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import socket
import struct

# Machine name -> (audit architecture, number of bind, number of seccomp).
_ARCHITECTURES = {"x86_64": (0xC000003E, 49, 317), "aarch64": (0xC00000B7, 200, 277)}
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_FLAG_NEW_LISTENER = 1 << 3
_RET_ALLOW = 0x7FFF0000
_RET_USER_NOTIF = 0x7FC00000
_RET_KILL = 0x80000000
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, then number, arch, ip, arguments.
_RESPONSE = struct.Struct("=QqiI")  # id, value, error, flags.
_IOCTL_RECEIVE = 0xC0502100
_IOCTL_SEND = 0xC0182101
_FLAG_CONTINUE = 1
_LOOPBACK_4 = socket.inet_aton("127.0.0.1")
_LOOPBACK_6 = socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install() -> int:
    """Puts the filter on this process and its future children; returns the listener.

    Raises:
      OSError: the kernel has no such filter, or the system forbids it.
    """
    if platform.machine() not in _ARCHITECTURES:
        raise OSError(f"no bind filter for {platform.machine()}")
    architecture, bind, seccomp = _ARCHITECTURES[platform.machine()]
    instructions = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD_WORD, 0, 0, 4),  # seccomp_data.arch
            (_JUMP_EQUAL, 1, 0, architecture),
            (_RETURN, 0, 0, _RET_KILL),
            (_LOAD_WORD, 0, 0, 0),  # seccomp_data.nr
            (_JUMP_EQUAL, 0, 1, bind),
            (_RETURN, 0, 0, _RET_USER_NOTIF),
            (_RETURN, 0, 0, _RET_ALLOW),
        )
    )
    program = _Program(len(instructions) // 8, instructions)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    listener = _libc.syscall(seccomp, _SET_MODE_FILTER, _FLAG_NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp: {os.strerror(error)}")
    return listener


def _loopback(address: bytes) -> bytes:
    """The socket address with a wildcard replaced by loopback, otherwise as it is."""
    (family,) = struct.unpack_from("=H", address)
    if family == socket.AF_INET and address[4:8] == bytes(4):
        return address[:4] + _LOOPBACK_4 + address[8:]
    if family == socket.AF_INET6 and address[8:24] == bytes(16):
        return address[:8] + _LOOPBACK_6 + address[24:]
    return address


def serve(listener: int) -> None:
    """Answers bind calls until no process with the filter is left.

    A call whose address cannot be read or rewritten is refused, never let through.
    """
    while True:
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _IOCTL_RECEIVE, buffer)
        except FileNotFoundError:
            continue  # The caller was killed between its call and our answer.
        except OSError:
            return
        identity, process, *_, pointer, length, _, _, _ = _NOTIFICATION.unpack(buffer)
        response = _RESPONSE.pack(identity, 0, 0, _FLAG_CONTINUE)
        try:
            with open(f"/proc/{process}/mem", "r+b", buffering=0) as memory:
                memory.seek(pointer)
                address = memory.read(length)
                if (replaced := _loopback(address)) != address:
                    memory.seek(pointer)
                    memory.write(replaced)
        except (OSError, struct.error):
            response = _RESPONSE.pack(identity, 0, -13, 0)  # EACCES
        try:
            fcntl.ioctl(listener, _IOCTL_SEND, response)
        except OSError:
            continue
