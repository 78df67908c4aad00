"""spec 02 12 and 03 3.3 through whole sessions: silence is noticed, secrets are not stored."""

from __future__ import annotations

from gevent.event import Event
from greenroom.actors import SessionManager, State
from greenroom.actors.model.restart import RestartPolicy
from greenroom.actors.model.settings import SessionSupervisionConfig
from greenroom.actors.testing.driver import ScriptedDriver


def silent(turn):
    """Hears a cancel and ends, unless it was told to be deaf."""
    if turn.request.message == "deaf":
        Event().wait()
    turn.cancelled.wait()


def watched(tmp_path, story, *, restart=None, **config):
    settings = {
        "activity_heartbeat_interval": 0.01,
        "progress_notify_interval": 0.0,
        "inactivity_warning_after": 0.0,
        "inactivity_timeout": 0.0,
        "timeout_cancel_grace": 0.05,
        **config,
    }
    return SessionManager(
        home=tmp_path / "home",
        driver=ScriptedDriver(story),
        agents={"s": ["s"]},
        restart=restart,
        session_supervision=SessionSupervisionConfig(**settings),
    )


def rows_of(manager, session):
    return [(row.type, row.event.title or row.event.text) for row in manager.events(session.id)]


def test_12_3_progress_and_warning_are_told_once_each(tmp_path):
    with watched(
        tmp_path, silent, progress_notify_interval=0.02, inactivity_warning_after=0.03
    ) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        stream = session.prompt("x")
        kinds = [stream.next(timeout=10).type for _ in range(3)]
        assert "runtime_progress" in kinds
        assert kinds.count("runtime_warning") <= 1
        session.cancel()
        stream.result(timeout=10)
        warnings = manager.events(session.id, type="runtime_warning")
        assert len(warnings) == 1
        assert warnings[0].event.text.startswith("Runtime activity is stale")


def test_12_5_a_silent_agent_is_cancelled_and_the_session_lives(tmp_path):
    with watched(tmp_path, silent, inactivity_timeout=0.05, timeout_cancel_grace=5.0) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        ended = session.prompt("x").result(timeout=10)
        assert (ended.type, ended.stop_reason) == ("done", "cancelled")
        assert session.state is State.ACTIVE
        kinds = rows_of(manager, session)
        assert ("transcript_marker.created", "transcript_marker.prompt_timeout") in kinds
        manager.wait_for_prompt_drains(timeout=5)
        assert session.meta().liveness.activity is None


def test_12_5_a_deaf_agent_takes_a_temporary_session_with_it(tmp_path):
    with watched(tmp_path, silent, inactivity_timeout=0.05) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        session.prompt("deaf").result(timeout=10)
        manager._hub.call(session._live.retired.get, timeout=10)
        info = manager.status(session.id)
        assert (info.stop_reason, info.stop_detail) == ("timeout", "activity_timeout")


def test_12_5_a_deaf_agent_of_a_transient_session_is_restarted(tmp_path):
    quick = RestartPolicy("transient", backoff_s=0.01, backoff_max_s=0.01)
    with watched(tmp_path, silent, restart=quick, inactivity_timeout=0.05) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        stream = session.prompt("deaf")
        assert stream.result(timeout=10).type == "error"
        live = session._live
        back = live.when  # runs in the hub
        manager._hub.call(
            lambda: back(lambda s: s.meta.state is State.ACTIVE and bool(s.restart_moments)).get(
                timeout=10
            )
        )
        manager._hub.call(live.drained).get(timeout=10)
        markers = [title for kind, title in rows_of(manager, session) if "marker" in kind]
        assert "transcript_marker.session_recovered" in markers


def test_12_6_the_caller_sees_the_deadline_before_what_it_causes(tmp_path):
    with watched(tmp_path, silent, prompt_deadline=0.05, timeout_cancel_grace=5.0) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        kinds = [(e.type, e.text) for e in session.prompt("x")]
        assert kinds[0][0] == "runtime_warning"
        assert kinds[0][1].startswith("Prompt deadline exceeded after")
        assert kinds[-1][0] == "done"
        assert [kind for kind, _ in kinds].count("runtime_warning") == 1


def test_a_talking_agent_is_left_alone(tmp_path):
    def chatty(turn):
        for n in range(30):
            turn.say(str(n))
            turn.cancelled.wait(0.01)

    with watched(tmp_path, chatty, inactivity_timeout=0.2) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        assert session.prompt("x").result(timeout=10).stop_reason == "end_turn"


def test_03_3_3_secrets_reach_no_row_no_stream_and_no_meta(tmp_path):
    secret = "sk-1234567890abcdef"

    def leaky(turn):
        turn.say(f"api_key={secret}")
        turn.fail(f"refused: Authorization: Bearer {secret}")

    with watched(tmp_path, leaky) as manager:
        session = manager.create(agent_name="s", workspace_path=str(tmp_path))
        seen = [event.text + event.error for event in session.prompt(f"token={secret}")]
        session.stop()
        assert any("[REDACTED]" in text for text in seen)
        assert secret not in "".join(seen)
        for path in session.session_dir.rglob("*"):
            assert secret.encode() not in path.read_bytes(), path
        assert all(secret not in row.content for row in manager.events(session.id))
