"""A subscriber on real sockets: every stored event, in order, once, whatever is lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.model.event import AgentEvent, SessionEvent
from greenroom.storage.format.rows import encode_row
from greenroom.transport.bus import answers as answers_module
from greenroom.transport.bus import follower as follower_module
from greenroom.transport.bus import following as following_module
from greenroom.transport.bus.endpoints import Endpoints
from greenroom.transport.bus.errors import (
    BusClosedError,
    BusCursorError,
    BusEndpointError,
    BusRemoteError,
    BusTimeoutError,
)
from greenroom.transport.bus.positions import encode_cursor
from greenroom.transport.bus.subscriber import Subscriber

NOW = datetime(2026, 4, 3, tzinfo=UTC)
WAIT = 20.0


def take(subscriber: Subscriber, count: int) -> list[int]:
    """The sequences of the next events."""
    return [event.sequence for event in events(subscriber, count)]


def events(subscriber: Subscriber, count: int) -> list[SessionEvent]:
    found: list[SessionEvent] = []
    while len(found) < count:
        event = subscriber.next(WAIT)
        assert event is not None, f"only {len(found)} of {count}"
        found.append(event)
    return found


def make_row(session_id: str, epoch: int, sequence: int) -> bytes:
    return encode_row(
        session_id=session_id,
        epoch=epoch,
        sequence=sequence,
        id="ev",
        turn_id="t",
        type="done",
        agent_name="n",
        timestamp=NOW,
        event=AgentEvent(type="done", timestamp=NOW),
    )


def upto(last: int, first: int = 1) -> list[int]:
    return list(range(first, last + 1))


def test_a_late_subscriber_gets_everything_then_what_comes(runtime: Any) -> None:
    runtime.add("a", 5)
    with Subscriber(runtime.home, "a") as subscriber:
        assert take(subscriber, 5) == upto(5)
        runtime.add("a", 3)
        runtime.add("b", 1)
        assert take(subscriber, 3) == upto(8, 6)
        assert subscriber.next(0.0) is None
        assert subscriber.resets == 0


def test_events_are_the_stored_ones(runtime: Any) -> None:
    runtime.add("a", 1, text="häm")
    with Subscriber(runtime.home, "a") as subscriber:
        event = subscriber.next(WAIT)
        assert event is not None
        assert (event.session_id, event.cursor, event.event.text) == ("a", (1, 1), "häm")


def test_all_sessions_also_those_to_come(runtime: Any) -> None:
    runtime.add("a", 2)
    with Subscriber(runtime.home) as subscriber:
        assert take(subscriber, 2) == [1, 2]
        runtime.add("b", 2)
        runtime.add("a", 1)
        found = [(event.session_id, event.sequence) for event in events(subscriber, 3)]
        assert sorted(found) == [("a", 3), ("b", 1), ("b", 2)]


def test_now_is_when_it_was_made(runtime: Any) -> None:
    runtime.add("a", 5)
    for session_id in ("a", None):
        with Subscriber(runtime.home, session_id, after=Subscriber.NOW) as subscriber:
            runtime.add("a", 2)
            sequence = len(runtime.source.sessions["a"].rows)
            assert take(subscriber, 2) == [sequence - 1, sequence]
            assert subscriber.resets == 0


def test_now_in_a_session_that_does_not_exist_yet(runtime: Any) -> None:
    with Subscriber(runtime.home, "new", after=Subscriber.NOW) as subscriber:
        runtime.add("new", 2)
        assert take(subscriber, 2) == [1, 2]


def test_it_goes_on_with_its_cursor(runtime: Any) -> None:
    runtime.add("a", 10)
    runtime.add("b", 10)
    for session_id in ("a", None):
        seen: list[tuple[str, int]] = []
        cursor: str | None = None
        while len(seen) < (10 if session_id else 20):
            with Subscriber(runtime.home, session_id, after=cursor) as subscriber:
                seen += [(event.session_id, event.sequence) for event in events(subscriber, 5)]
                cursor = subscriber.cursor()
        for name in ("a",) if session_id else ("a", "b"):
            assert [number for of, number in seen if of == name] == upto(10)


def test_it_goes_on_after_an_event(runtime: Any) -> None:
    runtime.add("a", 5)
    with Subscriber(runtime.home, "a", after=(1, 3)) as subscriber:
        assert take(subscriber, 2) == [4, 5]


def test_a_cursor_of_all_serves_for_one(runtime: Any) -> None:
    runtime.add("a", 5)
    cursor = encode_cursor({"a": (1, 4), "z": (1, 1)})
    with Subscriber(runtime.home, "a", after=cursor) as subscriber:
        assert take(subscriber, 1) == [5]


@pytest.mark.parametrize(
    "bad", ["x", "", "gr1.%", "gr1.oA==", "gr1.gYFhYQ==", (1, 2), object()], ids=repr
)
def test_a_bad_cursor_is_refused(runtime: Any, bad: Any) -> None:
    with pytest.raises(BusCursorError):
        Subscriber(runtime.home, None, after=bad)


def test_lost_frames_are_healed_from_the_store(runtime: Any) -> None:
    with Subscriber(runtime.home, "a", after=Subscriber.NOW) as subscriber:
        runtime.add("a", 1)
        assert take(subscriber, 1) == [1]
        runtime.add("a", 5, lost=3)
        assert take(subscriber, 5) == upto(6, 2)
        assert subscriber.lagged == 1


@pytest.mark.parametrize("session_id", ["a", None])
def test_a_lost_tail_is_noticed_by_the_silence(runtime: Any, session_id: str | None) -> None:
    with Subscriber(runtime.home, session_id, idle_sync_s=0.05) as subscriber:
        runtime.add("a", 3)
        assert take(subscriber, 3) == upto(3)
        runtime.add("a", 2, lost=2)
        assert take(subscriber, 2) == [4, 5]


@pytest.mark.parametrize("session_id", ["a", None])
def test_a_lost_tail_is_noticed_by_the_heartbeat(runtime: Any, session_id: str | None) -> None:
    with Subscriber(runtime.home, session_id, idle_sync_s=1000) as subscriber:
        runtime.add("a", 3)
        assert take(subscriber, 3) == upto(3)
        beat(runtime)
        subscriber.next(0)
        runtime.lose("a", 2)
        beat(runtime)
        assert take(subscriber, 2) == [4, 5]


def beat(runtime: Any) -> None:
    runtime.hub.call(runtime.publisher.beat)


def test_a_reader_slower_than_the_queues_gets_everything(runtime: Any) -> None:
    """The queues hold 2,000 frames and some; the rest is dropped and read from the store."""
    with Subscriber(runtime.home, "a", after=Subscriber.NOW) as subscriber:
        runtime.add("a", 1)
        assert take(subscriber, 1) == [1]
        for _ in range(40):
            runtime.hub.call(one_frame_each, runtime, 500)
        assert take(subscriber, 20_000) == upto(20_001, 2)
        assert subscriber.lagged > 0
        runtime.add("a", 1)
        assert take(subscriber, 1) == [20_002]


def one_frame_each(runtime: Any, count: int) -> None:
    for row in runtime.source.add("a", count):
        runtime.publisher.publish("a", [row])


def test_two_subscribers_one_of_them_stalled(runtime: Any) -> None:
    with Subscriber(runtime.home, "a") as fast, Subscriber(runtime.home) as stalled:
        for _ in range(10):
            runtime.hub.call(one_frame_each, runtime, 500)
            assert len(take(fast, 500)) == 500
        assert take(stalled, 5000) == upto(5000)


def test_a_cleared_session_begins_again(runtime: Any) -> None:
    runtime.add("a", 5)
    with Subscriber(runtime.home, "a") as subscriber:
        take(subscriber, 5)
        runtime.hub.call(runtime.source.clear, "a")
        runtime.add("a", 2)
        found = events(subscriber, 2)
        assert [event.cursor for event in found] == [(2, 1), (2, 2)]
        assert subscriber.resets == 1


def test_a_session_cleared_while_away_begins_again(runtime: Any) -> None:
    runtime.add("a", 5)
    with Subscriber(runtime.home, "a") as subscriber:
        take(subscriber, 5)
        cursor = subscriber.cursor()
    runtime.hub.call(runtime.source.clear, "a")
    runtime.add("a", 7)
    with Subscriber(runtime.home, "a", after=cursor) as subscriber:
        assert take(subscriber, 7) == upto(7)
        assert subscriber.resets == 1


def test_a_deleted_session_does_not_disturb_the_others(runtime: Any) -> None:
    runtime.add("a", 3)
    runtime.add("b", 3)
    with Subscriber(runtime.home) as subscriber:
        events(subscriber, 6)
        cursor = subscriber.cursor()
    runtime.hub.call(runtime.source.sessions.pop, "a")
    runtime.source.sessions["b"].epoch += 1
    with Subscriber(runtime.home, after=cursor) as subscriber:
        runtime.add("b", 1)
        assert take(subscriber, 1) == [4]
        runtime.hub.call(
            lambda: runtime.publisher.publish("a", [make_row("a", 1, 9)])  # a last word
        )
        runtime.add("b", 1)
        assert take(subscriber, 1) == [5]
        runtime.add("a", 2)
        assert take(subscriber, 2) == [1, 2]


def test_it_waits_for_a_runtime_that_is_gone(tmp_path: Path, runtimes: Callable[..., Any]) -> None:
    first = runtimes(tmp_path)
    first.add("a", 3)
    with Subscriber(tmp_path, "a", request_timeout_s=0.2) as subscriber:
        assert take(subscriber, 3) == upto(3)
        endpoints = first.publisher.endpoints
        first.stop()
        assert subscriber.next(0.1) is None
        first.source.sessions["a"].epoch += 1
        second = runtimes(tmp_path, first.source)
        assert second.publisher.endpoints == endpoints
        second.add("a", 2)
        assert take(subscriber, 2) == [4, 5]
        assert subscriber.resets == 0


def test_a_closed_runtime_let_its_last_events_go(
    tmp_path: Path, runtimes: Callable[..., Any]
) -> None:
    runtime = runtimes(tmp_path)
    with Subscriber(tmp_path, "a", after=Subscriber.NOW) as subscriber:
        runtime.add("a", 1)
        assert take(subscriber, 1) == [1]
        runtime.add("a", 1)
        runtime.stop()
        assert take(subscriber, 1) == [2]


def test_no_runtime_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(BusEndpointError, match="greenroom serve"):
        Subscriber(tmp_path)


def test_now_of_a_runtime_that_died_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Endpoints("ipc:///tmp/none/events", "ipc:///tmp/none/control").write(tmp_path)
    monkeypatch.setattr(following_module, "NOW_TIMEOUT_S", 0.1)
    with pytest.raises(BusTimeoutError):
        Subscriber(tmp_path, after=Subscriber.NOW)
    with Subscriber(tmp_path) as subscriber:
        assert subscriber.next(0.1) is None


def test_by_address(runtime: Any) -> None:
    runtime.add("a", 1)
    endpoints = Endpoints.read(runtime.home)
    for where in (endpoints, endpoints.events, str(runtime.home)):
        with Subscriber(where, "a") as subscriber:
            assert take(subscriber, 1) == [1]


def test_an_address_that_is_none() -> None:
    with pytest.raises(BusEndpointError):
        Subscriber(Endpoints("nonsense", "nonsense"))


def test_close_from_another_thread_ends_the_iterator(runtime: Any) -> None:
    runtime.add("a", 2)
    subscriber = Subscriber(runtime.home, "a", idle_sync_s=1000)
    found: list[int] = []
    two = threading.Event()

    def follow() -> None:
        for event in subscriber:
            found.append(event.sequence)
            if len(found) == 2:
                two.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert two.wait(WAIT)
    subscriber.close()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert found == [1, 2]
    subscriber.close()
    with pytest.raises(BusClosedError):
        subscriber.next(0)
    assert list(subscriber) == []
    assert subscriber._connection.destroyed


def test_closing_inside_the_loop_ends_it(runtime: Any) -> None:
    runtime.add("a", 5)
    with Subscriber(runtime.home, "a") as subscriber:
        for event in subscriber:
            if event.sequence == 3:
                subscriber.close()
        assert event.sequence == 3


def test_read_takes_what_is_there(runtime: Any) -> None:
    with Subscriber(runtime.home, "a") as subscriber:
        assert subscriber.read(0.05) == []
        runtime.add("a", 50)
        found: list[SessionEvent] = []
        while len(found) < 50:
            found += subscriber.read(WAIT)
        assert [event.sequence for event in found] == upto(50)


def test_after_a_fork_it_is_unusable(runtime: Any) -> None:
    with Subscriber(runtime.home, "a") as subscriber:
        owner, subscriber._owner = subscriber._owner, 0
        with pytest.raises(BusClosedError):
            subscriber.next(0)
        subscriber.close()
        assert not subscriber._connection.destroyed
        subscriber._owner = owner


def test_a_store_that_fails_is_told_after_some_attempts_and_then_read_on(
    runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "RETRY_S", 0.001)
    runtime.add("a", 2)
    runtime.source.fail = OSError("disk")
    with Subscriber(runtime.home, "a") as subscriber:
        with pytest.raises(BusRemoteError) as caught:
            subscriber.next(WAIT)
        assert caught.value.session_id == "a"
        assert "disk" in caught.value.reason
        runtime.source.fail = None
        assert take(subscriber, 2) == [1, 2]


def test_silence_is_checked_ever_more_rarely(runtime: Any) -> None:
    runtime.add("a", 1)
    with Subscriber(runtime.home, "a", idle_sync_s=0.005) as subscriber:
        take(subscriber, 1)
        runtime.hub.call(lambda: setattr(runtime.source, "heads_asked", 0))
        begin = time.monotonic()
        assert subscriber.next(0.5) is None
        spent = time.monotonic() - begin
        assert runtime.source.heads_asked <= 20 + spent / (0.005 * 16) * 2


def test_a_page_is_bounded(runtime: Any) -> None:
    runtime.add("a", 20, text="y" * 100_000)
    with Subscriber(runtime.home, "a") as subscriber:
        assert take(subscriber, 20) == upto(20)
        assert runtime.source.pages >= 4


def test_heads_come_in_pages(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "HEADS_PER_REPLY_MAX", 3)
    names = [f"s{number:02}" for number in range(10)]
    for name in names:
        runtime.add(name, 2)
    with Subscriber(runtime.home) as subscriber:
        found = [(event.session_id, event.sequence) for event in events(subscriber, 20)]
    assert sorted(found) == [(name, number) for name in names for number in (1, 2)]


def test_descriptors_come_back(runtime: Any) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def cycle(times: Iterable[int]) -> None:
        for _ in times:
            with Subscriber(runtime.home, "a") as subscriber:
                subscriber.next(0)

    cycle(range(3))
    before = descriptors()
    cycle(range(30))
    assert descriptors() <= before + 3
