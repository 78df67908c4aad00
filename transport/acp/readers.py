"""Members that both versions of ACP write alike: content blocks, numbers, usage (07 6, R20).

Reading forgives: a value of the wrong type counts as absent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...actors.model.event import TokenUsage

USAGE_MEMBERS = (
    # Ours, then the spellings on the wire, the standard one first (D17).
    ("input_tokens", ("inputTokens",)),
    ("output_tokens", ("outputTokens",)),
    ("total_tokens", ("totalTokens",)),
    ("thought_tokens", ("thoughtTokens",)),
    ("cache_read_tokens", ("cachedReadTokens", "cacheReadTokens")),
    ("cache_write_tokens", ("cachedWriteTokens", "cacheWriteTokens")),
)


COUNT_MAX = 2**63


class _Block(msgspec.Struct, gc=False):
    type: Any = None
    text: Any = None
    uri: Any = None


_decode_block = msgspec.json.Decoder(_Block).decode
_decode_blocks = msgspec.json.Decoder(list[msgspec.Raw]).decode


def text_or_blank(value: Any) -> str:
    """The value, or a blank for what is no text."""
    return value if isinstance(value, str) else ""


def block_text(content: msgspec.Raw | bytes) -> str | None:
    """The text of a content block: a link counts with its address, other kinds with nothing.

    ``None`` when it is no block at all.
    """
    try:
        block = _decode_block(content)
    except (msgspec.DecodeError, RecursionError):
        return None
    match block.type:
        case "text":
            return text_or_blank(block.text)
        case "resource_link":
            return text_or_blank(block.uri)
        case _:
            return ""


def blocks_text(content: msgspec.Raw | bytes) -> tuple[str, bool]:
    """The text of a list of blocks together, and whether there is any block."""
    try:
        items = _decode_blocks(content)
    except (msgspec.DecodeError, RecursionError):
        items = []
    texts = [text for item in items if (text := block_text(item)) is not None]
    return "".join(texts), bool(texts)


def count(value: Any) -> int | None:
    """A whole number, however it is written; none that no counter ever reaches."""
    match value:
        case bool():
            return None
        case int() if abs(value) < COUNT_MAX:
            return value
        case float() if value.is_integer() and abs(value) < COUNT_MAX:
            return int(value)
        case _:
            return None


def _amount(value: Any) -> float | None:
    is_number = type(value) in (int, float) and abs(value) < COUNT_MAX
    return float(value) if is_number else None


def context_usage(update: dict[str, Any]) -> TokenUsage:
    """``usage_update``: what the context holds and what the session cost (04 4.5)."""
    cost = update.get("cost")
    cost = cost if isinstance(cost, dict) else {}
    return TokenUsage(
        context_used=count(update.get("used")),
        context_size=count(update.get("size")),
        cost_amount=_amount(cost.get("amount")),
        cost_currency=text_or_blank(cost.get("currency")) or None,
    )


def decode_usage(value: Any) -> TokenUsage:
    """``usage`` of the end of a turn (04 4.5); zero when it is none."""
    if not isinstance(value, dict):
        return TokenUsage()
    counts: dict[str, Any] = {}
    for ours, spellings in USAGE_MEMBERS:
        found = (count(value.get(spelling)) for spelling in spellings)
        counts[ours] = next((number for number in found if number is not None), None)
    return TokenUsage(**counts)
