"""When a file of tables is rewritten, in what order, and what its records may be (03 14.1)."""

from __future__ import annotations

import pytest
from greenroom.actors.errors import StoreValidationError
from greenroom.storage.format import snapshot
from greenroom.storage.format.operations import (
    DropTable,
    Location,
    Operation,
    Put,
    Remove,
    Restore,
    encode_document,
    encode_payload,
)
from greenroom.storage.format.snapshot import (
    COMPACT_AT_END_BYTES,
    COMPACT_BYTES,
    COMPACT_RECORDS,
    empty_table,
    encode_snapshot_part,
    is_compaction_due,
    neighbours,
    snapshot_parts,
)
from greenroom.storage.format.table_index import TableHistory, TableIndex

LARGE = COMPACT_BYTES + 1
MANY = COMPACT_RECORDS + 1


@pytest.mark.parametrize(
    ("size", "records", "live", "ending", "due"),
    [
        (COMPACT_BYTES, COMPACT_RECORDS, 0, False, False),
        (LARGE, 1, 0, False, True),
        (1000, MANY, 0, False, True),
        (LARGE, MANY, LARGE // 2 + 1, False, False),
        (LARGE, MANY, LARGE // 2, False, True),
        (COMPACT_AT_END_BYTES, MANY, 0, True, False),
        (COMPACT_AT_END_BYTES + 1, 1, 0, True, True),
        (COMPACT_AT_END_BYTES + 1, 1, COMPACT_AT_END_BYTES, True, False),
        (0, 0, 0, True, False),
    ],
)
def test_a_file_is_rewritten_when_it_is_large_and_mostly_dead(
    size: int, records: int, live: int, ending: bool, due: bool
) -> None:
    assert is_compaction_due(size, records, live, ending=ending) is due


def test_what_lives_is_known_without_looking() -> None:
    index = TableIndex()
    empty = index.live_bytes

    def apply(*operations: Operation) -> int:
        index.apply(operations, encode_payload(1, 1, operations), 0)
        return index.live_bytes

    document = encode_document({"n": 1})
    one = apply(Put("t", 1, document))
    assert one > empty + len(document)
    assert apply(Put("t", 1, document)) == one
    assert apply(Put("t", 2, document)) == 2 * one
    assert apply(Remove("t", 2)) == one
    assert apply(Remove("t", 2), Remove("u", 1)) == one
    assert apply(DropTable("t"), DropTable("t")) == empty == 0


def test_a_snapshot_has_every_table_and_document_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SNAPSHOT_RECORD_BYTES", 60)
    index = TableIndex()
    index.tables = {
        "empty": {},
        "t": {9: Location(500, 10), 1: Location(40, 10), "x": Location(900, 100)},
        "u": {1: Location(0, 10)},
    }
    parts = list(snapshot_parts(index))
    assert [[(piece.table, piece.doc_id) for piece in part] for part in parts] == [
        [("empty", None), ("t", 9), ("t", 1)],
        [("t", "x")],
        [("u", 1)],
    ]
    assert list(snapshot_parts(TableIndex())) == [[]]


def test_only_neighbours_are_read_together() -> None:
    near = snapshot.NEAR_BYTES
    a, b = Location(100, 10), Location(110 + near, 5)
    far = Location(b.offset + b.size + near + 1, 5)
    assert list(neighbours([a, b, far, a])) == [[a, b], [far], [a]]
    assert list(neighbours([])) == []


def history(*payloads: bytes) -> TableHistory:
    taken = TableHistory()
    for payload in payloads:
        taken.replay(0, payload)
    return taken


def part(number: int, more: bool, *operations: Operation) -> bytes:
    return encode_snapshot_part(7, number, operations, more=more)


def record(number: int, *operations: Operation) -> bytes:
    return encode_payload(7, number, operations)


def test_a_history_goes_on_behind_its_snapshot() -> None:
    taken = history(part(40, True, *empty_table("e")), part(40, False), record(41))
    assert (taken.number, taken.epoch, taken.records) == (41, 7, 3)
    assert taken.index.tables == {"e": {}}
    taken.end(compacted=True)
    history().end(compacted=False)


@pytest.mark.parametrize(
    "payloads",
    [
        [record(2)],
        [record(1), record(1)],
        [record(1), record(3)],
        [record(1), part(1, False)],
        [part(40, False), part(40, False)],
        [part(40, True), part(41, False)],
        [part(40, True), record(41)],
        [part(40, False), record(40)],
        [part(40, False), record(42)],
        [record(1, Restore(False)), record(1)],
        [b"\x00"],
    ],
)
def test_a_record_out_of_order_is_refused(payloads: list[bytes]) -> None:
    with pytest.raises(StoreValidationError):
        history(*payloads)


def test_a_snapshot_that_is_cut_is_no_end() -> None:
    with pytest.raises(StoreValidationError):
        history(part(40, True)).end(compacted=True)
    with pytest.raises(StoreValidationError):
        history().end(compacted=True)
