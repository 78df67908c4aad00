"""An agent that others wrote: the example echo agent of the PyPI package, through a manager."""

from __future__ import annotations

import pytest
from greenroom.actors import SessionManager, SessionNotFoundError, State, StopReason
from greenroom.actors.errors import AgentDoesNotSupportSessionError, AgentError, error_is
from greenroom.actors.model.failure import FailureKind


@pytest.fixture
def echo_manager(home, sdk_echo_agent):
    with SessionManager(home=home, agents={"echo": sdk_echo_agent}) as running:
        yield running


def text_of(events):
    return "".join(event.text for event in events if event.type == "agent_message")


def test_create_and_prompt(echo_manager, workspace, check_gap_free):
    session = echo_manager.create(agent_name="echo", workspace_path=workspace)
    for text in ("hello from far away", "line one\nline two"):
        stream = session.prompt(text)
        assert text_of(stream) == text
        ended = stream.result(timeout=20)
        assert (ended.type, ended.stop_reason) == ("done", "end_turn")
    types = check_gap_free(echo_manager.events(session.id))
    assert types == ["user_message", "agent_message", "done"] * 2
    roles = [message.role for message in echo_manager.transcript(session.id)]
    assert roles == ["user", "assistant"] * 2


def test_cancel_leaves_the_session_usable(echo_manager, workspace):
    """The echo agent ends a turn at once and knows no cancel: what counts is the one after."""
    session = echo_manager.create(agent_name="echo", workspace_path=workspace)
    stream = session.prompt("may be cut short")
    session.cancel()
    assert stream.result(timeout=20).type in ("done", "error")
    session.cancel()
    assert text_of(session.prompt("alive")) == "alive"


def test_stop_and_a_resume_the_agent_does_not_offer(echo_manager, workspace, check_gap_free):
    """It restores no sessions (04 2.5): a typed refusal, and nothing of it is lost."""
    session = echo_manager.create(agent_name="echo", workspace_path=workspace)
    assert text_of(session.prompt("before")) == "before"
    session.stop()
    info = echo_manager.status(session.id)
    assert (info.state, info.stop_reason) == (State.STOPPED, StopReason.USER_CANCELED)
    with pytest.raises(SessionNotFoundError):
        echo_manager.stop(session.id)
    rows = echo_manager.events(session.id)
    with pytest.raises(AgentError) as caught:
        echo_manager.resume(session.id)
    assert error_is(caught.value, AgentDoesNotSupportSessionError)
    assert caught.value.failure.kind is FailureKind.LOAD_SESSION
    assert echo_manager.status(session.id).state is State.STOPPED
    assert echo_manager.events(session.id)[: len(rows)] == rows
    types = check_gap_free(rows)
    assert types[:4] == ["user_message", "agent_message", "done", "session_stopped"]
