"""Turns: where one comes from, how a prompt is sent to a busy session, and what the caller gets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""Longest prompt accepted, in bytes of UTF-8: it must fit one frame of the agent pipe."""


class TurnSource(StrEnum):
    """Who started a turn (02 1)."""

    USER = "user"
    NETWORK = "network"
    SYNTHETIC = "synthetic"


class BusyInputMode(StrEnum):
    """What to do with a prompt while the session works (02 7)."""

    QUEUE = "queue"
    INTERRUPT = "interrupt"
    STEER = "steer"


class QueueStatus(StrEnum):
    """The life of a queued input (02 8.1); the last three are final."""

    QUEUED = "queued"
    DISPATCHING = "dispatching"
    SENT = "sent"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One input waiting for its turn (02 8.1). ``seq`` orders the queue, never the clock."""

    id: str
    session_id: str
    seq: int
    status: QueueStatus
    mode: BusyInputMode
    text: str
    session_generation: int
    enqueued_at: datetime
    updated_at: datetime
    attempt_count: int = 0
    dispatch_started_at: datetime | None = None
    sent_at: datetime | None = None
    failed_at: datetime | None = None
    canceled_at: datetime | None = None
    failure_summary: str = ""
    task_run_id: str = ""
    run_generation: int | None = None


@dataclass(frozen=True, slots=True)
class InputQueueSummary:
    """How much input waits (02 1)."""

    queue_generation: int = 0
    pending_inputs: int = 0


@dataclass(frozen=True, slots=True)
class SendPromptResult:
    """What became of a prompt (02 7.2).

    :param status: ``accepted``, ``queued``, ``staged``, ``interrupted`` or ``canceled``.
    :param events: the stream of the turn that was started, else ``None``.
    """

    status: str
    mode: str = ""
    queued: bool = False
    staged: bool = False
    interrupted: bool = False
    queue_entry_id: str = ""
    queue_position: int = 0
    queue_generation: int = 0
    previous_turn_id: str = ""
    new_turn_id: str = ""
    canceled_queued_entries: int = 0
    fallback_mode_if_no_tool_result: str = ""
    events: Any = None
