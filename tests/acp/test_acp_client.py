"""The client as a whole: misbehaving agents, stop, the end of the connection (04 7.2, 11)."""

import pytest
from greenroom.actors.errors import OperationUnavailableError
from greenroom.transport.acp.options import FRAME_BYTES_MAX, LOG_LINES_MAX, LOG_TEXT_MAX
from greenroom.transport.acp.outputs import (
    Disconnected,
    EventsEmitted,
    Logged,
    NoticeSeen,
    SessionClosed,
    TurnClosed,
)

CLOSES = {"agentCapabilities": {"sessionCapabilities": {"close": {}}}}


def methods(peer):
    return [message["method"] for message in peer.sent if "method" in message]


# ---- misbehaviour


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"[1]",
        b"5",
        b"null",
        b"{}",
        b'{"id":99,"result":{}}',
        b'{"id":"1","result":{}}',
        b'{"id":null,"error":{"code":-32700,"message":"Parse error"}}',
        b'{"id":[1],"result":{}}',
        b'{"method":5}',
        b'{"method":"session/update","params":{}}',
        b'{"method":"session/update","params":{"sessionId":"acp-1","update":7}}',
        b'{"method":"session/update","params":{"sessionId":"other","update":{}}}',
    ],
)
def test_r31_what_makes_no_sense_is_logged_and_the_turn_goes_on(peer, line):
    peer.prompted()
    assert [type(output) for output in peer.raw(line + b"\n")] == [Logged]
    peer.chunk("a")
    peer.ended()
    assert peer.types == ["agent_message", "done"]


@pytest.mark.parametrize("line", [b"", b"  ", b"\r", b'{"method":"_vendor/note","params":5}'])
def test_what_means_nothing_is_silent(peer, line):
    assert [o for o in peer.raw(line + b"\n") if not isinstance(o, NoticeSeen)] == []


@pytest.mark.parametrize("method", ["_vendor/note", "vendor/note", "x" * 1000])
def test_9_3_a_notification_of_a_vendors_is_a_sign_of_life(peer, method):
    line = b'{"method":"%s","params":5}\n' % method.encode()
    outputs = [output for output in peer.raw(line) if not isinstance(output, Logged)]
    assert outputs == [NoticeSeen(method[:LOG_TEXT_MAX])]


def test_a_repeated_answer_is_ignored(peer):
    peer.prompted().chunk("a")
    for _ in range(2):
        peer.reply({"stopReason": "end_turn"})
    peer.fire("settle")
    peer.reply(error={"code": 1, "message": "x"})
    assert peer.types == ["agent_message", "done"]


def test_an_answer_with_result_and_error_is_an_error(peer):
    peer.prompted()
    request_id = peer.sent[-1]["id"]
    peer.say(id=request_id, result={"stopReason": "end_turn"}, error={"code": 1, "message": "x"})
    assert peer.types == ["error"]


def test_a_request_that_can_not_be_one_is_refused(peer):
    peer.raw(b'{"id":{},"method":"m"}\n{"id":5,"method":7}\n')
    assert [(m["id"], m["error"]["code"]) for m in peer.sent] == [(None, -32600), (5, -32600)]


def test_d11_an_id_in_use_is_refused_without_an_effect(peer):
    peer.prompted().ask(7)
    peer.ask(7)
    assert peer.types == ["permission"]
    assert [m["error"]["code"] for m in peer.sent if "error" in m] == [-32600]


def test_a_flood_of_requests_meets_its_limit(peer):
    peer.prompted()
    for number in range(70):
        peer.ask(number, toolCallId=f"c{number}")
    assert peer.types == ["permission"] * 64
    assert [m["error"]["code"] for m in peer.sent if "error" in m] == [-32603] * 6


def test_d34_a_line_over_the_limit_ends_the_connection(peer):
    peer.prompted().chunk("a")
    head = b'{"method":"session/update","params":"'
    outputs = peer.raw(head + b"x" * FRAME_BYTES_MAX)
    assert peer.types == ["agent_message", "error"]
    assert f"line of {FRAME_BYTES_MAX} bytes or more" in peer.events[-1].error
    assert [type(o) for o in outputs] == [EventsEmitted, TurnClosed, Disconnected]
    assert peer.raw(b'{"id":1,"method":"x"}\n') == []
    assert peer.client.data_to_send() == b""


def test_r21_a_line_just_below_the_limit_is_ordinary(peer):
    peer.prompted().chunk("x" * (FRAME_BYTES_MAX - 500))
    assert len(peer.events[0].text) == FRAME_BYTES_MAX - 500


def test_text_that_is_no_text_is_replaced(peer):
    peer.prompted()
    params = b'{"sessionId":"acp-1","update":{"sessionUpdate":"agent_message_chunk",'
    for text in (b"a\xffb", b"a\\ud800b", b"\\ud83d\\ude00"):
        content = b'"content":{"type":"text","text":"' + text + b'"}}}'
        peer.raw(b'{"method":"session/update","params":' + params + content + b"}\n")
    assert [event.text for event in peer.events] == ["a\ufffdb", "a?b", "\U0001f600"]
    assert all(event.raw.value is not None for event in peer.events)


def test_of_a_flood_of_nonsense_only_the_start_is_logged(peer):
    outputs = peer.raw(b"garbage\n" * (LOG_LINES_MAX + 50))
    assert len(outputs) == LOG_LINES_MAX
    assert "left out" in outputs[-1].text
    assert all(len(output.text) < 400 for output in outputs)


# ---- the end of the connection


def test_the_end_is_told_once_and_last(peer):
    peer.prompted().ask(7)
    outputs = peer.do(peer.client.receive_eof("agent exited with status 1"))
    assert outputs[-1] == Disconnected("agent exited with status 1")
    assert peer.types == ["permission", "permission", "error"]
    assert not peer.timers
    assert peer.do(peer.client.receive_eof("again")) == []
    assert peer.do(peer.client.cancel()) == []
    for call in (
        lambda: peer.client.prompt("turn-2", "hello", {}),
        lambda: peer.client.steer("s-1", "hello"),
    ):
        with pytest.raises(OperationUnavailableError):
            call()


def test_a_last_line_without_its_end_counts(peer):
    peer.prompted()
    peer.raw(b'{"id":3,"result":{"stopReason":"end_turn"}}')
    peer.do(peer.client.receive_eof("gone"))
    assert peer.types == ["runtime_warning", "done"]


def test_a_start_after_the_end_fails(make_peer):
    peer = make_peer()
    peer.do(peer.client.receive_eof("gone"))
    [failed] = peer.do(peer.client.start())
    assert "peer disconnected" in failed.failure.summary


# ---- stop


def test_d30_a_stop_cancels_and_closes_the_session(make_peer):
    peer = make_peer().started(CLOSES).prompted()
    peer.ask(7)
    outputs = peer.do(peer.client.stop_requested())
    assert methods(peer)[1:] == ["session/cancel", "session/close"]
    assert peer.types == ["permission", "permission"]
    assert SessionClosed() not in outputs
    assert peer.do(peer.client.stop_requested()) == []
    assert peer.reply(None) == [SessionClosed()]
    peer.do(peer.client.receive_eof("agent exited"))
    assert peer.types == ["permission", "permission"]
    assert peer.outputs[-2:] == [TurnClosed("turn-1", suspect=True), Disconnected("agent exited")]
    assert peer.outputs.count(SessionClosed()) == 1


def test_an_agent_without_close_needs_no_time(peer):
    assert peer.do(peer.client.stop_requested()) == [SessionClosed()]
    assert methods(peer) == ["session/cancel"]


@pytest.mark.parametrize("ready", [True, False])
def test_a_stop_of_what_is_gone_or_not_yet_there(make_peer, ready):
    peer = make_peer()
    if ready:
        peer.started(CLOSES)
        peer.do(peer.client.receive_eof("gone"))
    assert peer.do(peer.client.stop_requested()) == [SessionClosed()]
    assert peer.sent == []


def test_the_end_of_the_process_ends_the_wait_for_close(make_peer):
    peer = make_peer().started(CLOSES)
    peer.do(peer.client.stop_requested())
    assert peer.do(peer.client.receive_eof("gone")) == [SessionClosed(), Disconnected("gone")]


def test_a_session_name_too_long_to_repeat_is_not_closed(make_peer):
    peer = make_peer().started(CLOSES, {"sessionId": "x" * (FRAME_BYTES_MAX - 60)})
    assert peer.do(peer.client.stop_requested()) == [SessionClosed()]


def test_a_stop_during_a_cancel_sends_no_second_one_and_forgets_the_grace(peer):
    peer.prompted()
    peer.do(peer.client.cancel())
    peer.do(peer.client.stop_requested())
    assert methods(peer).count("session/cancel") == 1
    assert not peer.timers
    assert peer.do(peer.client.cancel()) == []
    peer.do(peer.client.receive_eof("gone"))
    assert peer.types == []


def test_a_stop_keeps_answers_and_real_errors(peer):
    peer.prompted()
    peer.do(peer.client.stop_requested())
    peer.reply(error={"code": -32603, "message": "model failed"}, to="session/prompt")
    assert peer.types == ["error"]


def test_an_answer_after_a_stop_is_done(peer):
    peer.prompted()
    peer.do(peer.client.stop_requested())
    peer.reply({"stopReason": "cancelled"}, to="session/prompt")
    peer.do(peer.client.receive_eof("gone"))
    assert peer.types == ["done"]


def test_nothing_is_begun_after_a_stop(peer):
    peer.do(peer.client.stop_requested())
    with pytest.raises(OperationUnavailableError):
        peer.client.prompt("turn-1", "hello", {})
    peer.ask(7)
    assert peer.answer_to(7)["result"] == {"outcome": {"outcome": "cancelled"}}
