"""One turn: its events, their order, and its end (04 4, 7.1; 07 R1-R11, R19-R22)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom.actors.errors import (
    OperationUnavailableError,
    PromptInProgressError,
    SessionValueError,
)
from greenroom.actors.model.event import NO_TIME, TokenUsage
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.options import (
    DEFERRED_RESULTS_MAX,
    FRAME_BYTES_MAX,
    KNOWN_TOOLS_MAX,
    STEERS_PENDING_MAX,
)
from greenroom.transport.acp.outputs import Logged, SteerAnswered, TurnClosed

SESSION = "acp-1"
STEERABLE = {"_meta": {"steering": {"supported": True}}}


def texts(peer):
    return [(event.type, event.text) for event in peer.events]


def tools(peer):
    return [
        (event.type, event.tool_call_id)
        for event in peer.events
        if event.type in ("tool_call", "tool_result")
    ]


# ---- a prompt


def test_a_prompt_is_one_text_and_its_events_carry_both_ids(peer):
    peer.do(peer.client.prompt("turn-1", " hello \n", {"turn_source": "user"}))
    assert peer.client.turn_id == "turn-1"
    assert peer.sent[-1]["params"] == {
        "sessionId": SESSION,
        "prompt": [{"type": "text", "text": "hello"}],
        "_meta": {"turn_source": "user"},
    }
    peer.chunk("hi")
    [event] = peer.events
    assert (event.session_id, event.turn_id, event.timestamp) == (SESSION, "turn-1", NO_TIME)
    assert event.raw.value == {
        "sessionUpdate": "agent_message_chunk",
        "content": {"type": "text", "text": "hi"},
    }


def test_a_turn_ends_with_done_after_a_silence(peer):
    peer.prompted().chunk("hi")
    peer.reply({"stopReason": "max_tokens", "usage": {"inputTokens": 3}})
    assert peer.timers == {"settle:1": 0.05, "settle_max:1": 0.1}
    assert peer.types == ["agent_message"]
    assert peer.client.turn_id == "turn-1"
    peer.fire("settle")
    done = peer.events[-1]
    assert (done.type, done.stop_reason) == ("done", "max_tokens")
    assert done.usage == TokenUsage(turn_id="turn-1", input_tokens=3)
    assert peer.outputs[-1] == TurnClosed("turn-1")
    assert (peer.client.turn_id, peer.timers) == ("", {})
    assert "_meta" not in peer.sent[-1]["params"]


def test_late_updates_belong_to_the_turn_and_keep_it_open_for_a_while(peer):
    peer.prompted().chunk("a")
    peer.reply({"stopReason": "end_turn"})
    peer.timers["settle:1"] = 0
    peer.chunk("b")
    assert peer.timers["settle:1"] == 0.05
    peer.update("usage_update")
    peer.fire("settle_max")
    assert texts(peer) == [("agent_message", "a"), ("agent_message", "b"), ("done", "")]
    peer.chunk("c")
    peer.chunk("d")
    assert peer.types[-1] == "done"
    assert [o for o in peer.outputs if isinstance(o, Logged)] == [
        Logged("info", "content outside a turn dropped")
    ]


def test_an_agent_known_to_answer_last_needs_no_silence(make_peer):
    peer = make_peer(settle_s=0).started().prompted()
    peer.chunk("a")
    peer.reply({"stopReason": "end_turn"})
    assert peer.types == ["agent_message", "done"]
    assert not peer.timers


@pytest.mark.parametrize("result", [None, {}, [], {"stopReason": 5}])
def test_an_answer_without_a_reason_is_done_without_one(peer, result):
    peer.prompted().chunk("a")
    peer.reply(result)
    peer.fire("settle")
    assert peer.events[-1].stop_reason == ""


def test_a_turn_without_any_output_is_done_with_a_warning(peer):
    peer.prompted().update("usage_update", used=1, size=2)
    peer.ended()
    assert peer.types == ["usage", "runtime_warning", "done"]
    peer.prompted("turn-2").ended("refusal")
    assert peer.types[3:] == ["done"]


def test_one_turn_at_a_time(peer):
    peer.prompted()
    with pytest.raises(PromptInProgressError):
        peer.client.prompt("turn-2", "more", {})
    peer.chunk("a")
    peer.ended().prompted("turn-2")
    assert peer.client.turn_id == "turn-2"


@pytest.mark.parametrize(("turn_id", "text"), [("", "hello"), (" ", "hello"), ("t", " \n")])
def test_a_prompt_needs_an_id_and_a_text(peer, turn_id, text):
    with pytest.raises(SessionValueError):
        peer.client.prompt(turn_id, text, {})


def test_a_prompt_that_is_too_long_fails_its_turn_and_nothing_else(make_peer):
    peer = make_peer(system_prompt="be nice").started()
    peer.do(peer.client.prompt("turn-1", "x" * FRAME_BYTES_MAX, {}))
    assert peer.sent == []
    [event] = peer.events
    assert (event.type, event.failure.kind) == ("error", FailureKind.PROMPT)
    assert peer.closed == [TurnClosed("turn-1")]
    peer.prompted("turn-2")
    assert peer.sent[-1]["params"]["prompt"][0]["text"].startswith("Session instructions")


@pytest.mark.parametrize(
    ("delivery", "text"),
    [
        (
            "first_turn_prefix",
            "Session instructions (treat as system guidance for this conversation):\n\n"
            "be nice\n\nUser request:\n\nhello",
        ),
        ("native", "hello"),
    ],
)
def test_the_system_prompt_goes_with_the_first_prompt_only(make_peer, delivery, text):
    peer = make_peer(system_prompt=" be nice ", system_prompt_delivery=delivery).started()
    peer.do(peer.client.prompt("turn-1", "hello", {"a": 1}))
    params = peer.sent[-1]["params"]
    assert params["prompt"] == [{"type": "text", "text": text}]
    assert params["_meta"] == {"a": 1, "system": {"prompt_delivery": delivery}}
    peer.ended().prompted("turn-2")
    assert peer.sent[-1]["params"] == {
        "sessionId": SESSION,
        "prompt": [{"type": "text", "text": "hello"}],
    }


# ---- events of updates


@pytest.mark.parametrize(
    ("kind", "members", "type_", "title"),
    [
        ("agent_thought_chunk", {"content": {"type": "text", "text": "t"}}, "thought", ""),
        ("plan", {"entries": []}, "plan", ""),
        ("tool_call", {"toolCallId": "t", "title": "T"}, "tool_call", "T"),
        ("available_commands_update", {}, "system", "available_commands_update"),
        ("current_mode_update", {"currentModeId": "x"}, "system", "current_mode_update"),
        ("config_option_update", {"configOptions": []}, "system", "config_option_update"),
        ("session_info_update", {"title": "x"}, "system", "session_info_update"),
        ("notice", {"severity": "info", "title": "x"}, "system", "notice"),
        ("plan_removed", {"planId": "x"}, "system", "plan_removed"),
        ("never_heard_of", {"content": {"type": "text", "text": "t"}}, "system", "never_heard_of"),
    ],
)
def test_each_kind_has_its_event(peer, kind, members, type_, title):
    peer.prompted().update(kind, **members)
    [event] = peer.events
    assert (event.type, event.title, event.turn_id) == (type_, title, "turn-1")
    assert event.raw.value["sessionUpdate"] == kind


def test_an_update_that_can_not_be_read_is_logged_and_lost_alone(peer):
    peer.prompted().update(5)
    peer.update("agent_message_chunk")
    peer.chunk("a")
    assert texts(peer) == [("agent_message", "a")]
    assert len([o for o in peer.outputs if isinstance(o, Logged)]) == 2


def test_updates_of_another_session_are_dropped(peer):
    peer.prompted().update("plan", session="other", entries=[])
    assert peer.events == []
    assert isinstance(peer.outputs[-1], Logged)


def test_options_change_in_a_turn_and_between_turns(peer):
    option = {"id": "x", "name": "X", "type": "boolean", "currentValue": True}
    peer.update("config_option_update", configOptions=[option])
    assert peer.client.caps.config_options[0].current == "true"
    peer.prompted().update("config_option_update", configOptions=[])
    assert peer.client.caps.config_options == ()
    assert [event.turn_id for event in peer.events] == ["", "turn-1"]


def test_facts_between_turns_are_events_without_a_turn(peer):
    peer.update("usage_update", used=5, size=9)
    peer.update("usage_update")
    peer.update("session_info_update", title="t")
    assert [(event.type, event.turn_id) for event in peer.events] == [
        ("usage", ""),
        ("system", ""),
    ]
    assert peer.events[0].session_id == SESSION


def test_usage_is_merged_over_the_turn_and_starts_anew_with_the_next(peer):
    peer.prompted().update("usage_update", used=5, size=9)
    peer.update("usage_update", used=6, cost={"amount": 0.5, "currency": "USD"})
    peer.reply({"stopReason": "refusal", "usage": {"inputTokens": 3, "cacheReadTokens": 1}})
    peer.fire("settle")
    assert [event.usage for event in peer.events] == [
        TokenUsage(turn_id="turn-1", context_used=5, context_size=9),
        merged := TokenUsage(
            turn_id="turn-1",
            context_used=6,
            context_size=9,
            cost_amount=0.5,
            cost_currency="USD",
        ),
        merged.merge(TokenUsage(input_tokens=3, cache_read_tokens=1)),
    ]
    peer.prompted("turn-2").ended("refusal")
    assert peer.events[-1].usage is None


# ---- echo


def test_the_echo_of_the_prompt_is_no_event(make_peer):
    for system_prompt, echo in [("", "hello"), ("be nice", "hello"), ("x", "Session instr")]:
        peer = make_peer(system_prompt=system_prompt).started().prompted()
        for piece in (echo[:2], "", echo[2:]):
            peer.chunk(piece, "user_message_chunk")
        peer.chunk("answer")
        assert texts(peer) == [("agent_message", "answer")]


def test_a_user_message_that_only_starts_like_the_prompt_is_one(peer):
    peer.prompted()
    peer.chunk("hel", "user_message_chunk")
    assert peer.events == []
    peer.chunk("icopter", "user_message_chunk")
    peer.chunk("hello", "user_message_chunk")
    assert texts(peer) == [
        ("user_message", "hel"),
        ("user_message", "icopter"),
        ("user_message", "hello"),
    ]


def test_after_the_first_content_every_user_message_is_one(peer):
    peer.prompted().chunk("answer")
    peer.chunk("hello", "user_message_chunk")
    assert texts(peer)[1:] == [("user_message", "hello")]


# ---- tools


def tool(peer, kind, tool_call_id, status=None, **members):
    peer.update(kind, toolCallId=tool_call_id, title="T", status=status, **members)


def call(peer, tool_call_id, status=None, **members):
    tool(peer, "tool_call", tool_call_id, status, **members)


def result(peer, tool_call_id, status="completed", **members):
    tool(peer, "tool_call_update", tool_call_id, status, **members)


def test_a_call_and_its_result(peer):
    peer.prompted()
    call(peer, "a", "pending")
    result(peer, "a", "in_progress")
    result(peer, "a", "failed")
    assert tools(peer) == [("tool_call", "a"), ("tool_call", "a"), ("tool_result", "a")]
    assert peer.events[-1].title == "T"


def test_a_call_that_arrives_final_has_its_result(peer):
    peer.prompted()
    call(peer, "a", "completed")
    assert tools(peer) == [("tool_call", "a"), ("tool_result", "a")]


def test_a_result_waits_for_its_call(peer):
    peer.prompted()
    result(peer, "a", n=1)
    result(peer, "a", n=2)
    assert peer.events == []
    call(peer, "b")
    call(peer, "a")
    assert tools(peer) == [("tool_call", "b"), ("tool_call", "a"), ("tool_result", "a")]
    assert peer.events[-1].raw.value["n"] == 1


def test_a_late_call_that_is_final_does_not_repeat_the_result(peer):
    peer.prompted()
    result(peer, "a", n=1)
    call(peer, "a", "completed")
    assert tools(peer) == [("tool_call", "a"), ("tool_result", "a")]


def test_a_progress_report_announces_a_call_too(peer):
    peer.prompted()
    result(peer, "a")
    result(peer, "a", "in_progress")
    assert tools(peer) == [("tool_call", "a"), ("tool_result", "a")]


@pytest.mark.parametrize(
    "next_",
    [
        lambda peer: peer.chunk("on"),
        lambda peer: peer.update("plan", entries=[]),
        lambda peer: peer.update("usage_update", used=1, size=2),
        lambda peer: peer.update("notice", title="x"),
        lambda peer: peer.chunk("somebody", "user_message_chunk"),
        lambda peer: peer.ask(),
        lambda peer: peer.ended(),
        lambda peer: peer.reply(error={"code": 1, "message": "no"}, to="session/prompt"),
        lambda peer: peer.do(peer.client.receive_eof("gone")),
    ],
)
def test_a_result_whose_call_does_not_come_announces_it_itself(peer, next_):
    peer.prompted()
    result(peer, "a")
    result(peer, "b")
    next_(peer)
    assert tools(peer) == [
        ("tool_call", "a"),
        ("tool_result", "a"),
        ("tool_call", "b"),
        ("tool_result", "b"),
    ]
    assert peer.types[3] == "tool_result"


def test_a_result_announced_by_a_permission_request_does_not_wait(peer):
    peer.prompted().ask(toolCallId="a")
    result(peer, "a")
    assert peer.types == ["permission", "tool_call", "tool_result"]


def test_results_wait_up_to_a_limit(peer):
    peer.prompted()
    for number in range(DEFERRED_RESULTS_MAX):
        result(peer, f"c{number}")
    assert peer.events == []
    result(peer, "one-more")
    assert tools(peer) == [("tool_call", "c0"), ("tool_result", "c0")]


def test_the_same_result_twice_is_one_and_another_one_is_not(peer):
    peer.prompted()
    call(peer, "a")
    result(peer, "a", n=1)
    result(peer, "a", n=1)
    result(peer, "a", n=2)
    assert tools(peer) == [("tool_call", "a"), ("tool_result", "a"), ("tool_result", "a")]


def test_a_result_without_an_id_never_waits(peer):
    peer.prompted()
    result(peer, "")
    result(peer, "")
    assert tools(peer) == [("tool_result", ""), ("tool_result", "")]


def test_the_calls_a_turn_remembers_have_a_limit(peer):
    peer.prompted()
    call(peer, "first")
    for number in range(KNOWN_TOOLS_MAX):
        call(peer, f"c{number}")
    before = len(peer.events)
    result(peer, f"c{KNOWN_TOOLS_MAX - 1}")
    result(peer, "first")
    peer.chunk("on")
    assert tools(peer)[before:] == [
        ("tool_result", f"c{KNOWN_TOOLS_MAX - 1}"),
        ("tool_call", "first"),
        ("tool_result", "first"),
    ]


def test_the_calls_expected_from_permissions_have_the_same_limit(peer):
    peer.prompted()
    for number in range(KNOWN_TOOLS_MAX + 1):
        peer.ask(number, toolCallId=f"c{number}", options=[])
    before = len(peer.events)
    result(peer, f"c{KNOWN_TOOLS_MAX}")
    assert len(peer.events) == before
    result(peer, "c0")
    assert tools(peer) == [("tool_call", "c0"), ("tool_result", "c0")]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["tool_call", "tool_call_update", "agent_message_chunk"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([None, "pending", "completed", "failed"]),
    ),
    max_size=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_in_any_order_no_result_precedes_its_call_and_none_is_lost(make_peer, steps):
    peer = make_peer().started().prompted()
    for kind, tool_call_id, status in steps:
        if kind == "agent_message_chunk":
            peer.chunk("x")
        else:
            tool(peer, kind, tool_call_id, status)
    peer.ended()
    seen = set()
    for type_, tool_call_id in tools(peer):
        if type_ == "tool_call":
            seen.add(tool_call_id)
        assert tool_call_id in seen
    final = {i for kind, i, s in steps if kind != "agent_message_chunk" and s in ("completed", "failed")}
    assert {i for type_, i in tools(peer) if type_ == "tool_result"} == final
    assert peer.types[-1] == "done"


# ---- errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": -32603, "message": "Internal error", "data": "boom"}, FailureKind.PROMPT),
        ({"code": -32800, "message": "Request cancelled"}, FailureKind.CANCELLATION),
        ({"code": -32602, "message": "Session not found: x"}, FailureKind.PROCESS_EXIT),
    ],
)
def test_an_error_ends_the_turn_with_its_kind(peer, error, kind):
    peer.prompted().chunk("a")
    peer.reply(error=error)
    event = peer.events[-1]
    assert (event.type, event.failure.kind) == ("error", kind)
    assert event.error == event.failure.summary
    assert event.raw.value == error
    assert peer.outputs[-1] == TurnClosed("turn-1")


def test_an_agent_that_is_gone_ends_the_turn_with_its_cause(peer):
    peer.prompted().chunk("a")
    peer.do(peer.client.receive_eof("agent exited with status 0"))
    event = peer.events[-1]
    assert (event.type, event.failure.kind) == ("error", FailureKind.PROCESS_EXIT)
    assert "peer disconnected before response" in event.error
    assert "agent exited with status 0" in event.error


def test_an_answer_that_came_before_the_end_wins(peer):
    peer.prompted().chunk("a")
    peer.reply({"stopReason": "end_turn"})
    peer.do(peer.client.receive_eof("gone"))
    assert peer.types == ["agent_message", "done"]
    assert peer.closed == [TurnClosed("turn-1")]


# ---- cancel


def cancels(peer):
    return [m for m in peer.sent if m["method"] == "session/cancel"]


@pytest.mark.parametrize("stop_reason", ["cancelled", "end_turn", "refusal"])
def test_a_cancelled_turn_stays_open_until_the_agent_ends_it(peer, stop_reason):
    peer.prompted()
    peer.do(peer.client.cancel())
    peer.do(peer.client.cancel())
    assert len(cancels(peer)) == 1
    assert cancels(peer)[0]["params"] == {"sessionId": SESSION}
    assert peer.timers == {"cancel_grace:1": 5.0}
    peer.chunk("still")
    peer.ended(stop_reason)
    assert peer.types == ["agent_message", "done"]
    assert peer.events[-1].stop_reason == stop_reason
    assert peer.closed == [TurnClosed("turn-1")]


@pytest.mark.parametrize(("code", "suspect"), [(-32800, False), (-32603, True)])
def test_a_cancel_answered_with_an_error(peer, code, suspect):
    peer.prompted()
    peer.do(peer.client.cancel())
    peer.reply(error={"code": code, "message": "aborted"}, to="session/prompt")
    assert peer.events[-1].failure.kind is FailureKind.CANCELLATION
    assert peer.closed == [TurnClosed("turn-1", suspect)]


def test_a_cancel_that_nobody_asked_for_makes_the_agent_suspect(peer):
    peer.prompted().chunk("a")
    peer.ended("cancelled")
    assert peer.closed == [TurnClosed("turn-1", suspect=True)]


def test_a_cancel_that_is_not_acknowledged_ends_after_the_grace(peer):
    peer.prompted()
    peer.do(peer.client.cancel())
    peer.fire("cancel_grace")
    event = peer.events[-1]
    assert (event.type, event.failure.kind) == ("error", FailureKind.CANCELLATION)
    assert "did not acknowledge cancel" in event.error
    assert peer.closed == [TurnClosed("turn-1", suspect=True)]


def test_what_an_orphan_says_reaches_no_other_turn(peer):
    peer.prompted()
    orphan = peer.sent[-1]["id"]
    peer.do(peer.client.cancel())
    peer.fire("cancel_grace")
    peer.outputs.clear()
    peer.chunk("late")
    peer.say(id=orphan, result={"stopReason": "cancelled"})
    assert peer.events == []
    peer.prompted("turn-2")
    peer.say(id=orphan, result={"stopReason": "cancelled"})
    assert peer.client.turn_id == "turn-2"
    peer.chunk("b")
    peer.ended()
    assert [(event.type, event.turn_id) for event in peer.events] == [
        ("agent_message", "turn-2"),
        ("done", "turn-2"),
    ]


def test_a_late_answer_of_an_orphan_finds_a_turn_in_progress(peer):
    peer.prompted()
    orphan = peer.sent[-1]["id"]
    peer.do(peer.client.cancel())
    peer.fire("cancel_grace")
    peer.prompted("turn-2")
    peer.say(id=orphan, error={"code": -32800, "message": "x"})
    assert peer.client.turn_id == "turn-2"
    assert len(peer.closed) == 1


def test_a_cancel_between_turns_is_only_sent(peer):
    assert peer.do(peer.client.cancel()) == []
    assert len(cancels(peer)) == 1
    peer.prompted().chunk("a")
    peer.reply({"stopReason": "end_turn"})
    peer.do(peer.client.cancel())
    assert len(cancels(peer)) == 1


def test_a_timer_that_fires_late_hits_no_other_turn(peer):
    peer.prompted()
    peer.do(peer.client.cancel())
    peer.ended("cancelled").prompted("turn-2")
    for name in ("cancel_grace:1", "settle:1", "settle_max:1", "step:1", "permission:1", "odd"):
        assert peer.do(peer.client.timer_fired(name)) == []


# ---- steering


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"result": {"outcome": "injected"}}, "injected"),
        ({"result": {"outcome": "promptRequired", "reason": "noRunningTurn"}}, "not_running"),
        ({"result": {"outcome": "startedNewTurn"}}, "new_turn"),
        ({"result": None}, "failed"),
        ({"result": {"outcome": ["odd"]}}, "failed"),
        ({"error": {"code": -32002, "message": "no"}}, "failed"),
    ],
)
def test_steering_is_answered_once(make_peer, answer, outcome):
    peer = make_peer().started(STEERABLE).prompted()
    peer.do(peer.client.steer("s-1", " left "))
    assert peer.sent[-1]["method"] == "_session/steering"
    assert peer.sent[-1]["params"] == {
        "sessionId": SESSION,
        "prompt": [{"type": "text", "text": "left"}],
        "_meta": {"steering": {"idleBehavior": "promptRequired"}},
    }
    peer.reply(**answer)
    output = peer.outputs[-1]
    assert (output.steer_id, output.outcome) == ("s-1", outcome)
    assert (output.error is not None) == (outcome == "failed")
    peer.reply(**answer)
    assert isinstance(peer.outputs[-1], Logged)


def test_steering_is_sent_only_to_agents_that_offer_it(peer, make_peer):
    peer.prompted()
    with pytest.raises(OperationUnavailableError):
        peer.client.steer("s-1", "left")
    with pytest.raises(SessionValueError):
        peer.client.steer("s-1", " ")
    assert [m["method"] for m in peer.sent] == ["session/prompt"]


def test_steering_is_awaited_as_long_as_the_turn_runs(make_peer):
    peer = make_peer().started(STEERABLE).prompted()
    peer.do(peer.client.steer("s-1", "left"))
    peer.reply({"stopReason": "end_turn"}, to="session/prompt")
    peer.fire("settle")
    [answer, closed] = peer.outputs[-2:]
    assert (answer.steer_id, answer.outcome, closed.turn_id) == ("s-1", "failed", "turn-1")
    peer.reply({"outcome": "injected"}, to="steering")
    assert isinstance(peer.outputs[-1], Logged)


def test_unanswered_steering_has_a_limit(make_peer):
    peer = make_peer().started(STEERABLE).prompted()
    for number in range(STEERS_PENDING_MAX):
        peer.do(peer.client.steer(f"s-{number}", "left"))
    with pytest.raises(OperationUnavailableError):
        peer.client.steer("one-more", "left")
    peer.do(peer.client.receive_eof("gone"))
    failed = [o for o in peer.outputs if isinstance(o, SteerAnswered)]
    assert [answer.outcome for answer in failed] == ["failed"] * STEERS_PENDING_MAX


def test_steering_that_is_too_long_fails_at_once(make_peer):
    peer = make_peer().started(STEERABLE).prompted()
    peer.do(peer.client.steer("s-1", "x" * FRAME_BYTES_MAX))
    assert peer.outputs[-1].outcome == "failed"
    assert peer.client.turn_id == "turn-1"
