"""The 41 cases of Elixir's DynamicSupervisor, by name, in the same order.

Where the BEAM has something Python has not (spawn options, code change, old child specs), the case
keeps its name and tests what stands in its place here.
"""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event
from greenlet import GreenletExit
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.children import ChildStatus
from greenroom.actors.runtime.childspec import FOREVER, KILL, ChildSpec, Restart
from greenroom.actors.runtime.clock import clock_of
from greenroom.actors.runtime.dynamic_supervisor import DynamicSupervisor
from greenroom.actors.runtime.errors import (
    ChildExistsError,
    ChildNotFoundError,
    ChildSpecError,
    ChildStartError,
    RestartIntensityError,
    TooManyChildrenError,
)
from greenroom.actors.runtime.monitor import DownReason
from greenroom.actors.runtime.names import Names
from greenroom.actors.runtime.restarts import RestartLimits
from greenroom.actors.runtime.supervisor import ChildCounts, Supervisor
from greenroom.actors.testing.clock import VirtualClock

MANY = RestartLimits(max_restarts=100_000)


class Worker(GreenActor):
    def on_receive(self, message):
        if message == "boom":
            raise ValueError(message)
        return message


class Other(Worker):
    pass


class Deaf(Worker):
    """Its ``on_stop`` never returns."""

    def on_stop(self):
        Event().wait()


class Bad(Worker):
    """Its ``on_stop`` raises."""

    def on_stop(self):
        raise ValueError("abnormal")


def worker(start=Worker, **fields):
    return ChildSpec("worker", start, **fields)


def then(first, *rest):
    """A start function that behaves differently each time; the last one goes on."""
    line = [first, *rest]
    return lambda: (line.pop(0) if len(line) > 1 else line[0])()


def fail():
    raise ValueError("found")


def garbage():
    return "unknown"


def decline():
    return None


def end(ref, how):
    """End an actor from outside, and wait until everybody has been told."""
    match how:
        case "shutdown":
            ref.stop()
        case "signal":
            ref.actor_inbox.halt(DownReason.SHUTDOWN)
        case "kill":
            ref.kill()
        case "whatever":
            ref.tell("boom")
    assert ref.actor_stopped.wait(10)
    gevent.sleep(0)


def downs_of(*refs):
    heard = []
    for ref in refs:
        ref.monitor(lambda down: heard.append((down.ref, down.reason)))
    return heard


@pytest.fixture
def start():
    """Start dynamic supervisors that are stopped behind the test."""
    made = []

    def start_one(**options):
        made.append(DynamicSupervisor.start_acknowledged(timeout=10, **options))
        return made[-1]

    yield start_one
    for ref in made:
        ref.stop()


@pytest.fixture
def clock():
    with VirtualClock(autojump=True) as virtual:
        yield virtual


def active(supervisor):
    counts = supervisor.count_children()
    return counts.workers, counts.active


def test_can_be_supervised_directly():
    top = Supervisor.start_acknowledged([ChildSpec("dynamic", DynamicSupervisor)])
    assert top.child("dynamic").which_children() == ()
    top.stop()


def test_multiple_supervisors_can_be_supervised_and_identified_with_simple_child_spec():
    specs = [ChildSpec(name, DynamicSupervisor) for name in ("simple", "global", "via")]
    top = Supervisor.start_acknowledged(specs)
    for spec in specs:
        assert top.child(spec.id).which_children() == ()
    added = top.start_child(ChildSpec("no name", DynamicSupervisor))
    assert added.which_children() == ()
    with pytest.raises(ChildExistsError):
        top.start_child(ChildSpec("no name", DynamicSupervisor))
    assert top.count_children() == ChildCounts(4, 4, supervisors=4, workers=0)
    top.stop()
    assert not added.is_alive()


def test_generates_child_spec():
    assert worker() == ChildSpec(
        id="worker", start=Worker, args=(), kwargs={}, restart=Restart.PERMANENT, shutdown=None
    )
    custom = worker(restart="temporary", shutdown=FOREVER)
    assert (custom.restart, custom.shutdown) == (Restart.TEMPORARY, FOREVER)


def test_init_set_default_options(start):
    limits = RestartLimits()
    assert (limits.max_restarts, limits.window_s, limits.backoff_s) == (3, 5.0, 0.0)
    supervisor = start()
    for _ in range(100):
        supervisor.start_child(worker())
    assert active(supervisor) == (100, 100)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_children": -1}, "max_children"),
        ({"max_children": True}, "max_children"),
        ({"extra_args": -1}, "extra_args"),
        ({"auto_shutdown": "any_significant"}, "auto_shutdown"),
        ({"auto_shutdown": "unknown"}, "auto_shutdown"),
    ],
)
def test_start_link_with_non_ok_init(options, field):
    with pytest.raises(ChildSpecError) as caught:
        DynamicSupervisor.start(**options)
    assert caught.value.field == field


def test_start_link_with_registered_process(start, dispatcher):
    supervisor = start()
    Names.of(dispatcher).register("registered", supervisor)
    assert Names.of(dispatcher).whereis("registered") == supervisor
    assert supervisor.stop()
    gevent.sleep(0)
    assert Names.of(dispatcher).whereis("registered") is None


def test_start_link_with_spawn_opt():
    class Small(DynamicSupervisor):
        mailbox_bound = 7

    supervisor = Small.start_acknowledged()
    assert supervisor.actor_inbox.bound == 7
    supervisor.stop()


def test_start_link_sets_initial_call_to_the_same_as_a_regular_supervisor():
    top = Supervisor.start_acknowledged(
        [ChildSpec("dynamic", DynamicSupervisor), ChildSpec("regular", Supervisor)]
    )
    assert [info.is_supervisor for info in top.which_children()] == [True, True]
    top.stop()


def test_code_change_with_non_ok_init(start):
    supervisor = start(max_children=1)
    with pytest.raises(ChildSpecError):
        supervisor.configure(max_children=-1)
    with pytest.raises(ChildSpecError):
        supervisor.configure(limits="unknown", max_children=5)
    supervisor.start_child(worker())
    with pytest.raises(TooManyChildrenError):
        supervisor.start_child(worker())


def test_code_change_with_ok_init(start):
    supervisor = start()
    supervisor.start_child(worker())
    supervisor.configure(max_children=1, limits=MANY)
    assert active(supervisor) == (1, 1)
    with pytest.raises(TooManyChildrenError):
        supervisor.start_child(worker())


def test_start_child_supports_old_child_spec(start):
    def started():
        return Worker.start_acknowledged()

    assert start().start_child(worker(started, restart="temporary")).is_alive()


def test_start_child_supports_new_child_spec_as_tuple(start):
    assert start().start_child(ChildSpec(*("worker", Worker, ()))).is_alive()


def test_start_child_supports_new_child_spec(start):
    assert start().start_child(worker()).ask("hello") == "hello"


def test_start_child_supports_extra_arguments(start):
    class Told(GreenActor):
        def __init__(self, *args, **kwargs):
            super().__init__()
            self.told = args, kwargs

    supervisor = start(extra_args=("extra",))
    child = supervisor.start_child(worker(Told, args=("own",), kwargs={"key": 1}))
    assert child.proxy().told.get() == (("extra", "own"), {"key": 1})


def test_start_child_with_invalid_child_spec(start):
    supervisor = start()
    with pytest.raises(ChildSpecError):
        supervisor.start_child({})
    with pytest.raises(ChildSpecError) as caught:
        supervisor.start_child(worker(restart="transient", significant=True))
    assert caught.value.field == "significant"
    assert active(supervisor) == (0, 0)


def test_start_child_with_different_returns(start):
    supervisor = start()
    assert supervisor.start_child(worker(Other.start)).is_alive()
    assert supervisor.start_child(worker(Worker.start)).is_alive()
    assert supervisor.start_child(worker(decline)) is None
    for broken, cause in ((fail, ValueError), (garbage, TypeError)):
        with pytest.raises(ChildStartError) as caught:
            supervisor.start_child(worker(broken))
        assert isinstance(caught.value.__cause__, cause)
    assert active(supervisor) == (2, 2)


@pytest.mark.parametrize(
    "error", [GreenletExit, RuntimeError, SystemExit, KeyboardInterrupt, gevent.Timeout]
)
@pytest.mark.parametrize("where", ["function", "__init__", "on_start"])
def test_start_child_with_throw_error_exit(start, where, error):
    def raise_it(*_):
        raise error

    broken = raise_it if where == "function" else type("Broken", (Worker,), {where: raise_it})
    supervisor = start()
    with pytest.raises(ChildStartError) as caught:
        supervisor.start_child(worker(broken))
    assert isinstance(caught.value.__cause__, error)
    assert active(supervisor) == (0, 0)


def test_start_child_with_max_children(start):
    with pytest.raises(TooManyChildrenError):
        start(max_children=0).start_child(worker())


def test_temporary_child_is_not_restarted_regardless_of_reason(start):
    supervisor = start()
    for how in ("shutdown", "whatever", "kill"):
        end(supervisor.start_child(worker(restart="temporary")), how)
        assert active(supervisor) == (0, 0)


def test_transient_child_is_restarted_unless_normal_or_shutdown(start):
    supervisor = start()
    for how, left in (("shutdown", 0), ("signal", 0), ("whatever", 1), ("kill", 2)):
        end(supervisor.start_child(worker(restart="transient")), how)
        assert active(supervisor) == (left, left)


def test_permanent_child_is_restarted_regardless_of_reason(start):
    supervisor = start(limits=MANY)
    for left, how in enumerate(("shutdown", "signal", "whatever", "kill"), 1):
        end(supervisor.start_child(worker()), how)
        assert active(supervisor) == (left, left)


def test_child_is_restarted_with_different_values(start):
    supervisor = start(limits=MANY)
    for again, counts in (
        (Worker.start, (1, 1)),
        (Other.start, (2, 2)),
        (decline, (2, 2)),
        (fail, (3, 2)),
        (garbage, (4, 2)),
    ):
        child = supervisor.start_child(worker(then(Worker.start, again)))
        assert child in [info.ref for info in supervisor.which_children()]
        end(child, "shutdown")
        assert active(supervisor) == counts
    statuses = [info.status for info in supervisor.which_children()]
    assert statuses.count(ChildStatus.RESTARTING) == 2


def test_restarting_on_init_children_counted_in_max_children(start):
    supervisor = start(max_children=1, limits=MANY)
    end(supervisor.start_child(worker(then(Worker.start, fail))), "shutdown")
    assert active(supervisor) == (1, 0)
    with pytest.raises(TooManyChildrenError):
        supervisor.start_child(worker())


def test_restarting_on_exit_children_counted_in_max_children(start):
    supervisor = start(max_children=1, limits=MANY)
    end(supervisor.start_child(worker()), "shutdown")
    assert active(supervisor) == (1, 1)
    with pytest.raises(TooManyChildrenError):
        supervisor.start_child(worker())


def test_restarting_a_child_with_extra_arguments_successfully_restarts_child(start):
    told = []

    def started(extra):
        told.append(extra)
        return Worker.start()

    supervisor = start(extra_args=("extra",))
    end(supervisor.start_child(worker(started, restart="transient")), "whatever")
    assert active(supervisor) == (1, 1)
    assert told == ["extra", "extra"]


def test_child_is_restarted_when_trying_again(start):
    supervisor = start(limits=RestartLimits(max_restarts=2))
    end(supervisor.start_child(worker(then(Worker.start, fail, Worker.start))), "shutdown")
    gevent.sleep(0)
    assert active(supervisor) == (1, 1)


@pytest.mark.parametrize(
    ("max_restarts", "name"), [(1, "maximum restarts"), (10, "maximum intensity")]
)
def test_child_triggers_maximum_restarts(start, max_restarts, name):
    supervisor = start(limits=RestartLimits(max_restarts=max_restarts))
    starts = []

    def failing():
        starts.append(name)
        return fail() if len(starts) > 1 else Worker.start()

    end(supervisor.start_child(worker(failing)), "shutdown")
    assert supervisor.actor_stopped.wait(10)
    assert supervisor.actor_inbox.reason is DownReason.ESCALATED
    error = supervisor.actor_inbox.error
    assert isinstance(error, RestartIntensityError)
    assert (error.child_id, error.max_restarts) == ("worker", max_restarts)
    assert len(starts) == 1 + max_restarts


def test_child_triggers_maximum_intensity_when_trying_again(start):
    supervisor = start(limits=RestartLimits(max_restarts=10))
    bystander = supervisor.start_child(worker())
    end(supervisor.start_child(worker(then(Worker.start, fail))), "shutdown")
    assert supervisor.actor_stopped.wait(10)
    assert not bystander.is_alive()


@pytest.mark.parametrize("shutdown", [0, 1])
def test_with_valid_shutdown(start, shutdown):
    supervisor = start()
    child = supervisor.start_child(worker(shutdown=shutdown))
    end(child, "shutdown")
    assert active(supervisor) == (1, 1)


@pytest.mark.parametrize("shutdown", [-1, "brutal", True, float("nan")])
def test_with_invalid_shutdown(shutdown):
    with pytest.raises(ChildSpecError) as caught:
        worker(shutdown=shutdown)
    assert caught.value.field == "shutdown"


@pytest.mark.parametrize(
    ("start_as", "shutdown", "reason", "restart", "took_s"),
    [
        pytest.param(Worker, KILL, DownReason.KILLED, "permanent", 0, id="brutal kill"),
        pytest.param(Worker, FOREVER, DownReason.STOPPED, "permanent", 0, id="infinity shutdown"),
        pytest.param(
            Bad, FOREVER, DownReason.CRASHED, "permanent", 0,
            id="infinity shutdown and abnormal reason",
        ),
        pytest.param(Worker, 1000, DownReason.STOPPED, "permanent", 0, id="integer shutdown"),
        pytest.param(
            Bad, 1000, DownReason.CRASHED, "permanent", 0,
            id="integer shutdown and abnormal reason",
        ),
        pytest.param(Deaf, 1, DownReason.KILLED, "permanent", 1, id="expired integer shutdown"),
        pytest.param(
            Worker, FOREVER, DownReason.STOPPED, "permanent", 0,
            id="permanent restart and normal reason",
        ),
    ],
)
def test_terminates_children_with(clock, start, start_as, shutdown, reason, restart, took_s):
    supervisor = start()
    spec = worker(start_as, shutdown=shutdown, restart=restart)
    children = [supervisor.start_child(spec) for _ in range(3)]
    heard = downs_of(*children)
    assert clock_of(supervisor.actor_inbox.dispatcher) is clock
    supervisor.stop()
    gevent.sleep(0)
    assert heard == [(child, reason) for child in children]
    assert clock.monotonic() == took_s  # all at the same time


def test_terminates_with_mixed_children(clock, start):
    supervisor = start()
    patient = supervisor.start_child(worker(shutdown=FOREVER))
    killed = supervisor.start_child(worker(shutdown=KILL))
    late = supervisor.start_child(worker(Deaf, shutdown=2))
    heard = downs_of(patient, killed, late)
    supervisor.stop()
    gevent.sleep(0)
    assert dict(heard) == {
        patient: DownReason.STOPPED, killed: DownReason.KILLED, late: DownReason.KILLED
    }


@pytest.mark.parametrize(
    ("shutdown", "reason"), [(KILL, DownReason.KILLED), (1000, DownReason.STOPPED)],
    ids=["brutal kill", "integer shutdown"],
)
def test_terminates_child_with(start, shutdown, reason):
    supervisor = start()
    child = supervisor.start_child(worker(shutdown=shutdown))
    heard = downs_of(child)
    supervisor.terminate_child(child)
    gevent.sleep(0)
    assert heard == [(child, reason)]
    with pytest.raises(ChildNotFoundError):
        supervisor.terminate_child(child)
    assert active(supervisor) == (0, 0)


def test_terminates_restarting_child(start):
    supervisor = start(limits=MANY)
    child = supervisor.start_child(worker(then(Worker.start, fail)))
    end(child, "shutdown")
    assert active(supervisor) == (1, 0)
    supervisor.terminate_child(child)
    with pytest.raises(ChildNotFoundError):
        supervisor.terminate_child(child)
    assert active(supervisor) == (0, 0)
