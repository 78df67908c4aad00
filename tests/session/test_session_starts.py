"""spec 01 7.1, 7.13, 8: a start that fails at any of its steps leaves nothing behind."""

from __future__ import annotations

import errno

import pytest
from greenroom.actors import (
    AgentError,
    AgentStartError,
    SessionError,
    SessionManager,
    State,
    StorageError,
    error_is,
)
from greenroom.actors.session import startup
from greenroom.actors.testing.driver import ScriptedDriver
from greenroom.actors.testing.faults import InjectedError
from greenroom.actors.testing.files import FaultyFileSystem

STEPS = range(len(startup.STEPS))
NO_SPACE = OSError(errno.ENOSPC, "no space left on device")


@pytest.fixture
def runtime(tmp_path):
    """A manager on a faulty disk with one stopped session."""
    driver = ScriptedDriver(lambda turn: turn.say("hi"))
    files = FaultyFileSystem()
    manager = SessionManager(
        home=tmp_path / "home",
        driver=driver,
        agents={"scripted": ["scripted"]},
        file_system=files,
    )
    manager.test_files, manager.test_driver = files, driver
    manager.test_options = {"agent_name": "scripted", "workspace_path": str(tmp_path)}
    stored = manager.create(**manager.test_options)
    stored.prompt("kept").result(timeout=10)
    stored.stop()
    manager.test_stored = stored
    yield manager
    manager.close()


def failing_after(monkeypatch, index):
    """The step does its work, and then something fails."""
    step = startup.STEPS[index]

    def do(launch):
        step.do(launch)
        raise InjectedError(f"after step {index}")

    steps = list(startup.STEPS)
    steps[index] = startup.StartStep(do, step.undo)
    monkeypatch.setattr(startup, "STEPS", tuple(steps))


def nothing_runs(manager):
    manager.wait_for_finalizations(timeout=10)
    assert manager.list() == ()
    assert all(process.done.is_set() for process in manager.test_driver.processes)
    registry = manager._runtime.registry
    assert registry.starts() == []
    assert registry.all_ending() == []


def directories(manager):
    return {path.name for path in (manager.home / "sessions").iterdir()}


@pytest.mark.parametrize("index", STEPS, ids=lambda i: startup.STEPS[i].do.__name__)
def test_7_1_a_create_that_fails_after_any_step_leaves_nothing(runtime, monkeypatch, index):
    before = directories(runtime)
    failing_after(monkeypatch, index)
    with pytest.raises((InjectedError, ExceptionGroup)) as raised:
        runtime.create(**runtime.test_options)
    assert error_is(raised.value, InjectedError)
    nothing_runs(runtime)
    assert directories(runtime) == before
    monkeypatch.undo()
    session = runtime.create(**runtime.test_options)
    assert session.prompt("again").result(timeout=10).type == "done"


@pytest.mark.parametrize("index", STEPS, ids=lambda i: startup.STEPS[i].do.__name__)
def test_8_a_resume_that_fails_after_any_step_leaves_the_session_as_it_was(
    runtime, monkeypatch, index
):
    stored = runtime.test_stored
    before = runtime.status(stored.id)
    rows = [row.event.text or row.type for row in runtime.events(stored.id)]
    failing_after(monkeypatch, index)
    with pytest.raises((InjectedError, ExceptionGroup)) as raised:
        runtime.resume(stored.id)
    assert error_is(raised.value, InjectedError)
    nothing_runs(runtime)
    after = runtime.status(stored.id)
    for field in ("state", "stop_reason", "stop_detail", "failure", "acp_session_id"):
        assert getattr(after, field) == getattr(before, field), field
    assert [row.event.text or row.type for row in runtime.events(stored.id)] == rows
    monkeypatch.undo()
    session = runtime.resume(stored.id)
    assert session.prompt("again").result(timeout=10).type == "done"


def test_7_1_a_disk_that_is_full_during_a_create(runtime):
    before = directories(runtime)
    with (
        runtime.test_files.failing("append", NO_SPACE, only="sessions/") as fault,
        pytest.raises((StorageError, ExceptionGroup)),
    ):
        runtime.create(**runtime.test_options)
    assert fault.hits
    nothing_runs(runtime)
    assert directories(runtime) == before


def test_7_13_an_agent_that_fails_to_start_leaves_a_stopped_session_one_can_look_into(runtime):
    def refuse(opts):
        raise AgentError("no")

    runtime.test_driver.on_start = refuse
    with pytest.raises(AgentError):
        runtime.create(**runtime.test_options)
    nothing_runs(runtime)
    (info,) = [i for i in runtime.list_all() if i.id != runtime.test_stored.id]
    assert (info.state, info.failure.kind) == (State.STOPPED, "startup_failure")
    rows = runtime.events(info.id)
    assert [row.type for row in rows] == ["error", "session_stopped"]
    assert rows[0].turn_id != rows[1].turn_id
    assert rows[0].timestamp == rows[1].timestamp
    assert info.stop_detail == info.failure.summary


def test_8_a_resume_whose_agent_does_not_start_keeps_how_the_session_ended(runtime):
    def refuse(opts):
        raise AgentStartError("no")

    stored = runtime.test_stored
    before = runtime.status(stored.id)
    runtime.test_driver.on_start = refuse
    with pytest.raises(SessionError):
        runtime.resume(stored.id)
    after = runtime.status(stored.id)
    for field in ("state", "stop_reason", "stop_detail", "failure", "acp_session_id"):
        assert getattr(after, field) == getattr(before, field), field
    told = [row.type for row in runtime.events(stored.id)]
    assert told[-2:] == ["error", "session_stopped"], "the attempt is in the history"
