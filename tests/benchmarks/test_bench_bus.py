"""Figure F12: catching up against following live, and publishing against a bare PUB socket.

A row a call, and a call's round trip against a bare DEALER and ROUTER, are printed beside.
Ratios of interleaved rounds; the table shows their median and range.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2
import pytest
import zmq
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.format.rows import encode_row
from greenroom.transport.bus.control_client import ControlClient
from greenroom.transport.bus.error_table import ErrorTable
from greenroom.transport.bus.frames import RowsFrame, decode_frame, runs_of
from greenroom.transport.bus.publisher import Publisher
from greenroom.transport.bus.subscriber import Subscriber

pytestmark = pytest.mark.bench

ROUNDS = 7
NOW = datetime(2026, 4, 3, tzinfo=UTC)
EVENT = AgentEvent(type="agent_message", turn_id="t", text="x" * 40, timestamp=NOW)
WAIT = 60.0

RUNTIME = """
import sys
from datetime import UTC, datetime
from pathlib import Path
import gevent, gevent.event
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.home import HomeStore
from greenroom.transport.bus.publisher import Publisher

NOW = datetime(2026, 4, 3, tzinfo=UTC)
EVENT = AgentEvent(type="agent_message", turn_id="t", text="x" * 40, timestamp=NOW)
loop = gevent.get_hub().loop
keep = loop.async_()
keep.start(lambda: None)
home = HomeStore.open(
    Path(sys.argv[1]), post=lambda f, *a: loop.run_callback_threadsafe(f, *a), durability="process"
)
publisher = Publisher(Path(sys.argv[1]), source=home)
publisher.open()

def wait(work):
    done = gevent.event.AsyncResult()
    def told(error):
        done.set_exception(error) if error else done.set(None)
    result = work(told)
    done.get(timeout=60)
    return result

stores = {}
def store_rows(name, count, chunk, show):
    if name not in stores:
        stores[name] = wait(lambda d: home.open_session(name, create=True, done=d))
    while count:
        size = min(chunk, count)
        stored = wait(lambda d: stores[name].submit(
            [EVENT] * size, agent_name="n", durable=False, done=d))
        if show:
            for row in stored:
                publisher.publish(name, [row.row])
        count -= size

pool = gevent.get_hub().threadpool
print("open", flush=True)
while True:
    line = pool.apply(sys.stdin.readline).split()
    if not line:
        break
    store_rows(line[0], int(line[1]), int(line[2]), line[3] == "show")
    print("done", flush=True)
"""

READERS = """
import sys, threading, zmq
context = zmq.Context()
context.set(zmq.MAX_SOCKETS, 4096)
poller = zmq.Poller()
for address in sys.argv[2:]:
    for _ in range(int(sys.argv[1])):
        sock = context.socket(zmq.SUB)
        sock.setsockopt(zmq.RCVHWM, 100_000)
        sock.setsockopt(zmq.SUBSCRIBE, b"")
        sock.connect(address)
        poller.register(sock, zmq.POLLIN)
print("open", flush=True)
while True:
    for sock, _ in poller.poll():
        try:
            while True:
                sock.recv(zmq.NOBLOCK)
        except zmq.Again:
            pass
"""


def show(name: str, ratios: list[float], bar: str) -> float:
    median = statistics.median(ratios)
    print(f"\n  {name:<58} {median:6.2f}  ({min(ratios):.2f} .. {max(ratios):.2f})  bar {bar}")
    return median


def process(*argv: str) -> subprocess.Popen[str]:
    made = subprocess.Popen(
        [sys.executable, "-c", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "open\n"
    return made


def end(made: subprocess.Popen[str]) -> None:
    made.kill()
    made.communicate()


# -- catching up ------------------------------------------------------------------------------


def command(runtime: subprocess.Popen[str], *words: object) -> None:
    assert runtime.stdin is not None
    runtime.stdin.write(" ".join(map(str, words)) + "\n")
    runtime.stdin.flush()


def answered(runtime: subprocess.Popen[str]) -> None:
    assert runtime.stdout is not None
    assert runtime.stdout.readline() == "done\n"


def read_all(subscriber: Subscriber, count: int) -> float:
    """Events per second."""
    begin = time.perf_counter()
    while count > 0:
        count -= len(subscriber.read(WAIT))
    return time.perf_counter() - begin


def live_rate(runtime: subprocess.Popen[str], home: Path, name: str, count: int) -> float:
    """What one subscriber follows as it is committed, a frame an event, nothing dropped."""
    with Subscriber(home, name) as subscriber:
        command(runtime, name, 1, 1, "show")
        answered(runtime)
        assert subscriber.next(WAIT) is not None
        command(runtime, name, count, 100, "show")
        spent = read_all(subscriber, count)
        answered(runtime)
    return count / spent


def test_catching_up_against_following_live(tmp_path: Path) -> None:
    runtime = process(RUNTIME, str(tmp_path))
    try:
        count = 100_000
        command(runtime, "late", count, 1000, "silent")
        answered(runtime)
        ratios = []
        for number in range(ROUNDS):
            live = live_rate(runtime, tmp_path, f"live{number}", 20_000)
            with Subscriber(tmp_path, "late") as subscriber:
                late = count / read_all(subscriber, count)
            ratios.append(late / live)
            print(f"\n  live {live:,.0f}/s  late {late:,.0f}/s", end="")
        assert show("catch-up of 100,000 / live", ratios, ">= 2") >= 2
    finally:
        end(runtime)


# -- calls ------------------------------------------------------------------------------------

ECHO = """
import sys, gevent.event, zmq
from greenroom.transport.bus.control_call import Verb
from greenroom.transport.bus.control_server import ControlServer
from greenroom.transport.bus.error_table import ErrorTable
echo = lambda call: call.args
table = {"echo": Verb(echo), "look": Verb(echo, waits=False)}
server = ControlServer(table, errors=ErrorTable())
server.open(zmq.Context(), sys.argv[1])
print("open", flush=True)
gevent.event.Event().wait()
"""

BARE_ECHO = """
import sys, cbor2, zmq
router = zmq.Context().socket(zmq.ROUTER)
router.bind(sys.argv[1])
print("open", flush=True)
while True:
    peer, data = router.recv_multipart()
    router.send_multipart([peer, cbor2.dumps(cbor2.loads(data))])
"""


def test_a_call_against_a_bare_round_trip(directory: Path) -> None:
    """Both sides decode and encode one small CBOR message; a verb that may wait is printed."""
    ours, bare = f"ipc://{directory}/ours", f"ipc://{directory}/bare"
    servers = [process(ECHO, ours), process(BARE_ECHO, bare)]
    context: zmq.Context[Any] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(bare)

    def ask_bare(number: int) -> None:
        dealer.send(cbor2.dumps({"n": number}))
        cbor2.loads(dealer.recv())

    try:
        with ControlClient(ours, errors=ErrorTable()) as client:
            looks, calls = [], []
            for _ in range(3 * ROUNDS):
                floor = spent(ask_bare)
                looks.append(spent(lambda number: client.call("look", {"n": number})) / floor)
                calls.append(spent(lambda number: client.call("echo", {"n": number})) / floor)
        show("a call that may wait, round trip / bare DEALER and ROUTER", calls, "none")
        median = show("a call's round trip / bare DEALER and ROUTER", looks, "<= 2")
        assert median <= 2
    finally:
        for server in servers:
            end(server)
        context.destroy(linger=0)


def spent(ask: Callable[[int], object]) -> float:
    """Seconds of 500 round trips."""
    begin = time.perf_counter()
    for number in range(500):
        ask(number)
    return time.perf_counter() - begin


# -- publishing -------------------------------------------------------------------------------


class NoSource:
    def session_ids(self) -> list[str]:
        return []

    def head(self, session_id: str) -> None:
        return None

    def rows_after(self, session_id: str, epoch: int, sequence: int, bytes_max: int) -> Any:
        raise AssertionError


def rows(count: int) -> list[bytes]:
    return [
        encode_row(
            session_id="sess-0123456789ab",
            epoch=1,
            sequence=sequence + 1,
            id=f"ev-{sequence:016}",
            turn_id="turn-0123456789ab",
            type=EVENT.type,
            agent_name="demo",
            timestamp=NOW,
            event=EVENT,
        )
        for sequence in range(count)
    ]


BURST = 240
"""Fewer frames than any queue on the way holds, so that nothing is dropped on either side."""
CHUNK = 8
"""Rows that one read of an agent's output brings, and one commit hands to the publisher."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gr", dir="/tmp") as name:
        os.environ["XDG_RUNTIME_DIR"] = name
        yield Path(name)
        del os.environ["XDG_RUNTIME_DIR"]


def timed(
    publish: Callable[[list[bytes]], object],
    made: list[bytes],
    chunk: int,
    settle: Callable[[], None],
) -> float:
    """Seconds spent in ``publish``; between bursts everybody reads what there is."""
    spent = 0.0
    for at in range(0, len(made), BURST):
        chunks = [made[i : i + chunk] for i in range(at, min(at + BURST, len(made)), chunk)]
        begin = time.perf_counter()
        for rows in chunks:
            publish(rows)
        spent += time.perf_counter() - begin
        settle()
    return spent


@pytest.mark.parametrize("subscribers", [1, 10, 100])
def test_publishing_against_a_bare_socket(directory: Path, subscribers: int) -> None:
    publisher = Publisher(directory, source=NoSource())
    endpoints = publisher.open()
    context: zmq.Context[Any] = zmq.Context()
    raw = context.socket(zmq.PUB)
    raw.setsockopt(zmq.SNDHWM, 500)
    raw.bind(f"ipc://{directory}/raw")
    readers = process(READERS, str(subscribers), endpoints.events, f"ipc://{directory}/raw")
    made = rows(BURST * 8)
    name = "sess-0123456789ab"
    topic = b"s/sess-0123456789ab\0"
    pause = zmq.Poller()
    pause.register(context.socket(zmq.PULL), zmq.POLLIN)

    def settle() -> None:
        pause.poll(5 + subscribers)

    try:
        while publisher.metrics().subscribers + publisher.metrics().subscriptions < subscribers:
            publisher.beat()
            settle()

        def bare(rows: list[bytes]) -> None:
            for row in rows:
                raw.send(topic + row, zmq.NOBLOCK)

        def ours(rows: list[bytes]) -> None:
            publisher.publish(name, rows)

        chunks, singles = [], []
        for _ in range(ROUNDS):
            spent = timed(bare, made, CHUNK, settle)
            chunks.append(spent / timed(ours, made, CHUNK, settle))
            singles.append(timed(bare, made, 1, settle) / timed(ours, made, 1, settle))
        assert publisher.metrics().refused == 0
        show(f"rows published one a call / bare PUB, {subscribers} subscribers", singles, "none")
        median = show(f"rows published / bare PUB, {subscribers} subscribers", chunks, ">= 0.8")
        assert median >= 0.8
    finally:
        end(readers)
        publisher.close()
        context.destroy(linger=0)


# -- encryption -------------------------------------------------------------------------------


def test_encrypted_rows_against_plain_ones(directory: Path) -> None:
    """One subscriber over TCP, with CURVE and without; frames of a chunk received a second."""
    plain, curve = tcp_pair(None), tcp_pair(zmq.curve_keypair())
    frame = b"s/sess-0123456789ab\0" + b"".join(rows(CHUNK))
    try:
        ratios = [received(*curve, frame) / received(*plain, frame) for _ in range(2 * ROUNDS)]
        show("rows received with CURVE / without, sockets saturated", ratios, "none")
    finally:
        for sock in (*plain, *curve):
            sock.close(linger=0)


def tcp_pair(server: tuple[bytes, bytes] | None) -> tuple[zmq.Socket[Any], zmq.Socket[Any]]:
    """A publisher and one subscriber of it."""
    context = zmq.Context.instance()
    out, into = context.socket(zmq.XPUB), context.socket(zmq.SUB)
    out.setsockopt(zmq.SNDHWM, 0)
    into.setsockopt(zmq.RCVHWM, 0)
    if server is not None:
        out.setsockopt(zmq.CURVE_SERVER, 1)
        out.setsockopt(zmq.CURVE_SECRETKEY, server[1])
        public, secret = zmq.curve_keypair()
        into.setsockopt(zmq.CURVE_SERVERKEY, server[0])
        into.setsockopt(zmq.CURVE_PUBLICKEY, public)
        into.setsockopt(zmq.CURVE_SECRETKEY, secret)
    port = out.bind_to_random_port("tcp://127.0.0.1")
    into.subscribe(b"")
    into.connect(f"tcp://127.0.0.1:{port}")
    assert out.recv() == b"\1"
    return out, into


def received(out: zmq.Socket[Any], into: zmq.Socket[Any], frame: bytes) -> float:
    """Frames a second, decoded as a subscriber does."""
    begin = time.perf_counter()
    for _ in range(1000):
        out.send(frame)
    for _ in range(1000):
        arrived = decode_frame(into.recv())
        assert isinstance(arrived, RowsFrame)
        runs_of(arrived.session_id, arrived.body)
    return 1000 / (time.perf_counter() - begin)
