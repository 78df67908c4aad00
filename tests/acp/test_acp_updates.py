"""``session/update`` of v1 into inputs (04 4.3, 4.5; 07 5, R20)."""

import json

import pytest
from greenroom.actors.model.event import TokenUsage
from greenroom.transport.acp.inputs import (
    OptionsChanged,
    PlanChanged,
    SessionNoted,
    TextAdded,
    ToolChanged,
    Unreadable,
    UsageSeen,
    UserChunk,
)
from greenroom.transport.acp.readers import decode_usage
from greenroom.transport.acp.updates_v1 import decode_update
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def read(kind, **members):
    return decode_update(json.dumps({"sessionUpdate": kind, **members}).encode())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"type": "text", "text": "a"}, "a"),
        ({"type": "text", "text": 5}, ""),
        ({"type": "resource_link", "name": "n", "uri": "file:///a"}, "file:///a"),
        ({"type": "image", "data": "xx", "mimeType": "image/png"}, ""),
        ({"type": ["odd"]}, ""),
    ],
)
def test_a_chunk_has_the_text_of_its_block(content, text):
    assert read("agent_message_chunk", content=content).text == text
    assert isinstance(read("user_message_chunk", content=content), UserChunk)


@pytest.mark.parametrize(
    ("kind", "role"),
    [("agent_message_chunk", "agent_message"), ("agent_thought_chunk", "thought")],
)
def test_a_chunk_keeps_its_role_and_its_raw_object(kind, role):
    update = read(kind, content={"type": "text", "text": "a"}, messageId="m")
    assert isinstance(update, TextAdded)
    assert update.role == role
    assert update.raw.value["messageId"] == "m"


@pytest.mark.parametrize(
    ("kind", "status", "announces", "final"),
    [
        ("tool_call", None, True, False),
        ("tool_call", "completed", True, True),
        ("tool_call_update", "in_progress", False, False),
        ("tool_call_update", "failed", False, True),
        ("tool_call_update", {"odd": 1}, False, False),
        ("tool_call_update", "paused", False, False),
    ],
)
def test_a_tool_call_is_final_by_its_status_only(kind, status, announces, final):
    update = read(kind, toolCallId="t", title=5, status=status)
    assert isinstance(update, ToolChanged)
    assert (update.tool_call_id, update.title) == ("t", "")
    assert (update.announces, update.final) == (announces, final)


def test_plans_and_options():
    assert isinstance(read("plan", entries=[]), PlanChanged)
    options = read(
        "config_option_update",
        configOptions=[{"id": "x", "name": "X", "type": "boolean", "currentValue": True}],
    )
    assert isinstance(options, OptionsChanged)
    assert [(option.id, option.current) for option in options.options] == [("x", "true")]
    assert read("config_option_update", configOptions=5).options == ()


def test_usage_of_the_context():
    update = read("usage_update", used=10, size=100.0, cost={"amount": 1, "currency": "EUR"})
    assert isinstance(update, UsageSeen)
    assert update.usage == TokenUsage(
        context_used=10, context_size=100, cost_amount=1.0, cost_currency="EUR"
    )
    for odd in ({"used": True, "size": "x", "cost": 5}, {"cost": {"amount": False}}):
        assert read("usage_update", **odd).usage.is_zero
    # A number that no float holds loses the update's members, not the connection.
    assert decode_update(b'{"sessionUpdate":"usage_update","used":1e999}').usage.is_zero


@pytest.mark.parametrize(
    ("kind", "fact"),
    [
        ("available_commands_update", True),
        ("current_mode_update", True),
        ("session_info_update", True),
        ("notice", True),
        ("compaction_update", False),
        ("plan_update", False),
        ("something_new", False),
    ],
)
def test_d14_r36_every_other_kind_is_a_note_under_its_token(kind, fact):
    update = read(kind, content={"type": "text", "text": "a"})
    assert isinstance(update, SessionNoted)
    assert (update.token, update.fact) == (kind, fact)


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"5",
        b"{}",
        b'{"sessionUpdate":""}',
        b'{"sessionUpdate":["plan"]}',
        b'{"sessionUpdate":"agent_message_chunk"}',
        b'{"sessionUpdate":"agent_message_chunk","content":"text"}',
        b'{"sessionUpdate":"tool_call","title":"t"}',
        b'{"sessionUpdate":"tool_call_update","toolCallId":5}',
    ],
)
def test_an_update_without_what_it_needs_is_unreadable(data):
    assert isinstance(decode_update(data), Unreadable)


@pytest.mark.parametrize(
    ("usage", "read_"),
    [
        (None, TokenUsage()),
        ({"inputTokens": 1, "outputTokens": 2.0, "totalTokens": "3"}, (1, 2, None)),
        ({"inputTokens": True, "outputTokens": 1.5}, (None, None, None)),
    ],
)
def test_usage_of_an_answer(usage, read_):
    decoded = decode_usage(usage)
    if isinstance(read_, tuple):
        found = (decoded.input_tokens, decoded.output_tokens, decoded.total_tokens)
        assert found == read_
    else:
        assert decoded == read_


def test_d17_both_spellings_of_cache_tokens_are_read_and_the_standard_one_wins():
    assert decode_usage({"cacheReadTokens": 1, "cacheWriteTokens": 2}) == TokenUsage(
        cache_read_tokens=1, cache_write_tokens=2
    )
    both = {"cachedReadTokens": 3, "cacheReadTokens": 1, "cachedWriteTokens": 4}
    assert decode_usage(both) == TokenUsage(cache_read_tokens=3, cache_write_tokens=4)


KINDS = st.sampled_from(
    ["agent_message_chunk", "tool_call", "tool_call_update", "usage_update", "plan", "odd"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
MEMBERS = st.sampled_from(["content", "toolCallId", "title", "status", "used", "size", "cost"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(KINDS, st.dictionaries(MEMBERS, VALUES, max_size=4))
def test_r20_no_member_of_any_type_raises(kind, members):
    assert read(kind, **members) is not None
