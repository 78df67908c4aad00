"""Commits: the payload of one record of the log, ``[[stream, journal_payload], ...]``.

A stream is ``<session_id>/events``, ``<session_id>/state`` or ``catalog``; its payload becomes, as
it stands, the payload of one record of that journal. A part of the stream ``""`` says how much of
the segment was on the medium when the record was written: whole records behind a broken one that
claim no more belong to a write that a power loss cut, not to damage.
"""

from __future__ import annotations

from collections.abc import Sequence

import cbor2

from ...actors.errors import StoreValidationError
from .cbor_items import ARRAY, BYTES, TEXT, UNSIGNED, head, read_unsigned

_PART = head(ARRAY, 2)
SYNCED = ""
"""The stream of the mark."""


def encode_commit(parts: Sequence[tuple[str, bytes]], synced: int | None = None) -> bytes:
    """The payload of one log record.

    :param synced: bytes of the segment that are on the medium.
    """
    items = [head(ARRAY, len(parts) + (synced is not None))]
    if synced is not None:
        mark = head(UNSIGNED, synced)
        items += (_PART, head(TEXT, 0), head(BYTES, len(mark)), mark)
    for stream, payload in parts:
        name = stream.encode()
        items += (_PART, head(TEXT, len(name)), name, head(BYTES, len(payload)), payload)
    return b"".join(items)


def synced_mark(parts: Sequence[tuple[str, bytes]]) -> int:
    """What a record claims to be on the medium; 0 when it claims nothing."""
    return max((read_unsigned(data, 0)[0] for stream, data in parts if stream == SYNCED), default=0)


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
