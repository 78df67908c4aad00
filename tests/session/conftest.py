"""Whole sessions without a process: a scripted agent, and a disk that fails when told to."""

from __future__ import annotations

from typing import Any

import pytest
from greenroom.actors import SessionManager
from greenroom.actors.testing.driver import ScriptedDriver
from greenroom.actors.testing.files import FaultyFileSystem


@pytest.fixture
def files() -> FaultyFileSystem:
    """The disk."""
    return FaultyFileSystem()


@pytest.fixture
def play(tmp_path: Any, files: FaultyFileSystem) -> Any:
    """Opens a session whose agent plays a story; everything is closed at the end."""
    opened: list[SessionManager] = []

    def start(story: Any, **options: Any) -> Any:
        driver = options.pop("driver", None) or ScriptedDriver(story)
        manager = SessionManager(
            home=tmp_path / f"home{len(opened)}",
            driver=driver,
            agents={"scripted": ["scripted"]},
            file_system=files,
            **options,
        )
        opened.append(manager)
        session = manager.create(agent_name="scripted", workspace_path=str(tmp_path))
        return manager, session, driver

    yield start
    for manager in opened:
        manager.close()
