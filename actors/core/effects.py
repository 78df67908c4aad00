"""Everything a session may do to the world: the closed union of effects.

A step returns effects in the order they must take place. *Ordered* effects wait for the commits of
their own step and of all earlier ones; *immediate* ones are started at once. No effect is awaited:
what comes of it is a new input.

=========  =================================================================================
ordered    ``Commit``, ``Reply``, ``Refuse``, ``SendPrompt``, ``SteerAgent``, ``ObserveHook``,
           ``NotifyTurnEnd``, ``DropStream``, ``CloseStream``, ``Finalize``, ``Retire``
immediate  ``CancelPrompt``, ``StopAgent``, ``AnswerPermission``, ``WriteMeta``, ``ArmTimer``,
           ``DisarmTimer``, ``RestartAgent``, ``RequestStop``, ``DispatchHook``,
           ``AcceptCommits``, ``Report``
=========  =================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import SessionError
from ..model.event import AgentEvent
from ..model.hooks import HookPayload
from ..model.session import SessionMeta, StopCause
from .inputs import Ask


@dataclass(frozen=True, slots=True)
class TableChange:
    """One document of a ``state.journal`` table put, or removed when ``document`` is ``None``."""

    table: str
    key: str
    document: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Commit:
    """Append rows and table changes as one transaction, then publish and deliver the rows.

    ``durable``: class F, acknowledged after fdatasync (03 13). ``deliver``: also to the turn's
    stream; input rows and markers are not (03 5). ``owed``: the answers of callers whose requests
    this carries out; of a request that has a name, name and answer are stored with it.
    """

    events: Sequence[AgentEvent] = ()
    changes: tuple[TableChange, ...] = ()
    durable: bool = False
    deliver: bool = True
    owed: tuple[Reply, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a caller. ``stream_turn_id``: attach the prompt stream of that turn to the value."""

    ask: Ask
    value: Any = None
    stream_turn_id: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a caller with an error."""

    ask: Ask
    error: BaseException


@dataclass(frozen=True, slots=True)
class SendPrompt:
    """Give the prompt to the driver (02 A10); answered by ``PromptStarted`` or its failure."""

    turn_id: str
    message: str
    meta: dict[str, Any] = field(default_factory=dict)
    heartbeat_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SteerAgent:
    """Give a staged text to the agent (02 9); answered by ``SteerAnswered``."""

    entry_id: str
    text: str


@dataclass(frozen=True, slots=True)
class CloseStream:
    """End the caller's stream of a turn, after everything delivered so far (02 6)."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class Finalize:
    """Run the rest of finalization with this final meta (01 10.1); answered by ``Finalized``.

    ``ledger``: also make the session's ledger, where the host keeps them (01 12).
    """

    meta: SessionMeta
    crash: str = ""
    """How the process ended, when that was no clean exit: ``agent.crashed`` hears of it."""
    ledger: bool = False


@dataclass(frozen=True, slots=True)
class Retire:
    """The incarnation is over: leave the registry and stop the actor (01 10.1 step 12)."""


@dataclass(frozen=True, slots=True)
class CancelPrompt:
    """Settle the running prompt cooperatively (04 D27); answered by ``CancelSettled``.

    ``before_start``: the driver does not have it yet; only its context is cancelled, unanswered.
    """

    turn_id: str
    ask: Ask = 0
    before_start: bool = False


@dataclass(frozen=True, slots=True)
class StopAgent:
    """Stop the agent process with escalation, within ``deadline_s`` seconds (04 7.2)."""

    cause: StopCause
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class AnswerPermission:
    """Give a caller's decision to the driver; answered by ``PermissionResolved``."""

    ask: Ask
    decision: str
    request_id: str = ""
    turn_id: str = ""


@dataclass(frozen=True, slots=True)
class WriteMeta:
    """Replace ``meta.json``; later ones supersede those not yet written.

    ``activity_only``: nothing else changed, so its loss would not matter.
    """

    meta: SessionMeta
    activity_only: bool = False


@dataclass(frozen=True, slots=True)
class ArmTimer:
    """Deliver ``TimerFired(name)`` in ``seconds``; arming again replaces."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DisarmTimer:
    """Forget a timer."""

    name: str


@dataclass(frozen=True, slots=True)
class Report:
    """Log what nobody is told otherwise."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class AcceptCommits:
    """The session knows of its failed commit: what it submits now is built on what is stored.

    Until then every commit is rejected like the failed one: its step knew a state that never was.
    """


@dataclass(frozen=True, slots=True)
class RestartAgent:
    """Start the agent again (01 9.6); answered by ``AgentStarted`` or ``AgentStartFailed``."""


@dataclass(frozen=True, slots=True)
class RequestStop:
    """Ask the agent to end its work, no more (01 9.4); answered by ``StopDelivered``."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class DispatchHook:
    """Ask a gate, now; answered by ``HookDispatched`` with the same key."""

    key: str
    payload: HookPayload


@dataclass(frozen=True, slots=True)
class ObserveHook:
    """Tell an observation after the rows before it; answered by ``HookDispatched``."""

    key: str
    payload: HookPayload


@dataclass(frozen=True, slots=True)
class NotifyTurnEnd:
    """Tell the host that a turn ended (02 6); answered by ``TurnEndNotified``."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class DropStream:
    """End the stream of a turn that never ran with one event, of which nothing is stored."""

    turn_id: str
    event: AgentEvent


Effect = (
    Commit
    | Reply
    | Refuse
    | SendPrompt
    | SteerAgent
    | CloseStream
    | Finalize
    | Retire
    | CancelPrompt
    | StopAgent
    | AnswerPermission
    | WriteMeta
    | ArmTimer
    | DisarmTimer
    | Report
    | AcceptCommits
    | RestartAgent
    | RequestStop
    | DispatchHook
    | ObserveHook
    | DropStream
    | NotifyTurnEnd
)
Effects = tuple[Effect, ...]


def refuse(ask: Ask, error: SessionError) -> Effects:
    """The refusal of an ask, or nothing when nobody waits."""
    return (Refuse(ask, error),) if ask else ()


def carried_out(commit: Commit, ask: Ask, value: Any = None) -> Effects:
    """A commit that is all an ask wanted, and its answer once it is stored."""
    answer = reply(ask, value)
    return replace(commit, owed=answer), *answer


def reply(ask: Ask, value: Any = None) -> tuple[Reply, ...]:
    """The answer to an ask, or nothing when nobody waits."""
    return (Reply(ask, value),) if ask else ()
