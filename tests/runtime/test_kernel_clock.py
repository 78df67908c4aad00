"""The clock and the timers of a hub."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import gevent
import pykka
import pytest
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.clock import GeventClock, Timers
from greenroom.actors.runtime.errors import HubClosedError
from greenroom.actors.runtime.future import GreenFuture
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.native import NativeEvent
from greenroom.actors.testing.clock import VirtualClock


def test_the_time_of_day_is_aware_and_utc():
    now = GeventClock(Hub.current()).now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=10)


def test_monotonic_time_does_not_run_backwards():
    clock = GeventClock(Hub.current())
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_timers_fire_in_the_hub_in_the_order_they_are_due(hub):
    timers: Timers = GeventClock(hub)
    seen = []
    done = GreenFuture()
    timers.call_later(0.02, lambda: (seen.append("second"), done.set(hub.is_current())))
    timers.call_later(0.001, seen.append, "first")
    timers.call_later(-1, seen.append, "at once")
    assert done.get(timeout=10) is True
    assert seen == ["at once", "first", "second"]


def test_a_cancelled_timer_does_not_fire(hub):
    for clock, drain in (
        (GeventClock(hub), lambda: hub.call(lambda: gevent.sleep(0))),
        (GeventClock(Hub.current()), lambda: gevent.sleep(0)),
    ):
        seen = []
        timer = clock.call_later(0, seen.append, "never")
        timer.cancel()
        timer.cancel()
        last = GreenFuture()
        clock.call_later(0.001, last.set)
        last.get(timeout=10)
        drain()
        assert seen == []


def test_a_timer_cancelled_before_the_hub_saw_it_is_never_armed(hub):
    gate = NativeEvent()
    hub.post(gate.wait, 10)
    timer = GeventClock(hub).call_later(0, print)
    timer.cancel()
    gate.set()
    hub.call(lambda: None)
    assert timer._watcher is None


def test_cancelling_after_it_fired_does_nothing():
    clock = GeventClock(Hub.current())
    fired = GreenFuture()
    timer = clock.call_later(0, fired.set)
    fired.get(timeout=10)
    timer.cancel()


def test_a_callback_that_fails_is_logged_and_others_fire(hub, caplog):
    clock = GeventClock(hub)
    done = GreenFuture()
    clock.call_later(0, lambda: (_ for _ in ()).throw(SystemExit))
    clock.call_later(0.001, done.set)
    done.get(timeout=10)
    assert "a timer's callback failed" in caplog.text


def test_a_closed_hub_takes_no_timers():
    hub = Hub.start()
    clock = GeventClock(hub)
    timer = clock.call_later(3600, print)
    assert hub.close(timeout=10)
    timer.cancel()
    with pytest.raises(HubClosedError):
        clock.call_later(1, print)


class Waiter(GreenActor):
    """Asks somebody who never answers, an hour long."""

    def on_receive(self, message):
        silent = GreenFuture()
        with pytest.raises(pykka.Timeout):
            silent.get(timeout=3600)
        return "waited"


def test_timeouts_of_futures_and_asks_go_by_the_clock_of_the_hub():
    with VirtualClock() as clock:
        answer = Waiter.start().ask("wait", block=False)
        clock.advance(3599)
        assert not answer.done
        clock.advance(1)
        assert answer.get() == "waited"
    with VirtualClock(autojump=True) as clock:
        waiter = Waiter.start()
        with pytest.raises(pykka.Timeout):
            waiter.ask("wait", timeout=1800)
        assert clock.monotonic() == 1800
        assert waiter.ask("wait", timeout=7200) == "waited"
        assert clock.monotonic() == 7200
        assert clock.pending == 0, "an answer in time takes its alarm back"
    pykka.ActorRegistry.stop_all()
