"""Mode, model and effort: what is set, how, and what is not (04 2.6; D6, R18)."""

import pytest
from greenroom.actors.model.agent import PermissionMode
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.outputs import Ready

SESSION = "acp-1"
MODEL = {
    "id": "model",
    "name": "Model",
    "type": "select",
    "currentValue": "a",
    "options": [{"group": "g", "name": "G", "options": [{"value": "b", "name": "B"}]}],
}
EFFORT = {
    "id": "thinking",
    "name": "Thinking",
    "category": "thought_level",
    "type": "select",
    "currentValue": "low",
    "options": [{"value": "low", "name": "L"}, {"value": "high", "name": "H"}],
}
MODES = {"currentModeId": "Ask", "availableModes": [{"id": "Ask", "name": "Ask"}]}


def begun(make_peer, initialize=None, **opts):
    return make_peer(**opts).begun(initialize)


def opened(make_peer, session, initialize=None, **opts):
    peer = begun(make_peer, initialize, **opts)
    peer.reply({"sessionId": SESSION, **session})
    return peer


def test_mode_model_and_effort_are_set_in_this_order(make_peer):
    peer = opened(
        make_peer,
        {"modes": MODES, "configOptions": [MODEL, EFFORT]},
        model="b",
        reasoning_effort="high",
    )
    peer.reply(None)
    peer.reply({"configOptions": [MODEL, EFFORT]})
    assert peer.timers == {"step:5": 15.0}
    peer.reply({"configOptions": [{**EFFORT, "currentValue": "high"}]})
    assert [(m["method"], m["params"]) for m in peer.sent[2:]] == [
        ("session/set_mode", {"sessionId": SESSION, "modeId": "Ask"}),
        (
            "session/set_config_option",
            {"sessionId": SESSION, "configId": "model", "value": "b"},
        ),
        (
            "session/set_config_option",
            {"sessionId": SESSION, "configId": "thinking", "value": "high"},
        ),
    ]
    [option] = peer.outcome.caps.config_options
    assert option.current == "high"


def test_an_agent_without_modes_may_have_an_option_for_them(make_peer):
    option = {
        "id": "m",
        "name": "Mode",
        "category": "mode",
        "type": "select",
        "currentValue": "build",
        "options": [{"value": "build"}, {"value": "plan"}],
    }
    peer = opened(make_peer, {"configOptions": [option]})
    assert peer.sent[-1]["params"] == {"sessionId": SESSION, "configId": "m", "value": "plan"}


def test_an_older_agent_has_models_of_its_own(make_peer):
    models = {"currentModelId": "a", "availableModels": [{"modelId": "b", "name": "B"}]}
    peer = opened(make_peer, {"models": models}, model="b")
    message = peer.sent[-1]
    assert message["method"] == "session/set_model"
    assert message["params"] == {"sessionId": SESSION, "modelId": "b"}
    peer.reply({})
    assert peer.outcome.caps.supported_models == ("b",)


@pytest.mark.parametrize(
    ("session", "opts", "words"),
    [
        ({"configOptions": [MODEL]}, {"model": "z"}, ['"z"', 'config option "model"']),
        ({}, {"model": "z"}, ['"z"', "legacy"]),
        (
            {"configOptions": [EFFORT]},
            {"reasoning_effort": "max"},
            ['"max"', 'config option "thinking"'],
        ),
    ],
)
def test_what_is_not_offered_is_not_sent(make_peer, session, opts, words):
    peer = opened(make_peer, session, **opts)
    peer.failed(FailureKind.PROTOCOL, "negotiation failed", *words)
    assert peer.methods == ["initialize", "session/new"]


def test_an_effort_without_a_setting_is_left_alone(make_peer):
    peer = opened(make_peer, {}, reasoning_effort="high")
    assert isinstance(peer.outcome, Ready)


@pytest.mark.parametrize(
    ("session", "opts", "word"),
    [
        ({"modes": MODES}, {}, "session mode"),
        ({"configOptions": [MODEL]}, {"model": "b"}, "session model"),
        ({"configOptions": [EFFORT]}, {"reasoning_effort": "low"}, "session reasoning"),
    ],
)
def test_a_setting_that_is_refused_fails_the_start(make_peer, session, opts, word):
    peer = opened(make_peer, session, **opts)
    peer.reply(error={"code": -32603, "message": "no"})
    peer.failed(FailureKind.PROTOCOL, f"ACP {word} negotiation failed", "no")


@pytest.mark.parametrize(
    ("permissions", "gateway", "offered", "sent"),
    [
        (PermissionMode.APPROVE_ALL, True, ["auto", "default"], "default"),
        (PermissionMode.APPROVE_ALL, False, ["AUTO", "plan"], "AUTO"),
        (PermissionMode.APPROVE_READS, False, ["ask", "Plan"], "Plan"),
        (PermissionMode.DENY_ALL, False, ["read_only"], "read_only"),
        (PermissionMode.DENY_ALL, True, ["yolo"], None),
    ],
)
def test_the_mode_follows_from_the_permissions(make_peer, permissions, gateway, offered, sent):
    modes = {"currentModeId": "x", "availableModes": [{"id": mode} for mode in offered] + [5]}
    peer = opened(
        make_peer, {"modes": modes}, permissions=permissions, prefer_gateway_modes=gateway
    )
    if sent is None:
        assert isinstance(peer.outcome, Ready)
    else:
        assert peer.sent[-1]["params"]["modeId"] == sent
