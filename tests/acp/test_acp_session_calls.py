"""Requests beside the conversation, and what prompts carry (07 3, 11; 04 4.1; D18; R14, R18)."""

import pytest
from greenroom.actors.errors import (
    CallerError,
    OperationUnavailableError,
    SessionValueError,
)
from greenroom.transport.acp import session_calls, steering
from greenroom.transport.acp.options import FRAME_BYTES_MAX
from greenroom.transport.acp.outputs import (
    SessionAnswered,
    SteerAnswered,
    TurnClosed,
    TurnOpened,
)

SESSION = "acp-1"
FULL_V1 = {
    "agentCapabilities": {
        "sessionCapabilities": {"list": {}, "delete": {}, "fork": {}, "title": {}},
        "auth": {"logout": {}},
    },
    "authMethods": [{"id": "key", "name": "K"}, {"id": "tty", "name": "T", "type": "terminal"}],
}
FULL_V2 = {
    "capabilities": {"session": {"delete": {}, "fork": {}, "title": {}}},
    "authMethods": [
        {"methodId": "key", "name": "K", "type": "agent"},
        {"methodId": "tty", "name": "T", "type": "terminal"},
    ],
}
STEERS = {"_meta": {"steering": {"supported": True}}}


def option(id_name, option_id, *values, category=""):
    return {
        id_name: option_id,
        "name": option_id,
        "category": category,
        "type": "select",
        "currentValue": values[0],
        "options": [{"value": value, "name": value} for value in values],
    }


def boolean(id_name, option_id):
    return {id_name: option_id, "name": option_id, "type": "boolean", "currentValue": False}


@pytest.fixture(params=["v1", "v2"])
def full(request, make_peer, make_v2_peer):
    """A peer of either version that offers everything."""
    id_name = "id" if request.param == "v1" else "configId"
    options = [
        option(id_name, "llm", "a", "b", category="model"),
        option(id_name, "think", "low", "high", category="thought_level"),
        option(id_name, "how", "odd", category="mode"),
        boolean(id_name, "deep"),
    ]
    session = {"configOptions": options}
    if request.param == "v1":
        return make_peer(replay=True).started(FULL_V1, session)
    return make_v2_peer(replay=True).started(FULL_V2, session)


def is_v2(peer):
    return peer.client.caps.protocol_version == 2


def sent(peer, name, *arguments):
    """The id of the call, and the message it sent."""
    call_id = getattr(peer.client.about_sessions(), name)(*arguments)
    peer.do(peer.client.drained())
    return call_id, peer.sent[-1]


@pytest.mark.parametrize(
    ("name", "arguments", "method", "params"),
    [
        ("list_sessions", (), "session/list", {"cwd": "/ws"}),
        ("list_sessions", ("2",), "session/list", {"cwd": "/ws", "cursor": "2"}),
        ("delete_session", ("old",), "session/delete", {"sessionId": "old"}),
        ("set_title", ("T",), "session/set_title", {"sessionId": SESSION, "title": "T"}),
        ("log_in", ("key",), ("authenticate", "auth/login"), {"methodId": "key"}),
        ("log_out", (), ("logout", "auth/logout"), {}),
    ],
)
def test_a_request_goes_out_and_its_answer_comes_back(full, name, arguments, method, params):
    call_id, message = sent(full, name, *arguments)
    wanted = method if isinstance(method, str) else method[is_v2(full)]
    assert (message["method"], message["params"]) == (wanted, params)
    full.reply({"title": "T!"})
    assert full.outputs == [SessionAnswered(call_id, name, {"title": "T!"})]
    call_id, _ = sent(full, name, *arguments)
    full.reply(error={"code": -32603, "message": "no"})
    assert full.outputs[-1].error.code == -32603
    assert full.outputs[-1].call_id == call_id


def test_r13_r14_a_fork_is_another_processes_session(full):
    call_id, message = sent(full, "fork_session")
    assert message["method"] == "session/fork"
    assert message["params"]["sessionId"] == SESSION
    assert "replayFrom" not in message["params"]
    full.update("session_info_update", session="fork-1", title="its history")
    full.reply({"sessionId": "fork-1", "configOptions": []})
    assert full.outputs[-1] == SessionAnswered(call_id, "fork_session", {"sessionId": "fork-1"})
    assert full.events == []
    assert full.client.caps.config_options


def test_a_null_answer_is_an_empty_one(full):
    call_id, _ = sent(full, "delete_session", "old")
    full.reply(None)
    assert full.outputs[-1] == SessionAnswered(call_id, "delete_session", {})


@pytest.mark.parametrize(
    ("name", "argument", "option_id"),
    [("set_model", "b", "llm"), ("set_effort", "high", "think"), ("set_mode", "odd", "how")],
)
def test_r18_a_setting_counts_from_the_answer(full, name, argument, option_id):
    _, message = sent(full, name, argument)
    typed = {"type": "id"} if is_v2(full) else {}
    assert message["method"] == "session/set_config_option"
    assert message["params"] == {
        "sessionId": SESSION,
        "configId": option_id,
        "value": argument,
        **typed,
    }
    id_name = "configId" if is_v2(full) else "id"
    full.reply({"configOptions": [option(id_name, option_id, argument)]})
    [found] = full.client.caps.config_options
    assert (found.id, found.current) == (option_id, argument)


def test_a_boolean_option_is_sent_as_one(full):
    _, message = sent(full, "set_option", "deep", "true")
    assert message["params"] == {
        "sessionId": SESSION,
        "configId": "deep",
        "type": "boolean",
        "value": True,
    }
    sent(full, "set_option", "think", "high")


def test_modes_of_v1_have_their_own_method(make_peer):
    modes = {"currentModeId": "a", "availableModes": [{"id": "a", "name": "A"}]}
    peer = make_peer().started(session={"modes": modes})
    _, message = sent(peer, "set_mode", "a")
    assert message["method"] == "session/set_mode"
    assert message["params"] == {"sessionId": SESSION, "modeId": "a"}
    with pytest.raises(SessionValueError):
        peer.client.about_sessions().set_mode("b")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("list_sessions", ()),
        ("delete_session", ("x",)),
        ("fork_session", ()),
        ("set_title", ("x",)),
        ("log_in", ("key",)),
        ("log_out", ()),
        ("set_effort", ("high",)),
        ("set_option", ("x", "y")),
    ],
)
def test_what_is_not_offered_is_not_sent(peer, name, arguments):
    with pytest.raises(OperationUnavailableError):
        getattr(peer.client.about_sessions(), name)(*arguments)
    assert peer.sent == []


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("delete_session", (" ",)),
        ("set_title", ("",)),
        ("log_in", ("tty",)),
        ("set_model", ("c",)),
        ("set_model", (" ",)),
        ("set_mode", ("plan",)),
        ("set_option", ("deep", "maybe")),
    ],
)
def test_what_makes_no_sense_is_not_sent(full, name, arguments):
    with pytest.raises(CallerError):
        getattr(full.client.about_sessions(), name)(*arguments)
    assert full.sent == []


def test_requests_have_a_limit(full, monkeypatch):
    monkeypatch.setattr(session_calls, "SESSION_CALLS_MAX", 1)
    sent(full, "log_out")
    with pytest.raises(OperationUnavailableError):
        full.client.about_sessions().log_out()
    full.reply({})
    sent(full, "log_out")


def test_a_request_that_is_too_long_is_answered_so(full):
    call_id = full.client.about_sessions().set_title("x" * FRAME_BYTES_MAX)
    [answered] = full.do(full.client.drained())
    assert (answered.call_id, answered.error.code) == (call_id, -32603)


def test_the_end_of_the_agent_answers_all(full):
    sent(full, "log_out")
    outputs = full.do(full.client.receive_eof("gone"))
    assert "peer disconnected" in str(outputs[0].error.data)
    with pytest.raises(OperationUnavailableError):
        full.client.about_sessions()


# ---- steering that began a turn


@pytest.fixture
def steered(make_peer):
    """A peer whose turn is over while a steering message is unanswered."""
    peer = make_peer().started(STEERS).prompted()
    peer.do(peer.client.steer("s-1", "left"))
    peer.ended()
    peer.outputs.clear()
    return peer


def test_a_turn_begun_by_steering_ends_with_silence(steered):
    assert steered.reply({"outcome": "startedNewTurn"}, to="steering")[0] == TurnOpened(
        "agent-turn-1"
    )
    assert steered.timers == {"unowned_silence:2": 2.0}
    steered.chunk("going left")
    assert steered.timers == {"unowned_silence:2": 2.0}
    steered.fire("unowned_silence")
    assert [(event.type, event.turn_id) for event in steered.events] == [
        ("agent_message", "agent-turn-1"),
        ("done", "agent-turn-1"),
    ]
    assert steered.closed == [TurnClosed("agent-turn-1")]


def test_a_turn_begun_by_steering_ends_with_the_next_prompt(steered):
    steered.reply({"outcome": "startedNewTurn"}, to="steering")
    steered.chunk("going left")
    steered.prompted("turn-2")
    steered.chunk("answer")
    assert [event.turn_id for event in steered.events] == ["agent-turn-1"] * 2 + ["turn-2"]
    assert not [name for name in steered.timers if name.startswith("unowned")]


def test_a_turn_begun_by_steering_can_be_cancelled(steered):
    steered.reply({"outcome": "startedNewTurn"}, to="steering")
    steered.do(steered.client.cancel())
    steered.fire("cancel_grace")
    assert steered.types == ["error"]


def test_a_turn_begun_by_steering_waits_for_the_end_of_ours(make_peer):
    peer = make_peer().started(STEERS).prompted()
    peer.do(peer.client.steer("s-1", "left"))
    peer.reply({"outcome": "startedNewTurn"}, to="steering")
    assert SteerAnswered("s-1", "new_turn") in peer.outputs
    assert peer.client.turn_id == "turn-1"
    peer.ended()
    assert peer.client.turn_id == "agent-turn-1"
    peer.do(peer.client.receive_eof("gone"))
    assert peer.types[-1] == "error"


@pytest.mark.parametrize("end", ["eof", "stop"])
def test_no_turn_begins_at_the_end(make_peer, end):
    peer = make_peer().started(STEERS).prompted()
    peer.do(peer.client.steer("s-1", "left"))
    if end == "stop":
        peer.do(peer.client.stop_requested())
    peer.reply({"outcome": "startedNewTurn"}, to="steering")
    peer.do(peer.client.receive_eof("gone"))
    assert not [o for o in peer.outputs if isinstance(o, TurnOpened)]


def test_of_steering_given_up_on_only_the_latest_is_awaited(make_peer, monkeypatch):
    monkeypatch.setattr(steering, "STEERS_PENDING_MAX", 1)
    peer = make_peer().started(STEERS)
    for number in range(3):
        peer.prompted(f"turn-{number}")
        peer.do(peer.client.steer(f"s-{number}", "left"))
        peer.reply({"stopReason": "end_turn"}, to="session/prompt")
        peer.fire("settle")
    steers = [m["id"] for m in peer.sent if m["method"] == "_session/steering"]
    for request_id in steers:
        peer.say(id=request_id, result={"outcome": "startedNewTurn"})
    assert len([o for o in peer.outputs if isinstance(o, TurnOpened)]) == 1


def test_v2_says_itself_what_steering_began(make_v2_peer):
    peer = make_v2_peer().started(STEERS).running()
    peer.do(peer.client.steer("s-1", "left"))
    peer.reply({"outcome": "startedNewTurn"}, to="steering")
    assert not [o for o in peer.outputs if isinstance(o, TurnOpened)]
