"""kill -9 of a real writer, again and again: what it acknowledged is there, once, in order."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.model.query import EventQuery
from greenroom.storage.home import HomeStore

ROUNDS = 20
CHAOS_ROUNDS = 200
SESSIONS = ("s0", "s1", "s2")

WRITER = """
import os, pathlib, queue, sys, threading
from datetime import UTC, datetime
from greenroom.actors.errors import StoreOverloadedError
from greenroom.actors.model.event import AgentEvent
from greenroom.storage import materialiser, segmented_journal
from greenroom.storage.format import snapshot
from greenroom.storage.home import HomeStore
from greenroom.storage.session_store import StateOp

# Small batches: the journals are written all the time, and so is the kill in between.
materialiser.JOURNAL_BATCH_BYTES = 3000
segmented_journal.SEAL_BYTES = 20000
snapshot.COMPACT_RECORDS = 50
posted = queue.SimpleQueue()
pause = threading.Event()
home = HomeStore.open(pathlib.Path(sys.argv[1]), post=posted.put, sync_interval=0.005,
                      wal_bytes_max=200_000)
sessions = [home.open_session(name, create=True) for name in sys.argv[2:]]
now = datetime.now(UTC)
waiting = 0
turn = 0

def acknowledge(store, rows, turn):
    def done(error):
        global waiting
        waiting -= 1
        last = rows[-1]
        os.write(1, f"{store.session_id} {last.epoch} {last.sequence} {turn}\\n".encode())
        assert error is None
    return done

while True:
    for store in sessions:
        turn += 1
        events = [
            AgentEvent(type="agent_message", turn_id=f"turn-{turn}", timestamp=now, text="x" * 50)
            for _ in range(turn % 4 + 1)
        ]
        rows = []
        done = acknowledge(store, rows, turn)
        waiting += 1
        try:
            rows += store.submit(
                events, agent_name="a", durable=turn % 5 == 0, done=done,
                state_ops=[StateOp("turns", "last", {"turn": turn})],
            )
        except StoreOverloadedError:
            # The log is small here, and a busy machine lets the journals fall behind. Who tries
            # again at once keeps the interpreter from the threads that would make room.
            waiting -= 1
            pause.wait(0.001)
    while waiting > 20 or not posted.empty():
        posted.get()()
"""


def one_round(home: Path, acks: int) -> dict[str, tuple[int, int, int]]:
    """Let a writer run until it has acknowledged that much, kill it, return the last of each."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home), *SESSIONS], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    seen: list[bytes] = []
    while len(seen) < acks:
        line = writer.stdout.readline()
        assert line, "the writer ended by itself"
        seen.append(line)
    os.kill(writer.pid, signal.SIGKILL)
    # What it wrote before it died counts too; a cut last line does not.
    seen += [line for line in writer.stdout.read().splitlines(True) if line.endswith(b"\n")]
    writer.stdout.close()
    assert writer.wait(30) == -signal.SIGKILL
    last: dict[str, tuple[int, int, int]] = {}
    for line in seen:
        name, epoch, sequence, turn = line.decode().split()
        last[name] = (int(epoch), int(sequence), int(turn))
    return last


def check(store: HomeStore, acknowledged: dict[str, tuple[int, int, int]], epoch: int) -> None:
    for name in SESSIONS:
        events = store.reader(name).query(EventQuery())
        assert [event.sequence for event in events] == list(range(1, len(events) + 1)), name
        assert len({event.id for event in events}) == len(events)
        cursors = [event.cursor for event in events]
        assert cursors == sorted(cursors)
        if name not in acknowledged:
            continue
        acked_epoch, sequence, turn = acknowledged[name]
        assert acked_epoch == epoch
        assert len(events) >= sequence
        assert events[sequence - 1].cursor == (epoch, sequence)
        state = store.reader(name).state_document("turns", "last")
        assert state is not None
        # One commit holds rows and state, so neither is ahead of the other.
        assert state["turn"] >= turn
        assert events[-1].turn_id == f"turn-{state['turn']}"


def run(home: Path, hub: Any, rounds: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    replayed = 0
    for epoch in range(1, rounds + 1):
        acknowledged = one_round(home, chance.randrange(1, 200))
        store = HomeStore.open(home, post=hub.post)
        assert not store.report.failed
        replayed += store.report.copied
        check(store, acknowledged, epoch)
        store.close()
    assert replayed > 0


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, hub: Any) -> None:
    run(tmp_path / "home", hub, ROUNDS)


@pytest.mark.chaos
def test_a_killed_writer_loses_nothing_it_acknowledged_at_length(tmp_path: Path, hub: Any) -> None:
    run(tmp_path / "home", hub, CHAOS_ROUNDS)


CRASH_POINTS = [
    "log.write",
    "log.written",
    "log.synced",
    "materialise",
    "materialised",
    "journal.created",
    "compaction",
    "compaction.copied",
    "compaction.synced",
    "compaction.renamed",
    "compaction.ended",
]

CRASHER = (
    """
import os, signal, sys
from greenroom.storage.failpoints import FailPoint, arm
left = int(sys.argv.pop(2))
point = FailPoint(sys.argv.pop(2))
def crash():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
arm(point, crash)
"""
    + WRITER
)


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_at_a_named_point_loses_nothing(
    tmp_path: Path, hub: Any, point: str, open_home: Callable[..., HomeStore]
) -> None:
    home = tmp_path / "home"
    after = 3 if point == "journal.created" or "compaction" in point else 12
    result = subprocess.run(
        [sys.executable, "-c", CRASHER, str(home), str(after), point, *SESSIONS],
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    last: dict[str, tuple[int, int, int]] = {}
    for line in result.stdout.splitlines():
        name, epoch, sequence, turn = line.decode().split()
        last[name] = (int(epoch), int(sequence), int(turn))
    assert bool(last) is (point != "journal.created")
    store = open_home()
    assert not store.report.failed
    if last:
        check(store, last, 1)
    for name in store.session_ids():
        store.open_session(name, create=False)
