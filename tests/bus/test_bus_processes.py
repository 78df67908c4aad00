"""The bus between real processes: the runtime is killed, again and again, and nothing is missed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from greenroom.transport.bus.endpoints import Endpoints
from greenroom.transport.bus.subscriber import Subscriber

RUNTIME = """
import os, sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
import gevent.event
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.format.rows import encode_row, row_position, split_rows
from greenroom.transport.bus.publisher import Publisher

NOW = datetime(2026, 4, 3, tzinfo=UTC)

@dataclass
class Page:
    rows: list
    head_epoch: int
    head_sequence: int
    reset: bool

class Source:
    def __init__(self, path):
        self.path = path
        self.rows = split_rows(path.read_bytes()) if path.exists() else []
        self.epochs = [0] + [row_position(row).epoch for row in self.rows]
        self.epoch = self.epochs[-1] + 1
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def append(self):
        row = encode_row(session_id="a", epoch=self.epoch, sequence=len(self.rows) + 1, id="ev",
            turn_id="t", type="done", agent_name="n", timestamp=NOW,
            event=AgentEvent(type="done", timestamp=NOW, text=str(os.getpid())))
        os.write(self.file, row)
        self.rows.append(row)
        self.epochs.append(self.epoch)
        return row

    def session_ids(self):
        return ["a"]

    def head(self, session_id):
        return (self.epoch, len(self.rows))

    def rows_after(self, session_id, epoch, sequence, bytes_max):
        known = sequence <= len(self.rows) and (not sequence or self.epochs[sequence] <= epoch)
        start = sequence if known else 0
        taken = self.rows[start : start + 50]
        return Page(taken, self.epoch, len(self.rows), not known)

home = Path(sys.argv[1])
source = Source(home / "rows")
publisher = Publisher(home, source=source)
publisher.open()
print("open", flush=True)
pause = gevent.event.Event()
while True:
    for _ in range(int(sys.argv[2])):
        publisher.publish("a", [source.append()])
    pause.wait(0.001)
"""


def start(home: Path, burst: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUNTIME, str(home), str(burst)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert process.stdout is not None
    process.stdout.close()


def test_a_runtime_killed_in_a_loop_is_followed_without_gap_or_double(tmp_path: Path) -> None:
    process = start(tmp_path, burst=5)
    endpoints = Endpoints.read(tmp_path)
    expected = 1
    with (
        Subscriber(tmp_path, "a", idle_sync_s=0.2, request_timeout_s=0.3) as one,
        Subscriber(tmp_path, idle_sync_s=0.2, request_timeout_s=0.3) as every,
    ):
        for _ in range(6):
            for _ in range(200):
                event = one.next(20)
                assert event is not None
                assert event.sequence == expected
                expected += 1
            kill(process)
            process = start(tmp_path, burst=5)
            assert Endpoints.read(tmp_path) == endpoints
        kill(process)
        process = start(tmp_path, burst=0)
        stored = (tmp_path / "rows").read_bytes()
        last = 0
        while True:
            events = one.read(1.0)
            if not events:
                break
            assert [event.sequence for event in events] == list(
                range(expected, expected + len(events))
            )
            expected += len(events)
        while last < expected - 1:
            event = every.next(20)
            assert event is not None
            assert event.sequence == last + 1
            last += 1
        assert stored.count(b"greenroom.event.v1") == last
        assert (one.resets, every.resets) == (0, 0)
    kill(process)


def test_a_subscriber_in_another_process_stops_and_goes_on_with_its_cursor(tmp_path: Path) -> None:
    script = (
        "import sys; from greenroom.transport.bus.subscriber import Subscriber\n"
        "with Subscriber(sys.argv[1], 'a', after=sys.argv[2] or None) as subscriber:\n"
        "    numbers = [subscriber.next(20).sequence for _ in range(300)]\n"
        "    assert numbers == list(range(numbers[0], numbers[0] + 300)), numbers\n"
        "    print(numbers[0], subscriber.cursor())\n"
    )
    process = start(tmp_path, burst=3)
    cursor = ""
    for turn in range(3):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), cursor],
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
        first, cursor = done.stdout.split()
        assert int(first) == 300 * turn + 1
    kill(process)


def test_importing_a_subscriber_brings_no_gevent() -> None:
    script = (
        "import sys, greenroom.transport.bus.subscriber\n"
        "sys.exit('gevent' in sys.modules or 'pykka' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


def test_a_reader_waiting_for_a_dead_runtime_uses_no_processor(tmp_path: Path) -> None:
    process = start(tmp_path, burst=0)
    kill(process)
    with Subscriber(tmp_path, "a") as subscriber:
        subscriber.next(0.1)
        before = time.process_time()
        assert subscriber.next(1.0) is None
        assert time.process_time() - before < 0.5
    assert os.path.exists(tmp_path / "endpoints.json")
