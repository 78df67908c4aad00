"""Restarts through whole sessions: a crashed agent comes back, the queue goes on."""

from __future__ import annotations

import os
import signal

import pytest
from greenroom.actors import SessionManager, SessionNotActiveError, State
from greenroom.actors.errors import AgentStartError
from greenroom.actors.model.failure import FailureKind, failure
from greenroom.actors.model.restart import RestartPolicy
from greenroom.actors.testing.driver import ScriptedDriver

QUICK = RestartPolicy("transient", backoff_s=0.01, backoff_max_s=0.01)


def wait_until(manager, session, holds):
    manager._hub.call(lambda: session._live.when(holds).get(timeout=10))


def is_active(state):
    return state.meta.state is State.ACTIVE and not state.dying


def crash_once(turn):
    if turn.request.message == "crash":
        turn.say("almost")
        turn.exit(9)
    else:
        turn.say(f"{turn.request.message} done")


def test_a_crashed_agent_comes_back_and_queued_input_goes_on(tmp_path):
    driver = ScriptedDriver(crash_once)
    with SessionManager(
        home=tmp_path / "home", driver=driver, agents={"s": ["s"]}, restart=QUICK
    ) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        stream = session.prompt("crash")
        session.send_prompt("next", mode="queue")
        assert stream.result(timeout=10).type == "error"
        wait_until(manager, session, lambda s: is_active(s) and not s.turn and not s.queue.entries)
        manager.wait_for_prompt_drains(timeout=10)
        assert len(driver.processes) == 2
        rows = manager.events(session.id)
        assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
        assert "session_stopped" not in [row.type for row in rows]
        assert "next done" in [row.event.text for row in rows]
        markers = [r.event.title for r in rows if r.type == "transcript_marker.created"]
        assert markers.count("transcript_marker.session_recovered") == 1
        assert {row.epoch for row in rows} == {1}
        assert session.prompt("again").result(timeout=10).type == "done"


def test_the_policy_is_stored_and_holds_after_a_resume(tmp_path):
    options = {"driver": ScriptedDriver(crash_once), "agents": {"s": ["s"]}}
    with SessionManager(home=tmp_path / "home", **options) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path), restart=QUICK)
        session.stop()
    with SessionManager(home=tmp_path / "home", **options) as manager:
        again = manager.resume(session.id)
        assert again.meta().restart == QUICK
        again.prompt("crash").result(timeout=10)
        wait_until(manager, again, is_active)
        assert again.state is State.ACTIVE


def test_an_agent_that_does_not_come_back_ends_the_session(tmp_path):
    driver = ScriptedDriver(crash_once)
    with SessionManager(
        home=tmp_path / "home", driver=driver, agents={"s": ["s"]}, restart=QUICK
    ) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))

        def refuse(opts):
            raise AgentStartError("no", failure=failure(FailureKind.HANDSHAKE, "bad version"))

        driver.on_start = refuse
        session.prompt("crash").result(timeout=10)
        manager.wait_for_finalizations(timeout=10)
        wait_until(manager, session, lambda s: s.meta.state is State.STOPPED)
        info = manager.status(session.id)
        assert (info.stop_reason, info.failure.kind) == ("agent_crashed", FailureKind.HANDSHAKE)


def test_a_stop_during_the_backoff(tmp_path):
    slow = RestartPolicy("transient", backoff_s=60, backoff_max_s=60)
    driver = ScriptedDriver(crash_once)
    with SessionManager(
        home=tmp_path / "home", driver=driver, agents={"s": ["s"]}, restart=slow
    ) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        session.prompt("crash").result(timeout=10)
        wait_until(manager, session, lambda s: s.restarting)
        with pytest.raises(SessionNotActiveError):
            session.prompt("x")
        session.stop(timeout=10)
        assert manager.status(session.id).stop_reason == "user_canceled"
        assert len(driver.processes) == 1


def test_kill_9_of_a_real_agent_is_survived(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENROOM_DEMO_PACE", "0")
    monkeypatch.setenv("GREENROOM_DEMO_STATE", str(tmp_path / "state"))
    with SessionManager(home=tmp_path / "home", restart=QUICK) as manager:
        session = manager.create(agent_name="demo", workspace_path=str(tmp_path))
        first = session.agent_pid
        stream = session.prompt("@@say hello\n@@hang")
        assert stream.next(timeout=10).type == "agent_message"
        os.kill(first, signal.SIGKILL)
        assert stream.result(timeout=10).type == "error"
        wait_until(manager, session, is_active)
        assert session.agent_pid not in (0, first)
        assert session.acp_session_id == manager.status(session.id).acp_session_id
        assert session.prompt("@@say and on").result(timeout=10).type == "done"
