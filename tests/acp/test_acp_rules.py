"""Client rules that no other file has a place for, in both versions (07 10)."""

import json

import pytest
from greenroom.actors.model.event import RawJSON
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.outputs import NoticeSeen, TurnClosed


@pytest.fixture(params=["v1", "v2"])
def open_turn(request, make_peer, make_v2_peer):
    """A peer of either version with an open turn."""
    return (
        make_peer().started().prompted()
        if request.param == "v1"
        else (make_v2_peer().started().running())
    )


def is_v2(peer):
    return peer.client.caps.protocol_version == 2


def fail(peer, code, message):
    if is_v2(peer):
        peer.idle("error", error={"code": code, "message": message})
    else:
        peer.reply(error={"code": code, "message": message}, to="session/prompt")


def test_r2_whatever_follows_a_cancelled_permission_ends_the_turn_as_ours(make_peer):
    for reason in ("cancelled", "end_turn"):
        peer = make_peer().started().prompted()
        peer.ask(7)
        peer.do(peer.client.cancel())
        peer.ended(reason)
        assert (peer.events[-1].type, peer.events[-1].stop_reason) == ("done", reason)
        assert peer.closed == [TurnClosed("turn-1")]
    peer = make_peer().started().prompted()
    peer.do(peer.client.cancel())
    fail(peer, -32603, "rejected")
    assert peer.events[-1].failure.kind is FailureKind.CANCELLATION


def test_r7_a_cancelled_turn_that_says_end_turn_is_not_blamed_for_its_silence(open_turn):
    open_turn.do(open_turn.client.cancel())
    open_turn.ended("end_turn")
    assert open_turn.types == ["done"]


def test_r6_a_deaf_agent_is_waited_for_as_long_as_the_grace(open_turn):
    open_turn.do(open_turn.client.cancel())
    [(name, seconds)] = open_turn.timers.items()
    assert (name.split(":")[0], seconds) == ("cancel_grace", 5.0)
    open_turn.fire("cancel_grace")
    assert open_turn.closed == [TurnClosed("turn-1", suspect=True)]


def test_r10_silence_is_nobodys_business_here_and_text_is_never_deduplicated(open_turn):
    assert open_turn.timers == {}
    say = open_turn.say_text if is_v2(open_turn) else open_turn.chunk
    for _ in range(2):
        say("the same words")
    assert [event.text for event in open_turn.events] == ["the same words"] * 2


@pytest.mark.parametrize(
    ("code", "action"), [(401, "login"), (-32000, "login"), (403, "no_retry"), (-31002, None)]
)
def test_r9_an_error_is_told_by_its_code_first(open_turn, code, action):
    fail(open_turn, code, "it did not work")
    [event] = open_turn.events
    assert ("next_action" in event.error) is (action is not None)
    assert action is None or f"next_action={action}" in event.error


def test_d13_results_that_wait_come_before_the_error_too(make_peer):
    peer = make_peer().started().prompted()
    peer.update("tool_call_update", toolCallId="t1", status="completed")
    fail(peer, -32603, "no")
    assert peer.types == ["tool_call", "tool_result", "error"]


def test_r21_long_lines_are_ordinary(open_turn):
    members = {"toolCallId": "t1", "title": "T", "rawOutput": "x" * 550_000}
    open_turn.update("tool_call_update", **members)
    assert len(json.dumps(open_turn.events[0].raw.value)) > 550_000


def test_r36_unknown_words_reach_the_raw_object(open_turn):
    open_turn.update("tool_call_update", toolCallId="t1", kind="levitate", status="floating")
    [event] = open_turn.events
    assert event.type == "tool_call"
    assert event.raw.value["kind"] == "levitate"


def test_r30_vendor_requests_are_answered_at_once(open_turn):
    for number, method in enumerate(("_vendor/ask", "vendor/ask", "mcp/message"), start=70):
        open_turn.say(id=number, method=method, params={})
        assert open_turn.answer_to(number)["error"]["code"] == -32601
    notice = NoticeSeen("_session/retrying")  # a sign of life, and nothing else
    assert open_turn.say(method="_session/retrying", params={}) == [notice]


def test_json_nested_too_deep_has_no_value():
    assert RawJSON(b"[" * 100_000 + b"]" * 100_000).value is None
