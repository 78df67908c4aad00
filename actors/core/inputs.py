"""Everything that can happen to a session: the closed union of its mailbox inputs.

Each is one message. ``ask`` identifies who waits for an answer: every input that
has one is answered exactly once, by an effect ``Reply`` or ``Refuse``.

========  =====================================================================================
lane      inputs
========  =====================================================================================
control   stops, cancels, interrupts, permission and steering answers, timers, effects' results
work      callers' prompts (bounded), agent events and exits (exempt from the bound)
========  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..errors import SessionError
from ..model.agent import Caps
from ..model.event import AgentEvent
from ..model.failure import SessionFailure
from ..model.prompt_meta import PromptMeta
from ..model.session import SessionMeta, StopCause
from ..model.turn import BusyInputMode, TurnSource
from .host_inputs import HookDispatched, TurnEndNotified, TurnEndNotifierSet
from .work_inputs import AgentTurnOpened, AgentWorkChanged

Ask = int
"""Names one waiting caller; 0 is nobody."""


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """The agent answered its handshake (01 7.12)."""

    ask: Ask
    acp_session_id: str
    caps: Caps
    pid: int
    started_at: datetime
    restored: bool


@dataclass(frozen=True, slots=True)
class Activated:
    """The start is complete: the session is to be found, its creation is announced (01 7.12)."""


@dataclass(frozen=True, slots=True)
class AgentStartFailed:
    """The agent did not start (01 7.13). ``restore`` is the meta a failed resume goes back to."""

    ask: Ask
    failure: SessionFailure
    restore: SessionMeta | None = None


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A caller, the manager or a deadline wants the session stopped (01 9.4)."""

    ask: Ask
    cause: StopCause
    detail: str = ""
    deadline_s: float | None = None
    deniable: bool = True
    """Whether ``session.pre_stop`` may refuse it."""
    cooperative: bool = False
    """Only ask the agent to end its work; the session stops when its process exits."""


@dataclass(frozen=True, slots=True)
class AgentStopFailed:
    """The driver's stop raised while the agent still lives (01 9.4)."""

    error: Exception


@dataclass(frozen=True, slots=True)
class AgentGone:
    """The agent process ended badly; ``AgentExited`` follows once what is known of it is kept."""

    error: str


@dataclass(frozen=True, slots=True)
class AgentExited:
    """The agent process is gone (01 9.5). ``error`` is ``None`` when it left cleanly."""

    error: str = ""
    failure: SessionFailure | None = None
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class Finalized:
    """The last step of finalization ran (01 10.1)."""

    errors: tuple[Exception, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """A commit of this session failed; its rows and all later ones in flight are rejected.

    The queue comes as the store holds it now: what the rejected commits changed never happened.
    """

    error: SessionError
    queue_documents: tuple[dict[str, Any], ...] = ()
    generation: int = 0


@dataclass(frozen=True, slots=True)
class PromptSubmitted:
    """A caller sent a prompt (02 3, 7.1). ``mode`` ``None``: refuse when busy."""

    ask: Ask
    message: str
    mode: BusyInputMode | None = None
    source: TurnSource = TurnSource.USER
    turn_id: str = ""
    meta: PromptMeta = field(default_factory=PromptMeta)


@dataclass(frozen=True, slots=True)
class PromptStarted:
    """The driver has the prompt (02 A10). ``at_s``: when, on the monotonic clock."""

    turn_id: str
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PromptStartFailed:
    """The input row or the driver refused the prompt (02 A6, A10)."""

    turn_id: str
    error: SessionError


@dataclass(frozen=True, slots=True)
class AgentEventsArrived:
    """A batch of one turn's events, in order, as the driver gave them (02 4).

    A blank ``turn_id``: facts of the session that came outside a turn (07 R11).
    """

    turn_id: str
    events: Sequence[AgentEvent]
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentStreamClosed:
    """The driver's stream of the turn ended (02 6).

    ``suspect``: it ended in a way after which the agent may answer later prompts wrongly (07 R3).
    """

    turn_id: str
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class SteerRequested:
    """A caller steers the running turn (02 7.6)."""

    ask: Ask
    message: str


@dataclass(frozen=True, slots=True)
class SteerAnswered:
    """What the agent did with a steering text: ``injected``, ``not_running``, ``failed`` (07 9)."""

    entry_id: str
    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A caller cancels the running turn (02 11.1)."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class CancelSettled:
    """The driver delivered the cancel, or could not although the agent lives (02 11.1)."""

    turn_id: str
    ask: Ask = 0
    error: SessionError | None = None


@dataclass(frozen=True, slots=True)
class InterruptRequested:
    """A caller cancels the running turn and fences the queue (02 7.5)."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class QueuedPromptCancelRequested:
    """A caller takes a queued input back (02 7.8)."""

    ask: Ask
    queue_entry_id: str


@dataclass(frozen=True, slots=True)
class PermissionApproved:
    """A caller answers a permission request, either way (02 14.2)."""

    ask: Ask
    decision: str
    request_id: str = ""
    turn_id: str = ""


@dataclass(frozen=True, slots=True)
class PermissionResolved:
    """The driver took the answer, or refused it with ``error``."""

    ask: Ask
    request_id: str
    error: SessionError | None = None


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer armed by the step ran out."""

    name: str
    at_s: float = 0.0
    unhealthy: str = ""
    """What the monitor of the process says then, for the supervision timer (02 12.4)."""


@dataclass(frozen=True, slots=True)
class StopDelivered:
    """The agent was asked to end its work, or could not be (01 9.4)."""

    ask: Ask
    error: SessionError | None = None


@dataclass(frozen=True, slots=True)
class ClearRequested:
    """A caller wants an empty conversation (01 13): an idle session is stopped for it."""

    ask: Ask
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class SyntheticPromptSubmitted:
    """The daemon made a prompt; ``meta`` is validated and has a reason (02 10)."""

    ask: Ask
    message: str
    meta: PromptMeta
    turn_id: str = ""
    skip_if_busy: bool = False
    interrupt_if_agent_waiting: bool = False


@dataclass(frozen=True, slots=True)
class PermissionAsked:
    """The host asks for a permission, for a tool of its own (02 14.3)."""

    ask: Ask
    title: str
    kind: str = ""
    tool_call_id: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivityReported:
    """The driver waits for the agent, or tells what that does and how well it is (02 12.2)."""

    turn_id: str
    kind: str = "agent_waiting"
    detail: str = ""
    at_s: float = 0.0
    unhealthy: str = ""


@dataclass(frozen=True, slots=True)
class PromptAbandoned:
    """The caller of a prompt left before it was accepted (02 3)."""

    asked: Ask


Input = (
    AgentStarted
    | Activated
    | AgentStartFailed
    | StopRequested
    | AgentStopFailed
    | AgentGone
    | AgentExited
    | Finalized
    | CommitFailed
    | PromptSubmitted
    | PromptStarted
    | PromptStartFailed
    | AgentEventsArrived
    | AgentStreamClosed
    | SteerRequested
    | SteerAnswered
    | CancelRequested
    | CancelSettled
    | InterruptRequested
    | QueuedPromptCancelRequested
    | PermissionApproved
    | PermissionResolved
    | TimerFired
    | StopDelivered
    | ClearRequested
    | SyntheticPromptSubmitted
    | PermissionAsked
    | ActivityReported
    | HookDispatched
    | AgentTurnOpened
    | AgentWorkChanged
    | PromptAbandoned
    | TurnEndNotifierSet
    | TurnEndNotified
)
