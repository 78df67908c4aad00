"""S10: a file of tables is rewritten beside its use, and no crash loses or changes a document."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import StorageError, StoreCorruptError, StoreSyncFailedError
from greenroom.actors.testing.sim_files import SimFileSystem
from greenroom.storage import JournalDB, compaction, table_storage
from greenroom.storage.compaction import compaction_path
from greenroom.storage.failpoints import FailPoint
from greenroom.storage.format import snapshot
from greenroom.storage.format.operations import (
    DropTable,
    Operation,
    Put,
    Remove,
    decode_document,
    encode_document,
    encode_payload,
)
from greenroom.storage.format.records import COMPACTED, Record, decode_header, scan
from greenroom.storage.format.table_index import TableHistory
from greenroom.storage.table_journal import open_tables
from greenroom.storage.table_storage import JournalStorage
from hypothesis import given, settings
from hypothesis import strategies as st

PATH = "/db/tables"
COMPACTION_POINTS = [
    FailPoint.COMPACTION,
    FailPoint.COMPACTION_COPIED,
    FailPoint.COMPACTION_SYNCED,
    FailPoint.COMPACTION_RENAMED,
    FailPoint.COMPACTION_ENDED,
]


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "COMPACT_RECORDS", 24)
    monkeypatch.setattr(snapshot, "COMPACT_AT_END_BYTES", 600)
    monkeypatch.setattr(snapshot, "SNAPSHOT_RECORD_BYTES", 120)
    monkeypatch.setattr(compaction, "SYNC_BYTES", 300)


def form_of(path: Path) -> str:
    return decode_header(path.read_bytes()).form


def contents(storage: JournalStorage) -> dict[str, list[tuple[Any, Any]]]:
    """Every table with its documents, in order."""
    return {
        name: [(doc_id, storage.load(place)) for doc_id, place in storage.places(name).items()]
        for name in sorted(storage.table_names())
    }


def test_14_1_a_mostly_dead_file_is_rewritten_while_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with JournalDB(path, sync="none") as db:
        db.insert_multiple([{"n": 0, "text": "x" * 100} for _ in range(50)])
        db.table("empty").insert({})
        db.table("empty").truncate()
        longest = db.storage.size
        for number in range(12_000):
            db.update({"n": number}, doc_ids=[number % 50 + 1])
            longest = max(longest, db.storage.size)
        assert db.storage.compaction_error is None
        # 12,000 updates of 140 bytes: three rewritings, each begun at 4,096 records.
        assert longest < 6000 * 200
        before = contents(db.storage)
        assert db.tables() == {"_default", "empty"}
    assert not os.path.exists(compaction_path(str(path)))
    assert form_of(path) == COMPACTED
    with JournalDB(path) as db:
        assert contents(db.storage) == before
        assert db.insert({"n": -1}) == 51
    with JournalDB(path) as db:
        assert db.get(doc_id=51) == {"n": -1}


def test_14_1_the_end_of_its_use_leaves_the_dead_behind(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with JournalDB(path, sync="none") as db:
        for number in range(300):
            db.upsert({"n": number, "text": "x" * 300}, cond=_all)
        assert db.storage.size > 64 * 1024
    assert path.stat().st_size < 1000
    with JournalDB(path) as db:
        assert db.all() == [{"n": 299, "text": "x" * 300}]


def test_a_file_that_lives_is_left_alone(tmp_path: Path, fs: Any) -> None:
    with JournalDB(tmp_path / "db", sync="none", fs=fs) as db:
        for number in range(5000):
            db.insert({"n": number})
    assert fs.count("open_append", ".compact") == 0


def _all(document: Any) -> bool:
    return True


def test_who_iterates_reads_the_documents_of_the_moment_he_began(
    tmp_path: Path, small_files: None
) -> None:
    with JournalDB(tmp_path / "db", sync="none") as db:
        db.insert_multiple([{"n": 0} for _ in range(10)])
        seen = []
        for document in db:
            seen.append(document["n"])
            for _ in range(60):
                db.update(_add_one, doc_ids=[document.doc_id])
        assert seen == [0] * 10
        assert [document["n"] for document in db] == [60] * 10


def _add_one(document: Any) -> None:
    document["n"] += 1


changes = st.one_of(
    st.builds(
        Put,
        st.sampled_from("ab"),
        st.integers(0, 5),
        st.binary(max_size=30).map(lambda data: encode_document({"data": data})),
    ),
    st.builds(Remove, st.sampled_from("ab"), st.integers(0, 5)),
    st.builds(DropTable, st.just("b")),
)


def play(model: dict[str, dict[Any, Any]], change: Operation) -> None:
    match change:
        case Put(table, doc_id, document):
            model.setdefault(table, {})[doc_id] = decode_document(document)
        case Remove(table, doc_id):
            model.get(table, {}).pop(doc_id, None)
        case DropTable(table):
            model.pop(table, None)


def in_order(model: dict[str, dict[Any, Any]]) -> dict[str, list[tuple[Any, Any]]]:
    return {name: list(model[name].items()) for name in sorted(model)}


@settings(deadline=None, max_examples=60)
@given(st.lists(changes, min_size=20, max_size=90), st.integers(1, 40))
def test_the_documents_and_their_order_are_those_of_plain_dictionaries(
    script: list[Operation], work: int
) -> None:
    """Whatever is put, removed or dropped, and wherever the rewriting stands meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "COMPACT_RECORDS", 5)
        patch.setattr(snapshot, "SNAPSHOT_RECORD_BYTES", 40)
        patch.setattr(table_storage, "WORK_RATIO", work)
        disk = simulated()
        model: dict[str, dict[Any, Any]] = {}
        storage = JournalStorage(PATH, sync="none", fs=disk)
        for change in script:
            storage.commit([change])
            play(model, change)
            assert contents(storage) == in_order(model)
        assert storage.compaction_error is None
        storage._journal.close()
        assert contents(JournalStorage(PATH, fs=disk)) == in_order(model)


def simulated() -> SimFileSystem:
    disk = SimFileSystem()
    disk.make_directory("/db")
    disk.sync_directory("/")
    return disk


class Script:
    """Commits to a storage on a simulated disk, and what it held after each acknowledged one."""

    def __init__(self, disk: SimFileSystem, commits: int = 90) -> None:
        self.disk = disk
        self.commits = commits
        self.model: dict[str, dict[Any, Any]] = {}
        self.acknowledged = in_order({})
        self.maybe: dict[str, list[tuple[Any, Any]]] | None = None
        self.errors: list[Exception] = []
        self.refused = False

    def run(self) -> None:
        """Go through the script; what fails must be typed, and is not acknowledged."""
        try:
            storage = JournalStorage(PATH, fs=self.disk)
        except StorageError as error:
            self.errors.append(error)
            return
        for number in range(self.commits):
            change = Put(
                "t", number % 6, encode_document({"n": number, "text": "x" * (number % 60)})
            )
            after = {name: dict(table) for name, table in self.model.items()}
            play(after, change)
            if not self.refused:
                self.maybe = in_order(after)
            try:
                storage.commit([change])
            except StorageError as error:
                self.errors.append(error)
                # Written and not synced: it may be there, and nothing is acknowledged any more.
                self.refused = self.refused or isinstance(error, StoreSyncFailedError)
                continue
            assert not self.refused, "acknowledged after a failed sync"
            self.model = after
            self.acknowledged, self.maybe = self.maybe, None
        if storage.compaction_error is not None:
            self.errors.append(storage.compaction_error)
        try:
            storage.close()
        except StorageError as error:
            self.errors.append(error)


def judge(
    state: SimFileSystem,
    acknowledged: dict[str, list[tuple[Any, Any]]],
    maybe: dict[str, list[tuple[Any, Any]]] | None,
) -> None:
    storage = JournalStorage(PATH, fs=state)
    assert contents(storage) in (acknowledged, maybe)
    before = contents(storage)
    storage.commit([Put("after", 1, encode_document({}))])
    storage.close()
    assert contents(JournalStorage(PATH, fs=state)) == {**before, "after": [(1, {})]}


def test_s10_a_power_loss_at_every_call_of_it_loses_no_document(small_files: None) -> None:
    """Three of the states that each instant may leave, at every call of a life with rewritings."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    disk = simulated()
    script = Script(disk)
    instants: list[Any] = []
    disk.fault = lambda number, call, path: instants.append(
        (disk.copy(), script.acknowledged, script.maybe)
    )
    script.run()
    disk.fault = None
    assert not script.errors
    assert sum(PATH in state.names_now for state, _, _ in instants) > 200
    renamed = [state for state, _, _ in instants if compaction_path(PATH) in state.names_now]
    assert len(renamed) > 20
    for instant, acknowledged, maybe in instants:
        for state in instant.after_power_loss(chance, 3):
            judge(state, acknowledged, maybe)
        judge(instant.after_kill(), acknowledged, maybe)


FAULTS = (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EINTR, "short write")


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_s4_s8_every_call_of_it_failing_makes_no_wrong_acknowledgement(
    small_files: None, fault: int | str, once: bool
) -> None:
    script = Script(simulated(), 50)
    script.run()
    refused = 0
    for at in range(1, script.disk.calls, 1 if once else 5):
        disk = simulated()
        script = Script(disk, 50)

        def fail(number: int, call: str, path: str, at: int = at) -> int | None:
            if number < at or (once and number > at):
                return None
            if isinstance(fault, str):
                return 7 if call == "append" else None
            raise OSError(fault, "injected", path)

        disk.fault = fail
        script.run()
        disk.fault = None
        refused += script.refused
        judge(disk.after_kill(), script.acknowledged, script.maybe)
    assert refused or isinstance(fault, str)


def test_s8_a_new_file_whose_sync_failed_never_takes_the_name(
    tmp_path: Path, fs: Any, small_files: None
) -> None:
    fs.fail("sync", ".compact", OSError(errno.EIO, "io"), times=1)
    path = tmp_path / "db"
    with JournalDB(path, fs=fs, sync="none") as db:
        while db.storage.compaction_error is None:
            db.upsert({"n": db.storage.size}, cond=_all)
        assert isinstance(db.storage.compaction_error, StoreSyncFailedError)
        assert not os.path.exists(compaction_path(str(path)))
        size = db.storage.size
        failed = fs.count("sync", ".compact")
        while fs.count("sync", ".compact") == failed:
            # It is tried again, anew, when the file has grown by half.
            longest = db.storage.size
            db.upsert({"n": longest}, cond=_all)
        assert longest >= size * 1.5
        while db.storage._journal.is_compacting:
            longest += 1
            db.upsert({"n": longest}, cond=_all)
        assert db.storage.compaction_error is None


def test_s8_a_name_that_may_not_be_kept_ends_the_acknowledgements(
    tmp_path: Path, fs: Any, small_files: None
) -> None:
    path = tmp_path / "db"
    db = JournalDB(path, fs=fs, sync="none")
    fs.fail("sync_directory", str(tmp_path), OSError(errno.EIO, "io"), times=1)
    last = 0
    with pytest.raises(StoreSyncFailedError):
        for last in range(1000):
            db.upsert({"n": last}, cond=_all)
    with pytest.raises(StoreSyncFailedError):
        db.insert({})
    db.close()
    with JournalDB(path) as db:
        assert db.all() == [{"n": last - 1}]


def test_a_new_file_that_was_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    JournalDB(path).close()
    Path(compaction_path(str(path))).write_bytes(b"left")
    JournalDB(path, read_only=True).close()
    assert os.path.exists(compaction_path(str(path)))
    JournalDB(path).close()
    assert not os.path.exists(compaction_path(str(path)))


def test_damage_is_never_copied(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "db"
    db = JournalDB(path, sync="none")
    db.insert_multiple([{"n": number, "text": "x" * 20} for number in range(5)])
    with path.open("r+b") as file:
        file.seek(db.storage.places("_default")[1].offset + 8)
        file.write(b"\xff")
    while db.storage.compaction_error is None:
        db.update({"n": db.storage.size}, doc_ids=[5])
    assert isinstance(db.storage.compaction_error, StoreCorruptError)
    db.close()
    with JournalDB(path) as db:
        assert db.storage.report.quarantine
        assert len(db) == 0


def test_s1_s2_a_snapshot_that_is_cut_or_damaged_is_damage(
    small_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what follows a snapshot can be the tail of a cut write; its prefix is served."""
    monkeypatch.setattr(snapshot, "COMPACT_RECORDS", 10**9)
    disk = simulated()
    storage = JournalStorage(PATH, sync="none", fs=disk)
    for number in range(60):
        storage.commit([Put("t", number % 12, encode_document({"n": number, "text": "x" * 30}))])
    storage.close()
    file = disk.open_read(PATH)
    whole = file.read(0, 1 << 20)
    wanted = contents(JournalStorage(PATH, fs=disk))["t"]
    assert JournalStorage(PATH, read_only=True, fs=disk).report.records > 3
    start = decode_header(whole).size
    flips = [
        whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(start, len(whole))
    ]
    for data in [*(whole[:cut] for cut in range(start, len(whole))), *flips]:
        disk = simulated()
        disk.open_append(PATH).append(data)
        storage = JournalStorage(PATH, read_only=True, fs=disk)
        assert storage.report.damage is not None
        storage = JournalStorage(PATH, fs=disk)
        assert storage.report.quarantine
        found = contents(storage).get("t", [])
        assert found == wanted[: len(found)] != wanted
        storage.close()
        again = JournalStorage(PATH, fs=disk)
        assert again.report.damage is None
        assert contents(again).get("t", []) == found


@pytest.mark.parametrize("parts", [0, 1, 2])
def test_4_6_a_cut_snapshot_is_mended_once(tmp_path: Path, small_files: None, parts: int) -> None:
    """What is whole of it is served, and from then on it counts as the whole."""
    disk = simulated()
    storage = JournalStorage(PATH, fs=disk)
    for number in range(40):
        storage.commit([Put("t", number % 9, encode_document({"n": "x" * 30}))])
    storage.close()
    ends: list[int] = []
    file = disk.open_read(PATH)
    for item in scan(file.read, decode_header(file.read(0, 4096)).size):
        if isinstance(item, Record):
            ends.append(item.offset + len(item.payload))
    assert len(ends) > 3
    disk.open_append(PATH).truncate(ends[parts - 1] if parts else ends[0] - 1)
    open_: Any = partial(open_tables, disk, PATH, kind="tables", name="")
    with pytest.raises(StoreCorruptError):
        open_(TableHistory())
    if not parts:
        disk.open_append(PATH).truncate(decode_header(file.read(0, 4096)).size)
    mended, again = TableHistory(), TableHistory()
    open_(mended, mend=True).close()
    journal = open_(again)
    assert again.index.tables == mended.index.tables
    assert (sum(map(len, again.index.tables.values())) > 0) is (parts > 0)
    journal.append([encode_payload(1, again.number + 1, [])])
    journal.close()
    open_(TableHistory()).close()


WRITER = """
import os, signal, sys
from greenroom.storage import JournalDB, compaction, table_storage
from greenroom.storage.failpoints import FailPoint, arm
from greenroom.storage.format import snapshot

snapshot.COMPACT_RECORDS, snapshot.SNAPSHOT_RECORD_BYTES, compaction.SYNC_BYTES = 40, 200, 500
path, point, left = sys.argv[1], FailPoint(sys.argv[2]), int(sys.argv[3])

def crash():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

arm(point, crash)
db = JournalDB(path)
for number in range(100_000):
    db.upsert({"key": number % 20, "n": number}, cond=lambda d: d["key"] == number % 20)
    os.write(1, b"%d\\n" % number)
"""


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("point", COMPACTION_POINTS)
def test_s10_a_kill_at_a_named_point_loses_nothing(
    tmp_path: Path, point: FailPoint, after: int
) -> None:
    path = tmp_path / "db"
    ran = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), point, str(after)],
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL
    last = int(ran.stdout.splitlines()[-1])
    with JournalDB(path) as db:
        found = {document["key"]: document["n"] for document in db}
    wanted = {number % 20: number for number in range(last + 1)}
    ahead = {**wanted, (last + 1) % 20: last + 1}
    assert found in (wanted, ahead)
    assert not os.path.exists(compaction_path(str(path)))
