"""Hub and Inlet: callbacks and calls from any thread; what is accepted is run or answered."""

from __future__ import annotations

from contextlib import suppress

import gevent
import pytest
from gevent.event import Event
from greenlet import GreenletExit
from greenroom.actors.runtime import hub as hub_module
from greenroom.actors.runtime.errors import ActorError, HubClosedError
from greenroom.actors.runtime.future import GreenFuture
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.inlet import INLET_BATCH, Inlet
from greenroom.actors.runtime.originals import NativeEvent, get_ident, start_thread
from pykka import get_all


def test_an_own_hub_lives_in_a_thread_of_its_own(hub):
    ident = hub.call(get_ident)
    assert ident != get_ident()
    assert not hub.is_current()
    assert hub.call(hub.is_current)
    assert hub.call(Hub.current) is hub
    assert hub.gevent_hub is hub.call(gevent.get_hub)


def test_an_idle_hub_does_not_run_out(hub, caplog):
    for n in range(3):
        assert hub.submit(lambda n=n: n).get(timeout=10) == n
    assert not caplog.records  # a LoopExit would be logged


def test_posts_run_in_order_and_beyond_the_batch(hub):
    seen = []
    gate = NativeEvent()
    hub.post(gate.wait, 10)  # the loop stands still: all that follows piles up
    for n in range(3 * INLET_BATCH):
        hub.post(seen.append, n)
    gate.set()
    hub.submit(lambda: None).get(timeout=10)
    assert seen == list(range(3 * INLET_BATCH))


def test_a_flood_of_posts_lets_others_have_a_turn(hub):
    """More than a batch of callbacks: a callback that came after the first ones runs between."""
    seen = []
    gate = NativeEvent()
    hub.post(gate.wait, 10)
    hub.post(lambda: hub.loop.run_callback(seen.append, "other"))
    for n in range(2 * INLET_BATCH):
        hub.post(seen.append, n)
    gate.set()
    hub.submit(lambda: None).get(timeout=10)
    assert seen.index("other") < INLET_BATCH + 1


def test_a_post_that_fails_stops_nothing(hub):
    for error in (ValueError, SystemExit, KeyboardInterrupt, GreenletExit, gevent.Timeout):
        def fail(error=error):
            raise error

        hub.post(fail)
    assert hub.call(lambda x: x, x=1) == 1


@pytest.mark.parametrize(
    "error",
    [ValueError, SystemExit, KeyboardInterrupt, GreenletExit, gevent.Timeout, MemoryError],
)
def test_what_a_call_raises_is_in_its_future(hub, error):
    def fail():
        gevent.sleep(0)
        raise error

    with pytest.raises(error):
        hub.submit(fail).get(timeout=10)
    with pytest.raises(error):
        hub.call(fail)
    assert hub.call(lambda: 1) == 1


def test_an_exit_of_a_greenlet_of_others_does_not_end_the_hub(hub):
    def spawn_exit():
        gevent.spawn(lambda: (_ for _ in ()).throw(SystemExit(3))).join()

    hub.call(spawn_exit)
    assert hub.call(lambda: 1) == 1


def test_call_is_direct_inside_the_hub_and_calls_run_side_by_side(hub):
    def inside():
        here = gevent.getcurrent()
        return hub.call(gevent.getcurrent) is here

    assert hub.call(inside)
    event = hub.call(Event)
    waiting = [hub.submit(event.wait, 10) for _ in range(10)]
    hub.submit(event.set)
    assert get_all(waiting, timeout=10) == [True] * 10


def test_two_hubs_call_each_other(hub):
    with Hub.start("other") as other:
        assert hub.call(lambda: other.call(lambda: hub.call(lambda: 42))) == 42


def test_close_runs_what_was_posted_cuts_what_was_submitted_and_ends_the_thread(monkeypatch):
    monkeypatch.setattr(hub_module, "CLOSE_GRACE_S", 3600)  # nobody needs it
    hub = Hub.start()
    seen, cleaned = [], []

    def blocked():
        try:
            gevent.event.Event().wait()
        finally:
            gevent.sleep(0)  # a finally block may still yield
            cleaned.append(True)

    calls = [hub.submit(blocked) for _ in range(3)]
    hub.post(seen.append, "posted")
    assert hub.close(timeout=10)
    assert seen == ["posted"]
    assert cleaned == [True] * 3
    for call in calls:
        with pytest.raises(HubClosedError):
            call.get(timeout=10)
    assert hub.close(timeout=10)
    for use in (hub.post, hub.submit, hub.call):
        with pytest.raises(HubClosedError):
            use(lambda: None)
    assert issubclass(HubClosedError, ActorError)
    assert hub.closed
    assert not hub.is_current()


def test_a_call_that_will_not_be_cut_is_left_behind_after_the_grace(monkeypatch):
    monkeypatch.setattr(hub_module, "CLOSE_GRACE_S", 0.02)
    hub = Hub.start()

    def stubborn():
        while True:
            with suppress(GreenletExit):
                gevent.event.Event().wait()

    call = hub.submit(stubborn)
    assert hub.close(timeout=10)
    with pytest.raises(HubClosedError):
        call.get(timeout=10)


def test_close_from_inside_only_asks():
    hub = Hub.start()
    assert hub.call(hub.close) is False
    assert hub.close(timeout=10)


def test_a_thread_with_the_ident_of_a_closed_hub_is_not_that_hub():
    """The system gives the ident of an ended thread to the next one."""
    hub = Hub.start()
    old = hub.call(get_ident)
    assert hub.close(timeout=10)
    mistaken = []
    for _ in range(20):
        thread = start_thread(lambda: mistaken.append(hub.is_current()), "next")
        assert thread.join(10)
        if thread.ident == old:
            break
    assert not any(mistaken)
    assert hub._inlet.thread_ident == 0


def test_close_in_time_or_not():
    hub = Hub.start()
    gate = NativeEvent()
    hub.post(gate.wait, 10)
    assert hub.close(timeout=0.001) is False
    gate.set()
    assert hub.close(timeout=10)


def test_every_call_that_races_with_close_is_answered():
    for _ in range(20):
        hub = Hub.start()
        answers = []

        def hammer(hub=hub, answers=answers):
            while True:
                try:
                    future = hub.submit(lambda: 1)
                except HubClosedError:
                    return
                answers.append(future)

        threads = [start_thread(hammer, "hammer") for _ in range(3)]
        assert hub.close(timeout=10)
        assert all(thread.join(10) for thread in threads)
        for future in answers:
            try:
                assert future.get(timeout=10) == 1
            except HubClosedError:
                continue


def test_a_wrapped_hub_goes_on_when_its_handle_is_closed():
    handle = Hub.current()
    assert handle.is_current()
    seen = []
    handle.post(seen.append, 1)
    assert handle.submit(lambda: 2).get(timeout=10) == 2
    assert handle.close()
    assert handle.close()
    with pytest.raises(HubClosedError):
        handle.post(seen.append, 2)
    again = Hub.current()
    assert again.submit(lambda: 3).get(timeout=10) == 3
    assert seen == [1]


def test_a_wrapped_hub_takes_calls_from_plain_threads():
    handle = Hub.current()
    result = GreenFuture()
    start_thread(lambda: result.set(handle.call(get_ident)), "caller")
    assert result.get(timeout=10) == get_ident()


def test_a_loop_destroyed_by_others_is_a_closed_hub():
    inlets = GreenFuture()

    def thread():
        hub = gevent.get_hub()
        inlets.set(Inlet.of(hub))
        hub.destroy(destroy_loop=True)

    assert start_thread(thread, "short").join(10)
    with pytest.raises(HubClosedError):
        inlets.get(timeout=10).put(print)


@pytest.mark.parametrize("first", ["close", "append"])
def test_a_callback_that_races_with_the_close_is_refused_or_runs(first):
    """The inlet closes right before, or right after, the callback lies in it."""
    inlet = Inlet(gevent.get_hub())
    seen = []

    class Racing(type(inlet._items)):
        def append(self, item):
            if first == "close":
                inlet.close()
            super().append(item)
            inlet.close()

    inlet._items = Racing()
    if first == "close":
        with pytest.raises(HubClosedError):
            inlet.put(seen.append, "ran")
    else:
        inlet.put(seen.append, "ran")
    assert seen == ([] if first == "close" else ["ran"])


def test_an_inlet_belongs_to_its_hub():
    inlet = Inlet.of(gevent.get_hub())
    assert Inlet.of(gevent.get_hub()) is inlet
    assert inlet.local
