"""TinyDB on a journal: what stays true of TinyDB, and what the journal adds."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import (
    ReadOnlyRecordEventsError,
    StorageError,
    StoreClosedError,
    StoreCorruptError,
    StoreSyncFailedError,
    StoreValidationError,
)
from greenroom.storage import table_storage
from greenroom.storage.files import OsFileSystem
from greenroom.storage.format import records as record_format
from greenroom.storage.format.operations import AppendRow, Put, encode_document, encode_payload
from greenroom.storage.format.rows import encode_row
from greenroom.storage.journal import open_journal
from greenroom.storage.tables import JournalDB, JournalStorage
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tinydb import TinyDB, where
from tinydb.operations import increment
from tinydb.storages import MemoryStorage
from tinydb.table import Document


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db.journal"


def stock(path: Path, **options: Any) -> TinyDB:
    return TinyDB(path, storage=JournalStorage, **options)


def records(db: TinyDB) -> int:
    storage = db.storage
    assert isinstance(storage, JournalStorage)
    storage.close()
    reopened = JournalStorage(storage._journal.path)
    reopened.close()
    return reopened.report.records


@pytest.mark.parametrize("open_", [JournalDB, stock])
def test_documents_and_empty_tables_are_there_after_reopening(
    path: Path, open_: Callable[[Path], TinyDB]
) -> None:
    with open_(path) as db:
        db.insert({"a": 1})
        db.table("full").insert_multiple({"n": n} for n in range(3))
        db.table("empty", persist_empty=True)
        db.table("emptied").insert({})
        db.table("emptied").truncate()
        db.table("dropped").insert({})
        db.drop_table("dropped")
    for reopen in (JournalDB, stock):
        with reopen(path) as db:
            assert db.tables() == {"_default", "full", "empty", "emptied"}
            assert db.all() == [{"a": 1}]
            assert [doc.doc_id for doc in db.table("full")] == [1, 2, 3]
            assert len(db.table("emptied")) == len(db.table("empty")) == 0


def test_a_call_is_one_record_whatever_it_changes(path: Path) -> None:
    db = JournalDB(path)
    db.insert_multiple({"n": n} for n in range(100))
    db.update({"seen": True}, where("n") < 50)
    db.update_multiple([({"low": True}, where("n") < 10), ({"high": True}, where("n") > 90)])
    db.remove(where("n") >= 60)
    db.upsert({"n": 1, "again": True}, where("n") == 1)
    db.drop_tables()
    assert records(db) == 6


def test_what_changes_nothing_writes_nothing(path: Path) -> None:
    db = JournalDB(path)
    db.insert({"n": 1})
    size = db.storage.size
    assert db.update({"n": 1}) == [1]
    assert db.update({"n": 2}, doc_ids=[7]) == []
    assert db.remove(where("n") == 9) == db.remove(doc_ids=[9]) == []
    assert db.insert_multiple([]) == []
    db.drop_table("unknown")
    assert db.storage.size == size


@pytest.mark.parametrize("count", [10, 1000])
def test_single_changes_cost_the_same_in_a_table_of_any_size(
    path: Path, fs: Any, count: int
) -> None:
    JournalDB(path, sync="none").insert_multiple({"n": n} for n in range(count))
    db = JournalDB(path, fs=fs)
    db.insert({"n": 0})  # finds the next id, once
    fs.calls.clear()
    before = db.storage.size
    db.insert({"n": 1})
    db.insert(Document({"n": 2}, doc_id=count + 100))
    assert db.insert({"n": 3}) == count + 101
    db.update({"n": 40}, doc_ids=[5])
    db.remove(doc_ids=[6])
    assert db.get(doc_id=5) == {"n": 40}
    assert db.get(doc_ids=[4, 5]) == [{"n": 3}, {"n": 40}]
    assert [call for call, _, _ in fs.calls].count("append") == 5
    assert [call for call, _, _ in fs.calls].count("read") == 4
    assert sum(size for call, _, size in fs.calls if call == "read") < 50
    assert db.storage.size - before < 250
    assert len(db) == count + 3
    db.close()


def test_a_query_reads_each_document_once_and_writes_only_matches(path: Path, fs: Any) -> None:
    with JournalDB(path, fs=fs, sync="none") as db:
        db.insert_multiple({"n": n, "text": "x" * 100} for n in range(200))
        fs.calls.clear()
        assert db.update({"hit": True}, where("n") == 7) == [8]
        assert fs.count("read") == 200
        (written,) = [size for call, _, size in fs.calls if call == "append"]
        assert written < 200


def test_documents_stay_on_disk(path: Path) -> None:
    with JournalDB(path, sync="none") as db:
        db.insert_multiple({"text": "x" * 1000} for _ in range(100))
        places = db.storage.places("_default")
        assert {type(place.offset) for place in places.values()} == {int}
        assert "xxxx" not in repr(vars(db.storage))


def test_an_id_given_twice_is_updated_twice_as_in_tinydb(path: Path) -> None:
    for db in (JournalDB(path), TinyDB(storage=MemoryStorage)):
        db.insert({"n": 1})
        assert db.update(increment("n"), doc_ids=[1, 1]) == [1, 1]
        assert db.all() == [{"n": 3}]


def test_a_later_condition_sees_an_earlier_update(path: Path) -> None:
    for db in (JournalDB(path), TinyDB(storage=MemoryStorage)):
        db.insert({"n": 1})
        assert db.update_multiple([({"n": 2}, where("n") == 1), ({"n": 3}, where("n") == 2)]) == [
            1,
            1,
        ]
        assert db.all() == [{"n": 3}]


def test_reading_goes_on_while_the_table_changes(path: Path) -> None:
    with JournalDB(path) as db:
        db.insert_multiple({"n": n} for n in range(3))
        seen = []
        for document in db:
            seen.append(document["n"])
            db.remove(doc_ids=[3])
            db.insert({"n": 9})
        assert seen == [0, 1, 2]


@pytest.mark.parametrize("open_", [JournalDB, stock])
@pytest.mark.parametrize("document", [[1], "text", {"x": object()}])
def test_what_can_not_be_stored_is_refused_and_nothing_is_written(
    path: Path, open_: Callable[[Path], TinyDB], document: Any
) -> None:
    with open_(path) as db:
        with pytest.raises((ValueError, TypeError)):
            db.insert_multiple([{"good": 1}, document])
        assert db.all() == []
        assert db.get(doc_id=db.insert({"good": 1})) == {"good": 1}


def test_a_refused_document_is_a_validation_error(path: Path) -> None:
    with JournalDB(path) as db:
        for refused in (5, {"x": object()}, Document({}, doc_id=1)):
            db.insert(Document({}, doc_id=1)) if len(db) == 0 else None
            with pytest.raises(StoreValidationError) as caught:
                db.insert(refused)
            assert isinstance(caught.value, ValueError)


def test_a_call_over_the_limit_of_a_record_is_refused_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_format, "PAYLOAD_BYTES_MAX", 200)
    with JournalDB(path) as db:
        with pytest.raises(StoreValidationError):
            db.insert_multiple({"text": "x" * 50} for _ in range(5))
        assert len(db) == 0
        db.insert({"text": "x" * 50})


def test_a_torn_tail_is_cut_and_reported(path: Path) -> None:
    with JournalDB(path) as db:
        db.insert({"n": 1})
        db.insert_multiple([{"n": 2}, {"n": 3}])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with JournalDB(path) as db:
        assert db.all() == [{"n": 1}]
        assert db.storage.report.torn_bytes > 0
        assert db.insert({"n": 4}) == 2
    with JournalDB(path) as db:
        assert db.all() == [{"n": 1}, {"n": 4}]


def test_a_failed_write_changes_nothing(path: Path, fs: Any) -> None:
    with JournalDB(path, fs=fs) as db:
        db.insert({"n": 1})
        fs.fail("append", "db.journal", OSError(errno.ENOSPC, "full"), times=1)
        with pytest.raises(StorageError):
            db.insert({"n": 2})
        assert db.all() == [{"n": 1}]
        assert db.insert({"n": 3}) == 2


def test_after_a_failed_sync_the_database_takes_no_more(path: Path, fs: Any) -> None:
    db = JournalDB(path, fs=fs)
    fs.fail("sync", "db.journal", OSError(errno.EIO, "io"), times=1)
    for _ in range(2):
        with pytest.raises(StoreSyncFailedError):
            db.insert({"n": 1})


@pytest.mark.parametrize(
    ("sync", "syncs", "at_close"), [("each", 10, 0), ("group", 2, 1), ("none", 0, 0)]
)
def test_when_changes_are_synced(
    path: Path, fs: Any, monkeypatch: pytest.MonkeyPatch, sync: str, syncs: int, at_close: int
) -> None:
    monkeypatch.setattr(table_storage, "GROUP_RECORDS", 4)
    db = JournalDB(path, sync=sync, fs=fs)
    fs.calls.clear()
    for number in range(10):
        db.insert({"n": number})
    assert fs.count("sync") == syncs
    db.close()
    db.close()
    assert fs.count("sync") == syncs + at_close
    with pytest.raises(StoreClosedError):
        db.insert({})


def test_a_sync_can_be_asked_for(path: Path, fs: Any) -> None:
    with JournalDB(path, sync="none", fs=fs) as db:
        fs.calls.clear()
        db.insert({"n": 1})
        db.sync()
        assert fs.count("sync") == 1


def test_missing_directories_are_made_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "db"
    with pytest.raises(StorageError):
        JournalDB(path)
    with JournalDB(path, create_dirs=True) as db:
        db.insert({"n": 1})
    assert path.exists()


def test_the_journals_of_a_session_can_be_read_as_tables(tmp_path: Path, event: Any) -> None:
    path = tmp_path / "events.journal"
    journal = open_journal(
        OsFileSystem(), str(path), kind="events", name="s", replay=lambda _, data: None
    )
    row = encode_row(
        session_id="s",
        epoch=1,
        sequence=1,
        id="ev-1",
        turn_id="t",
        type="done",
        agent_name="a",
        timestamp=event().timestamp,
        event=event(type="done"),
    )
    usage = Put("token_usage", "t", encode_document({"input_tokens": 3}))
    journal.append([encode_payload(1, 1, [AppendRow(row), usage])])
    journal.close()
    before = path.read_bytes()
    with JournalDB(path, kind="events", name="s", read_only=True) as db:
        (stored,) = db.table("events").search(where("type") == "done")
        assert (stored.doc_id, stored["sequence"], stored["agent_name"]) == (1, 1, "a")
        assert db.table("token_usage").get(doc_id="t") == {"input_tokens": 3}
        assert db.storage.report.records == 1
        with pytest.raises(ReadOnlyRecordEventsError):
            db.insert({})
        db.sync()
    assert path.read_bytes() == before
    with pytest.raises(StoreClosedError):
        db.table("events").get(doc_id=1)


def test_what_lies_where_a_document_should_is_corruption(path: Path) -> None:
    with JournalDB(path) as db:
        db.insert({"text": "abc"})
        (place,) = db.storage.places("_default").values()
        with path.open("r+b") as file:
            file.seek(place.offset)
            file.write(b"\xff")
        with pytest.raises(StoreCorruptError) as caught:
            db.all()
        assert caught.value.offset == place.offset


def test_a_record_that_is_missing_is_corruption(path: Path) -> None:
    journal = open_journal(
        OsFileSystem(), str(path), kind="tables", name="", replay=lambda _, data: None
    )
    journal.append([encode_payload(1, 2, [Put("t", 1, encode_document({}))])])
    journal.close()
    with pytest.raises(StoreCorruptError):
        JournalDB(path, read_only=True)
    with JournalDB(path) as db:
        assert db.tables() == set()
        assert db.storage.report.damage is not None


def test_14_1_damage_leaves_the_correct_prefix_and_the_rest_is_set_aside_and_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with JournalDB(path) as db:
        db.insert_multiple([{"n": 1}, {"n": 2}])
        end = db.storage.size
        db.insert({"n": 3})
        db.insert({"n": 4})
    whole = path.read_bytes()
    path.write_bytes(whole[: end + 20] + bytes([whole[end + 20] ^ 1]) + whole[end + 21 :])
    damaged = path.read_bytes()
    with JournalDB(path, read_only=True) as db:
        assert db.all() == [{"n": 1}, {"n": 2}]
        assert (db.storage.report.damage, db.storage.report.quarantine) == (end, "")
    assert path.read_bytes() == damaged
    assert not caplog.records
    with JournalDB(path) as db:
        report = db.storage.report
        assert report.damage == end
        assert Path(report.quarantine).read_bytes() == damaged[end:]
        assert report.quarantine in caplog.text
        assert db.insert({"n": 5}) == 3
    with JournalDB(path) as db:
        assert db.all() == [{"n": 1}, {"n": 2}, {"n": 5}]
        assert db.storage.report.damage is None


def test_14_1_what_is_no_journal_is_left_where_it_is(path: Path) -> None:
    path.write_bytes(b'{"_default": {"1": {"n": 1}}}')
    with pytest.raises(StoreCorruptError):
        JournalDB(path)
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_removing_without_saying_what_is_refused(path: Path) -> None:
    with JournalDB(path) as db, pytest.raises(RuntimeError):
        db.remove()


def test_text_ids_are_ids_too(path: Path) -> None:
    with JournalDB(path) as db:
        db.storage.commit([Put("named", name, encode_document({"n": 1})) for name in "ba"])
    with JournalDB(path) as db:
        named = db.table("named")
        assert named.get(doc_id="a") == {"n": 1}
        assert [doc.doc_id for doc in named.search(where("n") == 1)] == ["b", "a"]
        assert [doc.doc_id for doc in named.get(doc_ids=["a", "c"])] == ["a"]
        assert named.insert({"n": 2}) == 1
        assert named.remove(doc_ids=["b"]) == ["b"]
        assert db.storage.read() == {"named": {"a": {"n": 1}, "1": {"n": 2}}}


keys = st.sampled_from(["a", "b"])
small = st.dictionaries(keys, st.integers(0, 3), max_size=2)
ids = st.integers(1, 8)


class SameAsTinyDB(RuleBasedStateMachine):
    """Any sequence of calls leaves the documents that TinyDB in memory has, also reopened."""

    open_: Any = JournalDB

    @initialize(path=st.uuids())
    def start(self, path: Any) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / str(path)
        self.model = TinyDB(storage=MemoryStorage)
        self.db = type(self).open_(self.path, sync="none")

    def both(self, act: Callable[[TinyDB], Any]) -> None:
        results = []
        for db in (self.model, self.db):
            try:
                results.append(act(db))
            except (ValueError, RuntimeError, KeyError) as error:
                results.append(
                    next(k for k in (KeyError, ValueError, RuntimeError) if isinstance(error, k))
                )
        assert results[0] == results[1]
        self.same()

    def same(self) -> None:
        for name in ("_default", "other"):
            mine, theirs = self.db.table(name), self.model.table(name)
            assert {doc.doc_id: doc for doc in mine} == {doc.doc_id: doc for doc in theirs}
            assert len(mine) == len(theirs)
        # TinyDB makes a table of a call that changes nothing; here nothing is written then.
        assert self.db.tables() <= self.model.tables()

    @rule(document=small, table=st.sampled_from(["_default", "other"]))
    def insert(self, document: dict[str, int], table: str) -> None:
        self.both(lambda db: db.table(table).insert(document))

    @rule(documents=st.lists(small, max_size=3))
    def insert_multiple(self, documents: list[dict[str, int]]) -> None:
        self.both(lambda db: db.insert_multiple(documents))

    @rule(document=small, doc_id=ids)
    def upsert_document(self, document: dict[str, int], doc_id: int) -> None:
        self.both(lambda db: db.upsert(Document(document, doc_id=doc_id)))
        # TinyDB looks for the next id anew after an id of the caller's, and may give one twice.
        next_id = self.db.table("_default")._next_id
        if next_id is not None:
            self.model.table("_default")._next_id = next_id

    @rule(document=small, key=keys, value=st.integers(0, 3))
    def update(self, document: dict[str, int], key: str, value: int) -> None:
        self.both(lambda db: db.update(document, where(key) == value))

    @rule(document=small, doc_ids=st.lists(ids, max_size=3))
    def update_ids(self, document: dict[str, int], doc_ids: list[int]) -> None:
        self.both(lambda db: db.update(document, doc_ids=doc_ids))

    @rule(doc_ids=st.lists(ids, max_size=3, unique=True))
    def remove_ids(self, doc_ids: list[int]) -> None:
        self.both(lambda db: db.remove(doc_ids=doc_ids))

    @rule(key=keys, value=st.integers(0, 3))
    def remove(self, key: str, value: int) -> None:
        self.both(lambda db: db.remove(where(key) == value))

    @rule(key=keys, value=st.integers(0, 3))
    def search(self, key: str, value: int) -> None:
        self.both(lambda db: sorted(doc.doc_id for doc in db.search(where(key) == value)))

    @rule(doc_id=ids)
    def get(self, doc_id: int) -> None:
        self.both(lambda db: db.get(doc_id=doc_id))

    @rule()
    def truncate(self) -> None:
        self.both(lambda db: db.truncate())

    @rule()
    def drop(self) -> None:
        self.both(lambda db: db.drop_table("other"))

    @rule()
    def drop_all(self) -> None:
        self.both(lambda db: db.drop_tables())

    @precondition(lambda self: hasattr(self, "db"))
    @rule()
    def reopen(self) -> None:
        self.db.close()
        self.db = type(self).open_(self.path, sync="none")
        # A new TinyDB takes the next id from the documents that are there.
        memory = self.model.storage
        self.model = TinyDB(storage=lambda: memory)
        self.same()

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            self.directory.cleanup()


class StockSameAsTinyDB(SameAsTinyDB):
    """The same of a stock TinyDB with this storage."""

    open_ = staticmethod(stock)


TestSameAsTinyDB = SameAsTinyDB.TestCase
TestSameAsTinyDB.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStockSameAsTinyDB = StockSameAsTinyDB.TestCase
TestStockSameAsTinyDB.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
