"""``session/update`` of ACP v1 into the inputs of the turn machine (04 4.3; 07 5, R20).

Decoding forgives: a member of the wrong type loses that member; only a required one loses the
update. A kind that is not in the table becomes a note under its own token (D14).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...actors.model.event import EventType, RawJSON
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
from .messages import Key
from .readers import block_text, context_usage, text_or_blank
from .text_lines import TextLine

ROLES = {
    "agent_message_chunk": EventType.AGENT_MESSAGE.value,
    "agent_thought_chunk": EventType.THOUGHT.value,
}
_KEYS: dict[str, Key] = {kind: (role, "") for kind, role in ROLES.items()}
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


class _Update(msgspec.Struct, gc=False, rename="camel"):
    """The members that are read, of any type: one wrong type must not lose the others."""

    session_update: Any = None
    content: msgspec.Raw = msgspec.Raw(b"null")
    tool_call_id: Any = None
    title: Any = None
    status: Any = None


_decode_update = msgspec.json.Decoder(_Update).decode


def text_key(line: TextLine) -> Key | None:
    """The message to which :func:`decode_update` adds the text of such a line, if to any."""
    return _KEYS.get(line.kind)


def decode_update(data: bytes) -> Update:
    """One ``update`` object. Never raises."""
    try:
        update = _decode_update(data)
    except (msgspec.DecodeError, RecursionError):
        return Unreadable("update is not an object")
    match update.session_update:
        case "agent_message_chunk" | "agent_thought_chunk" | "user_message_chunk" as kind:
            text = block_text(update.content)
            if text is None:
                return Unreadable(f"{kind} without content")
            role = ROLES.get(kind)
            return TextAdded(role, text, RawJSON(data)) if role else UserChunk(text, RawJSON(data))
        case "tool_call" | "tool_call_update" as kind:
            if not isinstance(update.tool_call_id, str):
                return Unreadable(f"{kind} without toolCallId")
            return ToolChanged(
                update.tool_call_id,
                text_or_blank(update.title),
                kind == "tool_call",
                # An unhashable status is as unknown as any other.
                isinstance(update.status, str) and update.status in FINAL_STATUSES,
                RawJSON(data),
            )
        case "plan":
            return PlanChanged(RawJSON(data))
        case "usage_update":
            return UsageSeen(context_usage(decode_object(data) or {}), RawJSON(data))
        case "config_option_update" as token:
            options = decode_options((decode_object(data) or {}).get("configOptions"))
            return OptionsChanged(token, options, RawJSON(data))
        case str() as token if token:
            return SessionNoted(token, token in FACTS, RawJSON(data))
        case _:
            return Unreadable("update without a sessionUpdate token")
