"""S10: the state of a live session is rewritten off the hub; reads and writes go on meanwhile."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import StorageError
from greenroom.storage import materialiser
from greenroom.storage.files import OsFileSystem
from greenroom.storage.format import snapshot
from greenroom.storage.format.records import COMPACTED, FORMAT, decode_header
from greenroom.storage.home import HomeStore
from greenroom.storage.readonly import ReadOnlySessionStore
from greenroom.storage.session_files import open_state
from greenroom.storage.session_store import SessionStore, StateOp
from greenroom.storage.table_file import TableFile

IO = OSError(errno.EIO, "io")
COMPACT = "state.journal.compact"


class Live:
    """A session whose state changes again and again, and what it must be."""

    def __init__(self, open_home: Callable[..., HomeStore], hub: Any, event: Any) -> None:
        self._open_home, self.hub, self.event = open_home, hub, event
        self.wanted: dict[int, dict[str, Any]] = {}
        self.number = 0
        self.home: HomeStore
        self.store: SessionStore
        self.open()

    def open(self) -> None:
        self.home = self._open_home(sync_interval=3600.0)
        done: list[Exception | None] = []
        self.store = self.home.open_session("s", create=True, done=done.append)
        self.hub.run_until(lambda: done)
        assert done == [None]
        self.path = Path(self.home.layout.session("s")) / "state.journal"

    def change(self, count: int) -> None:
        told: list[Exception | None] = []
        for _ in range(count):
            self.number += 1
            key = self.number % 5
            self.wanted[key] = {"n": self.number, "text": "x" * (self.number % 40)}
            ops = [StateOp("t", key, self.wanted[key])]
            self.store.submit((), agent_name="a", state_ops=ops, durable=False, done=told.append)
            wanted = len(told) + 1
            self.hub.run_until(lambda wanted=wanted: len(told) >= wanted)
        assert not any(told)
        self.check()

    def check(self) -> None:
        assert self.store.state_documents("t") == self.wanted
        for key in self.wanted:
            assert self.store.state_document("t", key) == self.wanted[key]
        assert self.store.state_document("t", 99) is None

    def form(self) -> str:
        return decode_header(self.path.read_bytes()).form

    def close(self) -> None:
        self.home.close()
        self.hub.run_posted()


@pytest.fixture
def live(
    open_home: Callable[..., HomeStore], hub: Any, event: Any, monkeypatch: pytest.MonkeyPatch
) -> Live:
    monkeypatch.setattr(snapshot, "COMPACT_RECORDS", 30)
    monkeypatch.setattr(materialiser, "JOURNAL_BATCH_BYTES", 400)
    return Live(open_home, hub, event)


def test_14_1_the_state_is_rewritten_while_it_is_used(live: Live, fs: Any) -> None:
    while fs.count("rename", COMPACT) < 4:
        live.change(25)
    live.close()
    live.open()
    live.check()
    live.change(3)
    live.close()
    reader = ReadOnlySessionStore.open(str(live.path.parent), "s")
    assert reader.state_documents("t") == live.wanted
    reader.close()


@pytest.mark.parametrize("call", ["rename", "sync_directory"])
def test_reads_and_writes_go_on_at_every_moment_of_it(live: Live, fs: Any, call: str) -> None:
    """Before the new file has the name, after, and before the hub has gone over to it."""
    live.change(25)
    gate = fs.gate("rename", COMPACT)
    live.change(20)
    gate.wait_until_reached()
    if call == "sync_directory":
        after = fs.gate("sync_directory", "sessions/s")
        gate.go_on.set()
        after.wait_until_reached()
        gate = after
    assert (live.form() == COMPACTED) is (call == "sync_directory")
    # What is committed now is in no file; the hub does not know of the new one.
    assert live.store._state.recent > 0
    live.change(50)
    stop = threading.Event()
    reader = live.home.reader("s")
    failures: list[BaseException] = []

    def read() -> None:
        last: dict[Any, int] = {}
        while not stop.is_set():
            try:
                found = reader.state_documents("t")
                assert set(found) == set(live.wanted)
                assert all(document["n"] >= last.get(key, 0) for key, document in found.items())
                last = {key: document["n"] for key, document in found.items()}
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.go_on.set()
    live.hub.run_until(lambda: live.form() == COMPACTED and live.store._state.recent < 40)
    live.change(200)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not failures
    live.close()
    live.open()
    live.check()


@pytest.mark.parametrize("call", ["open_append", "append", "sync", "rename"])
def test_one_that_fails_is_no_failure_of_a_write(live: Live, fs: Any, call: str) -> None:
    fs.fail(call, COMPACT, IO)
    live.change(120)
    live.hub.run_until(lambda: fs.count(call, COMPACT) > 0)
    assert live.form() == FORMAT
    assert fs.count(call, COMPACT) < 10, "asked for again only when the file has grown by half"
    fs.heal()
    while live.form() == FORMAT:
        live.change(20)
    live.close()
    assert not live.path.with_name(COMPACT).exists()
    live.open()
    live.check()


def test_s8_a_name_that_may_not_be_kept_leaves_the_state_to_the_log(live: Live, fs: Any) -> None:
    live.change(25)
    fs.fail("sync_directory", "sessions/s", IO, times=1)
    while live.home.error is None:
        live.change(20)
    live.change(60)
    with pytest.raises(StorageError):
        live.close()
    live.hub.run_posted()
    live.open()
    live.check()
    assert live.home.report.copied > 0


def test_the_end_of_an_activation_leaves_the_dead_behind(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "COMPACT_RECORDS", 10**9)
    monkeypatch.setattr(snapshot, "COMPACT_AT_END_BYTES", 2000)
    live.change(150)
    closed: list[Exception | None] = []
    live.store.close(closed.append)
    live.hub.run_until(lambda: closed)
    assert closed == [None]
    assert live.form() == COMPACTED
    assert live.path.stat().st_size < 1000
    live.close()
    live.open()
    live.check()


def test_one_under_way_is_ended_or_given_up_with_the_home(live: Live, fs: Any) -> None:
    gate = fs.gate("open_append", COMPACT)
    live.change(60)
    gate.wait_until_reached()
    closing = threading.Thread(target=live.home.close)
    closing.start()
    gate.go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    live.hub.run_posted()
    assert live.form() == COMPACTED
    live.open()
    live.check()


def test_a_reader_keeps_the_file_it_began_with(live: Live) -> None:
    live.change(25)
    live.close()
    reader = ReadOnlySessionStore.open(str(live.path.parent), "s")
    before = reader.state_documents("t")
    live.open()
    while live.form() == FORMAT:
        live.change(20)
    assert reader.state_documents("t") == before
    reader.close()


def test_4_6_a_snapshot_with_damage_is_served_up_to_it_and_set_aside_once(live: Live) -> None:
    while live.form() == FORMAT:
        live.change(20)
    live.close()
    data = bytearray(live.path.read_bytes())
    data[decode_header(bytes(data)).size + 20] ^= 1
    live.path.write_bytes(data)
    for again in (False, True):
        state, journal = open_state(OsFileSystem(), str(live.path.parent), "s")
        assert (journal.report.damage is None) is again
        assert (journal.report.quarantine == "") is again
        assert state.documents("t") == {}
        journal.close()


def test_a_position_of_a_file_that_is_gone_is_no_position(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    new = tmp_path / "new"
    file = TableFile(str(path), OsFileSystem().open_read)
    first = file.first_position
    opened = file.open(first)
    assert opened is not None
    for round_ in range(2):
        new.write_bytes(b"new")
        following = file.next_position
        file.replace(lambda: new.rename(path))
        assert file.first_position == following
        # Who opened it before reads what he opened; so does who asks for it by position.
        assert opened.read(0, 3) == (b"old", b"new")[round_]
        again = file.open(first + 1)
        assert again is not None
        assert again.read(0, 3) == (b"old", b"new")[round_]
        file.forget_replaced()
        assert file.open(first) is None
        assert again.read(0, 3) == (b"old", b"new")[round_]
        first = file.first_position
        opened = file.open(first)
        assert opened is not None


def test_a_replacement_that_fails_changes_no_position(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    file = TableFile(str(path), OsFileSystem().open_read)

    def rename() -> None:
        raise IO

    with pytest.raises(OSError, match="io"):
        file.replace(rename)
    opened = file.open(file.first_position)
    assert opened is not None
    assert opened.read(0, 3) == b"old"
    opened.close()
    path.unlink()
    with pytest.raises(StorageError):
        file.open(file.first_position)


def test_a_file_replaced_between_finding_and_opening_it_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    new = tmp_path / "new"
    new.write_bytes(b"new")
    first = True

    def open_read(name: str) -> Any:
        nonlocal first
        opened = OsFileSystem().open_read(name)
        if first:
            first = False
            opened.close()
            file.replace(lambda: new.rename(path))
            return OsFileSystem().open_read(name)
        return opened

    file = TableFile(str(path), open_read)
    opened = file.open(0)
    assert opened is not None
    assert opened.read(0, 3) == b"old"
