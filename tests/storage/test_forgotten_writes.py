"""S8: a kernel that forgets what it could not sync, shows it all the same, and says all is well."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import StoreSyncFailedError
from greenroom.actors.testing.sim_files import SimFileSystem
from greenroom.storage import segmented_journal
from greenroom.storage.format import snapshot
from greenroom.storage.format.operations import Put, encode_document
from greenroom.storage.home import HomeStore
from greenroom.storage.table_storage import JournalStorage
from greenroom.storage.unsynced import COPY, NOTE, copy_unsynced

from .simulated import Life, check

IO = OSError(errno.EIO, "io")
PATH = "/db/tables"
LIVES = 15
STATES = 6


def simulated() -> SimFileSystem:
    disk = SimFileSystem()
    disk.make_directory("/db")
    disk.sync_directory("/")
    return disk


def failing_sync(disk: SimFileSystem, where: str, after: int = 0) -> None:
    """The next sync of such a file but ``after`` fails, once."""
    left = [after]

    def fail(number: int, call: str, path: str) -> None:
        if call == "sync" and path.endswith(where):
            left[0] -= 1
            if left[0] == -1:
                raise IO

    disk.fault = fail


def documents(disk: SimFileSystem) -> list[Any]:
    storage = JournalStorage(PATH, read_only=True, fs=disk)
    return [storage.load(place)["n"] for place in storage.places("t").values()]


def put(number: int) -> list[Any]:
    return [Put("t", number, encode_document({"n": number, "text": "x" * 700}))]


def test_13_what_a_database_shows_after_a_failed_sync_is_brought_to_the_medium() -> None:
    disk = simulated()
    storage = JournalStorage(PATH, fs=disk)
    storage.commit(put(0))
    failing_sync(disk, PATH)
    with pytest.raises(StoreSyncFailedError):
        storage.commit(put(1))
    disk.fault = None
    # The process ends; another one opens what the kernel shows, and adds to it.
    again = JournalStorage(PATH, fs=disk.copy())
    disk = again._journal._fs
    again.commit(put(2))
    assert documents(disk) == [0, 1, 2]
    assert not disk.exists(f"{PATH}{NOTE}")
    for state in disk.after_power_loss(random.Random(1), 20):
        assert documents(state) == [0, 1, 2]


def test_the_simulated_disk_forgets() -> None:
    """Without the note, the acknowledged document behind the forgotten one would be lost."""
    disk = simulated()
    storage = JournalStorage(PATH, fs=disk)
    storage.commit(put(0))
    failing_sync(disk, PATH)
    with pytest.raises(StoreSyncFailedError):
        storage.commit(put(1))
    disk.fault = None
    disk.remove(f"{PATH}{NOTE}")
    JournalStorage(PATH, fs=disk).commit(put(2))
    assert documents(disk) == [0, 1, 2]
    (state,) = disk.after_power_loss(random.Random(1), 1)
    assert documents(state) == [0]


@pytest.mark.parametrize("at", range(1, 12))
def test_a_copy_that_is_cut_short_is_made_again(at: int) -> None:
    disk = simulated()
    storage = JournalStorage(PATH, fs=disk)
    failing_sync(disk, PATH)
    with pytest.raises(StoreSyncFailedError):
        storage.commit(put(1))
    begin = disk.calls

    def fail(number: int, call: str, path: str) -> None:
        if number == begin + at:
            raise IO

    disk.fault = fail
    try:
        copy_unsynced(disk, PATH)
    except OSError:
        assert disk.exists(f"{PATH}{NOTE}")
    disk.fault = None
    again = JournalStorage(PATH, fs=disk.copy())
    assert documents(again._journal._fs) == [1]
    again.commit(put(2))
    for state in again._journal._fs.after_power_loss(random.Random(at), 5):
        assert documents(state) == [1, 2]
    left = again._journal._fs
    assert [name for name in left.names("/db") if name.endswith((NOTE, COPY))] == []


def test_13_nothing_a_home_acknowledged_is_lost_after_a_failed_sync_of_a_journal(
    tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime ends, the next one recovers and ends, and then the power goes."""
    monkeypatch.setattr(segmented_journal, "SEAL_BYTES", 3000)
    monkeypatch.setattr("greenroom.storage.materialiser.JOURNAL_BATCH_BYTES", 500)
    monkeypatch.setattr(snapshot, "COMPACT_RECORDS", 8)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    path = tmp_path / "home"
    path.mkdir()
    met = 0
    for _ in range(LIVES):
        disk = SimFileSystem()
        life = Life(path, hub, disk)
        where = chance.choice(["events.journal", "state.journal", ".log"])
        failing_sync(disk, where, after=chance.randrange(6))
        life.run(activations=1, submits=20)
        disk.fault = None
        met += any(name.endswith(NOTE) for name in disk.names_now)
        opened = disk.copy()
        home = HomeStore.open(path, post=hub.post, fs=opened)
        home.close()
        hub.run_posted()
        for state in opened.after_power_loss(chance, STATES):
            check(state, path, life.acked(durable=True), life.ids)
    assert met > LIVES // 4
