"""Calls over TLS on loopback: what arrives, and who and what is refused, in which words."""

import logging
import socket
import threading

import grpc
import numpy as np
import pytest

from tests.hospitals import network
from tffcxr.errors import InputError, RunError
from tffcxr.hospitals import authority, protocol, rpc_server, wire
from tffcxr.hospitals.authority import Credentials
from tffcxr.hospitals.protocol import Reason, RefusedError, UnreachableError
from tffcxr.hospitals.rpc_channel import Channel
from tffcxr.hospitals.rpc_server import Server

# The largest "call" of these tests.
_MOST = 8 << 20


class _Echo:
    """Answers with what it gets; the names and messages are kept."""

    def __init__(self):
        self.got = []

    def __call__(self, name, message):
        self.got.append((name, message))
        return message


@pytest.fixture(name="echo")
def _echo():
    return _Echo()


@pytest.fixture(name="serve")
def _serve(echo):
    servers = []

    def serve(credentials=None, **settings):
        settings = {
            "members": 3,
            "timing": network.QUICK,
            "largest": lambda kind: min(protocol.largest(kind), _MOST),
            **settings,
        }
        one = Server(credentials or network.coordinator(), "127.0.0.1:0", echo, **settings)
        one.start()
        servers.append(one)
        return one

    yield serve
    for one in servers:
        one.stop()


@pytest.fixture(name="channel_to")
def _channel_to():
    channels = []

    def channel_to(address, credentials=None):
        where = address if isinstance(address, str) else f"127.0.0.1:{address}"
        channels.append(Channel(credentials or network.site(), where, network.QUICK))
        return channels[-1]

    yield channel_to
    for channel in channels:
        channel.close()


def _call(channel, message=None):
    return channel.call(message or wire.Message("call"), 10)


def test_arrays_arrive_in_both_directions_and_bytes_are_counted(serve, channel_to, echo):
    one = serve()
    arrays = (np.arange(1_000_000.0), np.zeros((0, 3), np.int8), np.array(True))
    fields = tuple(wire.Field(f"f{n}", array) for n, array in enumerate(arrays))
    message = wire.Message("call", {"round": 3, "site": "Köln"}, fields)
    answer = _call(channel_to(one.port), message)
    assert answer.about == message.about and echo.got[0][0] == "north"
    for field, array in zip(answer.fields, arrays):
        np.testing.assert_array_equal(field.array, array)
    length = sum(map(len, wire.encode(message)))
    assert one.traffic("north") == (length, length) and one.traffic("south") == (0, 0)


def test_refusals_of_the_handler_arrive_with_reason_and_line(channel_to, caplog):
    def refuse(name, message):
        raise RefusedError(Reason(message.about["reason"]), f"no, {name}, because of Köln")

    one = Server(network.coordinator(), "127.0.0.1:0", refuse, members=1, timing=network.QUICK)
    one.start()
    channel = channel_to(one.port)
    for reason in set(Reason) - {Reason.CUT, Reason.BUSY}:
        with pytest.raises(RefusedError, match="^no, north, because of Köln$") as error:
            _call(channel, wire.Message("call", {"reason": reason.value}))
        assert error.value.reason is reason
    one.stop()
    # Once a minute, not once per call.
    assert caplog.messages == ["refused north: no, north, because of Köln"]


def _fail(name, message):
    raise ZeroDivisionError("division by zero")


def test_a_handler_that_fails_is_said_at_both_sides(channel_to, caplog):
    one = Server(network.coordinator(), "127.0.0.1:0", _fail, members=1, timing=network.QUICK)
    one.start()
    with pytest.raises(RefusedError, match="the coordinator failed to answer: division by zero"):
        _call(channel_to(one.port))
    one.stop()
    assert "ZeroDivisionError" in caplog.text


def test_a_revoked_certificate_is_refused_at_its_next_call(serve, channel_to, caplog):
    revoked: set[int] = set()
    one = serve(revoked=lambda: revoked)
    north, south = channel_to(one.port), channel_to(one.port, network.site("south"))
    _call(north)
    revoked.add(authority.serial(network.site("north").certificate))
    with pytest.raises(RefusedError, match="^the certificate of north is revoked$") as error:
        _call(north)
    assert error.value.reason is Reason.MEMBER
    assert caplog.messages == ["refused north: the certificate of north is revoked"]
    _call(south)


@pytest.mark.parametrize(
    ("kind", "megabytes", "line"),
    [
        ("call", 9, f"expected a 'call' of at most {_MOST} bytes, found 94372"),
        ("poll", 1, "expected a 'poll' of at most 65536 bytes, found 10486"),
        (
            "shutdown",
            0,
            "expected one of hello, poll, beat, status, answer, call, found 'shut",
        ),
    ],
)
def test_a_message_that_is_too_large_for_its_kind(
    serve, channel_to, caplog, echo, kind, megabytes, line
):
    channel = channel_to(serve().port)
    with pytest.raises(RefusedError, match=line) as error:
        _call(channel, network.numbers(megabytes, kind))
    assert error.value.reason is Reason.MESSAGE
    assert line in caplog.text and not echo.got
    _call(channel)


@pytest.fixture(name="raw_call")
def _raw_call(serve):
    """Sends chunks as a site's certificate lets anyone, and returns the error."""
    one = serve()
    north = network.site()
    tls = grpc.ssl_channel_credentials(north.authority, north.key, north.certificate)
    with grpc.secure_channel(f"127.0.0.1:{one.port}", tls) as channel:
        method = channel.stream_stream(f"/{rpc_server.SERVICE}/{rpc_server.METHOD}")

        def raw_call(chunks, timeout=10):
            with pytest.raises(grpc.RpcError) as error:
                list(method(iter(chunks), timeout=timeout))
            return error.value

        yield raw_call


def test_a_message_that_claims_10_gb_is_refused_though_nothing_follows(raw_call, echo):
    head = b'{"kind": "call", "about": {}, "fields": [["x", "float32", [2500000000]]]}'
    stays_open = threading.Event()

    def chunks():
        yield wire.MAGIC + len(head).to_bytes(4, "little") + head
        stays_open.wait(10)

    error = raw_call(chunks())
    stays_open.set()
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "found 10000000081" in error.details()
    assert not echo.got


def test_a_message_that_sends_more_than_it_claims_is_refused_without_reading_on(raw_call, echo):
    sent = 0

    def chunks():
        nonlocal sent
        yield from wire.encode(network.numbers(0.5, "call"))
        while sent < 1000:
            sent += 1
            yield bytes(1 << 20)

    error = raw_call(chunks())
    assert "found more bytes" in error.details() and not echo.got
    assert sent < 100


@pytest.mark.parametrize("content", [b"", b"garbage!", b"TCX1\x02\0\0\0[]"])
def test_what_is_no_message_is_refused_in_a_line(raw_call, echo, content):
    error = raw_call([content])
    is_cut = len(content) < 8
    assert error.code().name == ("DATA_LOSS" if is_cut else "INVALID_ARGUMENT")
    assert error.details().startswith("expected") and not echo.got


def test_a_call_without_an_end_in_time_is_refused(raw_call):
    assert "expected a call that ends in 7200 s" in raw_call([b""], timeout=None).details()


def test_half_a_message_counts_nothing_and_holds_up_nobody(serve, channel_to, echo):
    one = serve()
    with network.Relay(one.port) as relay:
        relay.after(1 << 20, relay.cut)
        with pytest.raises(UnreachableError, match="cannot be reached"):
            _call(channel_to(relay.port), network.numbers(7, "call"))
    _call(channel_to(one.port, network.site("south")))
    assert [name for name, _ in echo.got] == ["south"]


def test_members_that_stop_in_the_middle_hold_only_their_own_calls(serve, channel_to, echo):
    one = serve(members=1)
    north = network.site()
    tls = grpc.ssl_channel_credentials(north.authority, north.key, north.certificate)
    start = b"".join(wire.encode(network.numbers(2, "call")))[: 1 << 20]
    goes_on = threading.Event()

    def chunks():
        yield start
        goes_on.wait(20)

    with grpc.secure_channel(f"127.0.0.1:{one.port}", tls) as channel:
        method = channel.stream_stream(f"/{rpc_server.SERVICE}/{rpc_server.METHOD}")
        stuck = [method(chunks(), timeout=2) for _ in range(16)]
        network.until(lambda: one.traffic("north")[0] == 16 << 20)
        with pytest.raises(UnreachableError, match="expected at most 16 calls at once, found"):
            _call(channel_to(one.port))
        _call(channel_to(one.port, network.site("south")))
        for call in stuck:
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        goes_on.set()
    network.until(lambda: _is_served(channel_to(one.port)))
    assert {name for name, _ in echo.got} == {"south", "north"}


def _is_served(channel):
    try:
        return _call(channel).kind == "call"
    except UnreachableError:
        return False


def test_a_connection_that_stalls_is_given_up_long_before_the_call_would_end(serve, channel_to):
    one = serve()
    with network.Relay(one.port) as relay:
        channel = channel_to(relay.port)
        _call(channel)
        relay.stall()
        with pytest.raises(UnreachableError, match="(?i)ping timeout|keepalive"):
            channel.call(wire.Message("call"), 15)


def _of(certificate, root):
    return Credentials(root.certificate, certificate.certificate, certificate.key)


def test_a_kit_of_another_study(serve, channel_to, echo, capfd):
    stranger = authority.issue_to_site(network.study("other"), "north", network.days(-1, 1))
    port = serve().port
    with pytest.raises(RunError, match="is not of the authority of this kit") as error:
        _call(channel_to(port, stranger))
    assert not isinstance(error.value, UnreachableError) and not echo.got
    assert "Handshake failed" in capfd.readouterr().err


@pytest.mark.parametrize(
    "period", [network.days(-9, -1), network.days(1, 9)], ids=["expired", "not yet"]
)
def test_a_coordinator_out_of_its_dates(serve, channel_to, period):
    late = authority.issue_to_coordinator(network.study(), "127.0.0.1", period)
    with pytest.raises(
        RunError, match="the certificate of the coordinator at .* (has expired|is not)"
    ):
        _call(channel_to(serve(late).port))


def test_a_coordinator_at_another_address_than_its_certificates(channel_to, echo):
    one = Server(network.coordinator(), "127.0.0.2:0", echo, members=1, timing=network.QUICK)
    one.start()
    with pytest.raises(RunError, match="^the certificate of the coordinator .* another address$"):
        _call(channel_to(f"127.0.0.2:{one.port}"))
    one.stop()
    assert not echo.got


def test_a_hospital_cannot_take_the_place_of_the_coordinator(serve, channel_to, echo):
    with pytest.raises(RunError, match="^the certificate of the coordinator"):
        _call(channel_to(serve(network.site("south")).port))
    assert not echo.got


def test_a_certificate_that_has_expired_is_said_to_have(serve, channel_to, echo):
    late = authority.issue_to_site(network.study(), "north", network.days(-9, -1))
    with pytest.raises(InputError, match="expected a valid certificate in the kit, found one that"):
        _call(channel_to(serve().port, late))
    assert not echo.got


@pytest.mark.parametrize("case", ["another authority", "not valid yet"])
def test_a_certificate_that_the_coordinator_does_not_take(serve, channel_to, echo, capfd, case):
    period = network.days(1, 2) if case == "not valid yet" else network.days(-1, 1)
    issuer = network.study("other" if case == "another authority" else "own")
    shown = authority.issue_to_site(issuer, "north", period)
    with pytest.raises(RunError, match="does not accept the certificate of this kit"):
        _call(channel_to(serve().port, _of(shown, network.study())))
    assert not echo.got and "CERTIFICATE_VERIFY_FAILED" in capfd.readouterr().err


def test_clear_text_at_the_coordinator(serve, echo, capfd):
    one = serve()
    with socket.create_connection(("127.0.0.1", one.port), 10) as plain:
        plain.sendall(b"POST / HTTP/1.1\r\nHost: coordinator\r\n\r\n" + bytes(100))
        assert plain.recv(100) == b""
    assert not echo.got
    network.until(lambda: "Handshake failed" in capfd.readouterr().err)


def test_a_coordinator_in_clear_text(channel_to):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_say_hello, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        with pytest.raises(RunError, match=f"^expected TLS of the coordinator at 127.0.0.1:{port}"):
            _call(channel_to(port))


def _say_hello(listener):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()


def test_nobody_there_may_heal(channel_to):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError, match="cannot be reached: .*Connection refused"):
        _call(channel_to(port))


def test_a_server_that_closes_connections_may_heal(channel_to):
    with network.Relay(1) as relay, pytest.raises(UnreachableError):
        _call(channel_to(relay.port))


def test_an_address_that_is_taken_is_refused_in_a_line(serve):
    port = serve().port
    with pytest.raises(InputError, match="expected an address to listen at, found '127.0.0.1:"):
        Server(network.coordinator(), f"127.0.0.1:{port}", _Echo(), members=1)


def test_through_a_proxy(serve, channel_to, monkeypatch):
    one = serve()
    with network.Relay(is_proxy=True) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")
        monkeypatch.delenv("no_proxy", raising=False)
        _call(channel_to(f"127.0.0.1:{one.port}"))
        assert proxy.connect_lines == [f"CONNECT 127.0.0.1:{one.port} HTTP/1.1"]
        stranger = authority.issue_to_site(network.study("other"), "north", network.days(-1, 1))
        with pytest.raises(RunError, match="is not of the authority of this kit"):
            _call(channel_to(f"127.0.0.1:{one.port}", stranger))
        assert len(proxy.connect_lines) > 2
        before = len(proxy.connect_lines)
        monkeypatch.setenv("no_proxy", "example.org,127.0.0.1")
        _call(channel_to(f"127.0.0.1:{one.port}"))
        assert len(proxy.connect_lines) == before


def test_many_calls_at_once(serve, channel_to, echo):
    one = serve(members=20)
    channels = [channel_to(one.port, network.site(f"site{n}")) for n in range(20)]
    threads = [threading.Thread(target=_call, args=(channel,)) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name for name, _ in echo.got} == {f"site{n}" for n in range(20)}


@pytest.fixture(autouse=True)
def _logs(caplog):
    caplog.set_level(logging.WARNING)
