"""What one live session needs of the world, in one place so that a test can replace it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...storage.session_store import SessionStore
from ...transport.agent.protocol import AgentDriver, AgentProcess
from ..core.redaction import Redactor
from ..runtime.clock import Clock, Timers
from .meta_writer import MetaWriter
from .notices import Notices

if TYPE_CHECKING:
    from .live import LiveSession

Publish = Callable[[str, Sequence[bytes]], None]
"""Sends encoded rows of a session to subscribers; never blocks, never raises."""


@dataclass(slots=True)
class SessionPorts:
    """What one session needs of the world."""

    session_id: str
    agent_name: str
    store: SessionStore
    meta_writer: MetaWriter
    driver: AgentDriver
    clock: Clock
    timers: Timers
    publish: Publish
    logger: logging.Logger
    stream_size: int
    redactor: Redactor
    notices: Notices
    restart: Callable[[LiveSession], None]
    """Starts the agent again and tells the session what came of it."""
    process: AgentProcess | None = None
