"""The publisher alone: its files, its limits, and what garbage does to it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
import zmq
from greenroom.actors.errors import SessionNotFoundError, StoreCorruptError
from greenroom.transport.bus import endpoints as endpoints_module
from greenroom.transport.bus import events_socket as events_module
from greenroom.transport.bus import publisher as publisher_module
from greenroom.transport.bus.catchup import (
    ErrorReply,
    HeadsReply,
    HeadsRequest,
    RowsReply,
    RowsRequest,
    decode_reply,
    encode_request,
)
from greenroom.transport.bus.endpoints import (
    ENDPOINTS_FILE,
    IPC_PATH_BYTES_MAX,
    Endpoints,
    prepare_endpoints,
)
from greenroom.transport.bus.errors import BusClosedError, BusEndpointError
from greenroom.transport.bus.fields import Head
from greenroom.transport.bus.frames import Heartbeat, RowsFrame, decode_frame, runs_of
from greenroom.transport.bus.publisher import Publisher
from greenroom.transport.bus.subscriber import Subscriber

WAIT_MS = 20_000


class Peers:
    """Raw sockets of other processes' kind, closed together."""

    def __init__(self) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self._sockets: list[zmq.Socket[Any]] = []

    def socket(self, kind: int) -> zmq.Socket[Any]:
        sock: zmq.Socket[Any] = self.context.socket(kind)
        sock.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        self._sockets.append(sock)
        return sock

    def dealer(self, runtime: Any) -> zmq.Socket[Any]:
        sock = self.socket(zmq.DEALER)
        sock.connect(runtime.publisher.endpoints.control)
        return sock

    def follow(self, runtime: Any, topic: bytes = b"") -> zmq.Socket[Any]:
        sock = self.socket(zmq.SUB)
        sock.setsockopt(zmq.SUBSCRIBE, topic)
        sock.setsockopt(zmq.SUBSCRIBE, b"h\0")
        sock.connect(runtime.publisher.endpoints.events)
        sock.recv()  # a heartbeat: the subscription is there
        return sock


@pytest.fixture
def peers() -> Iterator[Peers]:
    peers = Peers()
    yield peers
    peers.context.destroy(linger=0)


# -- endpoints --------------------------------------------------------------------------------


def test_endpoints_file_comes_and_goes_with_the_publisher(
    tmp_path: Path, runtimes: Callable[..., Any]
) -> None:
    runtime = runtimes(tmp_path)
    document = json.loads((tmp_path / ENDPOINTS_FILE).read_text())
    endpoints = runtime.publisher.endpoints
    assert document == {
        "events": endpoints.events,
        "control": endpoints.control,
        "pid": os.getpid(),
    }
    directory = Path(endpoints.events.removeprefix("ipc://")).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(entry.name for entry in directory.iterdir()) == ["control", "events"]
    runtime.stop()
    assert not (tmp_path / ENDPOINTS_FILE).exists()
    assert not directory.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_control_plane_is_found_beside_the_others_and_goes_with_them(
    tmp_path: Path, runtimes: Callable[..., Any]
) -> None:
    runtime = runtimes(tmp_path)
    assert Endpoints.read(tmp_path).commands == ""
    endpoints = runtime.publisher.endpoints.with_commands()
    path = Path(endpoints.commands.removeprefix("ipc://"))
    assert path.parent == Path(endpoints.events.removeprefix("ipc://")).parent
    assert len(os.fsencode(path)) <= IPC_PATH_BYTES_MAX
    path.touch()
    endpoints.write(tmp_path)
    assert Endpoints.read(tmp_path) == endpoints
    runtime.stop()
    assert not path.parent.exists()


def test_the_addresses_depend_on_the_real_home_only(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("home")
    here = prepare_endpoints(tmp_path / "home")
    assert prepare_endpoints(tmp_path / "link") == here
    assert prepare_endpoints(tmp_path / "other") != here


def test_a_long_home_and_a_long_runtime_directory_still_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path
    for _ in range(5):
        deep /= "d" * 60
    deep.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    endpoints = prepare_endpoints(deep)
    for address in (endpoints.events, endpoints.control):
        assert len(os.fsencode(address.removeprefix("ipc://"))) <= IPC_PATH_BYTES_MAX <= 107
    Path(endpoints.events.removeprefix("ipc://")).parent.rmdir()
    monkeypatch.setattr(endpoints_module, "IPC_PATH_BYTES_MAX", 10)
    with pytest.raises(BusEndpointError, match="short enough"):
        prepare_endpoints(deep)


@pytest.mark.parametrize("value", ["", "relative", "/no/such/directory"])
def test_a_useless_runtime_directory_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    monkeypatch.setattr(endpoints_module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(endpoints_module, "IPC_PATH_BYTES_MAX", 300)
    assert str(tmp_path) in prepare_endpoints(tmp_path).events


def test_a_directory_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_endpoints(tmp_path)
    real = os.getuid()
    name = Path(prepare_endpoints(tmp_path).events.removeprefix("ipc://")).parent
    monkeypatch.setattr(endpoints_module.os, "getuid", lambda: real + 1)
    name.rename(name.with_name(name.name.replace(f"-{real}-", f"-{real + 1}-")))
    with pytest.raises(BusEndpointError, match="not a directory of this user"):
        prepare_endpoints(tmp_path)


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    directory = Path(prepare_endpoints(tmp_path).events.removeprefix("ipc://")).parent
    directory.rmdir()
    directory.symlink_to(tmp_path)
    with pytest.raises(BusEndpointError):
        prepare_endpoints(tmp_path)
    directory.unlink()
    directory.write_bytes(b"")
    with pytest.raises(BusEndpointError):
        prepare_endpoints(tmp_path)


def test_a_directory_open_to_others_is_closed(tmp_path: Path) -> None:
    directory = Path(prepare_endpoints(tmp_path).events.removeprefix("ipc://")).parent
    directory.chmod(0o755)
    prepare_endpoints(tmp_path)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_directory_that_can_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(BusEndpointError):
        prepare_endpoints(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"events": "x"}', "null"])
def test_an_unreadable_endpoints_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / ENDPOINTS_FILE).write_text(text)
    with pytest.raises(BusEndpointError, match="restart the runtime"):
        Endpoints.read(tmp_path)


def test_a_failed_write_leaves_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(endpoints_module.os, "rename", fail)
    with pytest.raises(OSError, match="no space"):
        Endpoints("a", "b").write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_withdrawing_leaves_the_file_of_another_process(tmp_path: Path) -> None:
    endpoints = prepare_endpoints(tmp_path)
    endpoints.write(tmp_path)
    document = json.loads((tmp_path / ENDPOINTS_FILE).read_text())
    (tmp_path / ENDPOINTS_FILE).write_text(json.dumps({**document, "pid": 1}))
    endpoints.withdraw(tmp_path)
    assert (tmp_path / ENDPOINTS_FILE).exists()
    endpoints.withdraw(tmp_path / "none")


# -- life -------------------------------------------------------------------------------------


def test_open_fails_as_a_whole(tmp_path: Path, runtimes: Callable[..., Any]) -> None:
    runtime = runtimes(tmp_path)
    missing = runtime.hub.call(lambda: Publisher(tmp_path / "none", source=runtime.source))
    with pytest.raises(BusEndpointError):
        runtime.hub.call(missing.open)
    with pytest.raises(BusClosedError):
        _ = missing.endpoints
    runtime.hub.call(missing.close)


def test_closed_it_publishes_nothing_and_says_nothing(runtime: Any) -> None:
    runtime.hub.call(runtime.publisher.close)
    runtime.hub.call(runtime.publisher.close)
    runtime.add("a", 1)
    runtime.hub.call(runtime.publisher.beat)
    with pytest.raises(BusClosedError):
        _ = runtime.publisher.endpoints


def test_after_a_fork_it_is_unusable(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.publisher, "_owner", 1)
    with pytest.raises(BusClosedError):
        runtime.publisher.publish("a", [b"x"])
    with pytest.raises(BusClosedError):
        runtime.publisher.close()
    runtime.publisher.beat()
    monkeypatch.undo()


# -- frames -----------------------------------------------------------------------------------


def test_rows_published_together_share_a_frame(runtime: Any, peers: Peers) -> None:
    sock = peers.follow(runtime, b"s/a\0")
    runtime.add("b", 1)
    runtime.add("a", 3)
    runtime.hub.call(runtime.publisher.publish, "a", [])
    frames = [decode_frame(sock.recv())]
    while not isinstance(frames[-1], RowsFrame):
        frames.append(decode_frame(sock.recv()))
    frame = frames[-1]
    assert frame.session_id == "a"
    (run,) = runs_of("a", frame.body)
    assert (run.epoch, run.first, run.last) == (1, 1, 3)


def test_heartbeats_name_what_changed_until_it_is_too_much(
    runtime: Any, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "HEARTBEAT_HEADS_MAX", 2)
    sock = peers.follow(runtime, b"h\0")

    def beats(*names: str) -> Heartbeat:
        def work() -> None:
            for name in names:
                runtime.publisher.publish(name, runtime.source.add(name, 2))
            runtime.publisher.beat()

        runtime.hub.call(runtime.publisher.beat)
        before = runtime.publisher._beats
        runtime.hub.call(work)
        while True:
            frame = decode_frame(sock.recv())
            assert isinstance(frame, Heartbeat)
            if frame.number > before:
                return frame

    assert beats().heads == ()
    assert beats("a", "b").heads == (Head("a", 1, 2), Head("b", 1, 2))
    assert beats("a", "b", "c").heads is None
    last = beats("c", "c")
    assert last.heads == (Head("c", 1, 6),)
    assert last.frames == 7


def test_bytes_that_are_no_row_do_not_stop_the_heart(
    runtime: Any, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    sock = peers.follow(runtime, b"h\0")
    before = runtime.publisher._beats
    runtime.hub.call(runtime.publisher.publish, "a", [b"no row"])
    runtime.hub.call(runtime.publisher.beat)
    heads: list[object] = []
    while None not in heads:
        frame = decode_frame(sock.recv())
        assert isinstance(frame, Heartbeat)
        heads.append(frame.heads)
        assert frame.number < before + 40
    assert "no row" in caplog.text


def test_a_failing_socket_is_logged_and_not_raised(
    runtime: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events = runtime.publisher._doors[0].events

    def failing(error: zmq.ZMQError) -> Callable[[bytes, int], None]:
        def send_now(frame: bytes, flags: int) -> None:
            raise error

        return send_now

    def work() -> None:
        real = events.send_now
        try:
            events.send_now = failing(zmq.Again())
            runtime.publisher.publish("a", runtime.source.add("a", 1))
            assert caplog.text == ""
            events.send_now = failing(zmq.ZMQError(zmq.ENOTSUP))
            runtime.publisher.publish("a", runtime.source.add("a", 1))
            assert "bus: publish" in caplog.text
        finally:
            events.send_now = real

    runtime.hub.call(work)
    assert runtime.hub.call(runtime.publisher.metrics).refused == 2


def test_too_many_subscriptions_are_dropped_and_honest_subscribers_come_back(
    runtime: Any, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "SUBSCRIPTIONS_MAX", 50)
    with Subscriber(runtime.home, "a") as subscriber:
        runtime.add("a", 1)
        assert subscriber.next(20) is not None
        hostile = peers.socket(zmq.SUB)
        instance = runtime.publisher._instance
        for number in range(200):
            hostile.setsockopt(zmq.SUBSCRIBE, b"x%d" % number)
        hostile.connect(runtime.publisher.endpoints.events)
        hostile.setsockopt(zmq.SUBSCRIBE, b"h\0")
        hostile.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        while runtime.publisher._instance == instance:
            runtime.hub.call(runtime.publisher.beat)
        hostile.close()
        runtime.add("a", 5)
        found = [subscriber.next(20) for _ in range(5)]
        assert [event and event.sequence for event in found] == [2, 3, 4, 5, 6]


def test_subscriptions_that_come_and_go_are_not_counted_twice(runtime: Any, peers: Peers) -> None:
    for _ in range(3):
        sock = peers.follow(runtime)
        sock.close()
    events = runtime.publisher._doors[0].events
    while events.subscriptions > 0:
        runtime.hub.call(runtime.publisher.beat)
    assert (events.subscriptions, events.subscribers) == (0, 0)


def test_subscriptions_are_looked_at_between_frames_too(
    runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "DRAIN_EVERY_FRAMES", 2)
    seen: list[int] = []
    monkeypatch.setattr(runtime.publisher, "_look", lambda: seen.append(1))
    runtime.hub.call(
        lambda: [runtime.publisher.publish("a", [row]) for row in runtime.source.add("a", 6)]
    )
    assert len(seen) >= 3


# -- control ----------------------------------------------------------------------------------


def test_requests_are_answered(runtime: Any, peers: Peers) -> None:
    runtime.source.add("a", 3)
    runtime.source.add("b", 1)
    sock = peers.dealer(runtime)

    def ask(request: Any) -> Any:
        sock.send(encode_request(request))
        return decode_reply(sock.recv())

    assert ask(HeadsRequest(1, "a")) == HeadsReply(1, (Head("a", 1, 3),), False)
    assert ask(HeadsRequest(2, "none")) == HeadsReply(2, (), False)
    assert ask(HeadsRequest(3, None)) == HeadsReply(3, (Head("a", 1, 3), Head("b", 1, 1)), False)
    assert ask(HeadsRequest(4, None, "a")) == HeadsReply(4, (Head("b", 1, 1),), False)
    page = ask(RowsRequest(5, "a", 1, 1, 10**9))
    assert isinstance(page, RowsReply)
    assert [(run.first, run.last) for run in page.runs] == [(2, 3)]
    one = ask(RowsRequest(6, "a", 0, 0, 1))
    assert [(run.first, run.last) for run in one.runs] == [(1, 1)]


def test_a_store_that_does_not_know_the_session_has_no_head(
    runtime: Any, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(session_id: str) -> None:
        raise SessionNotFoundError(session_id)

    monkeypatch.setattr(runtime.source, "head", unknown)
    runtime.source.fail = SessionNotFoundError("a")
    sock = peers.dealer(runtime)
    sock.send(encode_request(HeadsRequest(1, "a")))
    assert decode_reply(sock.recv()) == HeadsReply(1, (), False)
    sock.send(encode_request(RowsRequest(2, "a", 1, 5)))
    assert decode_reply(sock.recv()) == RowsReply(2, "a", (), 0, 0, True)
    sock.send(encode_request(RowsRequest(3, "a", 0, 0)))
    assert decode_reply(sock.recv()) == RowsReply(3, "a", (), 0, 0, False)


@pytest.mark.parametrize("error", [StoreCorruptError("broken"), KeyError("bug")])
def test_a_failing_store_is_told_to_the_asker(
    runtime: Any,
    peers: Peers,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    runtime.source.fail = error
    sock = peers.dealer(runtime)
    sock.send(encode_request(RowsRequest(7, "a", 0, 0)))
    reply = decode_reply(sock.recv())
    assert isinstance(reply, ErrorReply)
    assert reply.request_id == 7
    assert ("a request failed" in caplog.text) is isinstance(error, KeyError)


GARBAGE = [
    b"",
    b"\xff",
    cbor2.dumps([1]),
    cbor2.dumps([1, 2, "heads"]),
    cbor2.dumps([1, 2, "drop", "table"]),
    cbor2.dumps([1, 2, "rows", "a", -1, 2**70, None]),
    cbor2.dumps({"version": 1}),
    b"\x9b" + b"\xff" * 8,
    os.urandom(300),
]


def test_garbage_is_answered_or_ignored_and_the_publisher_lives(runtime: Any, peers: Peers) -> None:
    runtime.source.add("a", 1)
    sock = peers.dealer(runtime)
    for data in GARBAGE:
        sock.send(data)
        assert isinstance(decode_reply(sock.recv()), ErrorReply)
    sock.send_multipart([b"a", b"b", b"c"])
    sock.send(cbor2.dumps([2, 9, "heads", None, ""]))
    answer = decode_reply(sock.recv())
    assert isinstance(answer, ErrorReply)
    assert answer.request_id == 9
    assert "version 2" in answer.reason
    sock.send(b"x" * 1_000_000)  # over REQUEST_BYTES_MAX: the peer is cut off
    again = peers.dealer(runtime)
    again.send(encode_request(HeadsRequest(1, "a")))
    assert decode_reply(again.recv()) == HeadsReply(1, (Head("a", 1, 1),), False)


def test_a_peer_that_does_not_read_its_answers_stops_nobody(runtime: Any, peers: Peers) -> None:
    runtime.source.add("a", 40, "y" * 20_000)
    deaf = peers.dealer(runtime)
    deaf.setsockopt(zmq.RCVHWM, 1)
    for number in range(200):
        deaf.send(encode_request(RowsRequest(number, "a", 0, 0)))
    with Subscriber(runtime.home, "a") as subscriber:
        found = [subscriber.next(20) for _ in range(40)]
        assert all(found)
