"""A home: its files, its lock, what a follower is told, and what a crash leaves to replay."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import (
    HomeInUseError,
    SessionNotFoundError,
    StorageError,
    StoreClosedError,
    StoreCorruptError,
    StoreOverloadedError,
)
from greenroom.actors.model.query import EventQuery
from greenroom.storage import materialiser as materialiser_module
from greenroom.storage import replay as replay_module
from greenroom.storage import stored_sessions
from greenroom.storage.failpoints import FailPoint, arm
from greenroom.storage.format.commits import decode_commit, encode_commit
from greenroom.storage.format.records import encode_header
from greenroom.storage.format.rows import row_position
from greenroom.storage.home import HomeStore
from greenroom.storage.journal import open_journal, read_journal
from greenroom.storage.session_store import SessionStore, StateOp

IO = OSError(errno.EIO, "io")


class Home:
    """The test's home, opened as often as it likes."""

    def __init__(self, open_home: Callable[..., HomeStore], hub: Any, fs: Any, event: Any) -> None:
        self._open, self.hub, self.fs, self.event = open_home, hub, fs, event
        self.told: list[Exception | None] = []
        self.store = open_home(sync_interval=3600.0)
        self.path = self.store.layout.home

    def session(self, session_id: str, *, create: bool = True) -> SessionStore:
        done: list[Exception | None] = []
        session = self.store.open_session(session_id, create=create, done=done.append)
        self.hub.run_until(lambda: done)
        return session

    def record(self, session: SessionStore, count: int, **options: Any) -> None:
        before = len(self.told)
        for number in range(count):
            session.submit(
                [self.event(number)],
                **{"agent_name": "a", "durable": False, "done": self.told.append, **options},
            )
        self.hub.run_until(lambda: len(self.told) == before + count)

    def close_session(self, session: SessionStore) -> Exception | None:
        closed: list[Exception | None] = []
        session.close(closed.append)
        self.hub.run_until(lambda: closed)
        return closed[0]

    def crash(self) -> None:
        """Go on with the files as they are now, as after a kill of the process."""
        copy = self.path.with_name("copy")
        shutil.copytree(self.path, copy)
        self.store.close()
        self.hub.run_posted()
        shutil.rmtree(self.path)
        copy.rename(self.path)

    def reopen(self) -> HomeStore:
        self.store = self._open(sync_interval=3600.0)
        return self.store

    def sequences(self, session_id: str) -> list[int]:
        reader = self.store.reader(session_id)
        found = [event.sequence for event in reader.query(EventQuery())]
        reader.close()
        return found

    def segments(self) -> list[str]:
        return sorted(os.listdir(self.path / "wal"))


@pytest.fixture
def home(open_home: Callable[..., HomeStore], hub: Any, fs: Any, event: Any) -> Home:
    return Home(open_home, hub, fs, event)


def test_a_home_is_made_for_its_owner_only(home: Home) -> None:
    home.session("s1")
    found = sorted(
        str(path.relative_to(home.path)) for path in home.path.rglob("*") if path.is_file()
    )
    assert found == [
        "runtime.lock",
        "sessions/s1/events.journal",
        "sessions/s1/state.journal",
        "wal/0000000000000001.log",
    ]
    for path in (home.path, *(path for path in home.path.rglob("*") if path.is_dir())):
        assert path.stat().st_mode & 0o777 == 0o700, path
    assert (home.path / "logs").is_dir()


def test_directories_of_others_are_closed_to_them(tmp_path: Path, hub: Any) -> None:
    for name in ("home", "home/sessions", "home/wal"):
        (tmp_path / name).mkdir(mode=0o755)
        (tmp_path / name).chmod(0o755)
    HomeStore.open(tmp_path / "home", post=hub.post).close()
    for name in ("home", "home/sessions", "home/wal"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700


def test_a_home_has_one_runtime(home: Home, hub: Any) -> None:
    with pytest.raises(HomeInUseError):
        HomeStore.open(home.path, post=hub.post)
    home.store.close()
    home.store.close()
    HomeStore.open(home.path, post=hub.post).close()
    with pytest.raises(StoreClosedError):
        home.store.open_session("s", create=True)


def test_a_session_is_made_only_when_asked_for_and_opened_once(home: Home) -> None:
    with pytest.raises(SessionNotFoundError):
        home.store.open_session("s1", create=False)
    assert home.store.session_ids() == []
    home.session("s1")
    with pytest.raises(StorageError):
        home.store.open_session("s1", create=False)
    for bad in ("../s1", "a/b", "."):
        for call in (
            lambda bad: home.store.open_session(bad, create=True),
            home.store.reader,
            home.store.head,
            lambda bad: home.store.rows_after(bad, 0, 0, 10),
        ):
            with pytest.raises(SessionNotFoundError):
                call(bad)
    assert home.store.session_ids() == ["s1"]


def test_sessions_are_directories_with_a_journal_or_a_meta_document(home: Home) -> None:
    sessions = home.path / "sessions"
    (sessions / "nothing").mkdir()
    (sessions / "meta only").mkdir()
    (sessions / "meta only" / "meta.json").write_text("{}")
    home.session("s1")
    assert home.store.session_ids() == ["meta only", "s1"]
    assert home.store.heads() == {"meta only": (0, 0), "s1": (1, 0)}
    with pytest.raises(SessionNotFoundError):
        home.store.head("nothing")


def test_the_names_of_a_new_session_are_synced_before_its_first_commit(home: Home) -> None:
    home.fs.calls.clear()
    home.session("s1")
    calls = [(call, path.rpartition("/")[2]) for call, path, _ in home.fs.calls]
    first_commit = calls.index(("append", "0000000000000001.log"))
    assert calls[first_commit + 1 :] == [
        ("sync_directory", "s1"),
        ("sync_directory", "sessions"),
        ("sync", "0000000000000001.log"),
    ]


def test_a_new_session_is_activated_once_however_much_is_submitted_meanwhile(
    home: Home,
) -> None:
    gate = home.fs.gate("sync_directory", "/sessions/s1")
    home.fs.calls.clear()
    session = home.store.open_session("s1", create=True)
    gate.wait_until_reached()
    for number in range(100):
        session.submit([home.event(number)], agent_name="a", durable=False, done=home.told.append)
    gate.go_on.set()
    home.hub.run_until(lambda: len(home.told) == 100)
    assert home.fs.count("sync_directory", "/sessions/s1") == 1
    assert home.fs.count("sync", "/wal/") == 1
    assert home.store.log.commits == 2


def test_sessions_share_commits(home: Home) -> None:
    sessions = [home.session(f"s{number}") for number in range(5)]
    gate = home.fs.gate("append", "/wal/")
    home.store.open_session("gate", create=True)
    gate.wait_until_reached()
    commits = home.store.log.commits
    for session in sessions:
        session.submit([home.event(1)], agent_name="a", durable=True, done=home.told.append)
    gate.go_on.set()
    home.hub.run_until(lambda: len(home.told) == 5)
    assert home.store.log.commits == commits + 2
    last: list[str] = []

    def replay(_: int, payload: bytes) -> None:
        last[:] = [stream for stream, _ in decode_commit(payload) if stream]

    path = home.store.layout.segment(1)
    read_journal(home.fs, path, kind="log", name="", replay=replay)[0].close()
    assert last == [f"s{number}/events" for number in range(5)]


def test_a_reader_is_live_or_stored_and_closes_only_itself(home: Home) -> None:
    session = home.session("s1")
    home.record(session, 2)
    live = home.store.reader("s1")
    home.record(session, 1)
    assert live.last_sequence() == 3
    live.close()
    with pytest.raises(StoreClosedError):
        live.last_sequence()
    assert session.last_sequence() == 3
    assert home.close_session(session) is None
    stored = home.store.reader("s1")
    assert stored.last_sequence() == 3
    with pytest.raises(SessionNotFoundError):
        home.store.reader("s2")


def test_heads_are_those_of_live_and_of_stored_sessions(home: Home) -> None:
    one, two = home.session("s1"), home.session("s2")
    home.record(one, 3)
    home.record(two, 1)
    home.close_session(one)
    assert home.store.heads() == {"s1": (1, 3), "s2": (1, 1)}
    home.store.close()
    home.reopen()
    assert home.store.heads() == {"s1": (1, 3), "s2": (1, 1)}
    assert home.store.head("s1") == (1, 3)
    shutil.rmtree(home.path / "sessions" / "s1")
    assert home.store.heads() == {"s2": (1, 1)}
    with pytest.raises(SessionNotFoundError):
        home.store.rows_after("s1", 0, 0, 100)


def test_a_damaged_session_does_not_hide_the_others(home: Home) -> None:
    home.close_session(home.session("s1"))
    home.session("s2")
    (home.path / "sessions" / "s1" / "events.journal").write_bytes(b"not a journal")
    home.store.stored.forget("s1")
    assert home.store.heads() == {"s2": (1, 0)}


@pytest.fixture(params=["live", "stored"])
def three_epochs(home: Home, request: pytest.FixtureRequest) -> Home:
    """Epoch 1 has rows 1 to 3, epoch 2 has none, epoch 3 has rows 4 and 5."""
    for count in (3, 0, 2):
        session = home.session("s1")
        home.record(session, count)
        if count != 2 or request.param == "stored":
            home.close_session(session)
    return home


@pytest.mark.parametrize(
    ("cursor", "first", "reset"),
    [
        ((0, 0), 1, False),
        ((1, 0), 1, False),
        ((1, 2), 3, False),
        ((1, 3), 4, False),
        ((2, 3), 4, False),
        ((3, 3), 4, False),
        ((3, 4), 5, False),
        ((3, 5), None, False),
        ((1, 4), 1, True),  # row 4 of epoch 1 was lost: from the beginning of that epoch
        ((2, 7), 4, True),  # the same; the epoch has no rows here
        ((3, 9), 4, True),
        ((9, 5), 4, True),  # an epoch this store never had: from its latest
        ((9, 1), 4, True),
        ((0, 2), 1, True),  # older than anything here, as after a clear
        ((3, 2), 4, True),
    ],
)
def test_a_follower_goes_on_where_it_was_or_is_told_of_a_reset(
    three_epochs: Home, cursor: tuple[int, int], first: int | None, reset: bool
) -> None:
    page = three_epochs.store.rows_after("s1", *cursor, 10**6)
    sequences = [row_position(row).sequence for row in page.rows]
    assert (page.head_epoch, page.head_sequence, page.reset) == (3, 5, reset)
    assert sequences == ([] if first is None else list(range(first, 6)))


def test_a_follower_reads_everything_page_by_page(three_epochs: Home) -> None:
    cursor = (0, 0)
    seen = []
    while cursor != (3, 5):
        page = three_epochs.store.rows_after("s1", *cursor, 1)
        assert len(page.rows) == 1
        cursor = row_position(page.rows[0])[1:]
        seen.append(cursor)
    assert seen == [(1, 1), (1, 2), (1, 3), (3, 4), (3, 5)]


def test_stored_sessions_keep_few_readers_and_few_heads(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_sessions, "READERS_MAX", 2)
    monkeypatch.setattr(stored_sessions, "HEADS_MAX", 2)
    names = [f"s{number}" for number in range(4)]
    for name in names:
        session = home.session(name)
        home.record(session, 1)
        home.close_session(session)
    home.fs.calls.clear()
    for name in [*names, *names[2:], *names[2:]]:
        assert len(home.store.rows_after(name, 0, 0, 100).rows) == 1
    scans = [path for call, path, _ in home.fs.calls if call == "open_read" and "events" in path]
    # Each answer opens the journal once; four of the eight read it from its beginning before.
    assert len(scans) == 8 + 4
    assert len(home.store.stored._readers) == len(home.store.stored._heads) == 2


def test_closing_leaves_complete_journals_and_an_empty_log(home: Home) -> None:
    session = home.session("s1")
    home.record(session, 5)
    home.store.close()
    home.hub.run_posted()
    with pytest.raises(StoreClosedError):
        session.query(EventQuery())
    assert home.segments() == ["0000000000000002.log"]
    report = home.reopen().report
    assert (report.commits, report.copied) == (0, 0)
    assert home.sequences("s1") == [1, 2, 3, 4, 5]
    assert home.segments() == ["0000000000000003.log"]


def test_closing_while_the_hub_has_not_run_yet_loses_nothing(home: Home) -> None:
    session = home.session("s1")
    for number in range(20):
        session.submit([home.event(number)], agent_name="a", durable=False, done=home.told.append)
    home.store.close()
    home.hub.run_until(lambda: len(home.told) == 20)
    assert home.told == [None] * 20
    home.hub.run_posted()
    assert session.is_closing
    assert home.reopen().head("s1") == (1, 20)


def test_a_crash_loses_nothing_that_was_acknowledged(home: Home) -> None:
    one, two = home.session("s1"), home.session("s2")
    home.record(one, 30, state_ops=[StateOp("queue", "q", {"n": 1})])
    home.record(two, 3)
    home.crash()
    report = home.reopen().report
    assert report.copied == 31 + 30 + 4
    assert not report.failed
    assert home.sequences("s1") == list(range(1, 31))
    assert home.sequences("s2") == [1, 2, 3]
    assert home.store.reader("s1").state_document("queue", "q") == {"n": 1}
    again = home.session("s1", create=False)
    assert (again.epoch(), again.last_sequence()) == (2, 30)
    home.record(again, 1)
    assert home.sequences("s1")[-1] == 31


def test_replay_skips_what_a_journal_holds(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materialiser_module, "JOURNAL_BATCH_BYTES", 1)
    session = home.session("s1")
    home.record(session, 10)
    home.hub.run_until(lambda: session._rows.recent == 0)
    monkeypatch.undo()
    home.record(session, 5)
    home.crash()
    report = home.reopen().report
    assert report.copied < 16
    assert home.sequences("s1") == list(range(1, 16))


def test_replay_writes_in_bounded_batches(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    session = home.session("s1")
    home.record(session, 50)
    home.crash()
    monkeypatch.setattr(replay_module, "COPY_BYTES", 1000)
    home.fs.calls.clear()
    home.reopen()
    sizes = [size for call, path, size in home.fs.calls if call == "append" and "events" in path]
    assert len(sizes) > 5
    assert max(sizes) < 2000
    assert home.sequences("s1") == list(range(1, 51))


def test_a_torn_end_of_the_log_is_reported_and_the_rest_replayed(home: Home) -> None:
    session = home.session("s1")
    for _ in range(5):
        home.record(session, 1)
    home.crash()
    segment = home.path / "wal" / home.segments()[0]
    segment.write_bytes(segment.read_bytes()[:-1])
    report = home.reopen().report
    assert report.torn_bytes > 0
    assert home.sequences("s1") == [1, 2, 3, 4]


def test_s3_what_a_power_loss_left_of_an_unsynced_write_is_a_torn_tail(home: Home) -> None:
    session = home.session("s1")
    home.record(session, 3, durable=True)
    synced = (home.path / "wal" / home.segments()[0]).stat().st_size
    for _ in range(5):
        home.record(session, 1)
    home.crash()
    segment = home.path / "wal" / home.segments()[0]
    torn = bytearray(segment.read_bytes())
    torn[synced + 20 : synced + 60] = bytes(40)
    segment.write_bytes(torn)
    assert home.reopen().report.torn_bytes == len(torn) - synced
    assert home.sequences("s1") == [1, 2, 3]


def test_a_damaged_log_is_refused_and_untouched(home: Home) -> None:
    session = home.session("s1")
    for _ in range(5):
        home.record(session, 1, durable=True)
    home.crash()
    segment = home.path / "wal" / home.segments()[0]
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(StoreCorruptError) as caught:
            home.reopen()
        assert caught.value.path == str(segment)
    assert segment.read_bytes() == damaged


def test_records_of_a_deleted_session_are_dropped(home: Home) -> None:
    home.record(home.session("s1"), 3)
    home.record(home.session("s2"), 1)
    home.crash()
    shutil.rmtree(home.path / "sessions" / "s1")
    report = home.reopen().report
    assert report.dropped == 4
    assert home.store.session_ids() == ["s2"]


def test_a_session_made_anew_does_not_get_the_records_of_the_old_one(home: Home) -> None:
    old = home.session("s1")
    home.record(old, 9)
    home.close_session(old)
    shutil.rmtree(home.path / "sessions" / "s1")
    new = home.session("s1")
    home.record(new, 2)
    home.crash()
    home.reopen()
    assert home.sequences("s1") == [1, 2]


def test_a_session_that_can_not_be_replayed_keeps_the_log(home: Home) -> None:
    home.record(home.session("s1"), 3)
    home.record(home.session("s2"), 2)
    home.crash()
    journal = home.path / "sessions" / "s1" / "events.journal"
    whole = journal.read_bytes()
    journal.write_bytes(encode_header("events", "another"))
    report = home.reopen().report
    assert list(report.failed) == ["s1/events"]
    assert isinstance(report.failed["s1/events"], StoreCorruptError)
    assert home.sequences("s2") == [1, 2]
    home.record(home.session("s2", create=False), 1)
    home.store.close()
    home.hub.run_posted()
    assert len(home.segments()) == 2
    journal.write_bytes(whole)
    assert not home.reopen().report.failed
    assert home.sequences("s1") == [1, 2, 3]
    assert home.sequences("s2") == [1, 2, 3]
    assert len(home.segments()) == 1


@pytest.mark.parametrize("damage", [b"damaged", b"", b"\x84"])
def test_a_damaged_journal_is_set_aside_and_made_again_from_the_log(
    home: Home, damage: bytes
) -> None:
    home.record(home.session("s1"), 3)
    home.crash()
    journal = home.path / "sessions" / "s1" / "events.journal"
    journal.write_bytes(damage)
    assert not home.reopen().report.failed
    assert home.sequences("s1") == [1, 2, 3]
    aside = [path.read_bytes() for path in journal.parent.glob("events.journal.corrupt.*")]
    assert aside == ([damage] if damage == b"damaged" else [])


def test_a_journal_that_lacks_records_of_before_is_not_continued(home: Home) -> None:
    session = home.session("s1")
    home.record(session, 3)
    home.close_session(session)
    home.store.close()
    home.reopen()
    home.record(home.session("s1", create=False), 1)
    home.crash()
    (home.path / "sessions" / "s1" / "events.journal").unlink()
    assert isinstance(home.reopen().report.failed["s1/events"], StoreCorruptError)


def test_a_journal_that_can_not_be_synced_after_replay_keeps_the_log(home: Home) -> None:
    home.record(home.session("s1"), 2)
    home.crash()
    home.fs.fail("sync", "s1/events", IO)
    assert isinstance(home.reopen().report.failed["s1/events"], StorageError)
    home.fs.heal()
    home.store.close()
    home.hub.run_posted()
    assert not home.reopen().report.failed
    assert home.sequences("s1") == [1, 2]


def test_a_log_record_without_a_number_is_corruption(home: Home) -> None:
    home.store.close()
    segment = open_journal(
        home.fs,
        str(home.path / "wal" / home.segments()[0]),
        kind="log",
        name="",
        replay=lambda _, data: None,
    )
    segment.append([encode_commit([("s1/events", b"\x01")])])
    segment.close()
    with pytest.raises(StoreCorruptError):
        home.reopen()


def test_a_home_whose_last_step_fails_says_so_and_is_whole(home: Home) -> None:
    home.record(home.session("s1"), 2)
    home.fs.fail("remove", "/wal", IO)
    with pytest.raises(StorageError):
        home.store.close()
    home.fs.heal()
    home.reopen()
    assert home.sequences("s1") == [1, 2]
    assert len(home.segments()) == 1


@pytest.mark.parametrize(
    "point", [FailPoint.REPLAYED, FailPoint.SEGMENT_CREATED, FailPoint.SEGMENT_RETIRED]
)
def test_a_crash_during_boot_is_one_more_crash(home: Home, point: FailPoint) -> None:
    home.record(home.session("s1"), 5)
    home.crash()

    class Crash(BaseException):
        pass

    def crash() -> None:
        raise Crash

    arm(point, crash)
    with pytest.raises(Crash):
        home.reopen()
    arm(point, lambda: None)
    home.reopen()
    assert home.sequences("s1") == [1, 2, 3, 4, 5]
    assert len(home.segments()) == 1


@pytest.mark.parametrize("call", ["make_directory", "append", "sync", "sync_directory", "remove"])
def test_a_home_that_can_not_be_opened_says_so_and_is_free_again(home: Home, call: str) -> None:
    home.record(home.session("s1"), 2)
    home.crash()
    home.fs.fail(call, "/wal" if call != "make_directory" else "home", IO)
    with pytest.raises(StorageError):
        home.reopen()
    home.fs.heal()
    home.reopen()
    assert home.sequences("s1") == [1, 2]


def test_a_session_that_can_not_be_made_leaves_the_home_usable(home: Home) -> None:
    for call, path in (("make_directory", "s1"), ("append", "s1/events"), ("append", "s1/state")):
        home.fs.fail(call, path, IO, times=1)
        with pytest.raises(StorageError):
            home.store.open_session("s1", create=True)
    home.record(home.session("s1"), 1)
    assert home.sequences("s1") == [1]


def test_a_journal_that_can_not_be_written_fails_nothing_acknowledged(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialiser_module, "JOURNAL_BATCH_BYTES", 1)
    session = home.session("s1")
    home.fs.fail("append", "s1/events", OSError(errno.ENOSPC, "full"))
    home.record(session, 5)
    assert home.told == [None] * 5
    assert home.sequences("s1") == [1, 2, 3, 4, 5]
    home.fs.heal()
    home.record(session, 1)
    assert home.close_session(session) is None
    assert home.store.error is None
    assert home.sequences("s1") == [1, 2, 3, 4, 5, 6]


def test_a_session_that_could_not_be_completed_waits_for_the_home_to_be_reopened(
    home: Home,
) -> None:
    session = home.session("s1")
    home.record(session, 3)
    home.fs.fail("append", "s1/events", OSError(errno.ENOSPC, "full"))
    assert isinstance(home.close_session(session), StorageError)
    assert isinstance(home.store.error, StorageError)
    with pytest.raises(StorageError):
        home.store.open_session("s1", create=False)
    with pytest.raises(StorageError):
        home.store.close()
    home.fs.heal()
    home.reopen()
    assert home.sequences("s1") == [1, 2, 3]


def test_a_journal_that_could_not_be_synced_at_close_is_synced_by_the_next_open(
    home: Home,
) -> None:
    session = home.session("s1")
    home.record(session, 3)
    home.fs.fail("sync", "s1/events", IO)
    assert isinstance(home.close_session(session), StorageError)
    with pytest.raises(StorageError):
        home.store.close()
    home.fs.heal()
    home.reopen()
    assert home.sequences("s1") == [1, 2, 3]


def test_the_backlog_of_journals_is_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    session = home.session("s1")
    monkeypatch.setattr(materialiser_module, "BACKLOG_BYTES_MAX", 500)
    refused = 0
    for _ in range(10):
        try:
            home.record(session, 1)
        except StoreOverloadedError:
            refused += 1
    assert 1 < session.last_sequence() == 10 - refused < 6


def test_few_journals_are_open_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materialiser_module, "JOURNAL_BATCH_BYTES", 1)
    monkeypatch.setattr(materialiser_module, "HANDLES_MAX", 3)
    sessions = [home.session(f"s{number}") for number in range(8)]
    for _ in range(3):
        for session in sessions:
            home.record(session, 1)
    home.hub.run_until(lambda: all(session._rows.recent == 0 for session in sessions))
    open_journals = home.store._materialiser._open
    assert len(open_journals) == 3
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in _descriptors()]
    assert sum("/sessions/" in name for name in held) == 3
    for number in range(8):
        assert home.sequences(f"s{number}") == [1, 2, 3]


def _descriptors() -> list[str]:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc here")
    names = []
    for name in os.listdir("/proc/self/fd"):
        if os.path.lexists(f"/proc/self/fd/{name}"):
            names.append(name)
    return names


def test_old_and_many_records_are_written_without_being_asked_for(
    home: Home, open_home: Callable[..., HomeStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    home.store.close()
    now = [0.0]
    home.store = open_home(sync_interval=3600.0, clock=lambda: now[0])
    session = home.session("s1")
    home.record(session, 2)
    assert session._rows.recent == 2
    now[0] = materialiser_module.BATCH_AGE_S
    # The thread has computed its wait on the old clock: the next commit of an idle one wakes it.
    monkeypatch.setattr(materialiser_module, "JOURNAL_BATCH_BYTES", 1)
    home.record(session, 1)
    home.hub.run_until(lambda: session._rows.recent == 0)
    monkeypatch.undo()
    monkeypatch.setattr(materialiser_module, "TOTAL_BYTES", 1)
    home.record(session, 1)
    home.hub.run_until(lambda: session._rows.recent == 0)


def test_closing_a_home_and_its_sessions_gives_every_descriptor_back(
    home: Home, open_home: Callable[..., HomeStore]
) -> None:
    home.store.close()
    home.hub.run_posted()
    before = len(_descriptors())
    for _ in range(5):
        home.store = open_home(sync_interval=3600.0)
        for name in ("s1", "s2"):
            home.record(home.session(name), 2)
        home.close_session(home.store._open["s1"])
        home.store.rows_after("s1", 0, 0, 10)
        home.store.close()
        home.hub.run_posted()
    assert len(_descriptors()) == before
