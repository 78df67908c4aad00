"""What the step knows of a session: one immutable value, replaced by every input."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from ..errors import InvalidStateTransitionError
from ..model.agent import Caps
from ..model.hooks import HookEvent
from ..model.ids import TURN_PREFIX
from ..model.prompt_meta import PromptMeta
from ..model.restart import RestartMode, RestartPolicy
from ..model.session import SessionMeta, State, StopCause
from ..model.settings import SessionBusyInputConfig, SessionSupervisionConfig
from ..model.turn import QueueEntry, TurnSource
from .activity import Supervision
from .effects import StopAgent
from .inputs import AgentExited, Ask, PromptSubmitted, StopRequested
from .restarts import RestartDecision
from .synthetic import SyntheticQueue

TRANSITIONS = frozenset(
    {
        (State.STARTING, State.ACTIVE),
        (State.STARTING, State.STOPPED),
        (State.ACTIVE, State.STOPPING),
        (State.STOPPING, State.STOPPED),
        (State.ACTIVE, State.STARTING),
    }
)
"""The legal changes of state (01 2.3); staying is always legal."""


class TurnPhase(StrEnum):
    """Where a turn is (02 3); no turn is ``idle``."""

    ADMITTING = "admitting"
    SETUP = "setup"
    STREAMING = "streaming"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Turn:
    """The one turn a session may have.

    :param ask: who waits for the prompt to be accepted (02 A11).
    :param result: what that caller gets, completed with the stream.
    """

    turn_id: str
    source: TurnSource
    message: str = ""
    phase: TurnPhase = TurnPhase.SETUP
    ask: Ask = 0
    result: Any = None
    meta: PromptMeta = field(default_factory=PromptMeta)
    entry: QueueEntry | None = None
    """The queued input it runs, until that is recorded as sent."""
    cancel_requested: bool = False
    terminal: str = ""
    """The type of the terminal event that was recorded, or blank."""
    announced: bool = False
    """``turn.start`` was dispatched: exactly one ``turn.end`` follows."""
    end_asked: bool = False
    end_answered: bool = False
    closing: bool = False
    """The driver is done with it; only ``turn.end`` is waited for."""


@dataclass(frozen=True, slots=True)
class HostPermission:
    """A permission the host asked for, and nobody has decided yet (02 14.3)."""

    ask: Ask
    request_id: str
    turn_id: str
    title: str
    kind: str = ""
    tool_call_id: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CutTurn:
    """The turn that the end of the agent cut off, until the agent is back."""

    turn_id: str
    message: str


@dataclass(frozen=True, slots=True)
class OwnTurn:
    """A turn that the agent opened itself and that goes on beside the session's (07 4.9).

    ``opened_s``: on the monotonic clock. ``ended``: its terminal event was recorded.
    """

    turn_id: str
    opened_s: float
    ended: bool = False


@dataclass(frozen=True, slots=True)
class InputQueue:
    """The durable input queue as the session knows it (02 8); terminal entries are not kept."""

    generation: int = 0
    last_seq: int = 0
    entries: tuple[QueueEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionState:
    """One live incarnation of a session."""

    meta: SessionMeta
    workspace: str
    id_seed: str
    busy_input: SessionBusyInputConfig
    supervision: SessionSupervisionConfig
    caps: Caps = field(default_factory=Caps)
    stop_cause: StopCause = StopCause.NONE
    stop_detail: str = ""
    ids_minted: int = 0
    turn: Turn | None = None
    last_turn_id: str = ""
    own_turns: tuple[OwnTurn, ...] = ()
    """Turns of the agent's own that go on beside the session's turn."""
    blocked: bool = False
    """The agent waits for its user (07 4.6)."""
    background: tuple[str, ...] = ()
    """What the agent does beside or after its turns; as long as there is any, an idle session is
    not idle for long (07 4.10)."""
    cancel_marked: str = ""
    """The turn whose cancel is in the transcript already."""
    queue: InputQueue = field(default_factory=InputQueue)
    held: bool = False
    """Queued input waits: the start is not complete, or the store refused a write."""
    replacement: PromptSubmitted | None = None
    """A prompt that interrupted the running turn and takes its place (02 7.4)."""
    replaced: int = 0
    """Queue entries cancelled when ``replacement`` arrived."""
    replaced_turn_id: str = ""
    """The turn it interrupted."""
    steering: QueueEntry | None = None
    """The steering text that the agent was given and has not answered yet."""
    synthetic: SyntheticQueue = field(default_factory=SyntheticQueue)
    hooks: frozenset[HookEvent] = frozenset()
    """The dispatch points somebody listens to."""
    notifies_turn_end: bool = False
    settling: tuple[str, ...] = ()
    """Turns whose end the host is being told of: their streams are still open (02 6)."""
    host_permissions: tuple[HostPermission, ...] = ()
    approvals: tuple[tuple[Ask, str], ...] = ()
    """Callers whose permission decision is not recorded yet: ``(ask, request id)``."""
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    restart_moments: tuple[float, ...] = ()
    """When the agent was started again, within the policy's window."""
    restarting: bool = False
    """The agent is gone and comes back: the state reads ``starting`` meanwhile (01 9.6)."""
    watch: Supervision | None = None
    """The supervision of the running turn."""
    stalled: str = ""
    """Why the session is stopped, when its turn ignored the cancel of its supervision (02 12.5)."""
    dying: str = ""
    """Why the agent is known to be gone before its exit was seen (02 11.3)."""
    cut: CutTurn | None = None
    comeback: RestartDecision | None = None
    """The agent is to be restarted once the stream of its last turn has closed."""
    exit: AgentExited | None = None
    unended: str = ""
    """The turn that the exit cut off before it had a terminal event."""
    finalizing: bool = False
    stop_gate: tuple[StopRequested, ...] = ()
    """Stops that wait for what ``session.pre_stop`` says."""
    held_stop: StopAgent | None = None
    """The stop that waits for the driver to have taken, or refused, a prompt (02 3)."""
    stop_asks: tuple[Ask, ...] = ()
    start_ask: Ask = 0
    lost: bool = False
    """The agent no longer has the conversation: it gets a new one under the same session (07 8)."""

    @property
    def id(self) -> str:
        """greenroom's session id."""
        return self.meta.id

    @property
    def takes_input(self) -> bool:
        """Whether the session is active and its agent, as far as is known, alive."""
        return self.meta.state is State.ACTIVE and self.exit is None and not self.dying

    @property
    def comes_back(self) -> bool:
        """Whether the agent is gone and will be started again (01 9.6)."""
        if self.restarting or self.comeback is not None:
            return True
        lives_on = self.restart.mode is not RestartMode.TEMPORARY
        return bool(self.dying) and lives_on and self.meta.state is State.ACTIVE

    @property
    def is_prompting(self) -> bool:
        """Whether a turn is being set up or running (02 3)."""
        return self.turn is not None

    @property
    def is_busy(self) -> bool:
        """Whether a prompt that arrives now would have to wait."""
        return self.turn is not None or self.replacement is not None


def with_meta(state: SessionState, now: datetime, /, **changes: Any) -> SessionState:
    """The state with members of its meta replaced and ``updated_at`` set."""
    return replace(state, meta=replace(state.meta, updated_at=now, **changes))


def transition(state: SessionState, to: State, now: datetime, **changes: Any) -> SessionState:
    """Change the lifecycle state.

    :raises InvalidStateTransitionError: the change is not in ``TRANSITIONS``.
    """
    current = state.meta.state
    if current is not to and (current, to) not in TRANSITIONS:
        raise InvalidStateTransitionError(
            f'session "{state.id}": {current} can not become {to}',
            session_id=state.id,
            from_state=current,
            to_state=to,
        )
    return with_meta(state, now, state=to, **changes)


def mint(state: SessionState, prefix: str) -> tuple[SessionState, str]:
    """A fresh id, derived from the session's random seed: same seed, same ids."""
    count = state.ids_minted + 1
    return replace(state, ids_minted=count), f"{prefix}-{_digest(f'{state.id_seed}/{count}')}"


def own_turn_id(state: SessionState, number: int) -> str:
    """The id of the so-many-th turn that the agent opens itself in this incarnation."""
    return f"{TURN_PREFIX}-{_digest(f'{state.id_seed}/own/{number}')}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
