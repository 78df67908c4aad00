"""How a turn ends: errors, cancel, steering (04 4.2, 7.1; 07 9, R1-R7; D27)."""

import pytest
from greenroom.actors.errors import (
    OperationUnavailableError,
    SessionValueError,
)
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.options import (
    FRAME_BYTES_MAX,
    STEERS_PENDING_MAX,
)
from greenroom.transport.acp.outputs import Logged, SteerAnswered, TurnClosed

SESSION = "acp-1"
STEERABLE = {"_meta": {"steering": {"supported": True}}}


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
def test_d27_a_cancelled_turn_stays_open_until_the_agent_ends_it(peer, stop_reason):
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
def test_r3_a_cancel_answered_with_an_error(peer, code, suspect):
    peer.prompted()
    peer.do(peer.client.cancel())
    peer.reply(error={"code": code, "message": "aborted"}, to="session/prompt")
    assert peer.events[-1].failure.kind is FailureKind.CANCELLATION
    assert peer.closed == [TurnClosed("turn-1", suspect)]


def test_r3_a_cancel_that_nobody_asked_for_makes_the_agent_suspect(peer):
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


def test_d18_steering_is_awaited_as_long_as_the_turn_runs(make_peer):
    peer = make_peer().started(STEERABLE).prompted()
    peer.do(peer.client.steer("s-1", "left"))
    peer.reply({"stopReason": "end_turn"}, to="session/prompt")
    peer.fire("settle")
    [answer, closed] = peer.outputs[-2:]
    assert (answer.steer_id, answer.outcome, closed.turn_id) == ("s-1", "failed", "turn-1")
    assert peer.reply({"outcome": "injected"}, to="steering") == []


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
