"""UI messages in the shapes and names of the AI SDK (03 8.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

TEXT = "text"
REASONING = "reasoning"
TOOL_PREFIX = "tool-"
DYNAMIC_TOOL = "dynamic-tool"
EVENT_DATA = "data-greenroom-event"
PERMISSION_DATA = "data-greenroom-permission"

STREAMING = "streaming"
DONE = "done"
INPUT_STREAMING = "input-streaming"
INPUT_AVAILABLE = "input-available"
OUTPUT_AVAILABLE = "output-available"
OUTPUT_ERROR = "output-error"
OUTPUT_STATES = frozenset({OUTPUT_AVAILABLE, OUTPUT_ERROR})


@dataclass(frozen=True, slots=True)
class UIMessagePart:
    """One part of a message; which fields are set depends on ``type``.

    :param type: ``text``, ``reasoning``, ``tool-<name>``, ``dynamic-tool`` (the name is not
        known), ``data-greenroom-event`` or ``data-greenroom-permission``.
    :param input: any JSON value; ``None`` is absent.
    :param output: the event payload of a tool's result.
    :param data: the event payload of a data part.
    """

    type: str
    id: str = ""
    text: str = ""
    state: str = ""
    tool_name: str = ""
    tool_call_id: str = ""
    title: str = ""
    input: Any = None
    raw_input: Any = None
    output: Mapping[str, Any] | None = None
    error_text: str = ""
    data: Mapping[str, Any] | None = None
    preliminary: bool | None = None


@dataclass(frozen=True, slots=True)
class UIMessage:
    """One message of a conversation. ``role`` is ``user``, ``assistant`` or ``system``."""

    id: str
    role: str
    parts: tuple[UIMessagePart, ...]
    metadata: Mapping[str, Any] | None = None


_JSON_NAMES = {
    "tool_name": "toolName",
    "tool_call_id": "toolCallId",
    "raw_input": "rawInput",
    "error_text": "errorText",
}
_PART_NAMES = tuple(
    (field.name, _JSON_NAMES.get(field.name, field.name)) for field in fields(UIMessagePart)
)


def to_json(message: UIMessage) -> dict[str, Any]:
    """A message under the names of the AI SDK; what is absent or blank text is left out."""
    document: dict[str, Any] = {"id": message.id, "role": message.role}
    if message.metadata is not None:
        document["metadata"] = dict(message.metadata)
    document["parts"] = [_part_json(part) for part in message.parts]
    return document


def ui_message_text(message: UIMessage) -> str:
    """The non-blank text parts of a message, joined by newlines."""
    return "\n".join(
        part.text for part in message.parts if part.type == TEXT and part.text.strip()
    )


def join_ui_message_text(messages: Iterable[UIMessage]) -> str:
    """The trimmed non-blank texts of messages, joined by newlines."""
    texts = (ui_message_text(message).strip() for message in messages)
    return "\n".join(text for text in texts if text)


def _part_json(part: UIMessagePart) -> dict[str, Any]:
    members = ((shown, getattr(part, name)) for name, shown in _PART_NAMES)
    return {shown: value for shown, value in members if value is not None and value != ""}
