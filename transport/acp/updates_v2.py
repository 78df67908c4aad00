"""``session/update`` of ACP v2 into the inputs of the turn machine (07 4, 5, R20).

Decoding forgives as in v1. A kind that is not in the table becomes a note under its own token.
"""

from __future__ import annotations

import binascii
from typing import Any

import msgspec

from ...actors.errors import RequestError
from ...actors.model.event import EventType, RawJSON
from . import jsonrpc
from .config_options import decode_options
from .inputs import (
    MessageSet,
    OptionsChanged,
    SessionNoted,
    StateSeen,
    TerminalChanged,
    TextAdded,
    ToolChanged,
    TurnEnded,
    TurnFailed,
    Unreadable,
    Update,
    UsageSeen,
    UserChunk,
)
from .jsonrpc import decode_object, decode_value
from .messages import Key
from .readers import block_text, blocks_text, context_usage, decode_usage, text_or_blank
from .text_lines import TextLine

USER = EventType.USER_MESSAGE.value
CHUNK_ROLES = {
    "user_message_chunk": USER,
    "agent_message_chunk": EventType.AGENT_MESSAGE.value,
    "agent_thought_chunk": EventType.THOUGHT.value,
}
MESSAGE_ROLES = {
    "user_message": USER,
    "agent_message": EventType.AGENT_MESSAGE.value,
    "agent_thought": EventType.THOUGHT.value,
}
FINAL_STATUSES = {"completed": "", "failed": "", "cancelled": "cancelled"}
"""The statuses that end a call, each with the error of its result (07 R20)."""
FACTS = frozenset({"available_commands_update", "session_info_update", "notice"})
"""Kinds that speak of the session, not of a turn (07 R11)."""
BACKGROUND_IDS = {"terminal": "terminalId", "tool_call": "toolCallId", "subagent": "sessionId"}
STOP_ERROR = "error"
ABSENT = msgspec.Raw(b"")


class _Update(msgspec.Struct, gc=False, rename="camel"):
    """The members that are read, of any type: one wrong type must not lose the others."""

    session_update: Any = None
    message_id: Any = None
    content: msgspec.Raw = ABSENT
    tool_call_id: Any = None
    terminal_id: Any = None
    title: Any = None
    status: Any = None
    capabilities: msgspec.Raw = ABSENT


_decode_update = msgspec.json.Decoder(_Update).decode


def text_key(line: TextLine) -> Key | None:
    """The message to which :func:`decode_update` adds the text of such a line, if to any."""
    role = CHUNK_ROLES.get(line.kind, USER)
    return None if role == USER or line.message_id is None else (role, line.message_id)


def decode_update(data: bytes) -> Update:
    """One ``update`` object. Never raises."""
    try:
        update = _decode_update(data)
    except (msgspec.DecodeError, RecursionError):
        return Unreadable("update is not an object")
    match update.session_update:
        case "agent_message_chunk" | "agent_thought_chunk" | "user_message_chunk" as kind:
            return _chunk(kind, update, data)
        case "agent_message" | "agent_thought" | "user_message" as kind:
            return _message(kind, update, data)
        case "tool_call_update" | "tool_call_content_chunk" as kind:
            return _tool(kind, update, data)
        case "terminal_update" | "terminal_output_chunk" as kind:
            return _terminal(kind, update, data)
        case "state_update":
            return _state(decode_object(data) or {})
        case "usage_update":
            return UsageSeen(context_usage(decode_object(data) or {}), RawJSON(data))
        case "config_option_update" as token:
            listed = (decode_object(data) or {}).get("configOptions")
            return OptionsChanged(token, decode_options(listed, "configId"), RawJSON(data))
        case "subagent_update" as token:
            child = text_or_blank((decode_object(data) or {}).get("sessionId"))
            return SessionNoted(token, True, RawJSON(data), child)
        case str() as token if token:
            return SessionNoted(token, token in FACTS, RawJSON(data))
        case _:
            return Unreadable("update without a sessionUpdate token")


def _chunk(kind: str, update: _Update, data: bytes) -> Update:
    text = None if update.content == ABSENT else block_text(update.content)
    if text is None or not isinstance(update.message_id, str):
        return Unreadable(f"{kind} without content or messageId")
    role = CHUNK_ROLES[kind]
    if role == USER:
        return UserChunk(text, RawJSON(data), update.message_id)
    return TextAdded(role, text, RawJSON(data), update.message_id)


def _message(kind: str, update: _Update, data: bytes) -> Update:
    if not isinstance(update.message_id, str):
        return Unreadable(f"{kind} without messageId")
    text: str | None = None
    has_blocks = False
    if update.content != ABSENT:
        text, has_blocks = blocks_text(update.content)
    role = MESSAGE_ROLES[kind]
    return MessageSet(role, update.message_id, text, has_blocks, kind, RawJSON(data))


def _tool(kind: str, update: _Update, data: bytes) -> Update:
    if not isinstance(update.tool_call_id, str):
        return Unreadable(f"{kind} without toolCallId")
    if kind == "tool_call_content_chunk" and update.content == ABSENT:
        return Unreadable(f"{kind} without content")
    return tool_changed(update, data)


def tool_changed(update: _Update, data: bytes) -> ToolChanged:
    """What an upsert of a tool call says; the first one of a call announces it."""
    status = update.status if isinstance(update.status, str) else ""
    return ToolChanged(
        update.tool_call_id,
        text_or_blank(update.title),
        announces=False,
        final=status in FINAL_STATUSES,
        raw=RawJSON(data),
        upserts=True,
        error=FINAL_STATUSES.get(status, ""),
        cancellable=_cancellable(update.capabilities),
    )


def decode_tool(data: bytes) -> ToolChanged | None:
    """The tool call that a permission is asked for; ``None`` when it has no id."""
    try:
        update = _decode_update(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    return tool_changed(update, data) if isinstance(update.tool_call_id, str) else None


def _cancellable(capabilities: msgspec.Raw) -> bool | None:
    """Absent leaves it as it is, ``null`` takes it back."""
    if capabilities == ABSENT:
        return None
    given = decode_value(bytes(capabilities))
    return isinstance(given, dict) and isinstance(given.get("cancel"), dict)


def _terminal(kind: str, update: _Update, data: bytes) -> Update:
    body = decode_object(data) or {}
    if not isinstance(update.terminal_id, str):
        return Unreadable(f"{kind} without terminalId")
    output = body.get("output")
    is_chunk = kind == "terminal_output_chunk"
    encoded = (
        body.get("data") if is_chunk else (output if isinstance(output, dict) else {}).get("data")
    )
    written = _base64(encoded)
    if is_chunk and written is None:
        return Unreadable(f"{kind} without data")
    return TerminalChanged(
        update.terminal_id,
        kind,
        # No output any more is output that replaces all by nothing.
        b"" if "output" in body and output is None else written,
        replaces=not is_chunk,
        exited=isinstance(body.get("exitStatus"), dict),
        raw=RawJSON(data),
        cancellable=_cancellable(update.capabilities),
    )


def _base64(value: Any) -> bytes | None:
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (TypeError, ValueError):
        return None


def _state(body: dict[str, Any]) -> Update:
    state = body.get("state")
    if not isinstance(state, str) or not state:
        return Unreadable("state_update without a state")
    usage = decode_usage(body.get("usage"))
    reason = text_or_blank(body.get("stopReason"))
    end: TurnEnded | TurnFailed = TurnEnded(reason, usage)
    if reason == STOP_ERROR:
        end = TurnFailed(_error(body.get("error")), usage)
    return StateSeen(state, _background(body.get("background")), end)


def _error(value: Any) -> RequestError:
    return jsonrpc.decode_error(value) or jsonrpc.rpc_error(
        jsonrpc.INTERNAL_ERROR, "the agent gave no reason"
    )


def _background(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    found = []
    for item in value:
        kind = item.get("type") if isinstance(item, dict) else None
        name = BACKGROUND_IDS.get(kind, "") if isinstance(kind, str) else ""
        if name and isinstance(item.get(name), str):
            found.append(item[name])
        elif isinstance(kind, str) and not name:
            found.append(kind)  # of a kind we do not know: it goes on all the same
    return tuple(found)
