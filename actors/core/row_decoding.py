"""Whether a stored content is one that the strict decoder takes (03 3.1).

Blank content and ``null`` are an empty event; any other must be a JSON object whose known members
have the right JSON types. Unknown members are nobody's business.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..model.event import AgentEvent

IN_MEMORY = frozenset({"tool_prechecked", "persisted"})
"""Fields of an event that are never stored."""


def _known_members() -> list[tuple[str, Any, None]]:
    members: list[tuple[str, Any, None]] = [("schema", str | None, None)]
    for field in msgspec.structs.fields(AgentEvent):
        if field.name not in IN_MEMORY:
            kind = Any if field.name == "raw" else field.type | None
            members.append((field.name, kind, None))
    return [*members, ("tool_name", str | None, None)]


_DECODER = msgspec.json.Decoder(msgspec.defstruct("_Known", _known_members()))


def decode_problem(content: str) -> str:
    """Why a content can not be decoded strictly; blank when it can."""
    if content.strip() in ("", "null"):
        return ""
    try:
        _DECODER.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        return str(error)
    return ""
