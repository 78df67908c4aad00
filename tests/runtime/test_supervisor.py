"""What OTP's documentation says of supervisors: order, strategies, calls, intensity, auto-shutdown.

And what it does not: no child outlives its supervisor, however that ends.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from gevent.event import Event
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.children import ChildStatus
from greenroom.actors.runtime.childspec import KILL, ChildSpec
from greenroom.actors.runtime.errors import (
    ChildExistsError,
    ChildNotFoundError,
    ChildSpecError,
    ChildStartError,
    ChildStateError,
    LinkBrokenError,
    RestartIntensityError,
    StartFailedError,
)
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.monitor import DownReason
from greenroom.actors.runtime.native import NativeEvent
from greenroom.actors.runtime.restarts import RestartLimits
from greenroom.actors.runtime.supervising import ReportContext
from greenroom.actors.runtime.supervisor import Call, ChildCounts, Supervisor
from greenroom.actors.testing.clock import VirtualClock
from pykka import ActorDeadError, Timeout

LOG: list[str] = []
MANY = RestartLimits(max_restarts=1000)


class Worker(GreenActor):
    def __init__(self, name="?"):
        super().__init__()
        self.name = name

    def on_start(self):
        LOG.append(f"+{self.name}")

    def on_stop(self):
        LOG.append(f"-{self.name}")

    def on_receive(self, message):
        if message == "boom":
            raise ValueError(message)
        if message == "stop":
            self.stop()
        if isinstance(message, Event):
            message.wait()
        return message


class Deaf(Worker):
    def on_stop(self):
        Event().wait()


class Watched(Supervisor):
    """Keeps its reports."""

    reports: ClassVar[list] = []

    def on_report(self, report):
        self.reports.append(report)


@pytest.fixture(autouse=True)
def fresh():
    LOG.clear()
    Watched.reports.clear()


@pytest.fixture
def clock():
    with VirtualClock(autojump=True) as virtual:
        yield virtual


@pytest.fixture
def start():
    made = []

    def start_one(*names, strategy="one_for_one", restart="permanent", limits=MANY, **options):
        specs = [
            name if isinstance(name, ChildSpec) else spec(name, restart=restart) for name in names
        ]
        made.append(Watched.start_acknowledged(specs, strategy=strategy, limits=limits, **options))
        return made[-1]

    yield start_one
    for ref in made:
        ref.stop()


def spec(name, start=Worker, **fields):
    return ChildSpec(name, start, (name,), **fields)


def crash(supervisor, name):
    child = supervisor.child(name)
    child.tell("boom")
    assert child.actor_stopped.wait(10)
    settle()


def settle():
    """Let the hub do all there is to do."""
    VirtualClock().settle()


def log():
    said = " ".join(LOG)
    LOG.clear()
    return said


def test_children_start_in_order_and_stop_in_reverse(start):
    supervisor = start("a", "b", "c")
    assert log() == "+a +b +c"
    supervisor.stop()
    assert log() == "-c -b -a"


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("one_for_one", "+b"),
        ("one_for_all", "-c -a +a +b +c"),
        ("rest_for_one", "-c +b +c"),
    ],
)
def test_a_strategy_says_who_is_restarted_with_a_child(start, strategy, said):
    supervisor = start("a", "b", "c", strategy=strategy)
    log()
    crash(supervisor, "b")
    assert supervisor.count_children().active == 3
    assert log() == said


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_temporary_siblings_are_not_started_again(start, strategy):
    supervisor = start("a", spec("t", restart="temporary"), strategy=strategy)
    crash(supervisor, "a")
    assert [info.id for info in supervisor.which_children()] == ["a"]


def test_a_child_that_does_not_start_with_its_siblings_is_tried_again(start):
    tries = []

    def shaky(name):
        tries.append(name)
        if len(tries) == 2:
            raise ValueError
        return Worker.start(name)

    supervisor = start("a", spec("b", shaky), "c", strategy="one_for_all")
    log()
    crash(supervisor, "a")
    settle()
    assert supervisor.count_children().active == 3
    assert log() == "-c -b +a -a +a +b +c"
    assert len(tries) == 3


def test_a_start_that_fails_ends_those_before_it():
    with pytest.raises(StartFailedError) as caught:
        Watched.start_acknowledged([spec("a"), spec("b"), spec("c", lambda _: 1 / 0), spec("d")])
    assert isinstance(caught.value.__cause__, ChildStartError)
    assert caught.value.__cause__.child_id == "c"
    assert isinstance(caught.value.__cause__.__cause__, ZeroDivisionError)
    assert log() == "+a +b -b -a"
    assert [report.context for report in Watched.reports] == [ReportContext.START_ERROR]


def test_a_start_that_is_late_has_failed(clock, start):
    class Late(Worker):
        def on_start(self):
            Event().wait()

    supervisor = start()
    with pytest.raises(ChildStartError) as caught:
        supervisor.start_child(spec("late", Late, start_timeout_s=3))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert clock.monotonic() == 3


def test_two_children_can_not_have_the_same_id():
    with pytest.raises(ChildSpecError):
        Supervisor.start([spec("a"), spec("a")])
    with pytest.raises(ChildSpecError):
        Supervisor.start(strategy="one_for_some")
    with pytest.raises(ChildSpecError):
        Supervisor.start(auto_shutdown="perhaps")


def test_a_child_that_declines_is_kept_unless_it_is_temporary(start):
    supervisor = start(spec("a", lambda _: None), spec("b", lambda _: None, restart="temporary"))
    assert [(i.id, i.ref, i.status) for i in supervisor.which_children()] == [
        ("a", None, ChildStatus.STOPPED)
    ]
    assert supervisor.restart_child("a") is None
    assert supervisor.start_child(spec("c", lambda _: None)) is None
    assert supervisor.count_children() == ChildCounts(2, 0, 0, 2)


def test_start_child(start):
    supervisor = start("a")
    added = supervisor.start_child(spec("b"))
    assert supervisor.child("b") == added
    for known in ("a", "b"):
        with pytest.raises(ChildExistsError):
            supervisor.start_child(spec(known))
    supervisor.terminate_child("b")
    with pytest.raises(ChildExistsError):
        supervisor.start_child(spec("b"))
    with pytest.raises(ChildSpecError):
        supervisor.start_child("b")
    with pytest.raises(ChildStartError):
        supervisor.start_child(spec("c", lambda _: 1 / 0))
    assert [info.id for info in supervisor.which_children()] == ["a", "b"]


def test_terminate_restart_and_delete_child(start):
    supervisor = start("a", spec("t", restart="temporary"))
    with pytest.raises(ChildStateError):
        supervisor.restart_child("a")
    with pytest.raises(ChildStateError):
        supervisor.delete_child("a")
    supervisor.terminate_child("a")
    supervisor.terminate_child("a")  # it is stopped, and stays so
    with pytest.raises(ChildStateError):
        supervisor.child("a")
    assert supervisor.restart_child("a").ask("hello") == "hello"
    supervisor.terminate_child("a")
    supervisor.delete_child("a")
    supervisor.terminate_child("t")
    for call in (
        supervisor.terminate_child,
        supervisor.restart_child,
        supervisor.delete_child,
        supervisor.child,
    ):
        for unknown in ("a", "t"):
            with pytest.raises(ChildNotFoundError):
                call(unknown)
    assert supervisor.which_children() == ()


def test_a_transient_child_that_ended_well_can_be_restarted_by_hand(start):
    supervisor = start("a", restart="transient")
    supervisor.child("a").stop()
    settle()
    assert supervisor.which_children()[0].status is ChildStatus.STOPPED
    assert supervisor.restart_child("a").is_alive()
    assert Watched.reports == []


def test_a_child_waits_for_its_backoff_and_can_be_ended_meanwhile(start):
    with VirtualClock() as clock:
        supervisor = start("a", "b", limits=RestartLimits(100, 1000, backoff_s=2.0))
        crash(supervisor, "a")
        info = supervisor.which_children()[0]
        assert (info.ref, info.status) == (None, ChildStatus.RESTARTING)
        with pytest.raises(ChildStateError):
            supervisor.restart_child("a")
        clock.advance(1.999)
        assert supervisor.count_children().active == 1
        clock.advance(0.001)
        assert supervisor.count_children().active == 2
        crash(supervisor, "a")
        supervisor.terminate_child("a")
        clock.advance(100)
        assert supervisor.which_children()[0].status is ChildStatus.STOPPED
        assert clock.pending == 0


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_siblings_are_down_while_a_backoff_lasts(start, strategy):
    with VirtualClock() as clock:
        supervisor = start("a", "b", strategy=strategy, limits=RestartLimits(9, 100, backoff_s=2.0))
        crash(supervisor, "a")
        assert supervisor.count_children().active == 0
        clock.advance(2)
        assert supervisor.count_children().active == 2
        assert log() == "+a +b -b +a +b"


def test_too_many_restarts_in_the_window_end_the_supervisor(start):
    with VirtualClock() as clock:
        supervisor = start("a", "b", limits=RestartLimits(2, 5.0))
        for _ in range(3):
            crash(supervisor, "a")
            clock.advance(2.6)  # never more than two within five seconds
        crash(supervisor, "a")
        assert supervisor.is_alive()
        crash(supervisor, "a")
    settle()
    cell = supervisor.actor_inbox
    assert cell.reason is DownReason.ESCALATED
    assert isinstance(cell.error, RestartIntensityError)
    assert Watched.reports[-1].context is ReportContext.SHUTDOWN
    assert "more than 2 restarts in 5 s" in str(cell.error)


@pytest.mark.parametrize("restart", ["permanent", "transient"])
def test_escalation_goes_upward_and_the_supervisor_above_restarts_the_branch(start, restart):
    branch = ChildSpec(
        "branch", Watched, ([spec("leaf")],), {"limits": RestartLimits(1)}, restart=restart
    )
    top = start(branch)
    first = top.child("branch")
    crash(first, "leaf")
    crash(first, "leaf")
    settle()
    second = top.child("branch")
    assert second != first
    assert second.count_children().active == 1
    (ended,) = (r for r in Watched.reports if r.child_id == "branch")
    assert ended.reason is DownReason.ESCALATED


@pytest.mark.parametrize(
    ("rule", "ends"),
    [
        ("never", ()),
        ("any_significant", ("s1",)),
        ("all_significant", ("s1", "s2")),
    ],
)
def test_significant_children_end_their_supervisor(start, rule, ends):
    supervisor = start(
        "worker",
        spec("s1", restart="transient", significant=True),
        spec("s2", restart="temporary", significant=True),
        spec("other", restart="transient"),
        auto_shutdown=rule,
    )
    order = ["other", "s1", "s2"]
    for name in order:
        assert supervisor.is_alive()
        supervisor.child(name).stop()
        settle()
        if ends and name == ends[-1]:
            assert supervisor.actor_inbox.reason is DownReason.SHUTDOWN
            return
    assert supervisor.count_children().active == 1


def test_ending_a_significant_child_by_hand_ends_nobody_else(start):
    supervisor = start(
        spec("s", restart="transient", significant=True), auto_shutdown="any_significant"
    )
    supervisor.terminate_child("s")
    assert supervisor.is_alive()


def test_a_crashed_significant_transient_child_is_restarted(start):
    supervisor = start(
        spec("s", restart="transient", significant=True), auto_shutdown="any_significant"
    )
    crash(supervisor, "s")
    assert supervisor.count_children().active == 1


def test_a_stop_overtakes_the_work_of_a_child_and_a_kill_ends_a_deaf_one(clock, start):
    supervisor = start(spec("busy"), spec("deaf", Deaf, shutdown=3), spec("killed", shutdown=KILL))
    release = Event()
    supervisor.child("busy").tell(release)
    settle()
    left = supervisor.child("busy").ask("later", block=False)
    clock.call_later(4, release.set)
    supervisor.stop()
    assert clock.monotonic() == 4
    assert log().endswith("-busy")
    with pytest.raises(ActorDeadError):
        left.get(timeout=10)


@pytest.mark.parametrize("how", ["kill", "crash", "hub"])
def test_no_child_outlives_its_supervisor(how):
    class Fragile(Supervisor):
        def on_receive(self, message):
            return 1 / 0 if message == "boom" else super().on_receive(message)

    with Hub.start("fragile") as hub:
        supervisor = hub.call(Fragile.start_acknowledged, [spec("a"), spec("b", Deaf)])
        children = [info.ref for info in supervisor.which_children()]
        if how == "kill":
            supervisor.kill()
        elif how == "crash":
            supervisor.tell("boom")
        else:
            hub.close()
        for child in children:
            assert child.actor_stopped.wait(10)
        if how != "hub":
            assert {type(child.actor_inbox.error) for child in children} == {LinkBrokenError}


def test_a_supervisor_killed_while_it_starts_a_child_leaves_no_child(start):
    class Slow(Worker):
        def on_start(self):
            super().on_start()
            Event().wait()

    supervisor = start()
    asked = supervisor.ask(Call("start", spec("slow", Slow)), block=False)
    settle()
    assert log() == "+slow"
    supervisor.kill()
    with pytest.raises(ActorDeadError):
        asked.get(timeout=10)


def test_a_child_of_a_hung_hub_is_given_up(clock, start):
    with Hub.start("far") as far:
        supervisor = start(spec("far", lambda _: far.call(Worker.start), shutdown=KILL))
        blocked = NativeEvent()
        far.post(blocked.wait, 10)
        supervisor.terminate_child("far")
        blocked.set()
        assert [r.context for r in Watched.reports] == [ReportContext.SHUTDOWN_ERROR]


def test_calls_can_be_late_and_come_from_threads(start):
    class Slow(Worker):
        def on_start(self):
            Event().wait()

    with Hub.start("other") as hub:
        supervisor = hub.call(Supervisor.start_acknowledged, [spec("a")])
        assert supervisor.child("a").ask("hello") == "hello"
        with pytest.raises(Timeout):
            supervisor.start_child(spec("slow", Slow), timeout=0.01)
        supervisor.kill()


def test_restarts_are_counted(start, dispatcher):
    before = dispatcher.restarts
    supervisor = start("a")
    crash(supervisor, "a")
    assert supervisor.count_children().active == 1
    assert dispatcher.restarts == before + 1


def test_reports_are_logged_by_default(caplog):
    supervisor = Supervisor.start_acknowledged([spec("a")])
    crash(supervisor, "a")
    assert "child 'a': child_terminated crashed" in caplog.text
    supervisor.stop()
