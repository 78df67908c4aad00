"""P6: an agent that floods is slowed down; memory stays, and others are not held up (04 12, D9)."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import gevent
import pytest
from greenroom.transport.agent.context import CallContext

from .conftest import until

MIB = 1024 * 1024
MEMORY_MAX = 64 * MIB
"""Above idle, whatever an agent writes."""
HUB_BLOCK_MAX_S = 0.05
"""No single agent keeps the hub from others for longer."""
BEAT_S = 0.001

FLOOD = """
    handshake()
    request_id = await_prompt()
    content = {"type": "text", "text": "x" * %d}
    update = {"sessionUpdate": "agent_message_chunk", "content": content}
    params = {"sessionId": "s-1", "update": update}
    line = json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": params}) + "\\n"
    block = (line * max(1, 1_000_000 // len(line))).encode()
    left = %d
    while left > 0:
        sent = os.write(1, block)
        while sent < len(block):
            sent += os.write(1, block[sent:])
        left -= len(block)
    end(request_id)
    serve()
"""


def resident():
    """Bytes of memory we hold now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Pulse:
    """How late the hub runs a timer, as everybody else on it would see."""

    def __init__(self):
        self.late = []
        self._due = 0.0
        self._timer = gevent.get_hub().loop.timer(BEAT_S)

    def _beat(self):
        now = time.perf_counter()
        self.late.append(now - self._due)
        self._arm()

    def _arm(self):
        self._due = time.perf_counter() + BEAT_S
        self._timer.start(self._beat, update=True)

    @contextlib.contextmanager
    def measured(self):
        self.late = []
        self._arm()
        yield self
        self._timer.stop()

    def at(self, share):
        return sorted(self.late)[int(share * (len(self.late) - 1))]


def flood(stage, text_bytes, total):
    """Take a whole flood as a reader that keeps up; returns bytes taken and the most memory."""
    process = stage.start(stage.script(FLOOD % (text_bytes, total)))
    stream = stage.prompt(process, "x")
    taken, most = 0, 0
    while events := stream.take():
        taken += sum(len(event.text) for event in events)
        most = max(most, resident())
    assert not events
    return taken, most


def round_trip(stage, process):
    """Seconds of one small turn of another agent."""
    began = time.perf_counter()
    assert stage.play(process, "x")[-1].type == "done"
    return time.perf_counter() - began


def turns_of_others(stage, process, until_done):
    times = []
    while not until_done():
        times.append(round_trip(stage, process))
    return times


def p99(times):
    return sorted(times)[int(0.99 * (len(times) - 1))]


@pytest.mark.parametrize("text_bytes", [20, 2_000, 550_000])
def test_64_mib_of_output_leave_memory_and_the_hub_alone(stage, text_bytes):
    total = (64 if text_bytes > 20 else 8) * MIB
    flood(stage, text_bytes, MIB)
    idle = resident()
    with Pulse().measured() as pulse:
        taken, most = flood(stage, text_bytes, total)
    assert taken > 0
    assert most - idle < MEMORY_MAX
    # The one worst beat is the machine's: a tenth of a percent may be.
    assert pulse.at(0.999) < HUB_BLOCK_MAX_S


def test_a_reader_that_stops_stops_the_agent_and_memory_stays(stage):
    idle = resident()
    process = stage.start(stage.script(FLOOD % (2_000, 1 << 40)))
    stream = stage.prompt(process, "x")
    until(lambda: process.link.is_paused)
    assert resident() - idle < MEMORY_MAX / 4
    assert stream.waiting >= 128
    stage.driver.cancel(CallContext(), process)


@pytest.mark.chaos
def test_a_gib_of_output_and_the_others_stay_as_fast(stage):
    """P6 at its full size."""
    other = stage.start(stage.script("handshake()\nserve()"), settle_s=0.0)
    for _ in range(50):
        round_trip(stage, other)
    began = time.monotonic()
    alone = turns_of_others(stage, other, lambda: time.monotonic() - began > 5)
    idle = resident()
    flooding = gevent.spawn(flood, stage, 2_000, 1024 * MIB)
    beside = turns_of_others(stage, other, flooding.ready)
    taken, most = flooding.get()
    print(f"p99 alone {p99(alone) * 1e3:.2f} ms, beside {p99(beside) * 1e3:.2f} ms")
    assert taken > 900 * MIB
    assert most - idle < MEMORY_MAX
    assert p99(beside) <= 2 * max(p99(alone), 0.005)
