"""The table of heads, and what the publisher does with it, with long rows and with lost files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent.event
import pytest
import zmq
from greenroom.actors.errors import SessionNotFoundError, StoreCorruptError, StoreValidationError
from greenroom.transport.bus.catchup import HeadsReply, HeadsRequest, decode_reply, encode_request
from greenroom.transport.bus.fields import Head
from greenroom.transport.bus.frames import FRAME_BYTES_MAX
from greenroom.transport.bus.heads import CHECKS_PER_BEAT, READS_PER_STEP, HeadTable
from greenroom.transport.bus.subscriber import Subscriber

WAIT = 20.0


class Source:
    """Heads that a test sets, and how often each was asked for."""

    def __init__(self, **heads: tuple[int, int]) -> None:
        self.heads: dict[str, Any] = dict(heads)
        self.asked: list[str] = []

    def session_ids(self) -> list[str]:
        return list(self.heads)

    def head(self, session_id: str) -> tuple[int, int] | None:
        self.asked.append(session_id)
        found = self.heads.get(session_id)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]


def complete(table: HeadTable) -> int:
    return len(list(table.read_store()))


@pytest.fixture
def row_of(runtime: Any) -> Callable[[str, int], bytes]:
    def make(session_id: str, sequence: int, text: str = "x") -> bytes:
        runtime.source.sessions.pop(session_id, None)
        return runtime.source.add(session_id, sequence, text)[-1]  # type: ignore[no-any-return]

    return make


def test_the_store_is_read_once_in_short_steps() -> None:
    source = Source(**{f"s{number:04}": (1, number) for number in range(100)})
    table = HeadTable(source)
    assert not table.complete
    assert complete(table) == -(-100 // READS_PER_STEP)
    assert table.complete
    heads, more = table.page("", 30)
    assert [head.session_id for head in heads] == [f"s{number:04}" for number in range(30)]
    assert more
    heads, more = table.page("s0029", 1000)
    assert (len(heads), more) == (70, False)
    assert len(source.asked) == 100


def test_what_is_published_is_noted_without_asking(row_of: Callable[..., bytes]) -> None:
    source = Source(a=(1, 1))
    table = HeadTable(source)
    table.note("b", row_of("b", 7))
    table.note("c", row_of("c", 2, "y" * 5000))
    complete(table)
    assert table.page("", 10)[0] == (Head("a", 1, 1), Head("b", 1, 7), Head("c", 1, 2))
    assert source.asked == ["a"]
    table.note("a", row_of("a", 3))
    assert table.head("a") == Head("a", 1, 3)
    with pytest.raises(KeyError):
        table.head("none")


def test_bytes_that_are_no_row_are_forgotten() -> None:
    table = HeadTable(Source())
    table.note("a", b"no row")
    table.note("b", b"no row")
    with pytest.raises(StoreValidationError):
        table.head("a")
    assert table.page("", 10) == ((), False)


def test_sessions_that_can_not_be_read_hide_no_others() -> None:
    source = Source(a=(1, 1), c=(1, 1))
    source.heads |= {"b": StoreCorruptError("bad"), "d": SessionNotFoundError("gone"), "e": None}
    table = HeadTable(source)
    complete(table)
    assert [head.session_id for head in table.page("", 10)[0]] == ["a", "c"]


def test_a_few_are_checked_per_beat_and_changes_are_named() -> None:
    count = CHECKS_PER_BEAT + 10
    source = Source(**{f"s{number:04}": (1, 1) for number in range(count)})
    table = HeadTable(source)
    complete(table)
    source.asked.clear()
    source.heads["s0005"] = (2, 3)
    del source.heads["s0006"]
    assert table.check_some() == ["s0005"]
    assert len(source.asked) == CHECKS_PER_BEAT
    assert table.head("s0005") == Head("s0005", 2, 3)
    assert "s0006" not in [head.session_id for head in table.page("", 1000)[0]]
    table.note("s0073", b"no row")
    table.forget("s0072")
    assert table.check_some() == ["s0073"]
    assert table.check_some() == []


# -- in a publisher ---------------------------------------------------------------------------


class Asker:
    """A DEALER that asks and hears."""

    def __init__(self, runtime: Any) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.RCVTIMEO, int(WAIT * 1000))
        self._socket.connect(runtime.publisher.endpoints.control)

    def ask(self, *requests: HeadsRequest) -> None:
        for request in requests:
            self._socket.send(encode_request(request))

    def hear(self) -> Any:
        return decode_reply(self._socket.recv())

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def asker(runtime: Any) -> Iterator[Asker]:
    asker = Asker(runtime)
    yield asker
    asker.close()


def test_requests_for_all_heads_wait_for_the_first_look_and_others_do_not(
    runtime: Any, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = runtime.hub.call(gevent.event.Event)
    real = runtime.source.head

    def head(session_id: str) -> Any:
        if session_id == "s25":
            gate.wait()
        return real(session_id)

    monkeypatch.setattr(runtime.source, "head", head)
    for number in range(50):
        runtime.source.add(f"s{number:02}", 2)
    asker.ask(HeadsRequest(1, None), HeadsRequest(2, None, "s48"), HeadsRequest(3, "s07"))
    assert asker.hear() == HeadsReply(3, (Head("s07", 1, 2),), False)
    runtime.hub.call(gate.set)
    first = asker.hear()
    assert first.request_id == 1
    assert len(first.heads) == 50
    assert asker.hear() == HeadsReply(2, (Head("s49", 1, 2),), False)
    asked = runtime.source.heads_asked
    asker.ask(HeadsRequest(4, None))
    assert len(asker.hear().heads) == 50
    assert runtime.source.heads_asked <= asked + 50, "at most what heartbeats checked meanwhile"


def test_a_first_look_that_fails_is_tried_again(
    runtime: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> list[str]:
        raise OSError("disk")

    runtime.source.add("a", 1)
    real = runtime.source.session_ids
    monkeypatch.setattr(runtime.source, "session_ids", fail)
    with Subscriber(runtime.home, request_timeout_s=0.1) as subscriber:
        assert subscriber.next(0.3) is None
        assert "the heads could not be read" in caplog.text
        monkeypatch.setattr(runtime.source, "session_ids", real)
        assert subscriber.next(WAIT) is not None


def test_a_row_too_long_for_a_frame_comes_from_the_store(runtime: Any) -> None:
    with Subscriber(runtime.home, "a") as one, Subscriber(runtime.home) as every:
        runtime.add("a", 1)
        for subscriber in (one, every):
            event = subscriber.next(WAIT)
            assert event is not None
        runtime.add("a", 3, text="y" * FRAME_BYTES_MAX)
        for subscriber in (one, every):
            found = [subscriber.next(WAIT) for _ in range(3)]
            assert [event and event.sequence for event in found] == [2, 3, 4]
    metrics = runtime.hub.call(runtime.publisher.metrics)
    assert metrics.withheld == 3
    assert metrics.rows == 4
    assert metrics.pages >= 2


def test_a_snapshot_says_whom_it_serves(runtime: Any) -> None:
    runtime.add("a", 2)
    with Subscriber(runtime.home, "a") as one, Subscriber(runtime.home) as every:
        for subscriber in (one, every):
            assert subscriber.next(WAIT) is not None
        runtime.hub.call(runtime.publisher.beat)
        metrics = runtime.hub.call(runtime.publisher.metrics)
        assert (metrics.subscribers, metrics.subscriptions) == (2, 4)
        assert (metrics.frames, metrics.rows, metrics.rebinds, metrics.failures) == (1, 2, 0, 0)
        assert metrics.bytes > 0
        assert metrics.heartbeats >= 1
        assert metrics.requests >= metrics.pages >= 2


def test_a_socket_file_that_was_removed_is_made_anew(
    runtime: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(runtime.publisher.endpoints.events.removeprefix("ipc://"))
    path.unlink()
    runtime.hub.call(runtime.publisher.beat)
    assert path.exists()
    assert "was made anew" in caplog.text
    with Subscriber(runtime.home, "a", after=Subscriber.NOW) as subscriber:
        runtime.add("a", 1)
        assert subscriber.next(WAIT) is not None


def test_a_socket_that_can_not_be_made_anew_stops_no_recording(
    runtime: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(runtime.publisher.endpoints.events.removeprefix("ipc://"))
    held = path.parent.with_name("held")

    def work() -> None:
        path.parent.rename(held)
        runtime.publisher.beat()
        for _ in range(300):
            runtime.publisher.publish("a", runtime.source.add("a", 1))
        for _ in range(50):
            runtime.publisher.beat()
        held.rename(path.parent)
        runtime.publisher.beat()
        runtime.publisher.publish("a", runtime.source.add("a", 1))

    runtime.hub.call(work)
    assert caplog.text.count("bus:") < 10, "no flood of complaints"
    with Subscriber(runtime.home, "a") as subscriber:
        found = [subscriber.next(WAIT) for _ in range(301)]
        assert [event and event.sequence for event in found] == list(range(1, 302))
