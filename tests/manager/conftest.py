"""Real managers with real agent processes."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors import EventType, SessionManager
from greenroom.actors.manager.remote import RemoteSessionManager

AGENT_PRELUDE = """
import json, os, sys

def send(**message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\\n")

def read():
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    return json.loads(line)
"""


@pytest.fixture(autouse=True)
def _demo_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_DEMO_PACE", "0")
    monkeypatch.setenv("GREENROOM_DEMO_STATE", str(tmp_path / "demo-state"))


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    """A directory with something to read in it."""
    place = tmp_path / "workspace"
    place.mkdir()
    (place / "README.md").write_text("# A workspace\n\nwith two lines\n")
    return str(place)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a manager keeps everything; it does not exist yet."""
    return tmp_path / "home"


CONTRACT = ("test_manager_sessions", "test_manager_bad_input")
"""Modules whose tests hold for a manager in the same process and for one beside it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.endswith(CONTRACT) and "manager" in metafunc.fixturenames:
        metafunc.parametrize("manager", ["here", "remote"], indirect=True)


@pytest.fixture
def manager(home: Path, request: pytest.FixtureRequest) -> Any:
    """A running manager, or a remote one of it; closed at the end."""
    with SessionManager(home=home) as running:
        if getattr(request, "param", "here") == "here":
            yield running
        else:
            with RemoteSessionManager(home) as remote:
                yield remote


@pytest.fixture
def session(manager: SessionManager, workspace: str) -> Any:
    """An active session with the demo agent."""
    return manager.create(agent_name="demo", workspace_path=workspace)


@pytest.fixture
def script(tmp_path: Path) -> Any:
    """Writes an agent in Python and returns its argv."""

    def write(text: str) -> list[str]:
        path = tmp_path / f"agent{len(list(tmp_path.iterdir()))}.py"
        path.write_text(AGENT_PRELUDE + textwrap.dedent(text))
        return [sys.executable, "-S", "-u", str(path)]

    return write


def read_turn(session: Any, stream: Any, decision: str = "allow-once") -> list[Any]:
    """All events of a turn, every permission answered."""
    events = []
    for event in stream:
        events.append(event)
        if event.type == EventType.PERMISSION and not event.decision:
            session.approve(decision=decision, request_id=event.request_id)
    return events


@pytest.fixture(name="read_turn")
def _read_turn() -> Any:
    return read_turn


@pytest.fixture(scope="session")
def check_gap_free() -> Any:
    """Asserts that stored rows are numbered 1, 2, 3, ... and returns their types."""

    def check(rows: Any) -> list[str]:
        assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
        assert [row.epoch for row in rows] == sorted(row.epoch for row in rows)
        return [row.type for row in rows]

    return check
