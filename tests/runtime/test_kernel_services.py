"""Timers, names, groups, links, metrics, tracing, and the system that holds them."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.childspec import ChildSpec
from greenroom.actors.runtime.errors import (
    HubClosedError,
    LinkBrokenError,
    NameTakenError,
    StartFailedError,
)
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.links import link
from greenroom.actors.runtime.metrics import Meter
from greenroom.actors.runtime.monitor import DownReason
from greenroom.actors.runtime.names import Names
from greenroom.actors.runtime.parcels import Lane
from greenroom.actors.runtime.system import ActorSystem
from greenroom.actors.runtime.timers import tell_after, tell_every
from greenroom.actors.testing.clock import VirtualClock


class Keeper(GreenActor):
    mailbox_bound = 3

    def __init__(self):
        super().__init__()
        self.got = []

    def on_receive(self, message):
        if message == "boom":
            raise ValueError
        if isinstance(message, Event):
            message.wait()
        self.got.append(message)
        return list(self.got)


@pytest.fixture
def clock():
    with VirtualClock() as virtual:
        yield virtual


@pytest.fixture
def keeper():
    ref = Keeper.start()
    yield ref
    ref.kill()


def test_a_message_is_told_later_once(clock, keeper):
    timer = tell_after(keeper, 10, "later")
    clock.advance(9.9)
    assert not timer.over
    clock.advance(0.1)
    assert keeper.ask("now") == ["later", "now"]
    assert timer.over
    assert timer.sent == 1


def test_a_cancelled_timer_tells_nothing(clock, keeper):
    timers = [tell_after(keeper, 1, "later"), tell_every(keeper, 1, "again")]
    for timer in timers:
        timer.cancel()
        timer.cancel()
    clock.advance(10)
    assert keeper.ask("now") == ["now"]
    assert clock.pending == 0


def test_a_repeated_message_keeps_its_rhythm_and_counts_what_it_misses(clock, keeper):
    timer = tell_every(keeper, 1, "tick")
    clock.advance(3.5)
    assert keeper.ask("now") == ["tick"] * 3 + ["now"]
    release = Event()
    keeper.tell(release)
    clock.advance(5)  # the mailbox holds three
    assert (timer.sent, timer.missed) == (6, 2)
    release.set()
    clock.advance(0.5)
    assert timer.sent == 7
    timer.cancel()


def test_a_repeated_message_makes_up_for_none_that_is_missed(keeper):
    class Late(VirtualClock):
        """Fires everything two and a half periods late."""

        def call_later(self, seconds, fn, *args):
            return super().call_later(seconds + 2.5, fn, *args)

    clock = Late()
    timer = tell_every(keeper, 1.0, "tick", clock=clock)
    clock.advance(3.5)
    assert timer.sent == 1
    assert timer._due == 4.0
    timer.cancel()


def test_a_repeated_message_ends_with_its_actor_and_a_period_is_positive(clock, keeper):
    timer = tell_every(keeper, 1, "tick", lane=Lane.CONTROL)
    keeper.kill()
    clock.advance(1)
    assert timer.over
    assert clock.pending == 0
    with pytest.raises(ValueError, match="period"):
        tell_every(keeper, 0, "tick")


def test_timers_go_by_the_hubs_clock_by_default(hub):
    ref = hub.call(Keeper.start)
    got = hub.call(lambda: gevent.event.AsyncResult())
    ref.monitor(lambda _: got.set(None))
    tell_after(ref, 0.001, "boom")
    assert ref.actor_stopped.wait(10)


def test_a_name_belongs_to_one_living_actor(dispatcher, keeper):
    names = Names()
    other = Keeper.start()
    names.register("name", keeper)
    names.register("name", keeper)
    with pytest.raises(NameTakenError):
        names.register("name", other)
    assert names.whereis("name") == keeper
    keeper.kill()
    assert names.whereis("name") is None
    names.register("name", other)  # before the old one's end was heard of
    gevent.sleep(0)
    assert names.names() == {"name": other}
    names.unregister("name", keeper)
    assert names.whereis("name") == other
    names.unregister("name")
    names.unregister("name")
    assert names.whereis("name") is None
    other.stop()
    assert names._monitors == {}
    assert Names.of(dispatcher) is Names.of(dispatcher)


def test_groups_and_broadcast(keeper):
    names = Names()
    others = [Keeper.start() for _ in range(3)]
    for ref in (keeper, *others, keeper):
        names.join("group", ref)
    assert names.members("group") == (keeper, *others)
    names.leave("group", others[0])
    names.leave("group", others[0])
    names.leave("nobody", others[0])
    for n in range(3):
        keeper.tell(n)
    assert names.broadcast("group", "hello") == 2  # the keeper is full
    others[1].kill()
    assert names.broadcast("group", "dead are passed over", lane=Lane.CONTROL) == 2
    gevent.sleep(0)
    assert names.members("group") == (keeper, others[2])
    for ref in (keeper, *others):
        ref.kill()
    gevent.sleep(0)
    assert names.members("group") == ()
    assert names._groups == names._monitors == {}


@pytest.mark.parametrize("first", [0, 1])
def test_linked_actors_end_together_when_one_ends_badly(first):
    refs = [Keeper.start(), Keeper.start()]
    link(*refs)
    refs[first].tell("boom")
    assert refs[1 - first].actor_stopped.wait(10)
    survivor = refs[1 - first].actor_inbox
    assert survivor.reason is DownReason.KILLED
    assert isinstance(survivor.error, LinkBrokenError)
    assert isinstance(survivor.error.__cause__, ValueError)
    assert refs[first].actor_urn in str(survivor.error)


def test_a_normal_end_and_an_unlinked_one_harm_nobody(keeper):
    one, other = Keeper.start(), Keeper.start()
    link(keeper, one)
    link(keeper, other).cancel()
    one.stop()
    other.tell("boom")
    assert other.actor_stopped.wait(10)
    gevent.sleep(0)
    assert keeper.is_alive()


def test_metrics_count_what_the_mailboxes_count(clock, dispatcher, keeper):
    meter = Meter()
    first = meter.look()
    keeper.ask("one")
    gone = Keeper.start()
    gone.ask("two")
    gone.stop()
    release = Event()
    keeper.tell(release)
    gevent.sleep(0)
    keeper.tell("waits")
    clock.advance(2)
    second = meter.look()
    assert second.handled - first.handled == 4  # the stop is a message too
    assert second.handled_per_s == 2.0
    assert (second.actors, second.depth, second.depth_max, second.busy_workers) == (1, 1, 1, 1)
    assert second.high_water >= 1
    keeper.kill()
    third = meter.look()
    assert third.dead_letters == second.dead_letters + 1
    assert (third.actors, third.handled_per_s) == (0, 0.0)


def test_a_system_starts_supervises_traces_and_stops():
    traced = []
    with ActorSystem.start("fleet", [ChildSpec("keeper", Keeper)]) as system:
        system.trace(lambda ref, message: traced.append((ref, message)))
        keeper = system.supervisor.child("keeper")
        keeper.ask("traced")
        system.trace(None)
        keeper.ask("not traced")
        assert (keeper, "traced") in traced
        assert (keeper, "not traced") not in traced
        loose = system.spawn(Keeper)
        added = system.supervise(ChildSpec("added", Keeper))
        system.names.register("keeper", keeper)
        metrics = system.metrics()
        assert metrics.actors == 4
        assert metrics.handled >= 2
    assert not any(ref.is_alive() for ref in (keeper, loose, added, system.supervisor))
    assert system.stop()
    with pytest.raises(HubClosedError):
        system.spawn(Keeper)


def test_a_stop_has_a_deadline():
    system = ActorSystem.start("stuck", [ChildSpec("keeper", Keeper)], watchdog=False)
    keeper, loose = system.supervisor.child("keeper"), system.spawn(Keeper)
    for ref in (keeper, loose):
        ref.tell(Event())
    assert not system.stop(timeout=0.05)
    assert not keeper.is_alive()
    assert not loose.is_alive()


def test_a_system_on_the_callers_hub_leaves_others_actors_alone(keeper):
    system = ActorSystem.start(hub=Hub.current(), children=[ChildSpec("k", Keeper)])
    child = system.supervisor.child("k")
    assert system.stop()
    assert not child.is_alive()
    assert keeper.is_alive()


def test_a_system_whose_child_does_not_start_leaves_nothing():
    with pytest.raises(StartFailedError):
        ActorSystem.start("broken", [ChildSpec("k", Keeper), ChildSpec("bad", lambda: 1 / 0)])
