"""A runtime's worth of rows in memory, behind a real publisher in a gevent hub thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import gevent
import gevent.event
import pytest
from greenroom.actors.errors import SessionNotFoundError
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.format.rows import encode_row
from greenroom.transport.bus.publisher import Publisher

R = TypeVar("R")
NOW = datetime(2026, 4, 3, tzinfo=UTC)


def make_row(session_id: str, epoch: int, sequence: int, text: str = "x") -> bytes:
    return encode_row(
        session_id=session_id,
        epoch=epoch,
        sequence=sequence,
        id=f"ev-{sequence}",
        turn_id="t",
        type="agent_message",
        agent_name="n",
        timestamp=NOW,
        event=AgentEvent(type="agent_message", text=text, timestamp=NOW),
    )


@dataclass
class Page:
    rows: list[bytes]
    head_epoch: int
    head_sequence: int
    reset: bool


@dataclass
class Rows:
    epoch: int = 1
    rows: list[tuple[int, bytes]] = field(default_factory=list)


class MemorySource:
    """A RowSource; a position is in the store when its row has that epoch."""

    def __init__(self) -> None:
        self.sessions: dict[str, Rows] = {}
        self.pages = 0
        self.heads_asked = 0
        self.fail: Exception | None = None

    def add(self, session_id: str, count: int = 1, text: str = "x") -> list[bytes]:
        session = self.sessions.setdefault(session_id, Rows())
        first = len(session.rows) + 1
        rows = [make_row(session_id, session.epoch, first + i, text) for i in range(count)]
        session.rows += [(session.epoch, row) for row in rows]
        return rows

    def clear(self, session_id: str) -> None:
        self.sessions[session_id] = Rows(self.sessions[session_id].epoch + 1)

    def session_ids(self) -> list[str]:
        return list(self.sessions)

    def head(self, session_id: str) -> tuple[int, int] | None:
        self.heads_asked += 1
        session = self.sessions.get(session_id)
        return None if session is None else (session.epoch, len(session.rows))

    def rows_after(self, session_id: str, epoch: int, sequence: int, bytes_max: int) -> Page:
        if self.fail is not None:
            raise self.fail
        self.pages += 1
        if session_id not in self.sessions:
            raise SessionNotFoundError(session_id)
        session = self.sessions[session_id]
        epochs = [0, *(known for known, _ in session.rows), session.epoch]
        reset = sequence > len(session.rows) or not (
            epochs[sequence] <= epoch <= epochs[sequence + 1] or sequence == 0
        )
        taken: list[bytes] = []
        for _, row in session.rows[0 if reset else sequence :]:
            if taken and sum(map(len, taken)) + len(row) > bytes_max:
                break
            taken.append(row)
        return Page(taken, session.epoch, len(session.rows), reset)


class HubThread:
    """A thread with a gevent hub of its own that runs what it is given."""

    def __init__(self) -> None:
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.result(10)

    def _run(self, started: Future[None]) -> None:
        self._hub = gevent.get_hub()
        self._done = gevent.event.Event()
        keep = self._hub.loop.async_()
        keep.start(lambda: None)
        started.set_result(None)
        self._done.wait()
        keep.close()
        self._hub.destroy(destroy_loop=True)

    def call(self, function: Callable[..., R], *args: Any) -> R:
        future: Future[R] = Future()

        def work() -> None:
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)

        self._hub.loop.run_callback_threadsafe(lambda: gevent.spawn(work))
        return future.result(30)

    def stop(self) -> None:
        self._hub.loop.run_callback_threadsafe(self._done.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


class Runtime:
    """A publisher of a home, its hub thread and its rows."""

    def __init__(self, home: Path, source: MemorySource | None = None) -> None:
        self.home = home
        self.source = source or MemorySource()
        self.hub = HubThread()
        self.publisher = self.hub.call(lambda: Publisher(home, source=self.source))
        self.hub.call(self.publisher.open)

    def add(self, session_id: str, count: int = 1, *, lost: int = 0, text: str = "x") -> None:
        """Store rows and publish them but for the first ``lost``."""

        def work() -> None:
            rows = self.source.add(session_id, count, text)
            self.publisher.publish(session_id, rows[lost:])

        self.hub.call(work)

    def lose(self, session_id: str, count: int) -> None:
        """Store rows and publish them; not one frame gets through."""

        def work() -> None:
            (events,) = self.publisher._sockets
            real, events.send_now = events.send_now, lambda frame, flags: None
            self.publisher.publish(session_id, self.source.add(session_id, count))
            events.send_now = real

        self.hub.call(work)

    def stop(self) -> None:
        self.hub.call(self.publisher.close)
        self.hub.stop()


@pytest.fixture(autouse=True)
def short_runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Sockets of tests go below the test directory, if it is short enough."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("run")
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        yield directory


@pytest.fixture
def runtimes() -> Iterator[Callable[..., Runtime]]:
    """Starts runtimes, and stops those that a test left."""
    started: list[Runtime] = []

    def start(home: Path, source: MemorySource | None = None) -> Runtime:
        runtime = Runtime(home, source)
        started.append(runtime)
        return runtime

    yield start
    for runtime in started:
        if runtime.hub._thread.is_alive():
            runtime.stop()


@pytest.fixture
def runtime(tmp_path: Path, runtimes: Callable[..., Runtime]) -> Runtime:
    return runtimes(tmp_path)
