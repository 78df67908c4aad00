"""Fixtures of the kernel's tests: hubs of their own, and nothing left alive behind a test."""

from __future__ import annotations

import logging

import pytest
from greenroom.actors.runtime.dispatcher import Dispatcher
from greenroom.actors.runtime.hub import Hub
from pykka import ActorRegistry


@pytest.fixture
def hub():
    """A hub in an OS thread of its own."""
    started = Hub.start("test-hub")
    yield started
    assert started.close(timeout=10)


@pytest.fixture
def dispatcher():
    """The dispatcher of the test's own thread."""
    return Dispatcher.current()


@pytest.fixture(autouse=True)
def nothing_left():
    """Every test starts and ends without actors."""
    assert not ActorRegistry.get_all()
    yield
    left = ActorRegistry.get_all()
    for ref in left:
        ref.actor_stopped.set()
    assert not left


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Crashes are logged, and here they are many and wanted."""
    monkeypatch.setattr(logging.getLogger("pykka"), "level", logging.CRITICAL + 1)
