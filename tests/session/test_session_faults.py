"""A session when the disk, the driver or its own code fails: typed errors, no gap, nobody waits."""

from __future__ import annotations

import errno
import threading

import pytest
from gevent.event import Event
from greenroom.actors import (
    AgentError,
    AgentStartError,
    PromptStreamLaggedError,
    SessionError,
    SessionNotActiveError,
    SessionNotFoundError,
    SessionValueError,
    State,
    StopReason,
    StorageError,
)
from greenroom.actors.errors import StoreSyncFailedError
from greenroom.actors.model.failure import FailureKind
from greenroom.actors.runtime.originals import NativeEvent
from greenroom.actors.testing.driver import ScriptedDriver
from greenroom.transport import Subscriber

NO_SPACE = OSError(errno.ENOSPC, "no space left on device")
IO_ERROR = OSError(errno.EIO, "input/output error")


class Cue:
    """Lets a test and a story wait for each other, across threads."""

    def __init__(self):
        self._there = NativeEvent()
        self._go = Event()
        self._hub = None

    def stop_here(self):
        """In the story: wait for the test."""
        import gevent

        self._hub = gevent.get_hub()
        self._there.set()
        self._go.wait()

    def reached(self):
        """In the test: wait until the story is there."""
        assert self._there.wait(10)

    def go_on(self):
        """In the test: let the story go on."""
        self._hub.loop.run_callback_threadsafe(self._go.set)


def gap_free(rows):
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    return [row.event.text or row.type for row in rows]


def test_an_input_that_can_not_be_stored_never_reaches_the_agent(play, files):
    prompts = []
    manager, session, driver = play(lambda turn: turn.say("hi"))
    driver.on_prompt = prompts.append
    with files.failing("append", NO_SPACE, only="/wal/") as fault, pytest.raises(StorageError):
        session.prompt("lost")
    assert fault.hits
    assert prompts == []
    assert not session.is_prompting
    assert session.prompt("kept").result(timeout=10).type == "done"
    assert gap_free(manager.events(session.id)) == ["kept", "hi", "done"]


def test_events_that_can_not_be_stored_are_delivered_and_marked(play, files):
    before, after = Cue(), Cue()

    def story(turn):
        turn.say("a")
        before.stop_here()
        turn.say("b")
        after.stop_here()
        turn.say("c")

    manager, session, _ = play(story)
    with Subscriber(manager.endpoints, session_id=session.id) as subscriber:
        stream = session.prompt("go")
        before.reached()
        assert stream.next(timeout=10).text == "a"
        with files.failing("append", NO_SPACE, only="/wal/"):
            before.go_on()
            lost = stream.next(timeout=10)
        after.reached()
        after.go_on()
        assert (lost.text, lost.persisted) == ("b", False)
        assert [(e.text or e.type, e.persisted) for e in stream] == [("c", True), ("done", True)]
        stored = manager.events(session.id)
        published = []
        while len(published) < len(stored):
            published += subscriber.read(timeout=10)
    assert gap_free(stored) == ["go", "a", "c", "done"]
    assert [row.id for row in published] == [row.id for row in stored]


def test_after_a_failed_sync_nothing_is_acknowledged_any_more(play, files):
    manager, session, _ = play(lambda turn: turn.say("hi"))
    with files.failing("sync", IO_ERROR, only="/wal/"), pytest.raises(StorageError):
        session.prompt("not acknowledged")
    with pytest.raises(StoreSyncFailedError):
        session.prompt("nor is this")
    with pytest.raises((SessionError, ExceptionGroup)):
        manager.close()
    assert session.state is State.STOPPED


def test_nothing_is_seen_before_its_row_is_on_the_disk(play, files):
    """A class F row holds back itself and everything behind it; a cancel gets through."""
    manager, session, driver = play(lambda turn: turn.say("hi"))
    with Subscriber(manager.endpoints, session_id=session.id) as subscriber:
        accepted = threading.Event()

        def prompt():
            session.prompt("held").result(10)
            accepted.set()

        caller = threading.Thread(target=prompt)
        with files.holding("sync", only="/wal/") as fault:
            caller.start()
            assert fault.reached.wait(10)
            assert subscriber.next(timeout=0.2) is None
            assert driver.processes[0].turn is None
            assert not accepted.is_set()
            assert session.is_prompting
        caller.join(10)
        assert accepted.is_set()
        assert subscriber.next(timeout=10).event.text == "held"


def test_a_driver_that_refuses_a_prompt(play):
    manager, session, driver = play(lambda turn: None)

    def refuse(request):
        raise AgentError("pipe is gone")

    driver.on_prompt = refuse
    with pytest.raises(AgentError):
        session.prompt("x")
    assert gap_free(manager.events(session.id)) == ["x", "error"]
    assert session.state is State.ACTIVE


def test_a_driver_that_does_not_start_leaves_a_record(tmp_path):
    from greenroom.actors import SessionManager
    from greenroom.actors.model.failure import failure

    driver = ScriptedDriver(lambda turn: None)

    def refuse(opts):
        raise AgentStartError("no", failure=failure(FailureKind.HANDSHAKE, "bad version"))

    driver.on_start = refuse
    agents = {"scripted": ["scripted"]}
    with SessionManager(home=tmp_path / "home", driver=driver, agents=agents) as manager:
        with pytest.raises(AgentStartError):
            manager.create(agent_name="scripted", workspace_path=str(tmp_path))
        (info,) = manager.list_all()
        assert info.failure.kind is FailureKind.HANDSHAKE
        driver.on_start = lambda opts: None
        session = manager.resume(info.id)
        assert session.prompt("now").result(timeout=10).type == "done"
        session.stop()
        driver.on_start = refuse
        before = manager.status(info.id)
        with pytest.raises(AgentStartError):
            manager.resume(info.id)
        after = manager.status(info.id)
        assert (after.stop_reason, after.stop_detail) == (before.stop_reason, before.stop_detail)


def test_a_driver_that_can_not_stop_and_then_can(play):
    _, session, driver = play(lambda turn: None)

    def refuse(process):
        raise AgentError("it holds on")

    driver.on_stop = refuse
    with pytest.raises(AgentError):
        session.stop()
    assert session.state is State.STOPPING
    with pytest.raises(SessionNotActiveError):
        session.prompt("x")
    driver.on_stop = lambda process: None
    session.stop()
    assert session.state is State.STOPPED


def test_a_crash_of_the_agent_in_the_middle_of_a_turn(play):
    def story(turn):
        turn.say("almost")
        turn.exit(9)

    manager, session, _ = play(story)
    ended = session.prompt("x").result(timeout=10)
    assert (ended.type, ended.failure.kind) == ("error", FailureKind.PROCESS_EXIT)
    manager.wait_for_finalizations(timeout=10)
    info = manager.status(session.id)
    assert (info.state, info.stop_reason) == (State.STOPPED, StopReason.AGENT_CRASHED)
    types = [row.type for row in manager.events(session.id)]
    told = [kind for kind in types if kind != "transcript_marker.created"]
    assert told == ["user_message", "agent_message", "error", "error", "session_stopped"]


def test_a_bug_in_a_step_ends_that_session_and_nobody_waits(play, monkeypatch):
    cue = Cue()
    manager, session, driver = play(lambda turn: cue.stop_here())
    other = manager.create(agent_name="scripted", workspace_path=str(session.workspace))
    stream = session.prompt("x")
    cue.reached()
    from greenroom.actors.core import inputs
    from greenroom.actors.core.step import RULES

    def broken(state, input, now):
        if state.id == session.id:
            raise ZeroDivisionError("a bug")
        return state, ()

    monkeypatch.setitem(RULES, inputs.CancelRequested, broken)
    with pytest.raises(SessionError, match="a bug"):
        session.cancel(timeout=10)
    assert stream.result(timeout=10) is None
    manager.wait_for_finalizations(timeout=10)
    assert manager.get(session.id) is None
    assert driver.processes[0].done.is_set()
    assert other.state is State.ACTIVE
    with pytest.raises(SessionNotFoundError):
        manager.stop(session.id)
    info = manager.status(session.id)
    assert (info.state, info.failure.kind) == (State.STOPPED, FailureKind.UNKNOWN)
    cue.go_on()
    monkeypatch.undo()
    assert manager.resume(session.id).state is State.ACTIVE


def test_5_a_reader_that_falls_behind_is_told_and_reads_on_from_the_store(play):
    def story(turn):
        for n in range(50):
            turn.say(str(n))

    manager, session, _ = play(story, prompt_buffer_size=10)
    stream = session.prompt("count")
    assert stream.result(timeout=10).type == "done", "the turn did not wait for the reader"
    read = []
    with pytest.raises(PromptStreamLaggedError) as lagged:
        for event in stream:
            read.append(event.text)
    assert read == [str(n) for n in range(10)]
    rest = manager.events(session.id, after_sequence=lagged.value.last_sequence)
    assert [r.event.text for r in rest if r.type == "agent_message"] == [
        str(n) for n in range(10, 50)
    ]
    assert stream.next() is None


def test_a_stream_waits_no_longer_than_asked(play):
    cue = Cue()
    _, session, _ = play(lambda turn: cue.stop_here())
    stream = session.prompt("x")
    with pytest.raises(TimeoutError):
        stream.next(timeout=0.01)
    with pytest.raises(TimeoutError):
        stream.result(timeout=0.01)
    stream.close()
    assert stream.next() is None
    cue.reached()
    cue.go_on()
    assert stream.result(timeout=10).type == "done"


def test_a_call_that_times_out_leaves_the_work_going(play):
    manager, session, driver = play(lambda turn: turn.say("hi"))
    held = Event()
    driver.on_stop = lambda process: held.wait(10)
    with pytest.raises(TimeoutError):
        session.stop(timeout=0.05)
    assert session.state is State.STOPPING
    manager._hub.post(held.set)
    manager.wait_for_finalizations(timeout=10)
    assert session.state is State.STOPPED


def test_permissions_have_one_winner(play):
    def story(turn):
        turn.say(turn.ask_permission("run it"))

    manager, session, _ = play(story)
    stream = session.prompt("x")
    assert stream.next(timeout=10).type == "permission"
    outcomes = []

    def answer(decision):
        try:
            session.approve(decision=decision, request_id="permission")
            outcomes.append(decision)
        except SessionError as error:
            outcomes.append(type(error).__name__)

    callers = [threading.Thread(target=answer, args=(d,)) for d in ("allow-once", "reject-once")]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert stream.result(timeout=10).type == "done"
    assert outcomes.count("PendingPermissionNotFoundError") == 1
    (winner,) = [o for o in outcomes if o != "PendingPermissionNotFoundError"]
    said = [row.event.text for row in manager.events(session.id, type="agent_message")]
    assert said == [winner]


def test_generated_ids_are_used_and_checked(tmp_path):
    from greenroom.actors import SessionManager

    ids = iter(["sess-mine", "../escape", " "])
    with SessionManager(
        home=tmp_path / "home",
        driver=ScriptedDriver(lambda turn: None),
        agents={"scripted": ["scripted"]},
        session_id_generator=lambda: next(ids),
        turn_id_generator=lambda: "turn-mine",
    ) as manager:
        session = manager.create(agent_name="scripted", workspace_path=str(tmp_path))
        assert session.id == "sess-mine"
        assert session.prompt("x").turn_id == "turn-mine"
        with pytest.raises(SessionNotFoundError):
            manager.create(agent_name="scripted", workspace_path=str(tmp_path))
        assert not (tmp_path / "escape").exists()
        with pytest.raises(SessionValueError):
            manager.create(agent_name="scripted", workspace_path=str(tmp_path))


def test_14_3_a_host_asks_for_a_permission_of_its_own(play):
    from greenroom.actors import SessionNotActiveError as NotActive

    cue = Cue()
    manager, session, _ = play(lambda turn: cue.stop_here())
    stream = session.prompt("x")
    cue.reached()
    decided = []
    asker = threading.Thread(
        target=lambda: decided.append(manager.request_permission(session.id, title="deploy"))
    )
    asker.start()
    event = stream.next(timeout=10)
    assert (event.type, event.title, event.decision) == ("permission", "deploy", "")
    session.approve(decision="allow-once", request_id=event.request_id)
    asker.join(10)
    assert decided == ["allow-once"]
    assert manager.request_permission(session.id, title="look", kind="read") == "allow-once"
    cue.go_on()
    stream.result(timeout=10)
    session.stop()
    with pytest.raises(NotActive):
        manager.request_permission(session.id, title="deploy")
