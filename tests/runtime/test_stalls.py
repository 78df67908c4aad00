"""Supervisors restart what stalls, leave alone what is busy, and the watchdog sees blocked hubs."""

from __future__ import annotations

import threading
import time

import gevent
import pytest
from gevent.event import Event
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.childspec import ChildSpec
from greenroom.actors.runtime.errors import HubClosedError, StalledError
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.monitor import DownReason
from greenroom.actors.runtime.restarts import RestartLimits
from greenroom.actors.runtime.supervising import ReportContext
from greenroom.actors.runtime.supervisor import Supervisor
from greenroom.actors.runtime.watchdog import Watchdog
from greenroom.actors.testing.clock import VirtualClock

MANY = RestartLimits(max_restarts=100_000)


class Reporting(Supervisor):
    def __init__(self, reports, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reports = reports

    def on_report(self, report):
        self.reports.append(report)


class Worker(GreenActor):
    def on_receive(self, message):
        match message:
            case "stall":
                self.never_returns()
            case "postpone":
                self.postpone()
            case "swallow":
                self.swallow()
            case ("work", clock, steps):
                self.work(clock, steps)
        return message

    def never_returns(self):
        Event().wait()

    def swallow(self):
        for _ in range(10):
            try:
                Event().wait()
            except BaseException:
                continue

    def work(self, clock, steps):
        """A long job that says so: a beat at each step of half a second."""
        for _ in range(steps):
            step = Event()
            clock.call_later(0.5, step.set)
            step.wait()
            self.beat()


@pytest.fixture
def clock():
    with VirtualClock() as virtual:
        yield virtual


@pytest.fixture
def reports():
    return []


@pytest.fixture
def start(reports):
    made = []

    def start_one(*specs, limits=MANY, **options):
        made.append(Reporting.start_acknowledged(reports, specs, limits=limits, **options))
        return made[-1]

    yield start_one
    for ref in made:
        ref.kill()  # the clock stands still, and with it every grace
    gevent.sleep(0)


def stalls(reports):
    return [report for report in reports if report.context is ReportContext.STALLED]


@pytest.mark.parametrize(
    ("message", "kind"), [("stall", "handler"), ("postpone", "mailbox")]
)
def test_a_stalled_child_is_reported_with_its_stack_and_restarted(
    clock, start, reports, message, kind
):
    supervisor = start(ChildSpec("child", Worker, stall_after_s=2.0))
    first = supervisor.child("child")
    first.tell(message)
    left = first.ask("left", block=False) if message == "stall" else None
    clock.advance(1.9)
    assert supervisor.child("child") == first
    clock.advance(0.75)
    second = supervisor.child("child")
    assert second != first
    assert second.ask("hello") == "hello"
    assert first.actor_inbox.reason is DownReason.KILLED
    assert isinstance(first.actor_inbox.error, StalledError)
    assert str(first.actor_inbox.error).startswith(f"no progress ({kind})")
    (stall,) = stalls(reports)
    assert stall.detail.startswith(kind)
    assert ("never_returns" in stall.detail) is (kind == "handler")
    assert left is None or left.done
    assert first.actor_inbox.accepted == first.actor_inbox.handled + first.actor_inbox.dead


def test_a_missed_heartbeat_is_a_stall_and_beats_prevent_it(clock, start, reports):
    supervisor = start(ChildSpec("child", Worker, heartbeat_s=2.0))
    child = supervisor.child("child")
    for _ in range(8):
        child._actor_weakref().beat()
        clock.advance(1.0)
    assert supervisor.child("child") == child
    clock.advance(2.0)
    assert supervisor.child("child") != child
    assert stalls(reports)[0].detail.startswith("heartbeat")


def test_a_stall_can_be_only_reported(clock, start, reports):
    supervisor = start(ChildSpec("child", Worker, stall_after_s=2.0, on_stall="report"))
    child = supervisor.child("child")
    child.tell("stall")
    clock.advance(60)
    assert supervisor.child("child") == child
    assert len(stalls(reports)) == 1


def test_a_temporary_child_that_stalls_is_not_started_again(clock, start):
    supervisor = start(ChildSpec("child", Worker, stall_after_s=2.0, restart="temporary"))
    supervisor.child("child").tell("stall")
    clock.advance(5)
    assert supervisor.which_children() == ()


def test_stalls_count_as_restarts(clock, start):
    supervisor = start(
        ChildSpec("child", Worker, stall_after_s=1.0), limits=RestartLimits(2, 60.0)
    )
    for _ in range(3):
        supervisor.child("child").tell("stall")
        clock.advance(2)
    assert supervisor.actor_inbox.reason is DownReason.ESCALATED


def test_a_handler_that_swallows_every_exit_is_replaced_and_its_asker_answered(clock, start):
    supervisor = start(ChildSpec("child", Worker, stall_after_s=1.0))
    child = supervisor.child("child")
    asked = child.ask("swallow", block=False)
    clock.advance(3)
    assert supervisor.child("child") != child
    assert asked.done
    while (worker := child.actor_inbox.worker) is not None:
        gevent.get_hub().loop.run_callback(worker.throw, gevent.GreenletExit)
        clock.settle()


def test_100_of_100_stalled_children_are_restarted_and_0_of_100_busy_ones_touched(
    clock, start, reports
):
    stalled = [ChildSpec(("stalled", n), Worker, stall_after_s=2.0) for n in range(100)]
    busy = [ChildSpec(("busy", n), Worker, stall_after_s=2.0) for n in range(100)]
    supervisor = start(*stalled, *busy)
    before = {info.id: info.ref for info in supervisor.which_children()}
    for (kind, n), ref in before.items():
        if kind == "stalled":
            ref.tell("stall" if n % 2 else "postpone")
        elif n % 2:
            ref.tell(("work", clock, 40))
    for _ in range(40):
        for (kind, n), ref in before.items():
            if kind == "busy" and not n % 2:
                ref.tell("something")
        clock.advance(0.5)
    after = {info.id: info.ref for info in supervisor.which_children()}
    assert all(ref is not None for ref in after.values())
    changed = {child_id for child_id, ref in after.items() if ref != before[child_id]}
    assert changed == {spec.id for spec in stalled}
    assert len(stalls(reports)) == 100


def test_time_in_which_the_hub_was_blocked_is_nobodys_stall(start, reports):
    supervisor = start(ChildSpec("child", Worker, stall_after_s=0.2))
    child = supervisor.child("child")
    step = Event()
    child.tell(("work", type("Soon", (), {"call_later": lambda *_: step.set()})(), 1))
    spin(0.5)
    assert supervisor.child("child", timeout=5) == child
    assert not stalls(reports)


def spin(seconds):
    """Never yield for so long, as a handler in a tight loop."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        pass


class Spinner(GreenActor):
    def on_receive(self, seconds):
        spin(seconds)


def blocks_of(count, block_s, spin_s):
    """Block a hub so many times, each time waiting for the report first."""
    told = threading.Semaphore(0)
    reports = []

    def on_block(report):
        # On a busy machine the hub's thread may be kept from running besides: no handler's block.
        if "spin(seconds)" in report.stack:
            reports.append(report)
            told.release()

    with Hub.start("spinning") as hub, Watchdog(hub, on_block, block_s=block_s) as dog:
        ref = hub.call(Spinner.start)
        for _ in range(count):
            ref.ask(spin_s, timeout=30)
            assert told.acquire(timeout=30)
            hub.call(gevent.sleep, 0)
        ref.stop()
        assert dog.blocks >= count
    return reports, ref


def test_blocks_of_the_hub_are_reported_with_stack_and_actor():
    reports, ref = blocks_of(5, 0.05, 0.3)
    assert len(reports) == 5
    assert {report.ref for report in reports} == {ref}
    assert all(report.hub == "spinning" and report.blocked_s >= 0.05 for report in reports)


@pytest.mark.chaos
def test_100_of_100_blocks_over_250_ms_are_reported():
    reports, _ = blocks_of(100, 0.25, 0.6)
    assert len(reports) == 100


def test_a_hub_that_is_idle_or_yields_is_not_blocked():
    seen = []
    with Hub.start("calm") as hub, Watchdog(hub, seen.append, block_s=0.1) as dog:
        hub.call(Event().wait, 0.3)
        dog.stop()
        dog.stop()
    assert not [report for report in seen if report.ref is not None]


def test_a_watchdog_without_a_callback_logs_and_survives_one_that_fails(caplog):
    with Hub.start("logged") as hub:
        with Watchdog(hub, block_s=0.05):
            hub.call(lambda: gevent.sleep(0) or spin(0.2))
        assert "has been blocked for" in caplog.text
        with Watchdog(hub, lambda _: 1 / 0, block_s=0.05):
            hub.call(lambda: spin(0.2))
        assert "a watchdog's callback failed" in caplog.text


def test_a_watchdog_ends_with_its_hub():
    hub = Hub.start("brief")
    dog = Watchdog(hub, block_s=0.05)
    dog.start()
    hub.close()
    dog.stop()
    with pytest.raises(HubClosedError):
        Watchdog(hub).start()
