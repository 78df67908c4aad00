"""The bus on the real store of a home: activations, stored sessions, restarts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.home import HomeStore
from greenroom.transport.bus.publisher import Publisher
from greenroom.transport.bus.subscriber import Subscriber

NOW = datetime(2026, 4, 3, tzinfo=UTC)
WAIT = 20.0


class StoredRuntime:
    """A home with its publisher in the hub thread of a ``Runtime`` made for the thread only."""

    def __init__(self, home: Path, hub: Any) -> None:
        self.hub = hub
        self.home = hub.call(lambda: HomeStore.open(home, post=self._post))
        self.publisher = hub.call(lambda: Publisher(home, source=self.home))
        hub.call(self.publisher.open)

    def _post(self, function: Callable[..., object], *args: Any) -> None:
        self.hub._hub.loop.run_callback_threadsafe(function, *args)

    def done(self, work: Callable[[Callable[[Exception | None], None]], Any]) -> Any:
        """Run ``work`` in the hub and wait for its done callback."""
        finished = threading.Event()
        errors: list[Exception | None] = []

        def note(error: Exception | None) -> None:
            errors.append(error)
            finished.set()

        result = self.hub.call(lambda: work(note))
        assert finished.wait(WAIT)
        assert errors == [None]
        return result

    def add(self, store: Any, count: int, *, published: bool = True) -> None:
        event = AgentEvent(type="agent_message", turn_id="t", text="x", timestamp=NOW)
        rows: list[bytes] = []

        def submit(done: Callable[[Exception | None], None]) -> None:
            def committed(error: Exception | None) -> None:
                if published:
                    self.publisher.publish(store.session_id, rows)
                done(error)

            stored = store.submit([event] * count, agent_name="n", durable=False, done=committed)
            rows.extend(row.row for row in stored)

        self.done(submit)

    def stop(self) -> None:
        self.hub.call(self.publisher.close)
        self.hub.call(self.home.close)


@pytest.fixture
def opened(tmp_path: Path, runtimes: Callable[..., Any]) -> Iterator[Callable[[], StoredRuntime]]:
    (tmp_path / "other").mkdir()
    hub = runtimes(tmp_path / "other").hub
    started: list[StoredRuntime] = []

    def start() -> StoredRuntime:
        started.append(StoredRuntime(tmp_path / "home", hub))
        return started[-1]

    yield start
    started[-1].stop()


def sequences(subscriber: Subscriber, count: int) -> list[int]:
    found = [subscriber.next(WAIT) for _ in range(count)]
    assert all(found)
    return [event.sequence for event in found if event]


def test_a_session_is_followed_over_activations_and_restarts(
    opened: Callable[[], StoredRuntime], tmp_path: Path
) -> None:
    runtime = opened()
    store = runtime.done(lambda done: runtime.home.open_session("a", create=True, done=done))
    runtime.add(store, 3)
    with (
        Subscriber(tmp_path / "home", "a", idle_sync_s=0.1, request_timeout_s=0.3) as one,
        Subscriber(tmp_path / "home", idle_sync_s=0.1, request_timeout_s=0.3) as every,
    ):
        assert sequences(one, 3) == sequences(every, 3) == [1, 2, 3]
        cursor = one.cursor()
        runtime.done(lambda done: store.close(done))
        store = runtime.done(lambda done: runtime.home.open_session("a", create=False, done=done))
        runtime.add(store, 2)
        runtime.add(store, 1, published=False)
        assert sequences(one, 3) == sequences(every, 3) == [4, 5, 6]
        runtime.done(lambda done: store.close(done))
        runtime.stop()
        runtime = opened()
        assert one.next(0.3) is None
        store = runtime.done(lambda done: runtime.home.open_session("a", create=False, done=done))
        runtime.add(store, 1)
        assert sequences(one, 1) == sequences(every, 1) == [7]
        assert (one.resets, every.resets) == (0, 0)
        last = every.cursor()
    runtime.done(lambda done: store.close(done))
    with Subscriber(tmp_path / "home", "a", after=cursor) as late:
        assert sequences(late, 4) == [4, 5, 6, 7]
        assert late.resets == 0
    with Subscriber(tmp_path / "home", after=last) as none:
        assert none.next(0.1) is None
        assert none.resets == 0


def test_now_on_a_stored_session_that_is_activated_later(
    opened: Callable[[], StoredRuntime], tmp_path: Path
) -> None:
    runtime = opened()
    store = runtime.done(lambda done: runtime.home.open_session("a", create=True, done=done))
    runtime.add(store, 3)
    runtime.done(lambda done: store.close(done))
    store = runtime.done(lambda done: runtime.home.open_session("a", create=False, done=done))
    runtime.done(lambda done: store.close(done))
    for session_id in ("a", None):
        with Subscriber(tmp_path / "home", session_id, after=Subscriber.NOW) as subscriber:
            store = runtime.done(
                lambda done: runtime.home.open_session("a", create=False, done=done)
            )
            runtime.add(store, 1)
            (sequence,) = sequences(subscriber, 1)
            assert sequence == store.last_sequence()
            cursor = subscriber.cursor()
            runtime.done(lambda done, store=store: store.close(done))
        with Subscriber(tmp_path / "home", session_id, after=cursor) as subscriber:
            assert subscriber.next(0.1) is None
            assert subscriber.resets == 0
