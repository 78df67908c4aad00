"""When a file of tables is worth rewriting, and the records its rewriting begins with (03 14.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .operations import (
    DocID,
    Location,
    Operation,
    Put,
    Remove,
    Restore,
    encode_document,
    encode_payload,
)
from .table_index import PUT_BYTES, TableIndex

COMPACT_BYTES = 4 * 1024 * 1024
"""Length over which a file that is in use is compacted."""
COMPACT_RECORDS = 4096
"""Number of records over which it is, whatever their length."""
COMPACT_AT_END_BYTES = 64 * 1024
"""Length over which it is when its use ends."""
LIVE_SHARE_MAX = 0.5
"""Part of the file that lives, over which rewriting it gains too little."""
SNAPSHOT_RECORD_BYTES = 2 * 1024
"""Documents after which a record of a snapshot takes no further one."""
NEAR_BYTES = 128
"""Documents no further apart are read together."""


class Piece(NamedTuple):
    """A document that lives, or an empty table, which has no id."""

    table: str
    doc_id: DocID | None
    place: Location


def is_compaction_due(size: int, records: int, live_bytes: int, *, ending: bool = False) -> bool:
    """Whether the dead bytes of a file are worth being left behind.

    :param size: length of the file; ``records`` in it; ``live_bytes`` its documents need.
    :param ending: whether the use of the file ends, so that nobody waits for it.
    """
    if ending:
        large = size > COMPACT_AT_END_BYTES
    else:
        large = size > COMPACT_BYTES or records > COMPACT_RECORDS
    return large and live_bytes < size * LIVE_SHARE_MAX


def snapshot_parts(index: TableIndex) -> Iterator[list[Piece]]:
    """What lives, in its order, in parts for one record each; at least one part."""
    part: list[Piece] = []
    size = 0
    for table, documents in index.tables.items():
        if not documents:
            part.append(Piece(table, None, Location(0, 0)))
        for doc_id, place in documents.items():
            if size and size + place.size > SNAPSHOT_RECORD_BYTES:
                yield part
                part, size = [], 0
            part.append(Piece(table, doc_id, place))
            size += place.size + PUT_BYTES
    yield part


def neighbours(places: Sequence[Location]) -> Iterator[list[Location]]:
    """The places in runs that can each be read at once."""
    run: list[Location] = []
    for place in places:
        if run:
            gap = place.offset - run[-1].offset - run[-1].size
            if not 0 <= gap <= NEAR_BYTES:
                yield run
                run = []
        run.append(place)
    if run:
        yield run


def encode_snapshot_part(
    epoch: int, number: int, operations: Sequence[Operation], *, more: bool
) -> bytes:
    """The payload of one record of a snapshot."""
    return encode_payload(epoch, number, [Restore(more), *operations])


def empty_table(table: str) -> list[Operation]:
    """The operations after which a table exists and is empty."""
    return [Put(table, 0, encode_document({})), Remove(table, 0)]
