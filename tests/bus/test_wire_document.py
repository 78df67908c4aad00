"""The subscriber that stands in ``WIRE.md``, run as it stands there, without greenroom."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = (resources.files("greenroom.transport.bus") / "WIRE.md").read_text()
(SOURCE,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
WITHOUT_GREENROOM = "import sys; sys.modules['greenroom'] = None\n"
WAIT = 20.0


class Reader:
    """The document's subscriber in a process of its own, and what it prints."""

    def __init__(self, runtime: Any, session_id: str) -> None:
        endpoints = runtime.publisher.endpoints
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                WITHOUT_GREENROOM + SOURCE,
                endpoints.events,
                endpoints.control,
                session_id,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def positions(self, count: int) -> list[tuple[int, int]]:
        found = [self.lines.get(timeout=WAIT).split() for _ in range(count)]
        assert {kind for _, _, kind in found} <= {"agent_message"}
        return [(int(epoch), int(sequence)) for epoch, sequence, _ in found]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(WAIT)
        self.thread.join(WAIT)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def readers() -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def make(runtime: Any, session_id: str) -> Reader:
        made.append(Reader(runtime, session_id))
        return made[-1]

    yield make
    for reader in made:
        reader.stop()


def test_it_is_short_and_imports_nothing_of_ours() -> None:
    code = [line for line in SOURCE.splitlines() if line.strip()]
    assert len(code) <= 45
    assert "greenroom" not in SOURCE


def test_it_ends_with_exactly_the_stored_events(
    tmp_path: Path, runtimes: Callable[..., Any], readers: Callable[..., Reader]
) -> None:
    runtime = runtimes(tmp_path)
    runtime.add("a", 400, text="y" * 3000)
    reader = readers(runtime, "a")
    assert reader.positions(400) == [(1, number) for number in range(1, 401)]
    runtime.add("b", 3)
    runtime.add("a", 5)
    runtime.add("a", 20, lost=7)
    runtime.add("a", 2, text="z" * 100_000)
    assert reader.positions(27) == [(1, number) for number in range(401, 428)]
    runtime.stop()
    runtime.source.sessions["a"].epoch += 1
    second = runtimes(tmp_path, runtime.source)
    second.add("a", 3)
    assert reader.positions(3) == [(2, 428), (2, 429), (2, 430)]
    second.hub.call(second.source.clear, "a")
    second.add("a", 2)
    assert reader.positions(2) == [(3, 1), (3, 2)]
    assert reader.lines.empty()
