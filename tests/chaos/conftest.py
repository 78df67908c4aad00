"""A home, and a real agent process that does what its argument says and costs little to start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

AGENT = Path(__file__).with_name("small_agent.py")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a manager keeps everything."""
    return tmp_path / "home"


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    """Where the agents work."""
    place = tmp_path / "workspace"
    place.mkdir()
    return str(place)


@pytest.fixture(scope="session")
def agents() -> dict[str, list[str]]:
    """The small agent in each of its moods."""
    moods = ("well", "busy", "silent", "stopped", "deaf", "endless")
    return {mood: [sys.executable, "-S", "-u", str(AGENT), mood] for mood in moods}


@pytest.fixture(scope="session")
def processes_of() -> Any:
    """The pids of processes whose command line holds a text."""

    def find(text: str) -> set[int]:
        found = set()
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    command = Path("/proc", entry, "cmdline").read_bytes()
                    state = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if text.encode() in command and state != "Z":
                    found.add(int(entry))
        return found

    return find
