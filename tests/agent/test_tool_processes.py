"""The registry of processes that work for sessions (04 9, D28, D35)."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import gevent
import pytest
from gevent.event import Event
from greenroom.actors.errors import ScopedInterruptNotFoundError, SessionValueError
from greenroom.transport.agent import process_table, recovered, store_calls
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.process_store import (
    ENDED_RECORDS_MAX,
    MemoryProcessStore,
    ProcessQuery,
    StateChange,
)
from greenroom.transport.agent.protocol import ScopedInterrupter
from greenroom.transport.agent.tool_processes import ToolProcesses
from greenroom.transport.agent.tool_records import (
    ARGS_CUT,
    ARGS_MAX,
    REDACTED,
    TEXT_BYTES_MAX,
    ProcessConfig,
    ProcessOwner,
    ProcessSource,
    ProcessState,
    Scope,
    bounded,
    bounded_args,
)

from .conftest import NEVER, is_running, soon, until

OURS = ProcessConfig(ProcessSource.SUBPROCESS, pid=os.getpid(), command="python")


class Failing(MemoryProcessStore):
    """A store whose writes fail while ``error`` is set."""

    error: Exception | None = None

    def upsert(self, record):
        if self.error is not None:
            raise self.error
        super().upsert(record)


@pytest.fixture
def store():
    return Failing()


@pytest.fixture
def registry(store):
    return ToolProcesses(store)


@pytest.fixture
def child():
    """A process that leads its own group and would live on."""
    made = subprocess.Popen(["sleep", "300"], process_group=0)
    yield made
    made.kill()
    made.wait()


def only(store):
    (record,) = store.list(ProcessQuery())
    return record


def register(registry, config=OURS, **changes):
    return registry.register(CallContext(), replace(config, **changes))


def stored_by_an_earlier_runtime(store, child, **changes):
    """A record of a process that nobody here has registered."""
    other = MemoryProcessStore()
    handle = register(
        ToolProcesses(other),
        pid=child.pid,
        process_group_id=child.pid,
        owner=ProcessOwner("sess-1", turn_id="t-1"),
    )
    record = replace(handle.record, started_by_pid=1, **changes)
    store.upsert(record)
    return record


# ---- register


def test_a_record_is_stored_before_it_is_known(registry, store):
    handle = register(registry, args=("-m", "x"), cwd="/", owner=ProcessOwner("sess-1"))
    assert handle.record == only(store)
    record = handle.record
    assert record.id.startswith("proc_")
    assert len(record.id) == 5 + 32
    assert record.state is ProcessState.RUNNING
    assert record.started_by_pid == os.getpid()
    assert record.created_at == record.updated_at
    assert record.completed_at is None


def test_a_store_that_fails_registers_nothing(registry, store):
    store.error = OSError("full")
    with pytest.raises(OSError, match="full"):
        register(registry)
    assert registry.live_count == 0


@pytest.mark.parametrize("wrong", [{"source": "toaster"}, {"state": "dreaming"}])
def test_unknown_sources_and_states(registry, store, wrong):
    with pytest.raises(SessionValueError):
        register(registry, **wrong)
    assert store.list(ProcessQuery()) == []


def test_a_process_that_is_not_there(registry, store, child):
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(SessionValueError, match="is not there"):
        register(registry, pid=gone.pid)
    assert store.list(ProcessQuery()) == []


def test_a_process_elsewhere_has_no_pid_and_no_start(registry):
    assert register(registry, pid=0).record.start_mark == ""


def test_a_given_start_is_taken_as_it_is(registry):
    at = datetime(2020, 1, 1, tzinfo=UTC)
    assert register(registry, started_at=at).record.started_at == at


def test_a_context_that_is_over_registers_nothing(registry, store):
    with pytest.raises(TimeoutError):
        registry.register(CallContext.after(0), OURS)
    assert store.list(ProcessQuery()) == []


def test_d35_the_start_is_read_in_ticks_of_this_boot(child):
    """D35: exact, and never that of another boot."""
    found = process_table.observe(child.pid)
    assert abs(found.at - datetime.now(UTC)) < timedelta(seconds=10)
    assert process_table.is_same(child.pid, found.at, found.mark)
    assert not process_table.is_same(child.pid, found.at, found.mark + "1")
    assert process_table.is_same(child.pid, found.at + timedelta(seconds=1.9), "")
    assert not process_table.is_same(child.pid, found.at + timedelta(seconds=2.1), "")


def test_a_zombie_is_there_and_is_over():
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert process_table.observe(zombie.pid) is not None
    assert process_table.is_over(zombie.pid)
    zombie.wait()
    assert process_table.observe(zombie.pid) is None


def test_without_a_process_table_ps_is_asked(monkeypatch, child):
    exact = process_table.observe(child.pid)
    monkeypatch.setattr(process_table, "PROC", "/no/such/place")
    if process_table.natives.run(("ps", "-p", "1"), {"PATH": "/bin:/usr/bin"}):
        found = process_table.observe(child.pid)
        assert abs(found.at - exact.at) <= process_table.TOLERANCE
        assert process_table.is_same(child.pid, exact.at, exact.mark)
    assert process_table.observe(2**22 + 1) is None
    assert process_table.is_over(2**22 + 1)


def test_a_command_that_fails_says_nothing():
    assert process_table.natives.run(("no-such-command-anywhere",), {}) == ""


# ---- what is kept of a command line


@pytest.mark.parametrize(
    ("args", "kept"),
    [
        (("--token=abc",), ("--token=[redacted]",)),
        (("--api-key", "abc", "x"), ("--api-key", REDACTED, "x")),
        (("--password", "-v"), ("--password", "-v")),
        (("--secret=a b",), ("--secret=[redacted]",)),
        (("-H", "Authorization: Bearer abc.def"), ("-H", "Authorization: Bearer [redacted]")),
        (("curl 'x?token=abc&y=1'",), ("curl 'x?token=[redacted]&y=1'",)),
        (("password=abc rest",), ("password=[redacted] rest",)),
        ((" plain ",), ("plain",)),
    ],
)
def test_secrets_are_not_kept(args, kept):
    assert bounded_args(args) == kept


def test_d35_arguments_are_counted_and_cut_at_characters():
    assert bounded_args(("x",) * (ARGS_MAX + 5)) == (*("x",) * ARGS_MAX, ARGS_CUT)
    assert bounded_args(("x",) * ARGS_MAX) == ("x",) * ARGS_MAX
    cut = bounded("€" * 200)
    assert len(cut.encode()) <= TEXT_BYTES_MAX
    assert cut.startswith("€€€")
    assert "\N{REPLACEMENT CHARACTER}" not in cut


# ---- checkpoint and complete


def test_a_checkpoint_replaces_the_whole_owner(registry, store):
    handle = register(registry, owner=ProcessOwner("sess-1", tool_call_id="c-1"))
    handle.checkpoint(owner=ProcessOwner("sess-1", "acp-1"))
    assert only(store).owner == ProcessOwner("sess-1", "acp-1")
    handle.checkpoint(state=ProcessState.INTERRUPTING, error="asked")
    assert (only(store).state, only(store).error) == (ProcessState.INTERRUPTING, "asked")


def test_it_completes_once(registry, store):
    handle = register(registry)
    handle.complete(exit_code=3)
    ended = only(store)
    assert (ended.state, ended.exit_code) == (ProcessState.COMPLETED, 3)
    assert ended.completed_at is not None
    handle.complete(err=ValueError("late"))
    handle.checkpoint(error="late")
    assert only(store) == ended
    assert registry.live_count == 0


def test_an_error_makes_it_failed(registry, store):
    register(registry).complete(err=ValueError("token=abc broke"))
    assert only(store).state is ProcessState.FAILED
    assert only(store).error == "token=[redacted] broke"


def test_a_text_alone_does_not(registry, store):
    register(registry).complete(error="said something")
    assert (only(store).state, only(store).error) == (ProcessState.COMPLETED, "said something")


def test_a_completion_that_was_not_stored_can_be_repeated(registry, store):
    handle = register(registry)
    store.error = OSError("full")
    with pytest.raises(OSError, match="full"):
        handle.complete(exit_code=0)
    assert only(store).is_active
    assert registry.live_count == 1
    store.error = None
    handle.complete(exit_code=0)
    assert not only(store).is_active


def test_settling_logs_what_fails(registry, store, caplog):
    handle = register(registry)
    store.error = OSError("full")
    handle.settle(exit_code=0)
    assert "was not completed: full" in caplog.text


# ---- interrupts


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        (Scope(session_id="sess-1"), {"agent", "terminal", "hook"}),
        (Scope(session_id="acp-1"), {"agent", "terminal"}),
        (Scope(session_id="sess-1", turn_id="t-1"), {"terminal"}),
        (Scope(turn_id="t-1"), {"terminal"}),
        (Scope(terminal_id="term-1"), {"terminal"}),
        (Scope(tool_call_id="c-1"), {"hook"}),
        (Scope(hook_name="pre"), {"hook"}),
        (Scope(extension_name="ext"), {"extension"}),
        (Scope(source="acp_agent"), {"agent"}),
        (Scope(session_id="sess-1", source="hook"), {"hook"}),
    ],
)
def test_a_scope_means_what_matches_in_all_that_is_given(registry, scope, names):
    ended = set()
    owners = {
        "agent": (ProcessSource.ACP_AGENT, ProcessOwner("sess-1", "acp-1")),
        "terminal": (
            ProcessSource.ACP_TERMINAL,
            ProcessOwner("sess-1", "acp-1", "t-1", terminal_id="term-1"),
        ),
        "hook": (
            ProcessSource.HOOK,
            ProcessOwner("sess-1", hook_name="pre", tool_call_id="c-1"),
        ),
        "extension": (ProcessSource.EXTENSION, ProcessOwner(extension_name="ext")),
    }
    for name, (source, owner) in owners.items():
        register(registry, source=source, owner=owner, interrupt=lambda n=name: ended.add(n))
    report = registry.interrupt(CallContext(), scope)
    assert ended == names
    assert (report.matched, report.signaled) == (len(names), len(names))


def test_one_process_by_its_id(registry):
    ended = []
    handle = register(registry, interrupt=lambda: ended.append(1))
    register(registry, interrupt=lambda: ended.append(2))
    registry.interrupt(CallContext(), Scope(process_id=handle.record.id))
    assert ended == [1]


def test_an_empty_scope_would_mean_everything(registry):
    with pytest.raises(SessionValueError):
        registry.interrupt(CallContext(), Scope(reason="only a reason"))


def test_nothing_that_matches(registry):
    register(registry, owner=ProcessOwner("sess-1")).complete()
    with pytest.raises(ScopedInterruptNotFoundError):
        registry.interrupt(CallContext(), Scope(session_id="sess-1"))


def test_a_live_interrupt_stays_interrupting_until_it_completes(registry, store):
    handle = register(registry, owner=ProcessOwner("s"), interrupt=lambda: None)
    registry.interrupt(CallContext(), Scope(session_id="s", reason="prompt canceled"))
    assert (only(store).state, only(store).error) == (ProcessState.INTERRUPTING, "prompt canceled")
    handle.complete(exit_code=-9)
    assert only(store).state is ProcessState.COMPLETED


def test_who_can_not_be_interrupted_is_counted(registry):
    register(registry, owner=ProcessOwner("s"))
    report = registry.interrupt(CallContext(), Scope(session_id="s"))
    assert (report.matched, report.unavailable) == (1, 1)


def test_one_that_fails_does_not_keep_the_others(registry):
    ended = []

    def fail():
        raise OSError("no")

    for interrupt in (fail, lambda: ended.append(1)):
        register(registry, owner=ProcessOwner("s"), interrupt=interrupt)
    with pytest.raises(ExceptionGroup) as caught:
        registry.interrupt(CallContext(), Scope(session_id="s"))
    assert ended == [1]
    assert "signaled=1" in caught.value.__notes__[0]


def test_a_store_that_fails_keeps_no_process_alive(registry, store):
    ended = []
    register(registry, owner=ProcessOwner("s"), interrupt=lambda: ended.append(1))
    store.error = OSError("full")
    with pytest.raises(ExceptionGroup):
        registry.interrupt(CallContext(), Scope(session_id="s"))
    assert ended == [1]


def test_a_completion_during_an_interrupt_is_the_end(store):
    """Interrupt and completion at once: nothing is signalled that is gone."""
    registry = ToolProcesses(store, offload=lambda call: (gevent.sleep(0), call())[1])
    ended = []
    handle = register(registry, owner=ProcessOwner("s"), interrupt=lambda: ended.append(1))
    tasks = [
        gevent.spawn(handle.complete, exit_code=0),
        gevent.spawn(registry.interrupt, CallContext(), Scope(session_id="s")),
    ]
    gevent.joinall(tasks, timeout=10, raise_error=True)
    assert ended == []
    assert only(store).state is ProcessState.COMPLETED


def test_without_a_store_the_living_can_be_interrupted():
    registry = ToolProcesses()
    ended = []
    register(registry, owner=ProcessOwner("s"), interrupt=lambda: ended.append(1))
    assert registry.interrupt(CallContext(), Scope(session_id="s")).signaled == 1
    assert registry.reconcile_boot(CallContext()).checked == 0


# ---- what an earlier runtime left


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_recovered_process_is_ended_with_its_group(registry, store, stubborn):
    text = "import signal, subprocess\n" + (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    )
    text += "p = subprocess.Popen(['sleep', '300']); print(p.pid, flush=True); p.wait()"
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", text], process_group=0, stdout=subprocess.PIPE, text=True
    )
    grandchild = int(child.stdout.readline())
    stored_by_an_earlier_runtime(store, child)
    report = registry.interrupt(CallContext(), Scope(session_id="sess-1", reason="why"))
    assert (report.matched, report.signaled) == (1, 1)
    assert child.wait(10) < 0
    child.stdout.close()
    until(lambda: not is_running(grandchild))
    assert (only(store).state, only(store).error) == (ProcessState.INTERRUPTED, "why")


@pytest.mark.parametrize(
    "changes",
    [
        {"start_mark": "another-boot/1"},
        {"start_mark": "", "started_at": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
)
def test_d35_another_process_of_that_id_is_never_signalled(registry, store, child, changes):
    stored_by_an_earlier_runtime(store, child, **changes)
    report = registry.interrupt(CallContext(), Scope(session_id="sess-1"))
    assert (report.stale, report.signaled) == (1, 0)
    assert child.poll() is None
    assert only(store).state is ProcessState.STALE
    assert only(store).completed_at is not None


def test_a_recovered_process_elsewhere_is_unavailable(registry, store, child):
    stored_by_an_earlier_runtime(store, child, pid=0)
    assert registry.interrupt(CallContext(), Scope(session_id="sess-1")).unavailable == 1


def test_a_recovered_process_without_a_group_of_its_own(registry, store, child):
    stored_by_an_earlier_runtime(store, child, process_group_id=os.getpgid(0))
    assert registry.interrupt(CallContext(), Scope(session_id="sess-1")).signaled == 1
    assert child.wait(10) == -15


def test_a_recovered_process_that_survives_is_reported(registry, store, child, monkeypatch):
    stored_by_an_earlier_runtime(store, child)
    monkeypatch.setattr(recovered, "TERMINATED_S", 0.01)
    monkeypatch.setattr(recovered, "KILLED_S", 0.01)
    monkeypatch.setattr(recovered, "signal_group", lambda group, number: True)
    with pytest.raises(ExceptionGroup):
        registry.interrupt(CallContext(), Scope(session_id="sess-1"))
    assert only(store).state is ProcessState.INTERRUPTING


def test_a_boot_tells_the_living_from_the_stale(registry, store, child):
    living = stored_by_an_earlier_runtime(store, child, state=ProcessState.INTERRUPTING)
    gone = replace(living, id="proc_gone", pid=2**22 + 1)
    ended = replace(living, id="proc_ended", state=ProcessState.COMPLETED)
    store.upsert(gone)
    store.upsert(ended)
    register(registry)
    report = registry.reconcile_boot(CallContext())
    assert (report.checked, report.recovered, report.stale) == (2, 1, 1)
    states = {record.id: record.state for record in store.list(ProcessQuery())}
    assert states[living.id] is ProcessState.RUNNING
    assert states["proc_gone"] is ProcessState.STALE
    assert states["proc_ended"] is ProcessState.COMPLETED


# ---- the store


def test_memory_lists_in_order_and_forgets_the_oldest_ended(store):
    registry = ToolProcesses(store)
    living = register(registry)
    for _ in range(ENDED_RECORDS_MAX + 10):
        register(registry).complete()
    records = store.list(ProcessQuery())
    assert len(records) == ENDED_RECORDS_MAX + 1
    assert records == sorted(records, key=lambda record: (record.updated_at, record.id))
    assert store.list(ProcessQuery(active_only=True)) == [living.record]


def test_an_unknown_record_can_not_change(store):
    change = StateChange(ProcessState.STALE, datetime.now(UTC))
    with pytest.raises(ScopedInterruptNotFoundError):
        store.update_state("proc_x", change)


def test_a_slow_store_is_not_waited_for_and_keeps_the_order(store):
    go = Event()
    registry = ToolProcesses(
        store, offload=lambda call: (go.wait(), call())[1], record_timeout=0.05
    )
    with pytest.raises(TimeoutError):
        register(registry)
    go.set()
    handle = register(registry)
    handle.complete()
    assert [record.id for record in store.list(ProcessQuery())][-1] == handle.record.id


def test_a_store_that_never_answers_meets_a_limit(store, monkeypatch):
    monkeypatch.setattr(store_calls, "CALLS_MAX", 2)
    registry = ToolProcesses(store, offload=lambda call: NEVER.wait(0.2), record_timeout=0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            register(registry)
    with pytest.raises(TimeoutError, match="too slow"):
        register(registry)


def test_a_store_that_blocks_runs_elsewhere_and_its_errors_arrive(store):
    registry = ToolProcesses(
        store, offload=lambda call: gevent.get_hub().threadpool.apply(call), record_timeout=-1
    )
    store.error = OSError("full")
    with pytest.raises(OSError, match="full"):
        register(registry)
    store.error = None
    register(registry).complete()
    assert only(store).state is ProcessState.COMPLETED


# ---- agents


def test_an_agent_is_registered_and_completed(stage):
    process = stage.start(session_id="sess-1")
    (record,) = [r for r in stage.driver.processes._store.list(ProcessQuery()) if r.is_active]
    assert record.source is ProcessSource.ACP_AGENT
    assert record.owner == ProcessOwner("sess-1", process.session_id)
    assert record.process_group_id == record.pid == process.pid
    stage.stop(process)
    (record,) = stage.driver.processes._store.list(ProcessQuery())
    assert record.state is ProcessState.COMPLETED
    assert stage.driver.processes.live_count == 0


def test_an_agent_that_crashes_is_a_failed_record(stage):
    process = stage.start()
    os.kill(process.pid, 9)
    process.wait()
    (record,) = stage.driver.processes._store.list(ProcessQuery())
    assert (record.state, record.exit_code) == (ProcessState.FAILED, -9)


def test_an_agent_that_can_not_be_registered_does_not_start(stage, store):
    store.error = OSError("full")
    driver = ACPDriver(process_registry=ToolProcesses(store))
    with pytest.raises(Exception, match="registration failed") as caught:
        stage.start(driver=driver)
    assert caught.value.failure.kind == "startup_failure"
    assert driver.processes.live_count == 0


def test_a_store_that_fails_later_does_not_keep_an_agent(stage, store):
    driver = ACPDriver(process_registry=ToolProcesses(store))
    process = stage.start(driver=driver)
    store.error = OSError("full")
    driver.stop(soon(), process)
    assert process.done.is_set()


def test_d28_a_driver_interrupts_what_works_for_a_turn_and_not_the_agent(stage):
    """D28: by greenroom's own id of the session."""
    process = stage.start(session_id="sess-1")
    assert isinstance(stage.driver, ScopedInterrupter)
    with pytest.raises(ScopedInterruptNotFoundError):
        stage.driver.interrupt(soon(), "sess-1", "turn-1")
    ended = []
    register(
        stage.driver.processes,
        owner=ProcessOwner("sess-1", turn_id="turn-1"),
        interrupt=lambda: ended.append(1),
    )
    report = stage.driver.interrupt(soon(), "sess-1", "turn-1")
    assert (report.matched, ended) == (1, [1])
    assert not process.done.is_set()


def test_a_driver_interrupts_a_whole_session_with_its_agent(stage):
    process = stage.start(session_id="sess-1")
    stage.driver.interrupt(soon(), "sess-1", "")
    assert process.done.is_set()
    assert process.wait() is None
