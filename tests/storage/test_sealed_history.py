"""A long history: sealed parts, their indexes, and opening without reading it (03 14.1, 14.3)."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import StorageError, StoreCorruptError
from greenroom.actors.model.query import EventQuery
from greenroom.storage import JournalDB, event_rows, segmented_journal
from greenroom.storage.failpoints import FailPoint, arm, disarm
from greenroom.storage.home import HomeStore
from greenroom.storage.readonly import ReadOnlySessionStore
from greenroom.storage.session_store import SessionStore
from tinydb import Query

IO = OSError(errno.EIO, "io")
KINDS = ("agent_message", "thought", "tool_call", "done")
SEALING = (
    FailPoint.SEAL,
    FailPoint.SEAL_PREPARED,
    FailPoint.SEALED,
    FailPoint.SEAL_ENDED,
)


class History:
    """A session whose parts are sealed at a few kilobytes."""

    def __init__(self, open_home: Callable[..., HomeStore], hub: Any, event: Any) -> None:
        self._open_home, self.hub, self.event = open_home, hub, event
        self.home = open_home(sync_interval=3600.0)
        self.path = self.home.layout.home
        self.directory = Path(self.home.layout.session("s"))
        self.open(create=True)

    def open(self, *, create: bool = False) -> SessionStore:
        done: list[Exception | None] = []
        self.store = self.home.open_session("s", create=create, done=done.append)
        self.hub.run_until(lambda: done)
        return self.store

    def record(self, count: int, first: int | None = None) -> None:
        told: list[Exception | None] = []
        first = self.store.last_sequence() if first is None else first
        for number in range(first, first + count):
            event = self.event(number, type=KINDS[number % 4], text=f"text {number} " + "x" * 60)
            self.store.submit([event], agent_name="a", durable=False, done=told.append)
            if number % 20 == 19:
                # Into the files: a part is sealed when it is written to.
                wanted = number + 1 - first
                self.hub.run_until(lambda wanted=wanted: len(told) == wanted)
                self.hub.run_until(lambda: not self.store._rows.recent)
        self.hub.run_until(lambda: len(told) == count)
        assert not any(told)

    def close(self) -> None:
        done: list[Exception | None] = []
        self.store.close(done.append)
        self.hub.run_until(lambda: done)
        assert done == [None]

    def reopen(self) -> None:
        self.home.close()
        self.hub.run_posted()
        self.home = self._open_home(sync_interval=3600.0)

    def parts(self) -> list[str]:
        return sorted(
            name
            for name in os.listdir(self.directory)
            if name.startswith("events.journal.") and name[-1].isdigit()
        )

    def texts(self, store: Any = None, **query: Any) -> list[int]:
        events = (store or self.store).query(EventQuery(**query))
        return [int(event.event.text.split()[1]) for event in events]


@pytest.fixture
def history(
    open_home: Callable[..., HomeStore], hub: Any, event: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[History]:
    monkeypatch.setattr(segmented_journal, "SEAL_BYTES", 8000)
    monkeypatch.setattr(segmented_journal, "SEAL_AT_END_BYTES", 4000)
    monkeypatch.setattr("greenroom.storage.materialiser.JOURNAL_BATCH_BYTES", 1)
    yield History(open_home, hub, event)
    disarm()


def test_a_grown_history_is_sealed_in_parts_and_read_as_one(history: History) -> None:
    history.record(200)
    history.close()
    assert len(history.parts()) >= 4
    assert all((history.directory / f"{part}.idx").exists() for part in history.parts())
    assert not list(history.directory.glob("*.new"))
    stopped = history.home.reader("s")
    assert history.texts(stopped) == [*range(200)]
    history.open()
    assert history.texts() == [*range(200)]
    history.record(3)
    assert history.texts(after_sequence=198) == [198, 199, 200, 201, 202]
    assert history.texts(turn_id="turn-3") == [*range(30, 40)]
    assert history.texts(type="done", limit=3) == [191, 195, 199]
    assert [event.epoch for event in history.store.query(EventQuery(limit=4))] == [1, 2, 2, 2]


def test_f7_opening_reads_only_what_is_not_sealed(history: History, fs: Any) -> None:
    history.record(400)
    history.close()
    fs.calls.clear()
    reader = ReadOnlySessionStore.open(str(history.directory), "s", fs)
    assert reader.last_sequence() == 400
    sealed = sum((history.directory / part).stat().st_size for part in history.parts())
    read = sum(
        size for call, path, size in fs.calls if call == "read" and not path.endswith(".idx")
    )
    asked_of_parts = [path for call, path, _ in fs.calls if call == "read" and path[-1].isdigit()]
    assert sealed > 40_000
    assert not asked_of_parts
    assert read <= 3 * 256 * 1024


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ({"limit": 50}, 50),
        ({"after_sequence": 390}, 10),
        ({"turn_id": "turn-7"}, 10),
        ({"type": "done", "limit": 5}, 5),
        ({"type": "done", "turn_id": "turn-9"}, 3),
        ({"type": "thought", "agent_name": "a", "limit": 7, "order": "head"}, 7),
        ({"agent_name": "other"}, 0),
    ],
    ids=str,
)
def test_s9_a_query_reads_the_rows_of_its_result_only(
    history: History, monkeypatch: pytest.MonkeyPatch, query: dict[str, Any], rows: int
) -> None:
    history.record(400)
    history.close()
    history.open()
    decoded: list[bytes] = []
    decode = event_rows.decode_row
    monkeypatch.setattr(event_rows, "decode_row", lambda row: decoded.append(row) or decode(row))
    assert len(history.store.query(EventQuery(**query))) == rows
    assert len(decoded) == rows


def test_queries_over_parts_are_those_of_a_plain_list(history: History) -> None:
    history.record(300)
    history.close()
    history.open()
    everything = history.store.query(EventQuery())
    for kind in ("", *KINDS):
        for turn in ("", "turn-0", "turn-17", "none"):
            for limit, order in ((0, "tail"), (4, "tail"), (4, "head")):
                for after in (0, 57, 299):
                    query = EventQuery(
                        type=kind, turn_id=turn, limit=limit, order=order, after_sequence=after
                    )
                    wanted = [
                        event
                        for event in everything
                        if event.type == (kind or event.type)
                        and event.turn_id == (turn or event.turn_id)
                        and event.sequence > after
                    ]
                    if limit:
                        wanted = wanted[:limit] if order == "head" else wanted[-limit:]
                    assert history.store.query(query) == wanted


@pytest.mark.parametrize("harm", ["missing", "cut", "flipped", "another's", "empty"])
def test_an_index_is_never_truth(history: History, harm: str) -> None:
    history.record(200)
    history.close()
    for number, part in enumerate(history.parts()):
        index = history.directory / f"{part}.idx"
        data = bytearray(index.read_bytes())
        match harm:
            case "missing":
                index.unlink()
            case "cut":
                index.write_bytes(data[:-3])
            case "flipped":
                data[len(data) // 2] ^= 4
                index.write_bytes(data)
            case "another's":
                other = history.directory / f"{history.parts()[number - 1]}.idx"
                index.write_bytes(other.read_bytes())
            case "empty":
                index.write_bytes(b"")
    assert history.texts(history.home.reader("s")) == [*range(200)]
    history.open()
    assert history.texts() == [*range(200)]
    history.close()
    # Made again by the writable open, and used by the next.
    assert all((history.directory / f"{part}.idx").stat().st_size for part in history.parts())
    history.open()
    assert history.texts(type="done", limit=1) == [199]


@pytest.mark.parametrize("point", SEALING)
def test_a_crash_while_sealing_loses_nothing(
    history: History, tmp_path: Path, point: FailPoint
) -> None:
    copies: list[Path] = []

    def crash() -> None:
        if len(copies) < 3:
            copies.append(tmp_path / f"copy{len(copies)}")
            shutil.copytree(history.path, copies[-1])

    arm(point, crash)
    history.record(200)
    disarm()
    history.close()
    history.home.close()
    history.hub.run_posted()
    assert len(copies) == 3
    for copy in copies:
        found = HomeStore.open(copy, post=history.hub.post)
        assert not found.report.failed
        store = found.open_session("s", create=False)
        count = store.last_sequence()
        assert history.texts(store) == [*range(count)]
        done: list[Exception | None] = []
        event = history.event(count, text=f"text {count}")
        store.submit([event], agent_name="a", durable=True, done=done.append)
        history.hub.run_until(lambda done=done: done)
        assert history.texts(store) == [*range(count + 1)]
        found.close()
        history.hub.run_posted()
        again = ReadOnlySessionStore.open(f"{copy}/sessions/s", "s")
        assert history.texts(again) == [*range(count + 1)]


@pytest.mark.parametrize("call", ["rename", "open_append", "remove"])
def test_sealing_that_fails_is_no_failure_of_a_write(
    history: History, fs: Any, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(fs, call)
    left = [3]

    def failing(*paths: str) -> Any:
        if any("events.journal" in path and path[-4:] in (".new", ".idx") for path in paths) or (
            call == "rename"
        ):
            left[0] -= 1
            if left[0] >= 0:
                raise IO
        return real(*paths)

    monkeypatch.setattr(type(fs), call, lambda self, *paths: failing(*paths))
    history.record(300)
    assert history.home.error is None or isinstance(history.home.error, StorageError)
    history.record(100)
    assert history.texts() == [*range(400)]
    monkeypatch.undo()
    history.reopen()
    assert history.texts(history.home.reader("s")) == [*range(400)]


def test_readers_of_any_thread_see_a_whole_prefix_while_parts_are_sealed(
    history: History,
) -> None:
    failures: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        reader = history.store.reader()
        try:
            while not ended.is_set():
                texts = history.texts(reader)
                assert texts == [*range(len(texts))]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(12):
            history.record(50)
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
    assert not failures
    assert len(history.parts()) > 3


def test_5_18_a_sealed_block_is_verified_when_it_is_first_read(history: History) -> None:
    history.record(200)
    history.close()
    part = history.directory / history.parts()[1]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    reader = history.home.reader("s")
    assert reader.last_sequence() == 200
    assert history.texts(reader, limit=5) == [195, 196, 197, 198, 199]
    with pytest.raises(StoreCorruptError) as caught:
        reader.query(EventQuery())
    assert caught.value.path == str(part)


def test_4_6_a_damaged_part_leaves_the_prefix_and_the_rest_is_set_aside(
    history: History,
) -> None:
    history.record(200)
    history.close()
    parts = history.parts()
    part = history.directory / parts[1]
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    (history.directory / f"{parts[1]}.idx").unlink()
    reader = history.home.reader("s")
    assert isinstance(reader, ReadOnlySessionStore)
    assert reader.damage is not None
    kept = reader.last_sequence()
    assert history.texts(reader) == [*range(kept)]
    history.open()
    assert history.texts() == [*range(kept)]
    assert history.parts() == parts[:1]
    assert len(list(history.directory.glob("events.journal.corrupt.*"))) == 1
    history.record(100)
    history.close()
    history.open()
    assert history.texts() == [*range(kept + 100)]


def test_a_missing_part_is_damage(history: History) -> None:
    history.record(200)
    history.close()
    (history.directory / history.parts()[1]).unlink()
    reader = history.home.reader("s")
    assert isinstance(reader, ReadOnlySessionStore)
    kept = reader.last_sequence()
    assert 0 < kept < 200
    assert history.texts(reader) == [*range(kept)]
    history.open()
    assert history.texts() == [*range(kept)]


def test_the_tables_of_a_sealed_session_are_one_tinydb(history: History) -> None:
    history.record(120)
    history.close()
    assert len(history.parts()) > 1
    path = history.directory / "events.journal"
    db = JournalDB(path, kind="events", name="s", read_only=True)
    rows = db.table("events")
    assert len(rows) == 120
    assert rows.get(doc_id=1)["turn_id"] == "turn-0"
    assert [rows.get(doc_id=number)["sequence"] for number in (120, 1, 60, 61)] == [120, 1, 60, 61]
    assert len(rows.search(Query().turn_id == "turn-5")) == 10
    db.close()
    data = bytearray((history.directory / history.parts()[1]).read_bytes())
    data[len(data) // 2] ^= 1
    (history.directory / history.parts()[1]).write_bytes(data)
    damaged = JournalDB(path, kind="events", name="s", read_only=True)
    assert damaged.storage.report.damage is not None
    found = [row["sequence"] for row in damaged.table("events")]
    assert found == [*range(1, len(found) + 1)]
    assert 0 < len(found) < 120
