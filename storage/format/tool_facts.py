"""What the envelope of an event says about a tool, derived from the provider's raw JSON.

Rules 3.1 and 3.2 of spec 03: the tool's name, its input, the shape of its result and whether it
failed. JSON stays JSON: input and result are handed on as bytes, never decoded and encoded again.
Anything malformed in the raw value is treated as absent; nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from ...actors.model.event import AgentEvent, EventType

CONTENT_DEPTH_MAX = 16
"""Levels of nested ``content`` looked into; what lies deeper is no text a person would read."""

DISPLAY_MEMBER = {"bash": "stdout", "glob": "stdout", "grep": "stdout", "search": "stdout"}
"""Lower-cased tool name -> the member its display text fills; any other fills ``content``."""

_RESULT_MEMBERS = (
    "stdout",
    "stderr",
    "file_path",
    "content",
    "structured_patch",
    "error",
    "raw_output",
)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """The four derived members; ``raw_is_object`` says whether the event's raw may be kept."""

    name: str = ""
    input: bytes | None = None
    result: bytes | None = None
    error: bool = False
    raw_is_object: bool = False


NO_FACTS = ToolFacts()


def tool_facts(event: AgentEvent) -> ToolFacts:
    """Derive the tool members of one event (03 3.1 steps 1 and 2)."""
    if event.raw is None:
        return ToolFacts(name=event.title) if event.title else NO_FACTS
    members = _object_members(event.raw.data)
    if members is None:
        return ToolFacts(name=event.title) if event.title else NO_FACTS
    name = first_non_blank(
        (*_meta_names(members), _text(members, "title"), _text(members, "kind"), event.title)
    )
    raw_input = members.get("rawInput")
    result: bytes | None = None
    failed = False
    if event.type == EventType.TOOL_RESULT:
        failed = _text(members, "status").lower() == "failed"
        result = _result_json(name, failed, members)
    return ToolFacts(name, _present(raw_input), result, failed, raw_is_object=True)


def first_non_blank(texts: Iterable[str]) -> str:
    """The first text that is not blank, untrimmed; else blank (03 1)."""
    return next((text for text in texts if text.strip()), "")


def decode_json(data: bytes | msgspec.Raw) -> Any:
    """The value of JSON bytes; ``None`` for what is no JSON, too large a number or too deep."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def tool_result_shape(name: str, failed: bool, content: Any, raw_output: Any) -> dict[str, Any]:
    """The members of ``tool_result``, empty ones left out (03 3.2).

    :param content: the provider's ``content``, decoded.
    :param raw_output: the provider's ``rawOutput``, decoded; ``None`` when absent.
    """
    shape: dict[str, Any] = {}
    text = content_display(content)
    if raw_output is not None:
        shape["raw_output"] = raw_output
        if isinstance(raw_output, dict):
            _take_output_members(shape, raw_output)
    output_text = raw_output if isinstance(raw_output, str) else content_display(raw_output)
    display = first_non_blank((text, output_text)).strip()
    member = DISPLAY_MEMBER.get(name.lower(), "content")
    if failed and name.lower() == "bash":
        member = "stderr"
    if not shape.get(member, "").strip():
        shape[member] = display
    if failed and not shape.get("error", "").strip():
        shape["error"] = display
    return {key: shape[key] for key in _RESULT_MEMBERS if shape.get(key) not in (None, "")}


def content_display(content: Any, depth: int = 0) -> str:
    """The text of a provider's ``content`` value (03 3.2)."""
    if depth > CONTENT_DEPTH_MAX:
        return ""
    match content:
        case str():
            return content
        case {"text": str(text)} if text:
            return text
        case {"content": dict(nested)}:
            return content_display(nested, depth + 1)
        case list():
            texts = (content_display(item, depth + 1).strip() for item in content)
            return "\n".join(text for text in texts if text)
        case _:
            return ""


def _take_output_members(shape: dict[str, Any], output: dict[str, Any]) -> None:
    for member in ("stdout", "stderr", "content", "error"):
        if isinstance(output.get(member), str):
            shape[member] = output[member]
    for member in ("filePath", "file_path"):
        if isinstance(output.get(member), str) and output[member]:
            shape["file_path"] = output[member]
    if output.get("structuredPatch") is not None:
        shape["structured_patch"] = output["structuredPatch"]


def _object_members(data: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        # What the decoder skips it does not check: bytes that are no UTF-8 would be kept.
        data.decode()
        return _MEMBERS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _meta_names(members: dict[str, msgspec.Raw]) -> tuple[str, ...]:
    # Sorted: with several namespaces under `_meta` the choice must not hang on their order.
    meta = decode_json(members["_meta"]) if "_meta" in members else None
    if not isinstance(meta, dict):
        return ()
    named = (meta[key].get("toolName") for key in sorted(meta) if isinstance(meta[key], dict))
    return tuple(name for name in named if isinstance(name, str))


def _text(members: dict[str, msgspec.Raw], key: str) -> str:
    value = decode_json(members[key]) if key in members else None
    return value if isinstance(value, str) else ""


def _present(raw: msgspec.Raw | None) -> bytes | None:
    if raw is None:
        return None
    data = bytes(raw)
    return None if data == b"null" else data


def _result_json(name: str, failed: bool, members: dict[str, msgspec.Raw]) -> bytes | None:
    content = decode_json(members["content"]) if "content" in members else None
    output = decode_json(members["rawOutput"]) if "rawOutput" in members else None
    shape = tool_result_shape(name, failed, content, output)
    if not shape:
        return None
    if "raw_output" in shape:
        shape["raw_output"] = members["rawOutput"]
    return msgspec.json.encode(shape)
