"""spec 02 3-7: admission, one turn at a time, events, approvals, and what comes next."""

from __future__ import annotations

import pytest
from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.errors import (
    PromptInProgressError,
    SessionError,
    SessionNotActiveError,
    SessionValueError,
    StorageError,
)
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.session import State, StopCause
from greenroom.actors.model.turn import MESSAGE_BYTES_MAX, BusyInputMode, TurnSource


def test_a6_a10_the_input_row_is_durable_before_the_driver_gets_the_prompt(active, events_of):
    _, effects = active.prompt("  hello  ")
    commit, send = effects
    assert isinstance(commit, fx.Commit)
    assert (commit.durable, commit.deliver) == (True, False)
    (row,) = commit.events
    assert (row.type, row.text, row.turn_id) == ("user_message", "hello", active.turn_id)
    heartbeat_s = active.state.supervision.activity_heartbeat_interval
    assert send == fx.SendPrompt(active.turn_id, "hello", {"turn_source": "user"}, heartbeat_s)


def test_a11_the_caller_gets_the_stream_when_the_driver_took_the_prompt(active):
    ask, _ = active.prompt()
    assert ask not in active.answers
    (reply,) = active.feed(inputs.PromptStarted(active.turn_id))
    assert reply == fx.Reply(ask, None, stream_turn_id=active.turn_id)


def test_an_injected_turn_id_is_used(active):
    active.prompt(turn_id="turn-mine")
    assert active.turn_id == "turn-mine"


@pytest.mark.parametrize("message", ["", "   ", 7, "x" * (MESSAGE_BYTES_MAX + 1)])
def test_3_bad_messages_change_nothing(active, message):
    before = active.state
    ask, _ = active.prompt(message)
    assert isinstance(active.answers[ask], SessionValueError)
    assert active.state == before


def test_2_synthetic_turns_have_a_path_of_their_own(active):
    ask, _ = active.prompt(source=TurnSource.SYNTHETIC)
    assert isinstance(active.answers[ask], SessionValueError)


@pytest.mark.parametrize("state", [State.STARTING, State.STOPPING, State.STOPPED])
def test_a4_only_an_active_session_takes_a_prompt(active, state):
    active.put_state(state)
    ask, _ = active.prompt()
    assert isinstance(active.answers[ask], SessionNotActiveError)
    assert active.answers[ask].state == state


def test_17_n_prompts_one_is_accepted(active, events_of):
    rows = []
    asks = []
    for _ in range(5):
        ask, effects = active.prompt()
        asks.append(ask)
        rows += events_of(effects)
    assert [row.type for row in rows] == ["user_message"]
    refused = [active.answers[ask] for ask in asks[1:]]
    assert all(isinstance(error, PromptInProgressError) for error in refused)


def test_results_of_another_turn_are_ignored(active):
    active.prompt()
    before = active.state
    assert active.feed(inputs.PromptStarted("turn-other")) == ()
    assert active.feed(inputs.PromptStartFailed("turn-other", SessionError("x"))) == ()
    assert active.feed(inputs.AgentStreamClosed("turn-other")) == (fx.CloseStream("turn-other"),)
    assert active.state == before


def test_3_a_driver_that_refuses_leaves_no_open_history(active, events_of):
    ask, _ = active.prompt()
    error = SessionError("no process")
    effects = active.feed(inputs.PromptStartFailed(active.turn_id, error))
    (row,) = events_of(effects)
    assert (row.type, row.error) == ("error", "no process")
    assert active.answers[ask] is error
    assert active.state.turn is None


def test_3_an_input_that_was_not_stored_leaves_no_row(active, events_of):
    ask, _ = active.prompt()
    effects = active.feed(inputs.PromptStartFailed(active.turn_id, StorageError("disk")))
    assert events_of(effects) == []
    assert isinstance(active.answers[ask], StorageError)


def test_p2_blank_members_are_filled_and_given_ones_kept(active, events_of):
    turn_id = active.run_turn()
    given = AgentEvent(type="thought", turn_id=turn_id, session_id="acp-x", timestamp=active.now)
    blank = AgentEvent(type="agent_message", text="hi")
    kept, filled = events_of(active.arrive(given, blank))
    assert (kept.session_id, kept.timestamp) == ("acp-x", given.timestamp)
    assert (filled.session_id, filled.turn_id) == ("acp-1", turn_id)
    assert filled.timestamp == active.now


def test_13_durability_classes_split_a_batch_in_order(active):
    active.run_turn()
    effects = active.arrive(
        AgentEvent(type="agent_message", text="a"),
        AgentEvent(type="permission", request_id="p"),
        AgentEvent(type="permission", request_id="p", decision="allow-once"),
        AgentEvent(type="usage"),
        AgentEvent(type="done"),
    )
    commits = [(len(c.events), c.durable) for c in effects if isinstance(c, fx.Commit)]
    assert commits == [(2, False), (1, True), (1, False), (1, True)]


def test_nothing_of_a_turn_is_recorded_after_its_terminal_event(active, events_of):
    turn_id = active.run_turn()
    effects = active.arrive(AgentEvent(type="done"), AgentEvent(type="agent_message", text="late"))
    assert [event.type for event in events_of(effects)] == ["done"]
    late = active.arrive(AgentEvent(type="agent_message"), turn_id=turn_id)
    assert [type(effect) for effect in late] == [fx.Report]


def test_r11_facts_outside_a_turn_are_recorded_under_an_id_of_their_own(active, events_of):
    (fact,) = events_of(active.feed(inputs.AgentEventsArrived("", (AgentEvent(type="usage"),))))
    assert fact.turn_id.startswith("turn-")
    assert active.state.turn is None


def test_6_turn_end_closes_the_stream(active, kinds):
    turn_id = active.run_turn()
    effects = active.end_turn()
    assert kinds(effects) == ["Commit", "CloseStream"]
    assert effects[1] == fx.CloseStream(turn_id)
    assert not active.state.is_prompting
    assert active.state.last_turn_id == turn_id


def test_3_an_active_turn_never_ends_without_a_terminal_event(active, events_of):
    turn_id = active.run_turn()
    (row,) = events_of(active.feed(inputs.AgentStreamClosed(turn_id)))
    assert (row.type, row.turn_id) == ("error", turn_id)


def test_4_2_a_requested_stop_ends_the_turn_silently(active, events_of):
    turn_id = active.run_turn()
    active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    effects = active.feed(inputs.AgentStreamClosed(turn_id))
    assert events_of(effects) == []


def test_a_caller_that_still_waits_when_the_turn_ends_is_told(active):
    ask, _ = active.prompt()
    active.feed(inputs.AgentStreamClosed(active.turn_id))
    assert isinstance(active.answers[ask], SessionNotActiveError)


def test_14_2_an_approval_is_acknowledged_with_its_row(active):
    active.run_turn()
    ask, effects = active.ask(inputs.PermissionApproved, decision="allow-once", request_id=" p1 ")
    assert effects == (fx.AnswerPermission(ask, "allow-once", "p1", ""),)
    assert active.feed(inputs.PermissionResolved(ask, "p1")) == ()
    active.arrive(AgentEvent(type="permission", request_id="other", decision="allow-once"))
    active.arrive(AgentEvent(type="agent_message"))
    assert ask not in active.answers
    effects = active.arrive(AgentEvent(type="permission", request_id="p1", decision="allow-once"))
    assert effects[-1] == fx.Reply(ask)
    assert active.state.approvals == ()


def test_14_2_by_turn_alone_the_first_decision_counts(active):
    turn_id = active.run_turn()
    ask, _ = active.ask(inputs.PermissionApproved, decision="reject-once", turn_id=turn_id)
    active.feed(inputs.PermissionResolved(ask, ""))
    active.arrive(AgentEvent(type="permission", request_id="p9", decision="reject-once"))
    assert active.answers[ask] is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"decision": "allow-once"}, SessionValueError),
        ({"decision": "maybe", "request_id": "p"}, SessionValueError),
        ({"decision": "pending", "request_id": "p"}, SessionValueError),
    ],
)
def test_14_2_bad_approvals(active, fields, error):
    ask, _ = active.ask(inputs.PermissionApproved, **fields)
    assert isinstance(active.answers[ask], error)


def test_14_2_an_approval_of_a_stopped_session(active):
    active.put_state(State.STOPPED)
    ask, _ = active.ask(inputs.PermissionApproved, decision="allow-once", request_id="p")
    assert isinstance(active.answers[ask], SessionNotActiveError)


def test_14_2_the_drivers_refusal_reaches_the_caller(active):
    active.run_turn()
    ask, _ = active.ask(inputs.PermissionApproved, decision="allow-once", request_id="p")
    error = SessionError("not pending")
    active.feed(inputs.PermissionResolved(ask, "p", error))
    assert active.answers[ask] is error


def test_14_2_an_approval_whose_turn_is_over_is_answered(active):
    turn_id = active.run_turn()
    first, _ = active.ask(inputs.PermissionApproved, decision="allow-once", request_id="p")
    active.feed(inputs.PermissionResolved(first, "p"))
    active.arrive(AgentEvent(type=EventType.DONE))
    active.feed(inputs.AgentStreamClosed(turn_id))
    assert active.answers[first] is None
    second, _ = active.ask(inputs.PermissionApproved, decision="allow-once", request_id="p")
    active.feed(inputs.PermissionResolved(second, "p"))
    assert active.answers[second] is None


def test_11_1_cancel(active, kinds, events_of):
    idle, effects = active.ask(inputs.CancelRequested)
    assert effects == (fx.Reply(idle),)
    turn_id = active.run_turn()
    ask, effects = active.ask(inputs.CancelRequested)
    assert effects == (fx.CancelPrompt(turn_id, ask),)
    effects = active.feed(inputs.CancelSettled(turn_id, ask))
    assert kinds(effects) == ["Commit", "Reply"]
    (note,) = events_of(effects)
    assert (note.title, note.turn_id) == ("transcript_marker.prompt_cancel", turn_id)
    again, _ = active.ask(inputs.CancelRequested)
    effects = active.feed(inputs.CancelSettled(turn_id, again))
    assert kinds(effects) == ["Reply"], "one marker per turn"


def test_11_1_a_cancel_during_setup_ends_the_context_of_the_turn_at_once(active, kinds, events_of):
    active.prompt()
    turn_id = active.turn_id
    _, effects = active.ask(inputs.CancelRequested)
    assert kinds(effects) == ["Commit", "CancelPrompt", "Reply"]
    assert effects[1] == fx.CancelPrompt(turn_id, before_start=True)
    assert [e.title for e in events_of(effects)] == ["transcript_marker.prompt_cancel"]
    effects = active.feed(inputs.PromptStarted(turn_id))
    assert kinds(effects) == ["Reply", "CancelPrompt"], "a driver that took it all the same"
    assert not effects[1].before_start


def test_11_1_a_cancel_that_the_driver_can_not_deliver_is_told(active, kinds):
    turn_id = active.run_turn()
    ask, _ = active.ask(inputs.CancelRequested)
    error = SessionError("pipe")
    effects = active.feed(inputs.CancelSettled(turn_id, ask, error))
    assert kinds(effects) == ["Refuse", "Report"]
    assert active.answers[ask] is error


def test_7_1_an_idle_session_accepts_in_every_mode(active):
    for mode in BusyInputMode:
        ask, _ = active.prompt(mode=mode)
        active.feed(inputs.PromptStarted(active.turn_id))
        result = active.answers[ask]
        assert (result.status, result.mode) == ("accepted", mode)
        assert result.new_turn_id == active.turn_id
        active.end_turn()
