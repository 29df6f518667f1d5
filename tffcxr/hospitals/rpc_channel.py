"""A hospital's end of the connection: gRPC with mutual TLS, through a proxy where one is set.

The proxy is that of the environment: gRPC reads `grpc_proxy`, `https_proxy`, `http_proxy` (the
first that is set; lower case) and `no_grpc_proxy`, `no_proxy`. It must let CONNECT pass to the
coordinator's port, and sees nothing but TLS.
"""

from __future__ import annotations

import contextlib
import re

import grpc

from tffcxr.hospitals import rpc_server, tls_check, wire
from tffcxr.hospitals.authority import Credentials
from tffcxr.hospitals.protocol import (
    LARGEST_CONTENT,
    USUAL_TIMING,
    Reason,
    RefusedError,
    Timing,
    UnreachableError,
)


class Channel:
    """Calls the coordinator."""

    def __init__(
        self, credentials: Credentials, address: str, timing: Timing = USUAL_TIMING
    ) -> None:
        """Connects at the first call.

        Args:
          credentials: the hospital's.
          address: of the coordinator, "HOST:PORT".
          timing: see there.
        """
        self._credentials = credentials
        self._address = address
        self._seconds = timing.keepalive_answer
        self._retry = timing.retry
        self._is_down = False
        tls = grpc.ssl_channel_credentials(
            credentials.authority, credentials.key, credentials.certificate
        )
        options = [
            *rpc_server.keepalive(timing),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
            # In spite of its name also how long an attempt to connect may take.
            ("grpc.min_reconnect_backoff_ms", int(1000 * timing.keepalive_answer)),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", int(1000 * timing.retry)),
        ]
        self._channel = grpc.secure_channel(address, tls, options)
        self._call = self._channel.stream_stream(f"/{rpc_server.SERVICE}/{rpc_server.METHOD}")

    def call(self, message: wire.Message, seconds: float) -> wire.Message:
        """Sends a message and waits for its answer, at most so long.

        Raises:
          RefusedError: by the coordinator.
          UnreachableError: the connection cannot be made or broke; whether the message arrived is
            not known.
          TypeError: the message cannot be sent.
          InputError: this hospital's certificate has expired.
          RunError: the connection can never be made as things are, see `tls_check.problem`.
        """
        chunks = wire.begun(message)
        try:
            self._await_connection()
            call = self._call(chunks, timeout=seconds)
        except ValueError as error:
            raise UnreachableError("the connection was closed by this hospital") from error
        try:
            return wire.decode(call, LARGEST_CONTENT)
        except grpc.RpcError as error:
            self._is_down = error.code() == grpc.StatusCode.UNAVAILABLE
            raise self._what(error) from None
        finally:
            call.cancel()

    def _await_connection(self) -> None:
        """Gives a connection that was lost the time to come back.

        gRPC connects only while somebody waits for it: calls that fail at once, with pauses in
        between, would never see the end of a handshake that takes long, as on a busy machine.
        """
        if self._is_down:
            with contextlib.suppress(grpc.FutureTimeoutError):
                grpc.channel_ready_future(self._channel).result(self._retry)
            self._is_down = False

    def close(self) -> None:
        """Cuts the calls under way, which raise UnreachableError."""
        self._channel.close()

    def _what(self, error: grpc.RpcError) -> Exception:
        said = dict(error.trailing_metadata() or ())
        reason = Reason(said[rpc_server.REFUSED_KEY]) if rpc_server.REFUSED_KEY in said else None
        if reason is not None and reason not in (Reason.CUT, Reason.BUSY):
            return RefusedError(reason, error.details())
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            problem = tls_check.problem(self._credentials, self._address, self._seconds)
            if problem is not None:
                return problem
        return UnreachableError(
            f"the coordinator at {self._address} cannot be reached: {_short(error)}"
        )


def _short(error: grpc.RpcError) -> str:
    details = error.details() or error.code().name
    return " ".join(re.split(r"last error: [A-Z]+: ", details)[-1].split())
