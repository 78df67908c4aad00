"""What one live session needs of the world, in one place so that a test can replace it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...storage.session_store import SessionStore
from ...transport.agent.deciders import ElicitationAnswerer
from ...transport.agent.protocol import AgentDriver, AgentProcess
from ..core.effects import Effects
from ..core.inputs import Input
from ..core.redaction import Redactor
from ..core.state import SessionState
from ..runtime.clock import Clock, Timers
from .crash_bundles import CrashBundles
from .hook_runner import HookRunner
from .meta_writer import MetaWriter
from .notices import Notices

if TYPE_CHECKING:
    from ..model.session import SessionMeta
    from ..runtime.future import GreenFuture
    from .live import LiveSession
    from .provider_secrets import ProviderSecretResolver

Augmenter = Callable[[Any, str], str]
"""Adds to a prompt what the agent alone is given: ``(session, message) -> text`` (02 1)."""
TurnEndNotifier = Callable[[str], object]
"""Told the id of a session whose turn has ended (02 1)."""
Publish = Callable[[str, Sequence[bytes]], None]
"""Sends encoded rows of a session to subscribers; never blocks, never raises."""


Observer = Callable[[SessionState, Input, SessionState, Effects], None]
"""Told of every step, after its effects were started: state, input, new state, effects."""


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
    bundles: CrashBundles
    secrets: ProviderSecretResolver
    hooks: HookRunner
    hook_timeout: float
    augment: Augmenter | None
    answerer: ElicitationAnswerer | None
    turn_end: Callable[[], TurnEndNotifier | None]
    """The host's notifier as it is now."""
    ledger: Callable[[SessionMeta], GreenFuture[None]] | None = None
    """Makes the session's ledger; ``None`` where the host keeps none."""
    changed: Callable[[LiveSession], None] | None = None
    """Told of every step, once its state is published; must be cheap."""
    observer: Observer | None = None
    """Looks on; for traces and simulations."""
    process: AgentProcess | None = None
