"""Settings with their limits; a bad one is refused when the manager is made."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SessionValueError
from .turn import BusyInputMode

LIFECYCLE_TIMEOUT = 5.0
"""Seconds a step of a stop or a rollback may take (01 1.5)."""
HOOK_TIMEOUT = 5.0
"""Seconds a hook of the host may take, unless the manager is told otherwise."""
PROMPT_BUFFER_SIZE = 128
"""Events a prompt stream holds for a reader that is behind (02 1)."""
DEFAULT_LIVENESS_STALL_AFTER = 120.0
"""Seconds without activity after which a surviving agent counts as stalled (01 17)."""


@dataclass(frozen=True, slots=True)
class SessionBusyInputConfig:
    """Limits of the input queue (02 8.4); zero and blank mean the default."""

    default_mode: str = ""
    queue_cap: int = 0
    max_text_bytes: int = 0

    def resolved(self) -> SessionBusyInputConfig:
        """With defaults filled in.

        :raises SessionValueError: a value outside its range, named ``session.busy_input.<key>``.
        """
        mode = self.default_mode or BusyInputMode.QUEUE
        if mode not in set(BusyInputMode):
            raise SessionValueError(f'session.busy_input.default_mode: unknown mode "{mode}"')
        cap = self.queue_cap or 10
        if not 1 <= cap <= 1000:
            raise SessionValueError(f"session.busy_input.queue_cap: {cap} is not in 1..1000")
        text = self.max_text_bytes or 65536
        if not 512 <= text <= 1048576:
            raise SessionValueError(
                f"session.busy_input.max_text_bytes: {text} is not in 512..1048576"
            )
        return SessionBusyInputConfig(mode, cap, text)


@dataclass(frozen=True, slots=True)
class SessionHealthConfig:
    """When the health of a session is stale, in seconds (05 2.10); 0 or less is the default."""

    session_health_stale_after: float = 120.0

    def resolved(self) -> SessionHealthConfig:
        """With the default filled in."""
        return self if self.session_health_stale_after > 0 else SessionHealthConfig()


@dataclass(frozen=True, slots=True)
class SessionSupervisionConfig:
    """How a running prompt is watched, in seconds (02 12.1)."""

    activity_heartbeat_interval: float = 30.0
    progress_notify_interval: float = 600.0
    prompt_deadline: float = 0.0
    inactivity_warning_after: float = 900.0
    inactivity_timeout: float = 1800.0
    timeout_cancel_grace: float = 30.0
