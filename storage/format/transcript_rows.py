"""What the transcript takes from one stored row, whatever its content is (03 8.2).

Nothing here raises: content that is no envelope leaves the facts of the row itself, and the
payload shown says what was stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from ...actors.model.event import EVENT_SCHEMA, MARKER_TYPES, NO_TIME, EventType, SessionEvent
from ...actors.model.marker import MarkerKind
from .times import short_time, time_text
from .tool_facts import first_non_blank

MARKER_KINDS = frozenset(MarkerKind)
"""Markers that are shown as messages (02 13)."""

PAYLOAD_TEXTS = (
    "session_id",
    "turn_id",
    "request_id",
    "timestamp",
    "text",
    "title",
    "tool_call_id",
    "stop_reason",
    "action",
    "resource",
    "decision",
    "error",
)
PAYLOAD_OBJECTS = ("failure", "usage", "runtime")
_LENIENT = ("request_id", "action", "resource", "decision", "error", "stop_reason")
_VERBATIM = frozenset({"text", "title"})
_SPOKEN = frozenset(
    {EventType.USER_MESSAGE.value, EventType.AGENT_MESSAGE.value, EventType.THOUGHT.value}
)
_NO_TIME = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class TranscriptRow:
    """The facts of one row that folding needs.

    :param type: the event type, of the envelope or else of the row.
    :param marker: summary of a valid marker; blank when the row is none.
    :param tool_input: any JSON value; ``None`` is absent.
    :param payload: the event as it is shown, JSON values only.
    """

    id: str
    turn_id: str
    type: str
    text: str = ""
    title: str = ""
    marker: str = ""
    tool_call_id: str = ""
    tool_name: str = ""
    tool_input: Any = None
    tool_result: dict[str, Any] = field(default_factory=dict)
    tool_error: bool = False
    payload: dict[str, Any] = field(default_factory=dict)


def read_row(row: SessionEvent) -> TranscriptRow:
    """The facts of a stored row."""
    row_id, turn_id = row.id.strip(), row.turn_id.strip()
    kind = row.event.type.strip() or row.type.strip()
    if kind in _SPOKEN and not row.event.text.lstrip().startswith("{"):
        # The many: text only, and the event has it already. What looks like JSON is looked into.
        return TranscriptRow(row_id, turn_id, kind, row.event.text)
    content = _content(row)
    document = _object(content)
    if document is None:
        text = content.strip() if row.type.strip() in _SPOKEN else ""
        return _plain(row, row_id, turn_id, text, content)
    if document.get("schema") != EVENT_SCHEMA:
        return _plain(row, row_id, turn_id, "", document)
    return _of_envelope(row, row_id, turn_id, document)


def _content(row: SessionEvent) -> str:
    try:
        return row.content
    except Exception:  # content that can not even be rendered is shown as nothing
        return ""


def _object(content: str) -> dict[str, Any] | None:
    """The JSON object that content is; null and blank are an empty one, ``None`` is no object."""
    if not content.strip():
        return {}
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if document is None:
        return {}
    return document if isinstance(document, dict) else None


def _plain(
    row: SessionEvent, row_id: str, turn_id: str, text: str, raw: str | dict[str, Any]
) -> TranscriptRow:
    """Content that is no envelope: the row, and its content as ``raw``."""
    kind = row.type.strip()
    members: dict[str, Any] = {"text": text, "raw": raw or None}
    if isinstance(raw, dict):
        members |= {name: _text(raw, name) for name in _LENIENT}
    payload = _payload(row, turn_id, kind, members)
    return TranscriptRow(row_id, turn_id, kind, text, payload=payload)


def _of_envelope(
    row: SessionEvent, row_id: str, turn_id: str, document: dict[str, Any]
) -> TranscriptRow:
    kind = _text(document, "type") or row.type.strip()
    text, call_id = _text(document, "text"), _text(document, "tool_call_id")
    name = first_non_blank((_text(document, "tool_name"), _text(document, "title"))).strip()
    title = first_non_blank((_text(document, "title"), name))
    found = document.get("tool_result")
    result: dict[str, Any] = found if isinstance(found, dict) else {}
    failures = (_text(document, "error"), _text(result, "error"))
    failed = document.get("tool_error") is True or any(failures)
    members: dict[str, Any]
    if _is_strict(document):
        members = {name: _text(document, name) for name in PAYLOAD_TEXTS}
        members |= {name: document.get(name) for name in (*PAYLOAD_OBJECTS, "raw")}
        if members["timestamp"] == _NO_TIME:
            members["timestamp"] = ""
    else:
        members = {name: _text(document, name) for name in _LENIENT}
        members |= {"raw": document, "text": text, "tool_call_id": call_id}
    members["title"] = title
    if result and failed and not members["error"]:
        members["error"] = first_non_blank((_text(result, "error"), text))
    return TranscriptRow(
        id=row_id,
        turn_id=turn_id,
        type=kind,
        text=text,
        title=title,
        marker=_marker(kind, document.get("raw")),
        tool_call_id=call_id,
        tool_name=name,
        tool_input=document.get("tool_input"),
        tool_result=result,
        tool_error=failed,
        payload=_payload(row, turn_id, kind, members),
    )


def _payload(
    row: SessionEvent, turn_id: str, kind: str, members: dict[str, Any]
) -> dict[str, Any]:
    """The event as shown: ``type``, then what is not empty, in the order of 8.1."""
    filled = {
        **members,
        "session_id": members.get("session_id") or row.session_id.strip(),
        "turn_id": members.get("turn_id") or turn_id,
        "timestamp": members.get("timestamp") or _time(row),
    }
    names = (*PAYLOAD_TEXTS, *PAYLOAD_OBJECTS, "raw")
    shown = ((name, filled.get(name)) for name in names)
    return {"type": kind} | {
        name: value for name, value in shown if value not in (None, "", {}, [])
    }


def _is_strict(document: dict[str, Any]) -> bool:
    """Whether the known members have their types (03 3.1)."""
    return all(isinstance(document.get(name, ""), str) for name in PAYLOAD_TEXTS) and all(
        isinstance(document.get(name, {}), dict) for name in PAYLOAD_OBJECTS
    )


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        return ""
    return value if name in _VERBATIM else value.strip()


def _time(row: SessionEvent) -> str:
    zoned = row.timestamp.tzinfo is not None and row.timestamp != NO_TIME
    return short_time(time_text(row.timestamp)) if zoned else ""


def _marker(kind: str, raw: Any) -> str:
    if kind not in MARKER_TYPES or not isinstance(raw, dict):
        return ""
    known = raw.get("kind") in MARKER_KINDS if isinstance(raw.get("kind"), str) else False
    summary = raw.get("summary")
    return summary if known and isinstance(summary, str) and summary.strip() else ""
