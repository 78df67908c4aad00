"""The canonical envelope: one agent event as a positional array, and as compact JSON (03 3.1).

The array is ``[schema, the fields of AgentEvent from type to raw, tool_name, tool_input,
tool_result, tool_error]``; absent is null and trailing nulls are dropped. Times are text with nine
fraction digits; ``failure``, ``synthetic``, ``usage`` and ``runtime`` are maps without empty
members; JSON of the provider (``raw``, ``tool_input``, ``tool_result``) rides along as it came,
as bytes under CBOR tag 262. The JSON text is made from the array, so there is one encoder only.
Events arrive redacted: nothing here redacts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from cbor2 import CBORTag

from ...actors.errors import StoreValidationError
from ...actors.model.event import (
    EVENT_SCHEMA,
    TEXT_CHUNK_TYPES,
    AgentEvent,
    EventType,
    RawJSON,
    TokenUsage,
)
from ...actors.model.failure import SessionFailure
from .times import parse_time, short_time, time_text
from .tool_facts import ToolFacts, first_non_blank, tool_facts

JSON_TAG = 262
"""CBOR tag of embedded JSON text (IANA registry)."""

RAW_KEPT = frozenset(
    {
        EventType.PERMISSION.value,
        EventType.MARKER_CREATED.value,
        EventType.MARKER_REDACTED.value,
        EventType.PLAN.value,
        EventType.SYSTEM.value,
    }
)
"""Known types whose raw object is stored; a type we do not know keeps its raw as well."""

FACTLESS = TEXT_CHUNK_TYPES | {EventType.USAGE.value, EventType.DONE.value}
"""Types whose raw value names no tool: it is not looked into (03 3.1)."""

EVENT_MEMBERS = tuple(
    name for name in AgentEvent.__struct_fields__ if name not in ("tool_prechecked", "persisted")
)
MEMBERS = (*EVENT_MEMBERS, "tool_name", "tool_input", "tool_result", "tool_error")
"""Member names by position, after the schema. New ones are added at the end only."""

VERBATIM = frozenset({"text", "title"})
"""Strings that are read back as they are; all others are trimmed (03 3.1)."""

MAP_TIMES = frozenset(
    {"timestamp", "turn_started_at", "deadline_at", "last_activity_at", "last_progress_at"}
)
"""Members of nested maps that are times: shortened in JSON like every other time."""

_KNOWN_TYPES = frozenset(item.value for item in EventType)
_TIMES = frozenset({"lease_until", "timestamp"})
_POSITION = {name: position for position, name in enumerate(MEMBERS)}
_LEASE, _TIMESTAMP = _POSITION["lease_until"], _POSITION["timestamp"]
_FAILURE, _SYNTHETIC = _POSITION["failure"], _POSITION["synthetic"]
_USAGE, _RUNTIME, _RAW = _POSITION["usage"], _POSITION["runtime"], _POSITION["raw"]
_AFTER_TEXT = _POSITION["text"] + 1
_EVENT_MEMBER_COUNT = len(EVENT_MEMBERS)


def encode_envelope(event: AgentEvent) -> list[Any]:
    """The positional array of one event, ready for the CBOR encoder.

    :raises StoreValidationError: a time without a zone.
    """
    values = [value or None for value in msgspec.structs.astuple(event)[:_EVENT_MEMBER_COUNT]]
    values[_TIMESTAMP] = time_text(event.timestamp)
    if event.lease_until is not None:
        values[_LEASE] = time_text(event.lease_until)
    if event.failure is not None:
        values[_FAILURE] = _failure_map(event.failure)
    if event.synthetic:
        values[_SYNTHETIC] = _plain_map(event.synthetic)
    if event.usage is not None:
        values[_USAGE] = _plain_map(msgspec.structs.asdict(event.usage))
    if event.runtime:
        values[_RUNTIME] = _plain_map(event.runtime)
    if event.title or (event.raw is not None and event.type not in FACTLESS):
        _add_tool_members(values, event)
    elif values[_RAW] is not None:
        values[_RAW] = None
    elif not any(values[_AFTER_TEXT:]):
        # Most events are a chunk of text: one look instead of a dozen pops.
        del values[_AFTER_TEXT:]
    while values[-1] is None:
        values.pop()
    values.insert(0, EVENT_SCHEMA)
    return values


def decode_envelope(content: list[Any]) -> AgentEvent:
    """The event of a positional array; members added by later versions are ignored.

    :raises StoreValidationError: another schema, a member of the wrong type, or no type.
    """
    if not content or content[0] != EVENT_SCHEMA:
        raise StoreValidationError("store: content is no known envelope", field="schema")
    members: dict[str, Any] = {}
    for (name, read), value in zip(_READERS, content[1:], strict=False):
        if value is not None:
            members[name] = read(value, name)
    tool_name = members.pop("tool_name", "")
    if tool_name and not members.get("title", "").strip():
        members["title"] = tool_name
    if not members.get("type"):
        raise StoreValidationError("store: envelope without a type", field="type")
    return AgentEvent(**members)


def render_envelope(content: list[Any]) -> str:
    """The compact JSON text of a positional array, members in their order (03 3.1)."""
    members: dict[str, Any] = {"schema": EVENT_SCHEMA}
    for name, value in zip(MEMBERS, content[1:], strict=False):
        if value is None:
            continue
        if name in _TIMES:
            members[name] = short_time(value)
        elif isinstance(value, dict):
            members[name] = {
                key: short_time(item) if key in MAP_TIMES and isinstance(item, str) else item
                for key, item in value.items()
            }
        elif isinstance(value, CBORTag):
            members[name] = msgspec.Raw(_compact(value.value))
        else:
            members[name] = value
    return msgspec.json.encode(members).decode()


def content_text(event: AgentEvent) -> str:
    """The stored content of an event as compact JSON, without storing it (03 3.1).

    :raises StoreValidationError: an event that could not be stored either.
    """
    try:
        return render_envelope(encode_envelope(event))
    except (TypeError, UnicodeEncodeError) as error:
        raise StoreValidationError(f"store: event can not be encoded: {error}") from error


def _compact(data: bytes) -> bytes:
    try:
        return msgspec.json.format(data, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        # Too deep to be reformatted; stored JSON was checked when it was taken in.
        return data


def _add_tool_members(values: list[Any], event: AgentEvent) -> None:
    facts = ToolFacts(name=event.title) if event.type in FACTLESS else tool_facts(event)
    kept = event.type in RAW_KEPT or event.type not in _KNOWN_TYPES
    if event.raw is not None and kept and facts.raw_is_object:
        values[_RAW] = CBORTag(JSON_TAG, event.raw.data)
    else:
        values[_RAW] = None
    values += (
        first_non_blank((facts.name, event.title)) or None,
        None if facts.input is None else CBORTag(JSON_TAG, facts.input),
        None if facts.result is None else CBORTag(JSON_TAG, facts.result),
        facts.error or None,
    )


def _failure_map(failure: SessionFailure) -> dict[str, str]:
    members = {
        "kind": failure.kind.value,
        "summary": failure.summary,
        "crash_bundle_path": failure.crash_bundle_path,
    }
    return {name: value for name, value in members.items() if value}


def _plain_map(members: dict[str, Any]) -> dict[str, Any] | None:
    plain = {
        name: time_text(value) if isinstance(value, datetime) else value
        for name, value in members.items()
        if value is not None and value != ""
    }
    return plain or None


def _wrong(name: str, value: object) -> StoreValidationError:
    kind = type(value).__name__
    return StoreValidationError(f"store: envelope member {name} is a {kind}", field=name)


def _read_trimmed(value: object, name: str) -> str:
    if type(value) is not str:
        raise _wrong(name, value)
    return value.strip()


def _read_verbatim(value: object, name: str) -> str:
    if type(value) is not str:
        raise _wrong(name, value)
    return value


def _read_time(value: object, name: str) -> datetime:
    if type(value) is not str:
        raise _wrong(name, value)
    return parse_time(value)


def _read_failure(value: object, name: str) -> SessionFailure:
    try:
        return msgspec.convert(value, SessionFailure)
    except msgspec.ValidationError as error:
        raise _wrong(name, value) from error


def _read_usage(value: object, name: str) -> TokenUsage:
    if not isinstance(value, dict):
        raise _wrong(name, value)
    members = dict(value)
    if "timestamp" in members:
        members["timestamp"] = _read_time(members["timestamp"], name)
    try:
        return msgspec.convert(members, TokenUsage)
    except msgspec.ValidationError as error:
        raise _wrong(name, value) from error


def _read_texts(value: object, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(
        isinstance(part, str) for item in value.items() for part in item
    ):
        raise _wrong(name, value)
    return value


def _read_map(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _wrong(name, value)
    return value


def _read_json(value: object, name: str) -> RawJSON:
    if not isinstance(value, CBORTag) or value.tag != JSON_TAG or type(value.value) is not bytes:
        raise _wrong(name, value)
    return RawJSON(value.value)


_Reader = Callable[[object, str], Any]
_SPECIAL: dict[str, _Reader] = {
    "lease_until": _read_time,
    "timestamp": _read_time,
    "text": _read_verbatim,
    "title": _read_verbatim,
    "tool_name": _read_verbatim,
    "failure": _read_failure,
    "synthetic": _read_texts,
    "usage": _read_usage,
    "runtime": _read_map,
    "raw": _read_json,
}
# The last three members are for readers of the content, not part of the event (03 3.1).
_READERS: tuple[tuple[str, _Reader], ...] = tuple(
    (name, _SPECIAL.get(name, _read_trimmed)) for name in (*EVENT_MEMBERS, "tool_name")
)
