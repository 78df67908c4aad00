"""S1, S2: a session's journal cut at every byte, and with every single bit flipped."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from greenroom.actors.errors import StoreCorruptError
from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.query import EventQuery
from greenroom.actors.testing.sim_files import SimFileSystem
from greenroom.storage.format.operations import append_item, join_payload
from greenroom.storage.format.row_encoder import RowEncoder
from greenroom.storage.journal import open_journal
from greenroom.storage.readonly import ReadOnlySessionStore
from greenroom.storage.session_files import open_event_rows

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
JOURNAL = "/s/events.journal"
RECORDS = 64
FLIPS = 1500


def journal() -> tuple[bytes, list[int]]:
    """A journal of 64 records of 16 KiB in all, and where each record ends."""
    disk = SimFileSystem()
    disk.make_directory("/s")
    made = open_journal(disk, JOURNAL, kind="events", name="s", replay=lambda _, data: None)
    encoder = RowEncoder("s", 1)
    ends = []
    for number in range(1, RECORDS + 1):
        event = AgentEvent(type="agent_message", turn_id="t", timestamp=NOON, text="x" * 120)
        row = encoder.encode(number, f"ev-{number}", "a", NOON, event)
        made.append([join_payload(1, number, [append_item(row)])])
        ends.append(made.end)
    return bytes(disk.names_now[JOURNAL].data), ends


WHOLE, ENDS = journal()


def disk_with(data: bytes) -> SimFileSystem:
    disk = SimFileSystem()
    disk.make_directory("/s")
    disk.open_append(JOURNAL).append(data)
    return disk


def served(disk: SimFileSystem) -> tuple[list[str], Any]:
    reader = ReadOnlySessionStore.open("/s", "s", disk)
    return [event.id for event in reader.query(EventQuery())], reader.report


def keep_using(disk: SimFileSystem, kept: int) -> None:
    """Open for writing, append ten rows, read all back."""
    rows, made = open_event_rows(disk, "/s", "s")
    assert rows.committed == kept
    encoder = RowEncoder("s", max(rows.epoch, rows.epoch_floor) + 1)
    for number in range(kept + 1, kept + 11):
        event = AgentEvent(type="done", turn_id="t", timestamp=NOON)
        row = encoder.encode(number, f"ev-{number}", "a", NOON, event)
        made.append([join_payload(encoder._epoch, rows.number + number - kept, [append_item(row)])])
    made.close()
    found, report = served(disk)
    assert found == [f"ev-{number}" for number in range(1, kept + 11)]
    assert report.damage is None


def cuts() -> Iterator[int]:
    yield from range(len(WHOLE) + 1)


def test_s1_every_cut_recovers_the_last_whole_record_and_goes_on() -> None:
    assert len(WHOLE) >= 14_000
    for cut in cuts():
        kept = sum(1 for end in ENDS if end <= cut)
        disk = disk_with(WHOLE[:cut])
        if cut % 8 == 0 or cut in ENDS:
            found, report = served(disk)
            assert found == [f"ev-{number}" for number in range(1, kept + 1)]
        else:
            # Reading every row of every cut is most of the work, and says no more.
            reader = ReadOnlySessionStore.open("/s", "s", disk)
            report = reader.report
            assert reader.last_sequence() == kept
        assert report.damage is None
        if cut % 37 == 0:
            keep_using(disk, kept)


def flip(bit: int) -> None:
    data = bytearray(WHOLE)
    data[bit // 8] ^= 1 << bit % 8
    disk = disk_with(bytes(data))
    kept = sum(1 for end in ENDS if end <= bit // 8)
    wanted = [f"ev-{number}" for number in range(1, kept + 1)]
    if bit // 8 < ENDS[0] - (ENDS[1] - ENDS[0]):
        with pytest.raises(StoreCorruptError):
            served(disk)
    else:
        found, report = served(disk)
        assert found == wanted
        # A flip in the last record can not be told from a torn write: cut, and reported.
        assert report.damage is not None or report.torn_bytes > 0
    before = disk.copy()
    rows, made = open_event_rows(disk, "/s", "s")
    made.close()
    assert rows.committed == kept
    aside = [name for name in disk.names("/s") if ".corrupt." in name]
    if made.report.quarantine:
        assert [f"/s/{name}" for name in aside] == [made.report.quarantine]
        lost = bytes(disk.names_now[made.report.quarantine].data)
        assert bytes(data).endswith(lost)
        assert lost
    else:
        assert made.report.torn_bytes > 0
    if bit % 61 == 0:
        keep_using(before, kept)


def test_s2_a_flipped_bit_leaves_the_correct_prefix_and_is_set_aside() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    for bit in random.Random(seed).sample(range(len(WHOLE) * 8), FLIPS):
        flip(bit)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_s2_every_bit() -> None:
    for bit in range(len(WHOLE) * 8):
        flip(bit)
