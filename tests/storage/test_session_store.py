"""One session's store: sequences, failures, epochs, state and every way to read it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import (
    ReadOnlyRecordEventsError,
    ReadOnlyRecordTokenUsageError,
    StorageError,
    StoreClosedError,
    StoreCorruptError,
    StoreSyncFailedError,
    StoreValidationError,
)
from greenroom.actors.model.event import NO_TIME, AgentEvent
from greenroom.actors.model.query import EventQuery
from greenroom.storage import event_rows, materialiser, segmented_journal
from greenroom.storage.event_files import EventFiles
from greenroom.storage.files import OsFileSystem
from greenroom.storage.format.operations import AppendRow, encode_payload
from greenroom.storage.format.row_index import RowKey
from greenroom.storage.format.rows import decode_row, encode_row
from greenroom.storage.home import HomeStore
from greenroom.storage.journal import open_journal
from greenroom.storage.readonly import ReadOnlySessionStore
from greenroom.storage.session_store import SessionStore, StateOp, StoredRow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FULL = OSError(errno.ENOSPC, "disk full")
LOG = "/wal/"


class Session:
    """An open session of the test's home, and what its submits were told."""

    def __init__(self, open_home: Callable[..., HomeStore], hub: Any, event: Any) -> None:
        self.hub, self.event = hub, event
        self.home = open_home(sync_interval=3600.0)
        self.store: SessionStore = self.open(create=True)

    def open(self, *, create: bool = False) -> SessionStore:
        activated: list[Exception | None] = []
        self.told: list[Exception | None] = []
        self.store = self.home.open_session("sess-1", create=create, done=activated.append)
        self.hub.run_until(lambda: activated)
        assert activated == [None]
        return self.store

    def submit(self, *events: AgentEvent, **options: Any) -> list[StoredRow]:
        options = {"agent_name": "demo", "durable": False, "done": self.told.append, **options}
        return self.store.submit(events, **options)

    def record(self, count: int, first: int = 0) -> None:
        for number in range(first, first + count):
            self.submit(self.event(number))
        self.settle(len(self.told) + count)

    def settle(self, count: int) -> None:
        self.hub.run_until(lambda: len(self.told) >= count)

    def close(self) -> None:
        closed: list[Exception | None] = []
        self.store.close(closed.append)
        self.hub.run_until(lambda: closed)
        assert closed == [None]

    def sequences(self, **query: Any) -> list[int]:
        return [event.sequence for event in self.store.query(EventQuery(**query))]


@pytest.fixture
def session(open_home: Callable[..., HomeStore], hub: Any, event: Any) -> Session:
    return Session(open_home, hub, event)


def test_4_2_rows_get_the_next_sequences_and_new_ids_at_once(session: Session) -> None:
    rows = session.submit(session.event(1), session.event(2))
    more = session.submit(session.event(3))
    assert [row.sequence for row in [*rows, *more]] == [1, 2, 3]
    assert len({row.id for row in [*rows, *more]}) == 3
    assert all(row.id.startswith("ev-") and len(row.id) == 19 for row in rows)
    assert rows[0].epoch == session.store.epoch() == 1
    assert session.store.last_sequence() == 0
    session.settle(2)
    assert session.store.last_sequence() == 3
    stored = session.store.query(EventQuery())
    assert [event.id for event in stored] == [row.id for row in [*rows, *more]]
    assert [decode_row(row.row) for row in rows] == stored[:2]


def test_4_3_only_committed_rows_are_readable(session: Session, fs: Any) -> None:
    gate = fs.gate("append", LOG)
    session.submit(session.event(1), durable=True)
    gate.wait_until_reached()
    assert session.sequences() == []
    assert session.store.rows_after(0, bytes_max=1000) == []
    gate.go_on.set()
    session.settle(1)
    assert session.sequences() == [1]


@pytest.mark.parametrize(
    ("bad", "agent_name", "field"),
    [
        ({"turn_id": " "}, "demo", "turn_id"),
        ({"type": ""}, "demo", "type"),
        ({}, " ", "agent_name"),
        ({"text": "\ud800"}, "demo", ""),
    ],
)
def test_4_1_a_bad_event_is_refused_and_nothing_is_assigned(
    session: Session, bad: dict[str, str], agent_name: str, field: str
) -> None:
    with pytest.raises(StoreValidationError) as caught:
        session.submit(session.event(1), session.event(2, **bad), agent_name=agent_name)
    assert caught.value.field == field
    with pytest.raises(StoreValidationError):
        session.submit(session.event(1), state_ops=[StateOp("t", 1, {"x": object()})])
    assert session.submit(session.event(3))[0].sequence == 1
    session.settle(1)
    assert session.told == [None]


def test_4_1_an_event_without_a_time_gets_the_time_of_its_row(session: Session) -> None:
    session.submit(session.event(1, timestamp=NO_TIME))
    session.settle(1)
    (stored,) = session.store.query(EventQuery())
    assert stored.timestamp > NO_TIME
    assert stored.event.timestamp == NO_TIME


def test_4_2_a_failed_commit_takes_later_ones_with_it_and_leaves_no_gap(
    session: Session, fs: Any
) -> None:
    session.record(3)
    hold = fs.gate("append", LOG)
    session.submit(session.event(4))
    hold.wait_until_reached()
    lost = [session.submit(session.event(number))[0].sequence for number in (5, 6)]
    fs.fail("append", LOG, FULL, times=1)
    hold.go_on.set()
    session.settle(6)
    assert [type(error) for error in session.told[4:]] == [StorageError] * 2
    assert lost == [5, 6]
    assert session.store.last_sequence() == 4
    assert session.submit(session.event(7))[0].sequence == 5
    session.settle(7)
    assert session.told[6] is None
    assert [event.event.text for event in session.store.query(EventQuery())] == [
        "text 0",
        "text 1",
        "text 2",
        "text 4",
        "text 7",
    ]


def test_what_is_submitted_before_the_failure_is_known_fails_too(
    session: Session, fs: Any, hub: Any
) -> None:
    session.record(1)
    fs.fail("append", LOG, FULL, times=1)
    session.submit(session.event(2))
    # The writer has failed by now or will; the hub has not run its answer.
    assert session.submit(session.event(3))[0].sequence == 3
    session.settle(3)
    assert [error is None for error in session.told] == [True, False, False]
    session.record(2, first=8)
    assert session.sequences() == [1, 2, 3]


def test_14_1_rows_and_state_of_one_submit_live_or_die_together(session: Session, fs: Any) -> None:
    fs.fail("append", LOG, FULL, times=1)
    session.submit(session.event(1), state_ops=[StateOp("queue", "q1", {"n": 1})])
    session.settle(1)
    assert session.store.state_document("queue", "q1") is None
    session.submit(session.event(1), state_ops=[StateOp("queue", "q1", {"n": 2})], durable=True)
    session.settle(2)
    assert session.store.state_document("queue", "q1") == {"n": 2}
    assert session.sequences() == [1]


def test_13_a_failed_sync_refuses_everything_later(session: Session, fs: Any) -> None:
    session.record(2)
    fs.fail("sync", LOG, OSError(errno.EIO, "io"), times=1)
    session.submit(session.event(3), durable=True)
    session.settle(3)
    assert isinstance(session.told[2], StoreSyncFailedError)
    with pytest.raises(StoreSyncFailedError):
        session.submit(session.event(4))
    assert session.sequences() == [1, 2]
    assert session.store.last_sequence() == 2
    assert isinstance(session.home.error, StoreSyncFailedError)


def test_a_failed_activation_is_made_up_for_by_the_next_submit(
    open_home: Callable[..., HomeStore], hub: Any, fs: Any, event: Any
) -> None:
    home = open_home(sync_interval=3600.0)
    fs.fail("append", LOG, FULL, times=1)
    told: list[Exception | None] = []
    store = home.open_session("s", create=True, done=told.append)
    hub.run_until(lambda: told)
    assert isinstance(told[0], StorageError)
    syncs = fs.count("sync", LOG)
    store.submit([event(1)], agent_name="a", durable=False, done=told.append)
    hub.run_until(lambda: len(told) == 2)
    # Class F although it was asked as class P: the epoch must be on the medium first.
    assert fs.count("sync", LOG) == syncs + 1
    assert fs.count("sync_directory", "/sessions/s") == 1
    assert store.head() == (1, 1)


def test_14_1_each_writable_open_is_a_new_epoch_and_sequences_go_on(session: Session) -> None:
    session.record(2)
    session.close()
    session.open()
    assert (session.store.epoch(), session.store.last_sequence()) == (2, 2)
    session.record(1)
    assert [event.cursor for event in session.store.query(EventQuery())] == [
        (1, 1),
        (1, 2),
        (2, 3),
    ]
    assert session.store.report.records == 3


def test_4_4_a_closed_store_refuses_and_its_directory_is_complete(
    session: Session, hub: Any
) -> None:
    session.submit(session.event(1), state_ops=[StateOp("queue", "q", {"n": 1})])
    path = Path(session.store.path)
    store = session.store
    session.close()
    assert session.told == [None]
    for refused in (
        lambda: session.submit(session.event(2)),
        lambda: store.query(EventQuery()),
        lambda: store.history(EventQuery()),
        lambda: store.rows_after(0, bytes_max=1),
        lambda: store.resolve(0, 0),
        lambda: store.state_document("queue", "q"),
        lambda: store.state_documents("queue"),
        store.last_sequence,
        store.head,
        store.reader,
    ):
        with pytest.raises(StoreClosedError):
            refused()
    again: list[Exception | None] = []
    store.close(again.append)
    assert again == [None]
    stopped = ReadOnlySessionStore.open(str(path.parent), "sess-1")
    assert [event.event.text for event in stopped.query(EventQuery())] == ["text 1"]
    assert stopped.state_document("queue", "q") == {"n": 1}
    assert stopped.damage is None


def test_4_4_closing_waits_for_what_is_in_flight_and_takes_nothing_new(
    session: Session, fs: Any, hub: Any
) -> None:
    gate = fs.gate("append", LOG)
    session.submit(session.event(1))
    gate.wait_until_reached()
    closed: list[Exception | None] = []
    session.store.close(closed.append)
    with pytest.raises(StoreClosedError):
        session.submit(session.event(2))
    with pytest.raises(StoreClosedError):
        session.store.close(closed.append)
    assert session.sequences() == []
    gate.go_on.set()
    hub.run_until(lambda: closed)
    assert (session.told, closed) == ([None], [None])


def test_a_store_can_be_closed_by_its_last_acknowledgement(session: Session, hub: Any) -> None:
    closed: list[Exception | None] = []
    session.submit(session.event(1), done=lambda error: session.store.close(closed.append))
    hub.run_until(lambda: closed)
    hub.run_posted()
    assert closed == [None]


def test_state_documents_are_replaced_removed_and_kept(session: Session) -> None:
    session.submit(
        state_ops=[StateOp("queue", 1, {"n": 1}), StateOp("queue", 2, {}), StateOp("p", "x", {})]
    )
    session.submit(
        state_ops=[StateOp("queue", 1, {"n": 9}), StateOp("queue", 2, None)], durable=True
    )
    session.settle(2)
    for _ in range(2):
        assert session.store.state_documents("queue") == {1: {"n": 9}}
        assert session.store.state_document("queue", 2) is None
        assert session.store.state_documents("unknown") == {}
        session.close()
        session.open()


def test_a_submit_of_nothing_is_told_in_its_turn(session: Session) -> None:
    session.record(1)
    assert len(session.submit()) == 0
    session.settle(2)
    assert session.told == [None, None]


def test_7_reads_are_the_same_from_memory_and_from_the_file(
    session: Session, monkeypatch: pytest.MonkeyPatch, hub: Any
) -> None:
    monkeypatch.setattr(event_rows, "READ_BYTES", 1000)
    monkeypatch.setattr(event_rows, "BLOCK_ROWS", 7)
    rows = session.store._rows
    session.record(40)
    assert rows.recent == 40
    before = (
        session.store.query(EventQuery()),
        session.store.query(EventQuery(turn_id="turn-1", limit=4)),
        session.store.rows_after(3, bytes_max=10**6),
    )
    monkeypatch.setattr(materialiser, "JOURNAL_BATCH_BYTES", 1)
    session.record(1, first=40)
    hub.run_until(lambda: rows.recent == 0)
    session.record(3, first=41)
    after = (
        session.store.query(EventQuery())[:40],
        session.store.query(EventQuery(turn_id="turn-1", limit=4)),
        session.store.rows_after(3, bytes_max=10**6, until=40),
    )
    assert before == after
    assert session.sequences() == list(range(1, 45))


def test_7_a_page_holds_what_fits_and_one_row_whatever_its_size(session: Session) -> None:
    session.record(10)
    sizes = [len(row) for row in session.store.rows_after(0, bytes_max=10**6)]
    assert len(sizes) == 10
    assert len(session.store.rows_after(0, bytes_max=sum(sizes[:3]))) == 3
    assert len(session.store.rows_after(0, bytes_max=sum(sizes[:3]) - 1)) == 2
    assert len(session.store.rows_after(0, bytes_max=1)) == 1
    assert len(session.store.rows_after(4, bytes_max=10**6, until=6)) == 2
    assert session.store.rows_after(10, bytes_max=1) == []
    assert session.store.rows_after(99, bytes_max=1) == []


KINDS = ("agent_message", "thought", "done")


def _no_file(path: str) -> Any:
    pytest.fail("nothing is in a file")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), max_size=25),
    query=st.fixed_dictionaries(
        {
            "type": st.sampled_from(["", *KINDS, " done "]),
            "turn_id": st.sampled_from(["", "turn-0", "turn-2", "none"]),
            "agent_name": st.sampled_from(["", "demo", "other"]),
            "limit": st.integers(0, 6),
            "after_sequence": st.integers(0, 30),
            "order": st.sampled_from(["tail", "head"]),
            "since": st.sampled_from([None, 0, 3]),
        }
    ),
)
def test_7_a_query_is_that_of_a_plain_list(
    kinds: list[tuple[str, int]], query: dict[str, Any], event: Any, tmp_path: Path
) -> None:
    rows = event_rows.EventRows("s", EventFiles("", _no_file, kind="events", name="s"))
    noon = event().timestamp
    if query["since"] is not None:
        query["since"] = noon + timedelta(seconds=query["since"])
    everything = []
    for number, (kind, turn) in enumerate(kinds, 1):
        row = encode_row(
            session_id="s",
            epoch=1,
            sequence=number,
            id=f"ev-{number}",
            turn_id=f"turn-{turn}",
            type=kind,
            agent_name="demo",
            timestamp=noon + timedelta(seconds=turn),
            event=event(type=kind, turn_id=f"turn-{turn}"),
        )
        key = RowKey(kind, f"turn-{turn}", "demo")
        rows.commit(1, encode_payload(1, number, [AppendRow(row)]), [row], [key])
        everything.append(decode_row(row))
    wanted = [
        found
        for found in everything
        if found.type == (query["type"].strip() or found.type)
        and found.turn_id == (query["turn_id"] or found.turn_id)
        and found.agent_name == (query["agent_name"] or found.agent_name)
        and found.sequence > query["after_sequence"]
        and (query["since"] is None or found.timestamp >= query["since"])
    ]
    limit = query["limit"] or len(wanted)
    expected = wanted[:limit] if query["order"] == "head" else wanted[len(wanted) - limit :]
    if limit > len(wanted):
        expected = wanted
    asked = EventQuery(**query)
    assert rows.query(asked) == expected
    turns = list(dict.fromkeys(found.turn_id for found in expected))
    assert [(turn.turn_id, list(turn.events)) for turn in rows.history(asked)] == [
        (turn_id, [found for found in expected if found.turn_id == turn_id]) for turn_id in turns
    ]


@pytest.mark.parametrize(
    "bad", [{"limit": -1}, {"after_sequence": -1}, {"order": "middle"}], ids=str
)
def test_7_a_bad_query_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(StoreValidationError) as caught:
        EventQuery(**bad)
    assert caught.value.field == next(iter(bad))


def test_7_the_zero_time_in_a_query_is_any_time() -> None:
    assert EventQuery(since=NO_TIME) == EventQuery()


def test_4_a_read_only_store_changes_nothing(session: Session, tmp_path: Path) -> None:
    session.record(3)
    session.close()
    directory = Path(session.home.layout.session("sess-1"))
    events = directory / "events.journal"
    cut = events.read_bytes()[:-2]
    events.write_bytes(cut)
    (directory / "state.journal").unlink()
    stopped = ReadOnlySessionStore.open(str(directory), "sess-1")
    assert stopped.head() == (1, 2)
    assert (stopped.epoch(), stopped.last_sequence()) == (1, 2)
    assert stopped.report.torn_bytes > 0
    assert stopped.path == str(events)
    assert stopped.state_documents("queue") == {}
    with pytest.raises(ReadOnlyRecordEventsError):
        stopped.record(session.event(1))
    with pytest.raises(ReadOnlyRecordTokenUsageError):
        stopped.record_token_usage(None)
    assert events.read_bytes() == cut
    assert [path.name for path in directory.iterdir()] == ["events.journal"]
    stopped.close()
    stopped.close()
    with pytest.raises(StoreClosedError):
        stopped.query(EventQuery())


def test_4_reading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        ReadOnlySessionStore.open(str(tmp_path / "gone"), "gone")
    assert list(tmp_path.iterdir()) == []


def test_4_6_damage_leaves_the_correct_prefix_and_is_set_aside_for_writing(
    session: Session,
) -> None:
    session.record(10)
    session.close()
    events = Path(session.store.path)
    damaged = bytearray(events.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    events.write_bytes(damaged)
    stopped = session.home.reader("sess-1")
    assert isinstance(stopped, ReadOnlySessionStore)
    kept, damage = stopped.last_sequence(), stopped.damage
    assert 0 < kept < 10
    assert damage is not None
    assert events.read_bytes() == damaged, "reading changes nothing"
    session.open()
    again = session
    assert again.store.report.damage == damage
    assert Path(again.store.report.quarantine).read_bytes() == damaged[damage:]
    assert again.store.last_sequence() == kept
    assert again.store.epoch() > 2, "a lost activation may have been of the next epoch"
    again.record(2)
    assert [event.sequence for event in again.store.query(EventQuery())] == [*range(1, kept + 3)]


def test_a_damaged_state_is_set_aside_too(session: Session) -> None:
    for number in range(5):
        session.submit(state_ops=[StateOp("t", number, {"n": number})])
    session.settle(5)
    session.close()
    path = Path(session.home.layout.session("sess-1")) / "state.journal"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    report = session.open().state_report
    assert report.damage is not None
    assert Path(report.quarantine).read_bytes() == damaged[report.damage :]
    kept = list(session.store.state_documents("t"))
    assert kept == [*range(len(kept))]


@pytest.mark.parametrize("gap", ["number", "sequence", "session"])
def test_records_out_of_order_are_corruption(tmp_path: Path, event: Any, gap: str) -> None:
    path = tmp_path / "events.journal"
    journal = open_journal(
        OsFileSystem(), str(path), kind="events", name="s", replay=lambda _, data: None
    )
    row = encode_row(
        session_id="other" if gap == "session" else "s",
        epoch=1,
        sequence=2 if gap == "sequence" else 1,
        id="ev-1",
        turn_id="t",
        type="done",
        agent_name="a",
        timestamp=event().timestamp,
        event=event(),
    )
    journal.append([encode_payload(1, 2 if gap == "number" else 1, [AppendRow(row)])])
    journal.close()
    with pytest.raises(StoreCorruptError):
        ReadOnlySessionStore.open(str(tmp_path), "s")


def test_state_records_out_of_order_are_corruption(session: Session) -> None:
    session.close()
    path = Path(session.home.layout.session("sess-1")) / "state.journal"
    journal = open_journal(
        OsFileSystem(), str(path), kind="state", name="sess-1", replay=lambda _, data: None
    )
    journal.append([encode_payload(1, 5, [])])
    journal.close()
    assert session.open().state_report.quarantine


def test_only_what_is_in_the_file_leaves_memory(session: Session) -> None:
    for number in range(3):
        session.submit(session.event(number), state_ops=[StateOp("t", number, {"n": number})])
    session.settle(3)
    rows, state = session.store._rows, session.store._state
    offset, size = rows._index.offsets[1], rows._index.sizes[1]
    for materialised, left in ((0, 3), (offset + size - 1, 2), (offset + size, 1)):
        rows.trim(materialised)
        assert rows.recent == left
    state.trim(0)
    assert state.recent == 3
    state.trim(state.end)
    assert state.recent == 0


def test_14_3_appends_cost_the_same_in_a_history_of_any_length(
    session: Session, fs: Any, hub: Any
) -> None:
    costs = []
    for history in (10, 1000):
        while session.store.last_sequence() < history:
            session.submit(*[session.event(number) for number in range(100)])
            session.settle(len(session.told) + 1)
        fs.calls.clear()
        session.submit(session.event(5))
        session.settle(len(session.told) + 1)
        costs.append([(call, size) for call, _, size in fs.calls])
    (short,), (long,) = costs
    assert short[0] == long[0] == "append"
    assert abs(short[1] - long[1]) < 10


@pytest.mark.parametrize("bytes_max", [0, 1, 100, 1000, 5000, 1 << 20])
def test_7_a_page_holds_as_many_rows_as_fit_wherever_they_lie(
    session: Session, monkeypatch: pytest.MonkeyPatch, bytes_max: int
) -> None:
    """In sealed parts, in the open file, and in memory; read in small pieces and in one."""
    monkeypatch.setattr(segmented_journal, "SEAL_BYTES", 1500)
    monkeypatch.setattr(event_rows, "PAGE_ROWS", 4)
    monkeypatch.setattr(materialiser, "JOURNAL_BATCH_BYTES", 2500)
    session.close()
    session.open()
    for number in range(60):
        text = "x" * (number * 37 % 300)
        session.submit(session.event(number, text=text), session.event(number))
        session.settle(number + 1)
    rows = session.store._rows
    session.hub.run_until(lambda: rows.files.sealed and rows.recent < 120)
    assert rows.recent > 0
    every = session.store.rows_after(0, bytes_max=1 << 30)
    assert [decode_row(row).sequence for row in every] == [*range(1, 121)]
    for read_bytes in (200, 1 << 20):
        monkeypatch.setattr(event_rows, "READ_BYTES", read_bytes)
        for after in range(121):
            wanted: list[bytes] = []
            for row in every[after:]:
                if wanted and sum(map(len, wanted)) + len(row) > bytes_max:
                    break
                wanted.append(row)
            assert session.store.rows_after(after, bytes_max=bytes_max) == wanted
            until = session.store.rows_after(after, bytes_max=bytes_max, until=after + 2)
            assert until == wanted[:2]
