"""Filters, callbacks, lag, and the subscribers of greenlets and of asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from greenroom.transport.bus import following as following_module
from greenroom.transport.bus.async_subscriber import EVENTS_PER_TURN, AsyncSubscriber
from greenroom.transport.bus.endpoints import Endpoints
from greenroom.transport.bus.errors import BusClosedError, BusTimeoutError
from greenroom.transport.bus.filters import EventFilter
from greenroom.transport.bus.green_subscriber import GreenSubscriber
from greenroom.transport.bus.positions import Lag
from greenroom.transport.bus.subscriber import Subscriber

WAIT = 20.0


def take(subscriber: Subscriber, count: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    while len(found) < count:
        event = subscriber.next(WAIT)
        assert event is not None, f"only {found}"
        found.append((event.session_id, event.sequence))
    return found


# -- filters ----------------------------------------------------------------------------------


def test_filters_hide_events_and_the_cursor_goes_on(runtime: Any) -> None:
    runtime.add("a", 2)
    runtime.add("b", 2)
    runtime.add("c", 2)
    with Subscriber(runtime.home, sessions=["a", "c"]) as subscriber:
        assert sorted(take(subscriber, 4)) == [("a", 1), ("a", 2), ("c", 1), ("c", 2)]
        assert subscriber.next(0.05) is None
        cursor = subscriber.cursor()
    with Subscriber(runtime.home, after=cursor) as subscriber:
        runtime.add("b", 1)
        assert take(subscriber, 1) == [("b", 3)]


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"types": ["agent_message"]}, True),
        ({"types": ["done"]}, False),
        ({"types": []}, False),
        ({"agents": {"n"}}, True),
        ({"agents": {"m"}}, False),
        ({"types": ["agent_message"], "agents": ["n"], "sessions": ["a"]}, True),
        ({"types": ["agent_message"], "agents": ["n"], "sessions": ["b"]}, False),
    ],
)
def test_a_filter_by_type_and_agent(runtime: Any, options: Any, seen: bool) -> None:
    runtime.add("a", 1)
    with Subscriber(runtime.home, "a", **options) as subscriber:
        assert (subscriber.next(WAIT if seen else 0.1) is not None) is seen


def test_no_filter_is_none_and_a_single_text_is_a_mistake() -> None:
    assert EventFilter.of(None, None, None) is None
    with pytest.raises(TypeError, match="collection"):
        EventFilter.of(None, "done", None)


# -- callbacks and lag ------------------------------------------------------------------------


def test_a_callback_gets_every_event_until_closed(runtime: Any) -> None:
    runtime.add("a", 3)
    found: list[int] = []
    three = threading.Event()
    with Subscriber(runtime.home, "a") as subscriber:

        def note(event: Any) -> None:
            found.append(event.sequence)
            if len(found) == 3:
                three.set()

        thread = threading.Thread(target=subscriber.run, args=(note,))
        thread.start()
        assert three.wait(WAIT)
        subscriber.close()
        thread.join(WAIT)
    assert not thread.is_alive()
    assert found == [1, 2, 3]


def test_a_callback_that_raises_ends_it_after_that_event(runtime: Any) -> None:
    runtime.add("a", 3)
    with Subscriber(runtime.home, "a") as subscriber:

        def refuse(event: Any) -> None:
            raise LookupError(event.sequence)

        with pytest.raises(LookupError, match="1"):
            subscriber.run(refuse)
        assert take(subscriber, 2) == [("a", 2), ("a", 3)]


@pytest.mark.parametrize("session_id", ["a", None])
def test_who_lags_is_told_before_the_late_events(runtime: Any, session_id: str | None) -> None:
    told: list[Lag] = []
    with Subscriber(
        runtime.home, session_id, after=Subscriber.NOW, on_lag=told.append
    ) as subscriber:
        runtime.add("a", 2)
        assert take(subscriber, 2) == [("a", 1), ("a", 2)]
        assert told == []
        runtime.lose("a", 3)
        runtime.add("a", 1)
        assert take(subscriber, 1) == [("a", 3)]
        assert told == [Lag("a", 1, 2)]
        assert take(subscriber, 3) == [("a", 4), ("a", 5), ("a", 6)]
        assert (subscriber.lagged, len(told)) == (1, 1)


# -- greenlets --------------------------------------------------------------------------------


def test_in_the_hub_of_its_own_publisher_it_blocks_nobody(runtime: Any) -> None:
    """The publisher answers from the same hub thread that the subscriber waits in."""
    runtime.source.add("a", 300, "y" * 3000)

    def work() -> tuple[list[int], int]:
        ticks = 0
        over = False

        def tick() -> None:
            nonlocal ticks
            while not over:
                ticks += 1
                gevent.sleep(0)

        ticker = gevent.spawn(tick)
        with GreenSubscriber(runtime.home, "a") as subscriber:
            found = [subscriber.next(WAIT) for _ in range(300)]
            ticks_then = ticks
            runtime.publisher.publish("a", runtime.source.add("a", 5))
            found += [subscriber.next(WAIT) for _ in range(5)]
            assert subscriber.next(0.05) is None
        over = True
        ticker.join()
        return [event.sequence for event in found if event], ticks_then

    sequences, ticks = runtime.hub.call(work)
    assert sequences == list(range(1, 306))
    assert ticks > 3


def test_a_greenlet_is_woken_by_close_and_now_is_found_in_the_hub(runtime: Any) -> None:
    def work() -> list[Any]:
        subscriber = GreenSubscriber(runtime.home, "a", after=GreenSubscriber.NOW)
        reader = gevent.spawn(subscriber.next)
        second = gevent.spawn(lambda: list(subscriber))
        gevent.sleep(0)
        runtime.publisher.publish("a", runtime.source.add("a", 1))
        event = reader.get(timeout=WAIT)
        gevent.sleep(0)
        subscriber.close()
        rest = second.get(timeout=WAIT)
        assert subscriber._connection.destroyed
        return [event.sequence, *rest]

    assert runtime.hub.call(work) == [1]


# -- asyncio ----------------------------------------------------------------------------------


def test_async_for_gets_everything_and_the_loop_goes_on(runtime: Any) -> None:
    runtime.add("a", 250)

    async def work() -> tuple[list[int], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        found: list[int] = []
        async with AsyncSubscriber(runtime.home, "a") as subscriber:
            async for event in subscriber:
                found.append(event.sequence)
                if event.sequence == 250:
                    runtime.add("a", 3)
                if event.sequence == 253:
                    break
            assert await subscriber.next(0.0) is None
            assert await subscriber.read(0.01) == []
            runtime.add("a", 2)
            read: list[Any] = []
            while len(read) < 2:
                read += await subscriber.read(WAIT)
            assert [event.sequence for event in read] == [254, 255]
            cursor = subscriber.cursor()
        async with AsyncSubscriber(runtime.home, "a", after=cursor) as again:
            assert await again.next(0.05) is None
        ticker.cancel()
        return found, ticks

    found, ticks = asyncio.run(work())
    assert found == list(range(1, 254))
    assert ticks >= 253 // EVENTS_PER_TURN


def test_async_now_filters_and_lag(runtime: Any) -> None:
    runtime.add("a", 5)
    told: list[Lag] = []

    async def work() -> None:
        async with AsyncSubscriber(
            runtime.home, after=AsyncSubscriber.NOW, sessions=["a"], on_lag=told.append
        ) as subscriber:
            runtime.add("b", 1)
            runtime.add("a", 1)
            event = await subscriber.next(WAIT)
            assert event is not None
            assert (event.session_id, event.sequence) == ("a", 6)
            runtime.lose("a", 1)
            runtime.add("a", 1)
            assert [(await subscriber.next(WAIT)).sequence for _ in range(2)] == [7, 8]
            assert told == [Lag("a", 1, 6)]
        late = AsyncSubscriber(runtime.home, "a", after=AsyncSubscriber.NOW)
        reading = asyncio.create_task(late.next(WAIT))
        while not late._machine.synced:
            await asyncio.sleep(0)
        runtime.add("a", 1)
        event = await reading
        assert event is not None
        assert event.sequence == 9
        await late.close()

    asyncio.run(work())


def test_async_close_wakes_a_reader_and_a_cancelled_one_leaves_nothing(runtime: Any) -> None:
    async def work() -> None:
        subscriber = AsyncSubscriber(runtime.home, "a")
        reading = asyncio.create_task(subscriber.next())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        iterating = asyncio.create_task(_all(subscriber))
        await asyncio.sleep(0)
        await subscriber.close()
        assert await asyncio.wait_for(iterating, WAIT) == []
        await subscriber.close()
        with pytest.raises(BusClosedError):
            await subscriber.next()
        other = AsyncSubscriber(runtime.home, "a")
        owner, other._owner = other._owner, 0
        await other.close()
        assert not other._connection.destroyed
        other._owner = owner
        await other.close()

    asyncio.run(work())


async def _all(subscriber: AsyncSubscriber) -> list[Any]:
    return [event async for event in subscriber]


def test_async_now_of_a_runtime_that_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Endpoints("ipc:///tmp/none/events", "ipc:///tmp/none/control").write(tmp_path)
    monkeypatch.setattr(following_module, "NOW_TIMEOUT_S", 0.1)

    async def work() -> None:
        subscriber = AsyncSubscriber(tmp_path, after=AsyncSubscriber.NOW)
        with pytest.raises(BusTimeoutError):
            await subscriber.next()
        await subscriber.close()

    asyncio.run(work())


def test_all_sessions_from_the_beginning_by_every_kind(
    tmp_path: Path, runtimes: Callable[..., Any]
) -> None:
    runtime = runtimes(tmp_path)
    names = [f"s{number:02}" for number in range(30)]
    for name in names:
        runtime.add(name, 3)
    expected = sorted((name, number) for name in names for number in (1, 2, 3))
    with Subscriber(tmp_path) as plain:
        assert sorted(take(plain, 90)) == expected

    def green() -> list[tuple[str, int]]:
        with GreenSubscriber(tmp_path) as subscriber:
            return take(subscriber, 90)

    assert sorted(runtime.hub.call(green)) == expected

    async def aio() -> list[tuple[str, int]]:
        async with AsyncSubscriber(tmp_path) as subscriber:
            events = [await subscriber.next(WAIT) for _ in range(90)]
            return [(event.session_id, event.sequence) for event in events if event]

    assert sorted(asyncio.run(aio())) == expected
