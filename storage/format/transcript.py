"""The conversation as UI messages: a pure fold of all rows of a session (03 8.3).

``user_message`` and ``synthetic_reentry`` are messages of their own, and so are markers and
errors; everything else of a turn is one assistant message, reopened under a new id when something
came between. Folding never raises, whatever the rows hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ...actors.model.event import EventType, SessionEvent
from .tool_facts import first_non_blank
from .transcript_parts import (
    DONE,
    DYNAMIC_TOOL,
    EVENT_DATA,
    INPUT_AVAILABLE,
    INPUT_STREAMING,
    OUTPUT_AVAILABLE,
    OUTPUT_ERROR,
    OUTPUT_STATES,
    PERMISSION_DATA,
    REASONING,
    STREAMING,
    TEXT,
    TOOL_PREFIX,
    UIMessage,
    UIMessagePart,
    join_ui_message_text,
    to_json,
    ui_message_text,
)
from .transcript_rows import TranscriptRow, read_row

__all__ = [
    "TranscriptFold",
    "UIMessage",
    "UIMessagePart",
    "join_ui_message_text",
    "to_json",
    "to_ui_messages",
    "ui_message_text",
]

_ERROR_TEXTS = ("error", "stderr", "content", "stdout")
"""Members of a failed tool's result that say why, in this order."""


def to_ui_messages(rows: Iterable[SessionEvent]) -> list[UIMessage]:
    """The messages of a session, oldest first.

    :param rows: its rows, in any order.
    """
    fold = TranscriptFold()
    for row in sorted(rows, key=lambda row: (row.sequence, row.timestamp, row.id)):
        fold.add(row)
    return fold.messages()


class TranscriptFold:
    """The fold, one row at a time: keep it, and add what is appended."""

    def __init__(self) -> None:
        self._finished: list[UIMessage] = []
        self._ids: set[str] = set()
        self._open: _Assistant | None = None
        self._inputs: dict[str, Any] = {}

    def add(self, row: SessionEvent) -> None:
        """Take in the next row of the session, in order of sequence."""
        read = read_row(row)
        if read.marker:
            self._say("system", read, read.marker)
            return
        match read.type:
            case EventType.USER_MESSAGE:
                self._say("user", read, read.text)
            case EventType.SYNTHETIC_REENTRY:
                self._say("system", read, read.text)
            case _:
                self._message_for(read).add(read, self._inputs)

    def messages(self) -> list[UIMessage]:
        """What the rows so far make; the last text of an unfinished turn is ``streaming``."""
        last = self._open.message(complete=False) if self._open else None
        return [*self._finished, last] if last else list(self._finished)

    def _say(self, role: str, read: TranscriptRow, text: str) -> None:
        """A message of one text, not said by the agent."""
        self._flush()
        if text.strip():
            message_id = self._unique(read.id or read.turn_id or role)
            part = UIMessagePart(TEXT, text=text, state=DONE)
            self._finished.append(UIMessage(message_id, role, (part,)))

    def _message_for(self, read: TranscriptRow) -> _Assistant:
        alone = read.type == EventType.ERROR
        if alone:
            logical = read.id or read.turn_id or "assistant-error"
        else:
            logical = read.turn_id or read.id or "assistant"
        current = self._open
        if current is None or alone or current.alone or current.logical_id != logical:
            self._flush()
            current = self._open = _Assistant(self._unique(logical), logical, alone)
        return current

    def _flush(self) -> None:
        if self._open is None:
            return
        message = self._open.message(complete=True)
        if message is None:
            self._ids.discard(self._open.id)
        else:
            self._finished.append(message)
        self._open = None

    def _unique(self, wanted: str) -> str:
        found, number = wanted, 1
        while found in self._ids:
            number += 1
            found = f"{wanted}-{number}"
        self._ids.add(found)
        return found


@dataclass(slots=True)
class _Assistant:
    """An assistant message that is still open."""

    id: str
    logical_id: str
    alone: bool
    parts: list[UIMessagePart] = field(default_factory=list)
    finished: bool = False
    active: int | None = None
    """Index of the text or reasoning part that the next chunk of its kind continues."""
    chunks: list[str] = field(default_factory=list)
    """Text of the active part: joined when it is read, not once per chunk."""
    counts: dict[str, int] = field(default_factory=dict)
    tools: dict[str, int] = field(default_factory=dict)
    permissions: dict[str, int] = field(default_factory=dict)

    def add(self, row: TranscriptRow, inputs: dict[str, Any]) -> None:
        """Take in one row; ``inputs`` remembers tool inputs from message to message."""
        match row.type:
            case EventType.AGENT_MESSAGE:
                self._speak(TEXT, row.text)
                return
            case EventType.THOUGHT:
                self._speak(REASONING, row.text)
                return
        self._close_active()
        match row.type:
            case EventType.TOOL_CALL:
                self._tool_call(row, inputs)
                self.parts.append(UIMessagePart(EVENT_DATA, data=row.payload))
            case EventType.TOOL_RESULT:
                self._tool_result(row, inputs)
            case EventType.PERMISSION:
                self._permission(row)
            case EventType.ERROR:
                self.parts.append(UIMessagePart(EVENT_DATA, data=row.payload))
                self.finished = True
            case EventType.DONE:
                self.finished = True
            case _:
                self.parts.append(UIMessagePart(EVENT_DATA, data=row.payload))

    def message(self, *, complete: bool) -> UIMessage | None:
        """The message; ``None`` when it has no parts."""
        if not self.parts:
            return None
        parts = list(self.parts)
        if self.active is not None:
            state = DONE if complete or self.finished else STREAMING
            parts[self.active] = self._spoken(self.active, state)
        return UIMessage(self.id, "assistant", tuple(parts))

    def _speak(self, kind: str, text: str) -> None:
        if self.active is not None and self.parts[self.active].type == kind:
            self.chunks.append(text)
        elif text.strip():
            self._close_active()
            number = self.counts[kind] = self.counts.get(kind, 0) + 1
            self.active, self.chunks = len(self.parts), [text]
            self.parts.append(UIMessagePart(kind, f"{self.id}-{kind}-{number}"))

    def _spoken(self, index: int, state: str) -> UIMessagePart:
        return replace(self.parts[index], text="".join(self.chunks), state=state)

    def _close_active(self) -> None:
        if self.active is not None:
            self.parts[self.active] = self._spoken(self.active, DONE)
            self.active = None

    def _tool(self, row: TranscriptRow) -> tuple[str, int]:
        """The key of the row's tool call and the index of its part, made when it is new."""
        fallback = f"{row.turn_id}:{row.id}" if row.turn_id else row.id
        key = row.tool_call_id or fallback
        if key not in self.tools:
            self.tools[key] = len(self.parts)
            self.parts.append(UIMessagePart(DYNAMIC_TOOL, tool_call_id=key))
        index = self.tools[key]
        part = self.parts[index]
        if part.type == DYNAMIC_TOOL and row.tool_name:
            part = replace(part, type=TOOL_PREFIX + row.tool_name, tool_name=row.tool_name)
        if not part.title.strip():
            part = replace(part, title=row.title)
        self.parts[index] = part
        return key, index

    def _tool_call(self, row: TranscriptRow, inputs: dict[str, Any]) -> None:
        key, index = self._tool(row)
        part = self.parts[index]
        if _is_ready(row.tool_input):
            inputs[key] = row.tool_input
            state = part.state if part.state in OUTPUT_STATES else INPUT_AVAILABLE
            self.parts[index] = replace(part, input=row.tool_input, state=state)
        elif not part.state:
            self.parts[index] = replace(part, state=INPUT_STREAMING)

    def _tool_result(self, row: TranscriptRow, inputs: dict[str, Any]) -> None:
        key, index = self._tool(row)
        part = self.parts[index]
        given = part.input if part.input is not None else inputs.get(key)
        if given is None:
            given = row.tool_input if _is_ready(row.tool_input) else {}
        state, error = OUTPUT_AVAILABLE, ""
        if row.tool_error:
            told = (row.tool_result.get(name) for name in _ERROR_TEXTS)
            texts = [text for text in told if isinstance(text, str)]
            error = first_non_blank((*texts, str(row.payload.get("error", "")), row.text))
            state = OUTPUT_ERROR
        self.parts[index] = replace(
            part, input=given, state=state, error_text=error, output=row.payload
        )

    def _permission(self, row: TranscriptRow) -> None:
        both = f"{row.turn_id}:{row.tool_call_id}" if row.turn_id and row.tool_call_id else ""
        part_id = str(row.payload.get("request_id", "")) or both or row.tool_call_id
        part = UIMessagePart(PERMISSION_DATA, part_id, data=row.payload)
        if part_id in self.permissions:
            self.parts[self.permissions[part_id]] = part
            return
        if part_id:
            self.permissions[part_id] = len(self.parts)
        self.parts.append(part)


def _is_ready(value: Any) -> bool:
    """Whether a tool input is all there: not null, blank text, or an empty list or object."""
    match value:
        case None:
            return False
        case str():
            return bool(value.strip())
        case list() | dict():
            return bool(value)
        case _:
            return True
