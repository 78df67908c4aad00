"""F5, F6, F7 and the store's part of F9, beside their peers in the same run.

Rounds are interleaved; each figure is the median of the rounds' ratios.
"""

from __future__ import annotations

import itertools
import os
import queue
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.query import EventQuery
from greenroom.storage import JournalDB
from greenroom.storage.files import OsFileSystem
from greenroom.storage.format.operations import join_payload
from greenroom.storage.format.row_encoder import RowEncoder
from greenroom.storage.home import HomeStore
from greenroom.storage.journal import Journal, open_journal
from greenroom.storage.readonly import ReadOnlySessionStore
from tinydb import TinyDB

pytestmark = pytest.mark.bench
ROUNDS = 9
NOW = datetime(2026, 4, 3, 12, tzinfo=UTC)
LAST = "select row from (select * from events order by sequence desc limit 50)"
AFTER = "select row from events where sequence > 50000 order by sequence limit 1000"


def events(count: int, turn: str = "turn-1") -> list[AgentEvent]:
    return [
        AgentEvent(type="agent_message", turn_id=turn, timestamp=NOW, text=f"chunk {n} " + "x" * 80)
        for n in range(count)
    ]


def rows(count: int) -> list[bytes]:
    encoder = RowEncoder("session-0123456789", 1)
    return [
        encoder.encode(n, f"ev-{n:016}", "demo", NOW, event)
        for n, event in enumerate(events(count), 1)
    ]


def timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def ratio(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(ours / peer for ours, peer in pairs)


class Opened:
    """A home with sessions, driven by this thread."""

    def __init__(self, path: Path, sessions: int = 1) -> None:
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.home = HomeStore.open(path, post=self._posted.put)
        told: list[Any] = []
        self.stores = [
            self.home.open_session(f"session-{n:06}", create=True, done=told.append)
            for n in range(sessions)
        ]
        self.run_until(lambda: len(told) == sessions)

    def run_until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._posted.get(timeout=30)()

    def append(self, group: list[AgentEvent], *, durable: bool) -> None:
        told: list[Any] = []
        self.stores[0].submit(group, agent_name="demo", durable=durable, done=told.append)
        self.run_until(lambda: bool(told))

    def close(self) -> None:
        self.home.close()


def test_f5_one_insert_whatever_the_table_holds(tmp_path: Path) -> None:
    document = {"text": "x" * 300, "number": 7}
    databases = {}
    for size in (1_000, 100_000):
        databases[size] = JournalDB(tmp_path / f"{size}.journal", sync="none")
        databases[size].insert_multiple(dict(document) for _ in range(size))
    pairs = []
    for _ in range(ROUNDS):
        cost = {
            size: timed(lambda db=db: [db.insert(document) for _ in range(300)])
            for size, db in databases.items()
        }
        pairs.append((cost[100_000], cost[1_000]))
    growth = ratio(pairs)
    print(f"\nF5  insert at 100,000 / at 1,000: {growth:.2f} (bar 1.2)")
    assert growth <= 1.2
    speed: dict[str, list[float]] = {"each": [], "group": []}
    for number in range(ROUNDS):
        stock = TinyDB(tmp_path / f"stock{number}.json")
        peer = timed(lambda db=stock: [db.insert(document) for _ in range(1000)])
        stock.close()
        for sync, found in speed.items():
            db = JournalDB(tmp_path / f"{sync}{number}.journal", sync=sync)
            found.append(peer / timed(lambda db=db: [db.insert(document) for _ in range(1000)]))
            db.close()
    each, group = (statistics.median(found) for found in speed.values())
    print(
        f"    stock TinyDB / ours, 1,000 inserts: synced {each:.1f} (bar 7), "
        f"group-synced {group:.1f} (bar 100)"
    )
    assert each >= 7
    assert group >= 100


def test_f6_durable_append_in_groups_of_64(tmp_path: Path) -> None:
    """The peers take turns group by group: what the disk does meanwhile falls on all of them."""
    groups, data = 250, rows(64)
    payload = b"".join(data)
    group = events(64)
    found: list[dict[str, float]] = []
    for number in range(ROUNDS):
        opened = Opened(tmp_path / f"home{number}")
        journal = open_journal(
            OsFileSystem(), f"{tmp_path}/j{number}", kind="tables", name="", replay=_nothing
        )
        handle = os.open(tmp_path / f"raw{number}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        full = _sqlite(tmp_path / f"full{number}.db", "FULL")
        normal = _sqlite(tmp_path / f"normal{number}.db", "NORMAL")
        record = itertools.count(1)
        acts: dict[str, Callable[[], object]] = {
            "raw": partial(_append_raw, handle, payload),
            "ours": partial(_append_framed, journal, record, data),
            "full": partial(_insert, full, data),
            "home": partial(opened.append, group, durable=True),
            "normal": partial(_insert, normal, data),
        }
        costs = dict.fromkeys(acts, 0.0)
        for _ in range(groups):
            for name, act in acts.items():
                costs[name] += timed(act)
        found.append(costs)
        opened.close()
        journal.close()
        os.close(handle)
        full.close()
        normal.close()

    def told(what: str, peer: str, ours: str = "ours") -> float:
        ratios = sorted(costs[peer] / costs[ours] for costs in found)
        print(f"    {what}: {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})")
        return statistics.median(ratios)

    print(f"\nF6  encoded rows, groups of 64, {ROUNDS} rounds")
    plain = told("raw append + fdatasync / ours (bar 0.85)", "raw")
    peer = told("sqlite WAL FULL / ours (bar 1.3)", "full")
    told("sqlite WAL FULL / a home: events encoded, one group at a time", "full", "home")
    told("sqlite WAL NORMAL / ours", "normal")
    assert plain >= 0.85
    assert peer >= 1.3


def _append_raw(handle: int, payload: bytes) -> None:
    os.write(handle, payload)
    os.fdatasync(handle)


def _append_framed(journal: Journal, record: Iterator[int], data: list[bytes]) -> None:
    journal.append([join_payload(1, next(record), (), data)])
    journal.sync()


def _nothing(offset: int, payload: bytes) -> None:
    """A new journal holds no record."""


def _sqlite(path: Path, level: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode=WAL")
    db.execute(f"pragma synchronous={level}")
    db.execute("create table events (sequence integer primary key, turn text, row blob)")
    db.execute("create index by_turn on events (turn)")
    return db


def _insert(db: sqlite3.Connection, data: list[bytes]) -> None:
    db.execute("begin")
    db.executemany(
        "insert into events (turn, row) values (?, ?)", [("turn-1", row) for row in data]
    )
    db.execute("commit")


def test_f7_open_and_read_100_000_events(tmp_path: Path) -> None:
    count = 100_000
    opened = Opened(tmp_path / "home")
    for turn in range(count // 1000):
        opened.append(events(1000, f"turn-{turn}"), durable=False)
    opened.close()
    directory = f"{tmp_path}/home/sessions/session-000000"
    path = tmp_path / "peer.db"
    filled = _sqlite(path, "NORMAL")
    for _ in range(count // 1000):
        _insert(filled, rows(1000))
    filled.close()
    opens, tails, afters = [], [], []
    for _ in range(ROUNDS):
        ours = timed(lambda: ReadOnlySessionStore.open(directory, "session-000000").head())

        def peer_open() -> None:
            db = sqlite3.connect(path)
            assert db.execute("select count(*) from events").fetchone() == (count,)
            db.close()

        opens.append((ours, timed(peer_open)))
        reader = ReadOnlySessionStore.open(directory, "session-000000")
        assert reader.last_sequence() == count
        db = sqlite3.connect(path)
        tail = timed(lambda r=reader: r.rows_after(count - 50, bytes_max=1 << 20))
        tails.append((timed(lambda db=db: db.execute(LAST).fetchall()), tail))
        page = timed(lambda r=reader: r.rows_after(50_000, bytes_max=1 << 20, until=51_000))
        afters.append((timed(lambda db=db: db.execute(AFTER).fetchall()), page))
        db.close()
        assert len(reader.query(EventQuery(limit=50))) == 50
    print(f"\nF7  open, ours / sqlite open + count: {ratio(opens):.2f} (bar 1)")
    print(f"    last 50, sqlite / ours: {ratio(tails):.2f} (bar 1)")
    print(f"    1,000 after a sequence, sqlite / ours: {ratio(afters):.2f} (bar 1)")
    assert ratio(opens) <= 1
    assert ratio(tails) >= 1
    assert ratio(afters) >= 1


def _told(told: list[float], at: float, error: Exception | None) -> None:
    assert error is None
    told.append(time.perf_counter() - at)


def test_f9_store_part_a_thousand_sessions_of_one_event_a_second(tmp_path: Path) -> None:
    sessions = 1000
    opened = Opened(tmp_path / "home", sessions)
    group = events(1)
    costs, waits = [], []
    for _ in range(ROUNDS):
        begin, cpu = time.perf_counter(), time.process_time()
        told: list[float] = []
        for store in opened.stores:
            at = time.perf_counter()
            done = partial(_told, told, at)
            store.submit(group, agent_name="demo", durable=False, done=done)
        opened.run_until(lambda told=told: len(told) == sessions)
        costs.append((time.process_time() - cpu) / sessions)
        waits.append(sorted(told)[int(sessions * 0.99)])
        assert time.perf_counter() - begin < 10
    opened.close()
    micros = statistics.median(costs) * 1e6
    print(f"\nF9  store part: {micros:.1f} us of CPU per event of 10,000 sessions' kind")
    print(f"    = {micros:.0f} % of a core at 10,000 events/s")
    print(f"    p99 of a burst of {sessions}: {statistics.median(waits) * 1e3:.1f} ms")
    assert micros <= 40
