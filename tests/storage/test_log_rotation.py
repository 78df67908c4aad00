"""The commit log goes from segment to segment; a full one goes when its journals are synced."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import StorageError, StoreOverloadedError
from greenroom.actors.model.query import EventQuery
from greenroom.storage.failpoints import FailPoint, arm, disarm
from greenroom.storage.home import HomeStore
from greenroom.storage.session_store import SessionStore

IO = OSError(errno.EIO, "io")
WAL_BYTES = 40_000


class Writer:
    def __init__(self, open_home: Callable[..., HomeStore], hub: Any, event: Any) -> None:
        self.hub, self.event = hub, event
        self.home = open_home(sync_interval=3600.0, wal_bytes_max=WAL_BYTES)
        self.wal = Path(self.home.layout.wal)
        self.segments: Any = self.home._segments
        # A busy machine may let the journals fall behind: that is not what is tested.
        self.segments.wal_bytes_max = 1 << 30
        self.stores: list[SessionStore] = []
        for name in ("s1", "s2"):
            done: list[Exception | None] = []
            self.stores.append(self.home.open_session(name, create=True, done=done.append))
            hub.run_until(lambda done=done: done)
        self.retired: list[int] = []
        arm(FailPoint.SEGMENT_RETIRED, lambda: self.retired.append(len(self.numbers())))

    def numbers(self) -> list[int]:
        return sorted(int(name[:16]) for name in os.listdir(self.wal))

    def record(self, count: int, *, durable: bool = False) -> None:
        told: list[Exception | None] = []
        for number in range(count):
            store = self.stores[number % 2]
            event = self.event(number, text="x" * 200)
            store.submit([event], agent_name="a", durable=durable, done=told.append)
            self.hub.run_until(lambda wanted=number + 1: len(told) == wanted)
        assert not any(told)


@pytest.fixture
def writer(open_home: Callable[..., HomeStore], hub: Any, event: Any) -> Writer:
    return Writer(open_home, hub, event)


def test_a_full_segment_is_followed_by_another_and_goes(writer: Writer, hub: Any) -> None:
    writer.record(200)
    assert writer.numbers()[0] > 1 or writer.retired
    writer.home.close()
    hub.run_posted()
    assert len(writer.numbers()) == 1
    assert writer.numbers()[0] > 4
    assert len(writer.retired) > 2


def test_the_log_holds_what_the_synced_journals_do_not(
    writer: Writer, hub: Any, tmp_path: Path
) -> None:
    copies: list[Path] = []

    def crash() -> None:
        if len(copies) < 12:
            copies.append(tmp_path / f"copy{len(copies)}")
            shutil.copytree(writer.home.layout.home, copies[-1])

    for point in (FailPoint.SEGMENT_CREATED, FailPoint.CHECKPOINT, FailPoint.SEGMENT_RETIRED):
        arm(point, crash)
    writer.record(160)
    disarm()
    counts = []
    for copy in copies:
        home = HomeStore.open(copy, post=hub.post)
        assert not home.report.failed
        for name in ("s1", "s2"):
            events = home.reader(name).query(EventQuery())
            assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
            counts.append(len(events))
        home.close()
    assert counts[-1] > counts[0]


def test_segments_stay_while_a_journal_can_not_be_synced_and_the_log_is_bounded(
    writer: Writer, fs: Any, hub: Any
) -> None:
    fs.fail("append", "s1/events.journal", IO)
    writer.segments.wal_bytes_max = WAL_BYTES
    with pytest.raises(StoreOverloadedError) as caught:
        for _ in range(40):
            writer.record(20)
    assert caught.value.bytes > WAL_BYTES
    assert writer.numbers()[0] == 1
    fs.heal()
    hub.run_posted()
    writer.home.close()
    hub.run_posted()
    assert len(writer.numbers()) == 1
    home = HomeStore.open(writer.home.layout.home, post=hub.post)
    for name in ("s1", "s2"):
        events = home.reader(name).query(EventQuery())
        assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
        assert len(events) >= 50
    home.close()


def test_a_segment_that_can_not_be_begun_is_no_failure_of_a_write(writer: Writer, fs: Any) -> None:
    fs.fail("open_append", "0000000002.log", OSError(errno.ENOSPC, "full"), times=2)
    writer.record(150)
    assert writer.numbers()[-1] > 1


def test_a_failed_sync_of_the_last_segment_fails_what_was_to_follow(
    writer: Writer, fs: Any, hub: Any
) -> None:
    fs.fail("sync", "0000000001.log", IO)
    told: list[Exception | None] = []
    for number in range(100):
        try:
            event = writer.event(number, text="x" * 200)
            writer.stores[0].submit([event], agent_name="a", durable=False, done=told.append)
        except Exception as error:
            assert writer.home.error is not None
            told.append(error)
            break
        hub.run_until(lambda wanted=number + 1: len(told) >= wanted)
    assert told[-1] is not None
    assert not any(told[:-2])


def test_s8_a_journal_whose_sync_failed_once_keeps_its_records_in_the_log(
    writer: Writer, fs: Any, hub: Any
) -> None:
    """The handle takes no more, also when the medium is well again; nothing told is lost."""
    fs.fail("sync", "s1/events.journal", IO, times=1)
    while writer.home.error is None:
        writer.record(20)
    kept = writer.numbers()[0]
    fs.heal()
    writer.record(60)
    assert writer.numbers()[0] == kept
    with pytest.raises(StorageError):
        writer.home.close()
    hub.run_posted()
    before = fs.count("append", "s1/events.journal")
    home = HomeStore.open(writer.home.layout.home, post=hub.post, fs=fs)
    assert not home.report.failed
    assert home.report.copied > 0
    assert fs.count("append", "s1/events.journal") > before
    for store in writer.stores:
        events = home.reader(store.session_id).query(EventQuery())
        assert [event.sequence for event in events] == [*range(1, store._rows.committed + 1)]
    home.close()
    hub.run_posted()
