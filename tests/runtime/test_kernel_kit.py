"""The kit itself: clock, scheduler, probe, faults, conservation, and the pytest plugin."""

from __future__ import annotations

import os
import subprocess
import sys

import gevent
import pytest
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.errors import MessageDroppedError
from greenroom.actors.runtime.monitor import Down
from greenroom.actors.runtime.timers import tell_after
from greenroom.actors.testing.clock import VirtualClock
from greenroom.actors.testing.conservation import assert_conserved
from greenroom.actors.testing.faults import FaultKind, FaultPlan, InjectedError
from greenroom.actors.testing.probe import Probe
from greenroom.actors.testing.scheduler import SeededScheduler
from pykka import ActorDeadError


class Echo(GreenActor):
    def on_receive(self, message):
        return message


class Loud(Echo):
    pass


@pytest.fixture
def echo():
    ref = Echo.start()
    yield ref
    ref.kill()
    gevent.sleep(0)


def test_timers_fire_in_order_of_time_and_then_of_making():
    clock, fired = VirtualClock(), []
    for name, seconds in (("c", 2), ("a", 1), ("b", 1), ("never", 9)):
        clock.call_later(seconds, fired.append, name)
    clock.call_later(1, lambda: clock.call_later(0.5, fired.append, "nested"))
    clock.call_later(1.2, lambda: 1 / 0)
    clock.advance(2)
    assert fired == ["a", "b", "nested", "c"]
    assert clock.monotonic() == 2
    assert clock.now().second == 2
    assert clock.pending == 1


def test_a_hub_that_never_rests_is_told(monkeypatch, echo):
    monkeypatch.setattr("greenroom.actors.testing.clock.SETTLE_ROUNDS_MAX", 50)
    spinning = True

    def spin():
        while spinning:
            gevent.sleep(0)

    spinner = gevent.spawn(spin)
    with pytest.raises(AssertionError, match="busy after 50 rounds"):
        VirtualClock().settle()
    spinning = False
    spinner.join(10)


def test_an_autojumping_clock_passes_while_everybody_waits(echo):
    with VirtualClock(autojump=True) as clock:
        done = gevent.event.Event()
        clock.call_later(3600, done.set)
        tell_after(echo, 1800, "half way")
        assert done.wait(10)
        assert clock.monotonic() == 3600
        assert echo.actor_inbox.handled == 1


def one_run(seed):
    with SeededScheduler(seed) as scheduler:
        refs = [Echo.start() for _ in range(5)]
        for n in range(10):
            refs[n % 5].tell(n)
        tell_after(refs[0], 1.0, object())
        scheduler.run()
        assert scheduler.steps == 11
        assert_conserved(*refs)
        refs[0].tell("left behind")
    return scheduler.trace


def test_the_order_follows_from_the_seed():
    traces = {one_run(seed) for seed in range(50)}
    assert len(traces) == 50
    assert one_run(7) == one_run(7)
    assert b"clock 1.000000" in one_run(7)
    assert b"<- <object>" in one_run(7)
    assert b"Echo#1 dead 'left behind'" in one_run(7)


def test_asks_inside_a_scheduler_wait_for_their_turn():
    class Asker(Echo):
        def on_receive(self, ref):
            return ref.ask("asked")

    with SeededScheduler(1, trace=False) as scheduler:
        assert Asker.start().ask(Echo.start()) == "asked"
        assert scheduler.trace == b""
        assert 0 <= scheduler.draw() < 1


def test_a_run_that_does_not_end_is_told():
    class Endless(Echo):
        def on_receive(self, message):
            self.actor_ref.tell(message)

    with SeededScheduler(3) as scheduler:
        Endless.start().tell("again")
        with pytest.raises(AssertionError, match="seed 3: more than 200"):
            scheduler.run(steps_max=200)


def test_a_run_can_end_at_a_time():
    with SeededScheduler(1) as scheduler:
        ref = Echo.start()
        tell_after(ref, 5, "later")
        scheduler.run(until_s=4)
        assert ref.actor_inbox.handled == 0
        scheduler.run()
        assert ref.actor_inbox.handled == 1


def test_a_probe_expects_in_order(echo):
    probe = Probe.start_probe()
    probe.expect_nothing()
    probe.answer_with(42)
    assert probe.ref.ask("one") == 42
    probe.ref.tell(2)
    assert probe.waiting == ("one",)
    assert probe.expect(str) == "one"
    gevent.spawn(probe.ref.tell, 3)
    assert probe.expect() == 2
    assert probe.expect(lambda n: n == 3) == 3
    with pytest.raises(AssertionError, match="nothing came"):
        probe.expect(timeout=0.01)
    probe.ref.tell("unwanted")
    with pytest.raises(AssertionError, match="expected nothing"):
        probe.expect_nothing()
    with pytest.raises(AssertionError, match="got 'unwanted'"):
        probe.expect(int)
    probe.watch(echo)
    echo.stop()
    assert probe.expect(Down).ref == echo
    late = Echo.start()
    probe.watch(late)
    probe.ref.stop()
    late.stop()
    gevent.sleep(0)


def test_a_plan_crashes_drops_delays_and_stalls_by_number_class_ref_and_content(echo, dispatcher):
    loud = Loud.start()
    plan = (
        FaultPlan()
        .crash(Loud, nth=3)
        .drop(echo, nth=2)
        .drop(when=lambda message: message == "unwanted", nth=None)
        .delay(10, echo, when=lambda message: message == "slow")
    )
    with VirtualClock() as clock, plan:
        assert [loud.ask(n) for n in range(2)] == [0, 1]
        assert echo.ask("first") == "first"
        with pytest.raises(MessageDroppedError):
            echo.ask("second")
        echo.tell("unwanted")
        slow = echo.ask("slow", block=False)
        clock.advance(9)
        assert not slow.done
        clock.advance(1)
        assert slow.get(timeout=1) == "slow"
        loud.tell("third")
        assert loud.actor_stopped.wait(10)
        assert isinstance(loud.actor_inbox.error, InjectedError)
    assert [kind for kind, _, _ in plan.fired] == [
        FaultKind.DROP,
        FaultKind.DROP,
        FaultKind.DELAY,
        FaultKind.CRASH,
    ]
    assert echo.ask("no plan any more") == "no plan any more"
    assert dispatcher.around is None
    assert_conserved(echo, loud)
    assert_conserved(dispatcher)


def test_a_plan_can_stall_and_reaches_proxies(echo):
    with FaultPlan().stall(nth=1).crash(nth=1, error=KeyError("planned")):
        stuck = echo.proxy().on_receive("x")
        gevent.sleep(0)
        assert not stuck.done
        echo.kill()
        with pytest.raises(ActorDeadError):
            stuck.get(timeout=10)
        other = Echo.start()
        with pytest.raises(KeyError):
            other.ask("crashes")
        assert str(other.actor_inbox.owner) in str(other)
        other.stop()


def test_faults_by_chance_come_as_often_as_said():
    draws = iter([0.05, 0.15, 0.25, 0.35, 0.95] * 2)
    plan = FaultPlan().by_chance(lambda: next(draws), crash=0.1, drop=0.1, delay=0.1, stall=0.1)
    ref = Echo.start()
    kinds = [plan._fault_for(ref, n) for n in range(5)]
    assert [fault and fault.kind for fault in kinds] == [*FaultKind, None]
    ref.stop()


def test_a_broken_law_is_told(echo):
    assert_conserved(echo.actor_inbox)
    echo.actor_inbox.accepted += 1
    with pytest.raises(AssertionError, match="accepted 1, but handled 0"):
        assert_conserved(echo)
    echo.actor_inbox.accepted -= 1


PLUGIN_TEST = """
import sys
assert "gevent" not in sys.modules

def test_all(greenroom_clock, greenroom_faults, greenroom_probe, greenroom_dead_letters):
    probe = greenroom_probe()
    greenroom_faults.drop(nth=1)
    probe.ref.tell("dropped")
    probe.ref.tell("kept")
    assert probe.expect() == "kept"
    assert [letter.message for letter in greenroom_dead_letters] == ["dropped"]
    greenroom_clock.advance(5)

def test_autojump(greenroom_autojump_clock):
    import gevent.event
    event = gevent.event.Event()
    greenroom_autojump_clock.call_later(100, event.set)
    assert event.wait(5)

def test_seed(greenroom_scheduler):
    assert greenroom_scheduler.seed == 17
    greenroom_scheduler.run()
"""


def test_the_plugin_gives_fixtures(tmp_path):
    (tmp_path / "test_plugin.py").write_text(PLUGIN_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "greenroom.actors.testing.plugin",
            "--greenroom-seed",
            "17",
            "-p",
            "no:cacheprovider",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "3 passed" in ran.stdout, ran.stdout + ran.stderr
