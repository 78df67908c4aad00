"""``session/update`` of ACP v1 into the inputs of the turn machine (04 4.3; 07 5, R20).

Decoding forgives: a member of the wrong type loses that member; only a required one loses the
update. A kind that is not in the table becomes a note under its own token (D14).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...actors.model.event import EventType, RawJSON, TokenUsage
from .config_options import decode_options
from .inputs import (
    OptionsChanged,
    PlanChanged,
    SessionNoted,
    TextAdded,
    ToolChanged,
    Unreadable,
    Update,
    UsageSeen,
    UserChunk,
)
from .jsonrpc import decode_object

ROLES = {
    "agent_message_chunk": EventType.AGENT_MESSAGE.value,
    "agent_thought_chunk": EventType.THOUGHT.value,
}
FINAL_STATUSES = frozenset({"completed", "failed"})
FACTS = frozenset(
    {
        "available_commands_update",
        "current_mode_update",
        "config_option_update",
        "session_info_update",
        "notice",
    }
)
"""Kinds that speak of the session, not of a turn (07 R11)."""

USAGE_MEMBERS = (
    # Ours, then the spellings on the wire, the standard one first (D17).
    ("input_tokens", ("inputTokens",)),
    ("output_tokens", ("outputTokens",)),
    ("total_tokens", ("totalTokens",)),
    ("thought_tokens", ("thoughtTokens",)),
    ("cache_read_tokens", ("cachedReadTokens", "cacheReadTokens")),
    ("cache_write_tokens", ("cachedWriteTokens", "cacheWriteTokens")),
)


class _Update(msgspec.Struct, gc=False, rename="camel"):
    """The members that are read, of any type: one wrong type must not lose the others."""

    session_update: Any = None
    content: msgspec.Raw = msgspec.Raw(b"null")
    tool_call_id: Any = None
    title: Any = None
    status: Any = None


class _Block(msgspec.Struct, gc=False):
    type: Any = None
    text: Any = None
    uri: Any = None


_decode_update = msgspec.json.Decoder(_Update).decode
_decode_block = msgspec.json.Decoder(_Block).decode


def decode_update(data: bytes) -> Update:
    """One ``update`` object. Never raises."""
    try:
        update = _decode_update(data)
    except msgspec.DecodeError:
        return Unreadable("update is not an object")
    match update.session_update:
        case "agent_message_chunk" | "agent_thought_chunk" | "user_message_chunk" as kind:
            text = _text(update.content)
            if text is None:
                return Unreadable(f"{kind} without content")
            role = ROLES.get(kind)
            return TextAdded(role, text, RawJSON(data)) if role else UserChunk(text, RawJSON(data))
        case "tool_call" | "tool_call_update" as kind:
            if not isinstance(update.tool_call_id, str):
                return Unreadable(f"{kind} without toolCallId")
            return ToolChanged(
                update.tool_call_id,
                _str(update.title),
                kind == "tool_call",
                # An unhashable status is as unknown as any other.
                isinstance(update.status, str) and update.status in FINAL_STATUSES,
                RawJSON(data),
            )
        case "plan":
            return PlanChanged(RawJSON(data))
        case "usage_update":
            return UsageSeen(_context_usage(decode_object(data) or {}), RawJSON(data))
        case "config_option_update" as token:
            options = decode_options((decode_object(data) or {}).get("configOptions"))
            return OptionsChanged(token, options, RawJSON(data))
        case str() as token if token:
            return SessionNoted(token, token in FACTS, RawJSON(data))
        case _:
            return Unreadable("update without a sessionUpdate token")


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _text(content: msgspec.Raw) -> str | None:
    """The text of a content block: a link counts with its address, other kinds with nothing.

    ``None`` when it is no block at all.
    """
    try:
        block = _decode_block(content)
    except msgspec.DecodeError:
        return None
    match block.type:
        case "text":
            return _str(block.text)
        case "resource_link":
            return _str(block.uri)
        case _:
            return ""


def _count(value: Any) -> int | None:
    match value:
        case bool():
            return None
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case _:
            return None


def _amount(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _context_usage(update: dict[str, Any]) -> TokenUsage:
    """``usage_update``: what the context holds and what the session cost (04 4.5)."""
    cost = update.get("cost")
    cost = cost if isinstance(cost, dict) else {}
    return TokenUsage(
        context_used=_count(update.get("used")),
        context_size=_count(update.get("size")),
        cost_amount=_amount(cost.get("amount")),
        cost_currency=_str(cost.get("currency")) or None,
    )


def decode_usage(value: Any) -> TokenUsage:
    """``usage`` of a prompt's answer (04 4.5); zero when it is none."""
    if not isinstance(value, dict):
        return TokenUsage()
    counts: dict[str, Any] = {}
    for ours, spellings in USAGE_MEMBERS:
        found = (_count(value.get(spelling)) for spelling in spellings)
        counts[ours] = next((count for count in found if count is not None), None)
    return TokenUsage(**counts)
