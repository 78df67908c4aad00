"""No tool result precedes its call, and none is lost (04 4.4; 07 R19)."""

import pytest
from greenroom.transport.acp.options import (
    DEFERRED_RESULTS_MAX,
    KNOWN_TOOLS_MAX,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def tools(peer):
    return [
        (event.type, event.tool_call_id)
        for event in peer.events
        if event.type in ("tool_call", "tool_result")
    ]


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


def test_d16_a_call_that_arrives_final_has_its_result(peer):
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
def test_r19_a_result_whose_call_does_not_come_announces_it_itself(peer, next_):
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
    final = {
        tool_call_id
        for kind, tool_call_id, status in steps
        if kind.startswith("tool") and status in ("completed", "failed")
    }
    assert {i for type_, i in tools(peer) if type_ == "tool_result"} == final
    assert peer.types[-1] == "done"
