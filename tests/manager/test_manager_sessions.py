"""The main job with a real agent process: prompt, steer, approve, cancel, stop, resume."""

from __future__ import annotations

import json

import pytest
from greenroom.actors import (
    PendingPermissionNotFoundError,
    PromptInProgressError,
    PromptNotInProgressError,
    SessionNotActiveError,
    SessionNotFoundError,
    State,
    StopReason,
)
from greenroom.storage import ui_message_text


def text_of(events):
    return "".join(event.text for event in events if event.type == "agent_message")


def test_a_prompt_is_answered_stored_and_told_as_a_transcript(
    manager, session, read_turn, check_gap_free
):
    stream = session.prompt("@@say hello there")
    events = read_turn(session, stream)
    assert text_of(events).strip() == "hello there"
    assert stream.result(timeout=5).type == "done"
    types = check_gap_free(manager.events(session.id))
    assert types[0] == "user_message"
    assert types[-1] == "done"
    assert all(event.persisted for event in events)
    user, assistant = manager.transcript(session.id)
    assert (user.role, ui_message_text(user)) == ("user", "@@say hello there")
    assert (assistant.role, ui_message_text(assistant).strip()) == ("assistant", "hello there")
    (turn,) = manager.history(session.id)
    assert turn.turn_id == stream.turn_id


def test_the_agent_reads_the_workspace_through_the_client(session, read_turn):
    events = read_turn(session, session.prompt("@@read README.md"))
    result = next(event for event in events if event.type == "tool_result")
    assert "with two lines" in json.dumps(result.raw.value)


def test_a_permission_is_pending_until_the_caller_answers(manager, session, read_turn):
    events = read_turn(session, session.prompt("@@run echo done-by-the-agent"))
    pending, decided = [event for event in events if event.type == "permission"]
    assert (pending.decision, decided.decision) == ("", "allow-once")
    assert any("done-by-the-agent" in str(e.raw.value) for e in events if e.type == "tool_result")
    with pytest.raises(PendingPermissionNotFoundError):
        session.approve(decision="allow-once", request_id=pending.request_id)
    stored = [row.event.decision for row in manager.events(session.id, type="permission")]
    assert stored == ["", "allow-once"]


def test_a_rejected_permission_stops_the_command(session, read_turn, workspace):
    read_turn(session, session.prompt("@@run touch made-by-agent"), decision="reject-once")
    from pathlib import Path

    assert not Path(workspace, "made-by-agent").exists()


def test_a_write_needs_the_permission_and_stays_inside(session, read_turn, workspace):
    from pathlib import Path

    read_turn(session, session.prompt("@@write notes.txt written"))
    assert Path(workspace, "notes.txt").read_text().strip() == "written"
    read_turn(session, session.prompt("@@write ../outside.txt no"))
    assert not Path(workspace, "..", "outside.txt").exists()


def test_steering_reaches_the_agent_at_a_tool_boundary(manager, session):
    with pytest.raises(PromptNotInProgressError):
        session.steer("too early")
    stream = session.prompt("@@tools 3\n@@run true\n@@hang")
    events = []
    for event in stream:
        events.append(event)
        if event.type == "permission" and not event.decision:
            assert session.steer("@@say steered!").status == "staged"
            session.approve(decision="allow-once", request_id=event.request_id)
        if "steered!" in text_of(events[-1:]):
            session.cancel()
    told = next(event for event in events if event.action == "prompt_steered")
    assert (told.type, told.text) == ("user_message", "@@say steered!")
    assert "You steered me" in text_of(events)
    titles = [r.event.title for r in manager.events(session.id, type="transcript_marker.created")]
    assert titles[:2] == ["transcript_marker.prompt_steered"] * 2


def test_a_busy_session_queues_interrupts_or_refuses(manager, session, read_turn):
    stream = session.prompt("@@run sleep 30")
    pending = next(event for event in stream if event.type == "permission")
    with pytest.raises(PromptInProgressError):
        session.prompt("me too")
    queued = session.send_prompt("@@say queued", mode="queue")
    assert (queued.status, queued.queue_position) == ("queued", 1)
    assert manager.input_queue_summary(session.id).pending_inputs == 1
    result = session.send_prompt("@@say interrupted", mode="interrupt", timeout=20)
    assert (result.status, result.canceled_queued_entries) == ("accepted", 1)
    assert result.previous_turn_id == stream.turn_id
    assert text_of(read_turn(session, result.events)).strip() == "interrupted"
    ended = stream.result(timeout=5)
    assert (ended.type, ended.stop_reason) == ("done", "cancelled")
    final = manager.events(session.id, turn_id=stream.turn_id, type="permission")[-1].event
    assert (final.request_id, final.decision) == (pending.request_id, "canceled")


def test_queued_input_runs_when_the_turn_ends(manager, session):
    stream = session.prompt("@@run true")
    pending = next(event for event in stream if event.type == "permission")
    for word in ("first", "second"):
        session.send_prompt(f"@@say {word}", mode="queue")
    session.approve(decision="allow-once", request_id=pending.request_id)
    stream.result(timeout=10)
    wait_until_idle(manager, session)
    said = [row.event.text for row in manager.events(session.id, type="user_message")]
    assert said == ["@@run true", "@@say first", "@@say second"]


def wait_until_idle(manager, session):
    """Until nothing runs and nothing waits: each turn that ends is stored, so follow the store."""
    from greenroom.transport import Subscriber

    with Subscriber(manager.endpoints, session_id=session.id) as subscriber:
        for row in subscriber:
            waiting = manager.input_queue_summary(session.id).pending_inputs
            if row.type == "done" and not session.is_prompting and not waiting:
                return


def test_cancel_ends_the_turn_and_keeps_the_session(session, read_turn):
    stream = session.prompt("@@hang")
    session.cancel()
    assert stream.result(timeout=10).stop_reason == "cancelled"
    assert session.state is State.ACTIVE
    session.cancel()
    assert text_of(read_turn(session, session.prompt("@@say alive"))).strip() == "alive"


def test_leaving_a_stream_does_not_disturb_the_turn(manager, session):
    stream = session.prompt("@@say one two three four five")
    with stream:
        next(iter(stream))
    assert stream.result(timeout=10).type == "done"
    assert manager.events(session.id)[-1].type == "done"


def test_stop_completes_the_directory_and_resume_goes_on(
    manager, session, read_turn, check_gap_free
):
    read_turn(session, session.prompt("@@say before"))
    session.stop()
    assert session.state is State.STOPPED
    assert manager.get(session.id) is None
    info = manager.status(session.id)
    assert (info.state, info.stop_reason) == (State.STOPPED, StopReason.USER_CANCELED)
    meta = json.loads(session.meta_path.read_text())
    assert (meta["state"], meta["stop_reason"]) == ("stopped", "user_canceled")
    with pytest.raises(SessionNotActiveError):
        manager.prompt(session.id, "hello?")
    with pytest.raises(SessionNotFoundError):
        manager.stop(session.id)
    again = manager.resume(session.id)
    assert (again.id, again.acp_session_id) == (session.id, session.acp_session_id)
    assert manager.resume(session.id).id == again.id
    read_turn(again, again.prompt("@@say after"))
    types = check_gap_free(manager.events(session.id))
    assert types.count("session_stopped") == 1
    assert {row.epoch for row in manager.events(session.id)} == {1, 2}


def test_resume_opens_a_fresh_agent_session_when_the_agent_lost_its_own(
    manager, session, tmp_path, read_turn
):
    import shutil

    lost = session.acp_session_id
    session.stop()
    shutil.rmtree(tmp_path / "demo-state")
    again = manager.resume(session.id)
    assert again.acp_session_id != lost
    assert read_turn(again, again.prompt("@@say hi"))[-1].type == "done"


def test_list_and_status(manager, session, workspace):
    second = manager.create(agent_name="demo", workspace_path=workspace, name="second")
    assert [info.id for info in manager.list()] == [session.id, second.id]
    second.stop()
    assert [info.id for info in manager.list()] == [session.id]
    stored = manager.list_all()
    assert [(info.id, info.state) for info in stored] == [
        (session.id, State.ACTIVE),
        (second.id, State.STOPPED),
    ]
    assert stored[1].name == "second"
    assert stored[1].workspace == workspace
    by_id = manager.create(agent_name="demo", workspace=stored[1].workspace_id)
    assert by_id.workspace == workspace
    assert session.info().acp_caps.supports_steering


def test_events_can_be_filtered_and_paged(manager, session, read_turn):
    read_turn(session, session.prompt("@@say a b c d e f g h i j k l m n o p"))
    everything = manager.events(session.id)
    assert manager.events(session.id, limit=2) == everything[-2:]
    paged, after = [], 0
    while page := manager.events(session.id, after_sequence=after, limit=3, order="head"):
        paged += page
        after = page[-1].sequence
    assert tuple(paged) == everything
    assert {row.type for row in manager.events(session.id, type="done")} == {"done"}
