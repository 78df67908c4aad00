"""Finding one's way in CBOR bytes without decoding them, and joining encoded items to new ones.

Only definite lengths are known: greenroom writes no others. All functions that read raise
:class:`StoreValidationError` for bytes that end too early or are no such item. Joining is here
because the general encoder spends more on each nested list than on the bytes in it.
"""

from __future__ import annotations

from ...actors.errors import StoreValidationError

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
"""The major types of RFC 8949, section 3.1."""

_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}
# Bytes of an item that one look at its first byte settles: small integers, short strings, false,
# true, null. Zero: look closer.
_SHORT = bytes(
    1
    if (head >> 5 in (UNSIGNED, NEGATIVE, SIMPLE) and head & 31 < 24)
    else 1 + (head & 31)
    if (head >> 5 in (BYTES, TEXT) and head & 31 < 24)
    else 0
    for head in range(256)
)


def _short_head(kind: int, value: int) -> bytes:
    return bytes((kind | value,)) if value < 24 else bytes((kind | 24, value))


_HEADS = tuple(tuple(_short_head(major << 5, value) for value in range(256)) for major in range(8))


def head(major: int, value: int) -> bytes:
    """The shortest head of an item: its type, and its value or length."""
    if value < 0x100:
        return _HEADS[major][value]
    kind = major << 5
    if value < 0x10000:
        return bytes((kind | 25,)) + value.to_bytes(2, "big")
    if value < 0x100000000:
        return bytes((kind | 26,)) + value.to_bytes(4, "big")
    return bytes((kind | 27,)) + value.to_bytes(8, "big")


def read_head(data: bytes, offset: int) -> tuple[int, int, int]:
    """Major type, argument, and the offset after the head."""
    if offset >= len(data):
        raise StoreValidationError("store: the bytes end too early", field="cbor")
    first = data[offset]
    info = first & 31
    if info < 24:
        return first >> 5, info, offset + 1
    width = _WIDTHS.get(info, 0)
    end = offset + 1 + width
    if not width or end > len(data):
        raise StoreValidationError(f"store: no item at byte {offset}", field="cbor")
    return first >> 5, int.from_bytes(data[offset + 1 : end], "big"), end


def read_unsigned(data: bytes, offset: int) -> tuple[int, int]:
    """An unsigned integer and the offset after it."""
    major, value, end = read_head(data, offset)
    if major != UNSIGNED:
        raise StoreValidationError(f"store: no unsigned integer at byte {offset}", field="cbor")
    return value, end


def read_text(data: bytes, offset: int) -> tuple[str, int]:
    """A text and the offset after it."""
    major, size, start = read_head(data, offset)
    end = start + size
    if major != TEXT or end > len(data):
        raise StoreValidationError(f"store: no text at byte {offset}", field="cbor")
    try:
        return str(data[start:end], "utf-8"), end
    except UnicodeDecodeError as error:
        raise StoreValidationError(f"store: no text at byte {offset}", field="cbor") from error


def item_end(data: bytes, offset: int) -> int:
    """The offset after the item that begins at ``offset``, however deep it is nested."""
    open_items = 1
    size = len(data)
    while open_items:
        open_items -= 1
        step = _SHORT[data[offset]] if offset < size else 0
        if step:
            offset += step
            continue
        major, value, offset = read_head(data, offset)
        if major in (BYTES, TEXT):
            offset += value
        elif major == ARRAY:
            open_items += value
        elif major == MAP:
            open_items += 2 * value
        elif major == TAG:
            open_items += 1
    if offset > size:
        raise StoreValidationError("store: the bytes end too early", field="cbor")
    return offset
