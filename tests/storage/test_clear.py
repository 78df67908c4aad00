"""03 12.1, 14.1: a clear replaces the conversation; a crash leaves the old one or the new one."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import StorageError
from greenroom.actors.model.query import EventQuery
from greenroom.actors.testing.sim_files import SimFileSystem
from greenroom.storage import segmented_journal
from greenroom.storage.clear_files import BACKUP, MARKER, META
from greenroom.storage.home import HomeStore
from greenroom.storage.readonly import SessionReader
from greenroom.storage.session_store import SessionStore, StateOp

OLD_META, NEW_META = b'{"which": "old"}\n', b'{"which": "new"}\n'
OLD_ROWS = 40


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmented_journal, "SEAL_BYTES", 1500)
    monkeypatch.setattr(segmented_journal, "SEAL_AT_END_BYTES", 800)
    monkeypatch.setattr("greenroom.storage.materialiser.JOURNAL_BATCH_BYTES", 400)


class Clearing:
    """A session with a history of several sealed parts, and the steps of clearing it."""

    def __init__(self, path: Path, hub: Any, event: Callable[..., Any], fs: Any = None) -> None:
        self.hub, self.event, self.fs = hub, event, fs
        self.home = HomeStore.open(path, post=hub.post, fs=fs)
        self.directory = self.home.layout.session("s0")

    def wait(self, start: Callable[[Callable[[Any], None]], Any]) -> Any:
        done: list[Any] = []
        started = start(done.append)
        self.hub.run_until(lambda: done)
        if done[0] is not None:
            raise done[0]
        return started

    def record(self, store: SessionStore, count: int, turn: str) -> None:
        for _ in range(count):
            events = [self.event(text="x" * 60, turn_id=turn)]
            self.wait(
                lambda done, events=events: store.submit(
                    events, agent_name="a", durable=True, done=done
                )
            )

    def history(self, rows: int = OLD_ROWS) -> None:
        store = self.wait(lambda done: self.home.open_session("s0", create=True, done=done))
        write(self.home._fs, f"{self.directory}/{META}", OLD_META)
        self.record(store, rows, "old")
        self.wait(store.close)

    def clear(self) -> SessionStore:
        store: SessionStore = self.wait(
            lambda done: self.home.clear_session("s0", advanced, done=done)
        )
        return store

    def end(self) -> None:
        self.home.close()
        self.hub.run_posted()


def advanced(reader: SessionReader) -> list[StateOp]:
    found = reader.state_document("input_state", "generation") or {"input_generation": 0}
    number = found["input_generation"] + 1
    return [StateOp("input_state", "generation", {"input_generation": number})]


def write(fs: Any, path: str, data: bytes) -> None:
    if fs.exists(path):
        fs.remove(path)
    file = fs.open_append(path)
    file.append(data)
    file.sync()
    file.close()
    fs.sync_directory(path.rpartition("/")[0])


def read(fs: Any, path: str) -> bytes:
    file = fs.open_read(path)
    data: bytes = file.read(0, file.size())
    file.close()
    return data


def conversation(home: HomeStore) -> str:
    """Which conversation the session has: ``old`` or ``new``, whole; anything else fails."""
    reader = home.reader("s0")
    events = reader.query(EventQuery())
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    turns, epochs = {event.turn_id for event in events}, {event.epoch for event in events}
    left = [n for n in home._fs.names(home.layout.session("s0")) if BACKUP in n or n == MARKER]
    assert not left
    if turns == {"old"}:
        assert len(events) == OLD_ROWS
        assert epochs == {1}
        return "old"
    assert turns <= {"new"}
    assert epochs <= {2}
    assert reader.epoch() == 2
    generation = reader.state_document("input_state", "generation")
    assert generation == {"input_generation": 1}
    return "new"


def goes_on(home: HomeStore, hub: Any, event: Callable[..., Any], above: int) -> None:
    """The session opens in an epoch nobody has seen, and takes rows."""
    done: list[Any] = []
    before = home.reader("s0").last_sequence()
    store = home.open_session("s0", create=False)
    assert store.epoch() > above
    (row,) = store.submit([event()], agent_name="a", durable=True, done=done.append)
    hub.run_until(lambda: done)
    assert (done, row.sequence) == ([None], before + 1)


def test_12_1_the_new_conversation_is_empty_and_in_a_new_epoch(
    tmp_path: Path, hub: Any, event: Callable[..., Any]
) -> None:
    clearing = Clearing(tmp_path / "home", hub, event)
    clearing.history()
    parts = [n for n in os.listdir(clearing.directory) if n[-1].isdigit()]
    assert len(parts) > 1, "the history has sealed parts"
    store = clearing.clear()
    assert (store.epoch(), store.last_sequence(), store.query(EventQuery())) == (2, 0, [])
    assert store.state_document("input_state", "generation") == {"input_generation": 1}
    clearing.record(store, 3, "new")
    assert [e.cursor for e in store.query(EventQuery())] == [(2, 1), (2, 2), (2, 3)]
    backups = [n for n in os.listdir(clearing.directory) if n.endswith(BACKUP)]
    assert {f"{n}{BACKUP}" for n in parts} < set(backups)
    clearing.home.stored.commit_clear("s0")
    assert conversation(clearing.home) == "new"
    # A cursor of what was cleared is fenced: from the beginning (DESIGN 5.10).
    assert clearing.home.rows_after("s0", 1, 7, 1 << 20).reset
    clearing.end()


def test_12_1_an_abandoned_clear_leaves_no_trace_but_the_epoch_it_used(
    tmp_path: Path, hub: Any, event: Callable[..., Any]
) -> None:
    clearing = Clearing(tmp_path / "home", hub, event)
    clearing.history()
    store = clearing.clear()
    write(clearing.home._fs, f"{clearing.directory}/{META}", NEW_META)
    clearing.record(store, OLD_ROWS + 5, "new")
    clearing.wait(store.close)
    clearing.home.stored.abandon_clear("s0")
    assert conversation(clearing.home) == "old"
    assert read(clearing.home._fs, f"{clearing.directory}/{META}") == OLD_META
    goes_on(clearing.home, hub, event, above=2)
    # Rows of epoch 2 were seen by subscribers, and are nobody's any more.
    assert clearing.home.rows_after("s0", 2, 3, 1 << 20).reset
    clearing.end()


@pytest.mark.parametrize("rows", [1, 3, OLD_ROWS + 5])
def test_13_the_log_of_an_abandoned_conversation_is_not_mixed_in(
    tmp_path: Path, hub: Any, event: Callable[..., Any], rows: int
) -> None:
    """The log still holds its records when the next runtime replays; fewer, or more, than old."""
    disk = SimFileSystem()
    (tmp_path / "home").mkdir()
    clearing = Clearing(tmp_path / "home", hub, event, disk)
    clearing.history()
    clearing.record(clearing.clear(), rows, "new")
    killed = disk.after_kill()
    clearing.end()
    again = HomeStore.open(tmp_path / "home", post=hub.post, fs=killed)
    assert not again.report.failed
    assert conversation(again) == "old"
    goes_on(again, hub, event, above=2)
    again.close()
    hub.run_posted()


def test_13_the_log_of_a_cleared_conversation_is_not_mixed_in(
    tmp_path: Path, hub: Any, event: Callable[..., Any]
) -> None:
    """A journal that could not be brought up to date keeps segments with old records."""
    disk = SimFileSystem()
    (tmp_path / "home").mkdir()
    clearing = Clearing(tmp_path / "home", hub, event, disk)
    clearing.history()
    (segment,) = disk.names(clearing.home.layout.wal)
    kept = read(disk, f"{clearing.home.layout.wal}/{segment}")
    clearing.clear()
    clearing.home.stored.commit_clear("s0")
    clearing.end()
    (last,) = disk.names(clearing.home.layout.wal)
    disk.remove(f"{clearing.home.layout.wal}/{last}")
    write(disk, f"{clearing.home.layout.wal}/{segment}", kept)
    again = HomeStore.open(tmp_path / "home", post=hub.post, fs=disk)
    assert not again.report.failed
    assert again.report.copied == 0
    assert conversation(again) == "new"
    again.close()
    hub.run_posted()


def test_12_1_a_crash_or_a_power_loss_at_any_call_leaves_one_of_the_two(
    tmp_path: Path, hub: Any, event: Callable[..., Any]
) -> None:
    """Every call of the file system, killed and cut off; then the same again in the recovery."""
    path = tmp_path / "home"
    path.mkdir()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    disk = SimFileSystem()
    clearing = Clearing(path, hub, event, disk)
    clearing.history()
    states: list[SimFileSystem] = []

    def watch(number: int, call: str, where: str) -> None:
        if call not in ("read", "size", "names", "open_read"):
            states.append(disk.after_kill())
            states.extend(disk.copy().after_power_loss(chance, 2))

    disk.fault = watch
    store = clearing.clear()
    write(disk, f"{clearing.directory}/{META}", NEW_META)
    clearing.record(store, 2, "new")
    clearing.home.stored.commit_clear("s0")
    disk.fault = None
    states.append(disk.after_kill())
    clearing.end()
    found = []
    for state in states:
        crash_in_recovery(state, path, hub, chance)
        home = HomeStore.open(path, post=hub.post, fs=state)
        assert not home.report.failed
        found.append(conversation(home))
        meta = read(state, f"{home.layout.session('s0')}/{META}")
        assert meta == (OLD_META if found[-1] == "old" else NEW_META)
        goes_on(home, hub, event, above=1)
        home.close()
        hub.run_posted()
    assert set(found) == {"old", "new"}
    assert found[-1] == "new"


def crash_in_recovery(state: SimFileSystem, path: Path, hub: Any, chance: random.Random) -> None:
    """The first recovery is killed at some call."""

    class Killed(Exception):
        """The process is gone."""

    at = state.calls + chance.randrange(1, 40)

    def kill(number: int, call: str, where: str) -> None:
        if number >= at:
            raise Killed

    state.fault = kill
    home = None
    try:
        home = HomeStore.open(path, post=hub.post, fs=state)
        home.reader("s0")
    except Killed:
        pass
    finally:
        state.fault = None
        if home is not None:
            home.close()
            hub.run_posted()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_12_1_any_call_that_fails_leaves_one_of_the_two(
    tmp_path: Path, hub: Any, event: Callable[..., Any], code: int
) -> None:
    """A typed error, and the next opening finds a whole conversation."""
    for number in range(1, 60):
        path = tmp_path / f"home{number}"
        path.mkdir()
        disk = SimFileSystem()
        clearing = Clearing(path, hub, event, disk)
        clearing.history()
        at = disk.calls + number

        def fail(call: int, name: str, where: str, at: int = at) -> None:
            if call == at and "/wal/" not in where:
                raise OSError(code, os.strerror(code), where)

        disk.fault = fail
        try:
            store = clearing.clear()
            try:
                clearing.home.stored.commit_clear("s0")
            except StorageError:
                clearing.wait(store.close)
                clearing.home.stored.abandon_clear("s0")
        except StorageError:
            pass
        disk.fault = None
        clearing.end()
        again = HomeStore.open(path, post=hub.post, fs=disk)
        assert not again.report.failed
        assert conversation(again) in ("old", "new")
        again.close()
        hub.run_posted()


CLEARER = """
import os, pathlib, queue, signal, sys
from datetime import UTC, datetime
from greenroom.actors.model.event import AgentEvent
from greenroom.storage import segmented_journal
from greenroom.storage.failpoints import FailPoint, arm
from greenroom.storage.home import HomeStore
from greenroom.storage.session_store import StateOp

segmented_journal.SEAL_BYTES, segmented_journal.SEAL_AT_END_BYTES = 1500, 800
posted = queue.SimpleQueue()
home = HomeStore.open(pathlib.Path(sys.argv[1]), post=posted.put)
now = datetime.now(UTC)

def wait(start):
    done = []
    started = start(done.append)
    while not done:
        posted.get()()
    assert done == [None]
    return started

def record(store, count, turn):
    for _ in range(count):
        event = AgentEvent(type="agent_message", turn_id=turn, timestamp=now, text="x" * 60)
        wait(lambda done: store.submit([event], agent_name="a", durable=True, done=done))

store = wait(lambda done: home.open_session("s0", create=True, done=done))
record(store, 40, "old")
wait(store.close)
arm(FailPoint(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL))
if sys.argv[3] == "undo":
    arm(FailPoint.CLEAR_OPENED, lambda: None)
one = StateOp("input_state", "generation", {"input_generation": 1})
store = wait(lambda done: home.clear_session("s0", lambda reader: [one], done=done))
record(store, 2, "new")
if sys.argv[3] == "undo":
    wait(store.close)
    home.stored.abandon_clear("s0")
home.stored.commit_clear("s0")
"""


@pytest.mark.parametrize(
    ("point", "then", "left"),
    [
        ("clear.parts", "commit", "old"),
        ("clear.backed_up", "commit", "old"),
        ("clear.opened", "commit", "old"),
        ("clear.restoring", "undo", "old"),
        ("clear.committed", "commit", "new"),
        ("clear.backups_gone", "commit", "new"),
    ],
)
def test_12_1_kill_9_at_each_named_point(
    tmp_path: Path, hub: Any, event: Callable[..., Any], point: str, then: str, left: str
) -> None:
    home = tmp_path / "home"
    ran = subprocess.run(
        [sys.executable, "-c", CLEARER, str(home), point, then], timeout=60, check=False
    )
    assert ran.returncode == -signal.SIGKILL
    store = HomeStore.open(home, post=hub.post)
    assert not store.report.failed
    assert conversation(store) == left
    goes_on(store, hub, event, above=1)
    store.close()
    hub.run_posted()
