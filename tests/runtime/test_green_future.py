"""GreenFuture: one result, for greenlets, threads and asyncio tasks alike."""

from __future__ import annotations

import asyncio
import queue
import traceback

import gevent
import pytest
from gevent._hub_local import get_hub_if_exists
from greenroom.actors.runtime.future import GreenFuture
from greenroom.actors.runtime.originals import NativeEvent, get_ident, start_thread
from pykka import Timeout, get_all


def in_thread(fn):
    """Call ``fn`` in a plain OS thread and return its result, or raise its error."""
    box = []

    def run():
        try:
            box.append((fn(), None))
        except BaseException as error:
            box.append((None, error))

    assert start_thread(run, "plain").join(10)
    result, error = box[0]
    if error is not None:
        raise error
    return result


def test_a_result_is_set_once():
    future = GreenFuture()
    assert not future.done
    future.set("first")
    for again in (future.set, future.set_exception):
        with pytest.raises(queue.Full):
            again(RuntimeError())
    with pytest.raises(queue.Full):
        future.set_get_hook(lambda _: "hook")
    assert future.done
    assert future.get() == future.get(timeout=0) == "first"


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_nothing_in_time_is_a_timeout(timeout):
    with pytest.raises(Timeout):
        GreenFuture().get(timeout=timeout)


def test_a_timeout_in_a_plain_thread():
    with pytest.raises(Timeout):
        in_thread(lambda: GreenFuture().get(timeout=0.001))


def test_an_exception_keeps_its_traceback_however_often_it_is_raised():
    future = GreenFuture()

    def deep():
        raise KeyError("deep")

    try:
        deep()
    except KeyError:
        future.set_exception()
    depths = []
    for _ in range(3):
        with pytest.raises(KeyError) as caught:
            future.get()
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert frames[-1].name == "deep"
        depths.append(len(frames))
    assert len(set(depths)) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ValueError("as it is"), ValueError),
        ((ValueError, ValueError("triple"), None), ValueError),
        ((ValueError, None, None), ValueError),
        (None, RuntimeError),  # nothing is being handled
    ],
)
def test_the_forms_of_an_exception(given, expected):
    future = GreenFuture()
    future.set_exception(given)
    with pytest.raises(expected):
        future.get()


def test_a_foreign_thread_wakes_a_hub_that_has_nothing_else_to_do():
    future = GreenFuture()
    go = NativeEvent()
    thread = start_thread(lambda: (go.wait(10), future.set(5)), "setter")
    gevent.get_hub().loop.run_callback(go.set)  # by now the main greenlet waits
    assert future.get(timeout=10) == 5
    assert thread.join(10)


def test_waiting_without_limit_survives_an_empty_loop():
    future = GreenFuture()
    go = NativeEvent()
    start_thread(lambda: (go.wait(10), future.set(5)), "setter")
    gevent.get_hub().loop.run_callback(go.set)
    assert future.get() == 5  # and no LoopExit


def test_a_plain_thread_waits_without_getting_a_hub():
    future = GreenFuture()
    waits = NativeEvent()

    def wait():
        waits.set()
        return future.get(timeout=10), get_hub_if_exists()

    gevent.get_hub().loop.run_callback(lambda: None)
    result = []
    thread = start_thread(lambda: result.append(wait()), "waiter")
    assert waits.wait(10)
    future.set("done")
    assert thread.join(10)
    assert result == [("done", None)]


def test_many_greenlets_and_threads_wait_for_one_result(hub):
    future = GreenFuture()
    here = [gevent.spawn(future.get) for _ in range(5)]
    there = [hub.submit(future.get) for _ in range(5)]
    gevent.sleep(0)
    threads = []
    results = []
    for _ in range(3):
        threads.append(start_thread(lambda: results.append(future.get(timeout=10)), "w"))
    future.set(7)
    assert [g.get(timeout=10) for g in here] == [7] * 5
    assert get_all(there, timeout=10) == [7] * 5
    assert all(thread.join(10) for thread in threads)
    assert results == [7] * 3


def test_a_killed_waiter_leaves_nothing_behind():
    future = GreenFuture()
    waiters = [gevent.spawn(future.get) for _ in range(2)]
    gevent.sleep(0)
    assert future._first is not None
    assert len(future._waiters) == 1
    gevent.killall(waiters)
    assert future._first is None
    assert future._waiters == []
    future.set(1)
    assert future.get() == 1


def test_a_late_switch_does_not_wake_a_waiter():
    future = GreenFuture()
    waiter = gevent.spawn(future.get)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(waiter.switch)  # what code that forgot it may have left
    gevent.sleep(0)
    assert not waiter.ready()
    future.set(3)
    assert waiter.get(timeout=10) == 3


def test_the_hub_itself_can_not_wait():
    caught = []

    def wait():
        try:
            GreenFuture().get()
        except BaseException as error:
            caught.append(type(error).__name__)

    gevent.get_hub().loop.run_callback(wait)
    gevent.sleep(0)
    assert caught == ["BlockingSwitchOutError"]


def test_done_callbacks_run_once_whenever_they_are_added():
    future = GreenFuture()
    seen = []
    future.add_done_callback(lambda f: seen.append(("early", f.get())))
    future.add_done_callback(lambda f: 1 / 0)  # logged, and nobody else suffers
    future.add_done_callback(lambda f: seen.append(("early too", f.get())))
    future.set(1)
    future.add_done_callback(lambda f: seen.append(("late", f.get())))
    assert seen == [("early", 1), ("early too", 1), ("late", 1)]


def test_done_callbacks_added_by_threads_while_the_result_comes_run_exactly_once():
    for _ in range(50):
        future = GreenFuture()
        calls = []
        started = NativeEvent()

        def add(future=future, calls=calls, started=started):
            started.wait(10)
            for n in range(20):
                future.add_done_callback(lambda _, n=n: calls.append(n))

        threads = [start_thread(add, "adder") for _ in range(2)]
        started.set()
        future.set(None)
        assert all(thread.join(10) for thread in threads)
        assert sorted(calls) == sorted(list(range(20)) * 2)


def test_a_hook_makes_the_result_once():
    calls = []
    future = GreenFuture()
    future.set_get_hook(lambda timeout: calls.append(timeout) or "made")
    assert not future.done
    assert future.get(timeout=3) == "made"
    assert future.get() == "made"
    assert calls == [3]
    assert future.done
    with pytest.raises(queue.Full):
        future.set("other")


def test_a_hook_that_fails_may_be_tried_again():
    outcomes = iter([Timeout("not yet"), "now"])

    def hook(_timeout):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    future = GreenFuture()
    future.set_get_hook(hook)
    with pytest.raises(Timeout):
        future.get()
    assert future.get() == "now"


def test_a_hook_runs_once_for_greenlets_that_ask_together():
    source = GreenFuture()
    calls = []
    mapped = source.map(lambda value: calls.append(value) or value + 1)
    askers = [gevent.spawn(mapped.get) for _ in range(4)]
    impatient = gevent.spawn(mapped.get, timeout=0.001)
    gevent.sleep(0)
    with pytest.raises(Timeout):
        impatient.get(timeout=10)
    source.set(1)
    assert [asker.get(timeout=10) for asker in askers] == [2] * 4
    assert calls == [1]


def test_map_filter_join_reduce():
    numbers, word = GreenFuture(), GreenFuture()
    mapped = numbers.map(lambda xs: [x * 10 for x in xs])
    kept = mapped.filter(lambda x: x > 10)
    total = kept.reduce(lambda a, b: a + b, 100)
    both = total.join(word)
    assert not both.done
    numbers.set([1, 2, 3])
    assert not both.done
    assert total.done
    word.set("x")
    assert both.done
    assert both.get(timeout=0) == [150, "x"]
    assert kept.get(timeout=0) == [20, 30]
    with pytest.raises(TypeError):
        word.map(len).filter(bool).get()


def test_callbacks_of_derived_futures_wait_for_their_sources():
    left, right = GreenFuture(), GreenFuture()
    both = left.map(str).join(right)
    seen = []
    both.add_done_callback(lambda f: seen.append(f.get()))
    right.set(2)
    assert seen == []
    left.set(1)
    assert seen == [["1", 2]]
    both.add_done_callback(lambda f: seen.append("late"))
    assert seen[-1] == "late"


def test_callbacks_of_a_foreign_hook_run_when_it_has():
    future = GreenFuture()
    future.set_get_hook(lambda _: 4)
    seen = []
    future.add_done_callback(lambda f: seen.append(f.get()))
    assert seen == []
    assert future.get() == 4
    assert seen == [4]


def test_asyncio_awaits_without_standing_still(hub):
    future = GreenFuture()

    async def main():
        ticks = 0
        task = asyncio.ensure_future(asyncio.wait_for(future, 10))
        for _ in range(5):
            await asyncio.sleep(0)
            ticks += 1
        assert not task.done()
        hub.post(future.set, "from the hub")
        return await task, await future.map(len), ticks

    assert asyncio.run(main()) == ("from the hub", 12, 5)


def test_asyncio_awaits_derived_futures_and_foreign_hooks():
    left, right, hooked = GreenFuture(), GreenFuture(), GreenFuture()
    threads = []
    hooked.set_get_hook(lambda _: threads.append(get_ident()) or 9)
    both = left.map(str).join(right)

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(left.set, 1)
        loop.call_soon(right.set, 2)
        return await both, await hooked, await hooked

    assert asyncio.run(main()) == (["1", 2], 9, 9)
    assert threads != [get_ident()]  # it may block, so not in the loop's thread
    assert len(threads) == 1


def test_asyncio_gets_the_exception():
    future = GreenFuture()

    async def main():
        asyncio.get_running_loop().call_soon(future.set_exception, KeyError("k"))
        await future

    with pytest.raises(KeyError):
        asyncio.run(main())


def test_a_cancelled_await_leaves_nothing_behind():
    future = GreenFuture()

    async def main():
        task = asyncio.ensure_future(asyncio.wait_for(future, 10))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert future._waiters
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert future._waiters == []


def test_an_answer_to_a_loop_that_is_gone_hurts_nobody():
    future = GreenFuture()
    loop = asyncio.new_event_loop()
    step = future._await_done(loop)
    next(step)
    loop.close()
    future.set(1)  # logged
    assert future.get() == 1
    step.close()
