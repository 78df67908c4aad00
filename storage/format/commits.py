"""Commits: the payload of one record of the log, ``[[stream, journal_payload], ...]``.

A stream is ``<session_id>/events``, ``<session_id>/state`` or ``catalog``; its payload becomes, as
it stands, the payload of one record of that journal.
"""

from __future__ import annotations

from collections.abc import Sequence

import cbor2

from ...actors.errors import StoreValidationError
from .cbor_items import ARRAY, BYTES, TEXT, head

_PART = head(ARRAY, 2)


def encode_commit(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """The payload of one log record."""
    items = [head(ARRAY, len(parts))]
    for stream, payload in parts:
        name = stream.encode()
        items += (_PART, head(TEXT, len(name)), name, head(BYTES, len(payload)), payload)
    return b"".join(items)


def decode_commit(payload: bytes) -> list[tuple[str, bytes]]:
    """The parts of one log record.

    :raises StoreValidationError: bytes that are no commit.
    """
    try:
        parts = [(stream, data) for stream, data in cbor2.loads(payload)]
    except (cbor2.CBORError, ValueError, TypeError) as error:
        raise StoreValidationError(f"store: no commit: {error}", field="commit") from error
    if not all(type(stream) is str and type(data) is bytes for stream, data in parts):
        raise StoreValidationError("store: no commit", field="commit")
    return parts
