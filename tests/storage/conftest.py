"""What the storage tests share: a hub to post to, and a file system that can be made to fail."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.failpoints import disarm
from greenroom.storage.files import File, OsFileSystem
from greenroom.storage.home import HomeStore

WAIT_S = 20.0
NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)


class Hub:
    """Stands for the hub's thread: what is posted runs in the thread of the test."""

    def __init__(self) -> None:
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.posts = 0

    def post(self, action: Callable[[], None]) -> None:
        self._posted.put(action)

    def run_until(self, reached: Callable[[], object]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not reached():
            self._posted.get(timeout=max(deadline - time.monotonic(), 0.01))()
            self.posts += 1

    def run_posted(self) -> None:
        while True:
            try:
                action = self._posted.get_nowait()
            except queue.Empty:
                return
            action()


@dataclass
class Gate:
    """A call that waits until the test lets it go on."""

    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def wait_until_reached(self) -> None:
        assert self.reached.wait(WAIT_S), "the gated call never came"


@dataclass
class Rule:
    """What happens to calls of one name on paths that contain a text."""

    call: str
    path: str
    act: Callable[[], None]
    left: int | None = None


class FaultyFileSystem(OsFileSystem):
    """The real file system, with every call counted and any call able to fail or wait."""

    __slots__ = ("calls", "rules")

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.rules: list[Rule] = []

    def fail(self, call: str, path: str, error: OSError, times: int | None = None) -> None:
        def act() -> None:
            raise error

        self.rules.append(Rule(call, path, act, times))

    def gate(self, call: str, path: str, times: int = 1) -> Gate:
        gate = Gate()

        def act() -> None:
            gate.reached.set()
            assert gate.go_on.wait(WAIT_S), "the gate was never opened"

        self.rules.append(Rule(call, path, act, times))
        return gate

    def heal(self) -> None:
        self.rules.clear()

    def count(self, call: str, path: str = "") -> int:
        return sum(1 for name, where, _ in self.calls if name == call and path in where)

    def passed(self, call: str, path: str, size: int = 0) -> None:
        self.calls.append((call, path, size))
        for rule in list(self.rules):
            if rule.call == call and rule.path in path and rule.left != 0:
                if rule.left is not None:
                    rule.left -= 1
                rule.act()

    def open_append(self, path: str) -> File:
        self.passed("open_append", path)
        return FaultyFile(self, super().open_append(path), path)

    def create(self, path: str, mode: int) -> File:
        self.passed("create", path)
        return FaultyFile(self, super().create(path, mode), path)

    def open_read(self, path: str) -> File:
        self.passed("open_read", path)
        return FaultyFile(self, super().open_read(path), path)

    def make_directory(self, path: str) -> bool:
        self.passed("make_directory", path)
        return super().make_directory(path)

    def sync_directory(self, path: str) -> None:
        self.passed("sync_directory", path)
        super().sync_directory(path)

    def remove(self, path: str) -> None:
        self.passed("remove", path)
        super().remove(path)

    def rename(self, source: str, target: str) -> None:
        self.passed("rename", source)
        super().rename(source, target)


class FaultyFile:
    """One file of it. A failing append leaves half of its bytes behind, as a full disk does."""

    def __init__(self, fs: FaultyFileSystem, file: File, path: str) -> None:
        self._fs, self._file, self._path = fs, file, path

    def read(self, offset: int, size: int) -> bytes:
        self._fs.passed("read", self._path, size)
        return self._file.read(offset, size)

    def append(self, data: bytes) -> None:
        try:
            self._fs.passed("append", self._path, len(data))
        except OSError:
            self._file.append(data[: len(data) // 2])
            raise
        self._file.append(data)

    def size(self) -> int:
        return self._file.size()

    def truncate(self, size: int) -> None:
        self._fs.passed("truncate", self._path, size)
        self._file.truncate(size)

    def sync(self) -> None:
        self._fs.passed("sync", self._path)
        self._file.sync()

    def close(self) -> None:
        self._file.close()


def make_event(number: int = 0, **members: Any) -> AgentEvent:
    facts: dict[str, Any] = {
        "type": "agent_message",
        "turn_id": f"turn-{number // 10}",
        "timestamp": NOON,
        "text": f"text {number}",
    }
    return AgentEvent(**{**facts, **members})


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def fs() -> FaultyFileSystem:
    return FaultyFileSystem()


@pytest.fixture
def event() -> Callable[..., AgentEvent]:
    return make_event


@pytest.fixture
def open_home(tmp_path: Path, hub: Hub, fs: FaultyFileSystem) -> Iterator[Callable[..., HomeStore]]:
    """Opens the home of the test; what is still open at its end is closed, healed."""
    homes: list[HomeStore] = []

    def open_(**options: Any) -> HomeStore:
        home = HomeStore.open(tmp_path / "home", post=hub.post, fs=fs, **options)
        homes.append(home)
        return home

    yield open_
    fs.heal()
    for home in homes:
        try:
            home.close()
        except Exception:  # a home that failed in its test says so again here
            continue


@pytest.fixture(autouse=True)
def _nothing_armed() -> Iterator[None]:
    yield
    disarm()
