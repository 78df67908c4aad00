"""S3: the last write that was not synced, with every subset of its sectors missing or zeroed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.query import EventQuery
from greenroom.actors.testing.sim_files import SimFileSystem
from greenroom.actors.testing.sim_sectors import SECTOR_BYTES
from greenroom.storage.format.operations import Put, append_item, encode_document, join_payload
from greenroom.storage.format.row_encoder import RowEncoder
from greenroom.storage.home import HomeStore
from greenroom.storage.readonly import ReadOnlySessionStore
from greenroom.storage.session_files import open_event_rows
from greenroom.storage.session_store import StateOp
from greenroom.storage.table_storage import JournalStorage

SECTORS = 8
NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
PATH = "/db/tables"


def states(disk: SimFileSystem, path: str, sectors: int) -> Iterator[SimFileSystem]:
    offset, written = disk.names_now[path].writes[-1]
    touched = (offset + len(written) - 1) // SECTOR_BYTES - offset // SECTOR_BYTES + 1
    assert touched == sectors
    count = 0
    for state in disk.after_lost_sectors(path):
        count += 1
        yield state
    assert count == 2 * 2**sectors


def texts(storage: JournalStorage) -> list[int]:
    return [storage.load(place)["n"] for place in storage.places("t").values()]


@pytest.mark.parametrize("before", [3, 5, 9])
@pytest.mark.parametrize("sectors", range(1, SECTORS + 1))
def test_s3_a_journal_of_tables(sectors: int, before: int) -> None:
    """One record: it is there as a whole, or not at all."""
    disk = SimFileSystem()
    disk.make_directory("/db")
    storage = JournalStorage(PATH, sync="none", fs=disk)
    for number in range(before):
        storage.commit([Put("t", number, encode_document({"n": number}))])
    storage.sync()
    room = sectors * SECTOR_BYTES - storage.size % SECTOR_BYTES
    text = "x" * max(room - 60, 0)
    storage.commit([Put("t", before, encode_document({"n": before, "text": text}))])
    whole = 0
    for state in states(disk, PATH, sectors):
        left = JournalStorage(PATH, fs=state)
        found = texts(left)
        assert found in ([*range(before)], [*range(before + 1)])
        assert not left.report.quarantine
        whole += len(found) == before + 1
        left.commit([Put("t", before, encode_document({"n": 77}))])
        assert texts(JournalStorage(PATH, fs=state)) == [*range(before), 77]
    assert 0 < whole <= 4


@pytest.mark.parametrize("rows", [1, 4, 9])
@pytest.mark.parametrize("synced", [4, 6])
def test_s3_the_journal_of_a_session(rows: int, synced: int) -> None:
    """Several records of one write: those before the first broken one; the others are set aside."""
    disk = SimFileSystem()
    disk.make_directory("/s")
    _, journal = open_event_rows(disk, "/s", "s")
    encoder = RowEncoder("s", 1)
    numbers = iter(range(1, 100))

    def records(count: int, length: int) -> list[bytes]:
        found = []
        for _ in range(count):
            number = next(numbers)
            event = AgentEvent(type="agent_message", turn_id="t", timestamp=NOON, text="x" * length)
            row = encoder.encode(number, f"ev-{number}", "a", NOON, event)
            found.append(join_payload(1, number, [append_item(row)]))
        return found

    journal.append(records(synced, 50))
    journal.sync()
    room = SECTORS * SECTOR_BYTES - journal.end % SECTOR_BYTES
    journal.append(records(rows, room // rows - 180))
    path = "/s/events.journal"
    written = disk.names_now[path].writes[-1]
    sectors = (written[0] + len(written[1]) - 1) // SECTOR_BYTES - written[0] // SECTOR_BYTES + 1
    assert 5 <= sectors <= SECTORS
    lengths = set()
    for state in states(disk, path, sectors):
        reader = ReadOnlySessionStore.open("/s", "s", state)
        found = [event.id for event in reader.query(EventQuery())]
        assert found == [f"ev-{number}" for number in range(1, len(found) + 1)]
        assert synced <= len(found) <= synced + rows
        lengths.add(len(found))
        for again in (False, True):
            left, opened = open_event_rows(state, "/s", "s")
            assert left.committed == len(found)
            assert not (again and opened.report.quarantine)
            opened.close()
    assert {synced, synced + rows} <= lengths


def home_with_an_unsynced_commit(
    hub: Any, path: Path, room: int
) -> tuple[SimFileSystem, str, list[str]]:
    """Durable commits of two sessions, then one that was written and not synced."""
    disk = SimFileSystem()
    home = HomeStore.open(path, post=hub.post, fs=disk, sync_interval=3600.0)
    told: list[Exception | None] = []
    stores = [home.open_session(name, create=True, done=told.append) for name in ("s", "t")]
    ids = []

    def submit(store: Any, number: int, length: int, durable: bool) -> None:
        event = AgentEvent(
            type="agent_message", turn_id=f"turn-{number}", timestamp=NOON, text="x" * length
        )
        count = len(told)
        (row,) = store.submit(
            [event],
            agent_name="a",
            state_ops=[StateOp("turns", "last", {"turn": number})],
            durable=durable,
            done=told.append,
        )
        hub.run_until(lambda: len(told) > count)
        if store is stores[0]:
            ids.append(row.id)

    hub.run_until(lambda: len(told) == 2)
    for number in range(6):
        submit(stores[number % 2], number, 20, durable=True)
    segment = home.layout.segment(1)
    size = len(disk.names_now[segment].data)
    submit(stores[0], 6, room - size % SECTOR_BYTES - 420, durable=False)
    left = disk.copy()
    home.close()
    hub.run_posted()
    return left, segment, ids


def test_s3_the_log(tmp_path: Path, hub: Any, event: Callable[..., Any]) -> None:
    """The last commit is there with its row and its state, or not at all; nothing else changes."""
    disk, segment, ids = home_with_an_unsynced_commit(hub, tmp_path, SECTORS * SECTOR_BYTES)
    whole = 0
    for number, state in enumerate(states(disk, segment, SECTORS)):
        home = HomeStore.open(tmp_path, post=hub.post, fs=state)
        assert not home.report.failed
        reader = home.reader("s")
        found = [event.id for event in reader.query(EventQuery())]
        assert found in (ids[:-1], ids)
        document = reader.state_document("turns", "last")
        assert document == {"turn": 6 if found == ids else 4}
        assert home.head("t") == (1, 3)
        whole += found == ids
        if number % 50 == 0:
            done: list[Exception | None] = []
            store = home.open_session("s", create=False, done=done.append)
            store.submit([event(1)], agent_name="a", durable=True, done=done.append)
            hub.run_until(lambda done=done: len(done) == 2)
            assert done == [None, None]
            assert store.last_sequence() == len(found) + 1
        home.close()
        hub.run_posted()
    assert whole == 2
