"""What the protocol core tells the one who drives it: one value per thing that happened.

Every call of :class:`~greenroom.transport.acp.client.AcpClient` returns a list of these, in order.
Nothing here is an instruction to write: bytes are drained with ``data_to_send``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...actors.errors import AgentError, RequestError
from ...actors.model.agent import Caps
from ...actors.model.event import AgentEvent
from ...actors.model.failure import SessionFailure


@dataclass(frozen=True, slots=True)
class Ready:
    """The handshake is over; prompts are accepted.

    :param acp_session_id: the id the agent gave its session, or the one that was restored.
    :param caps: what the agent can do, after mode, model and effort were set.
    :param restored: whether an earlier session was attached to, not a new one opened.
    :param replayed: updates of the conversation that the agent replayed; none although there is
        a history means that it attached to an id it does not know (07 8).
    """

    acp_session_id: str
    caps: Caps
    restored: bool
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The handshake failed; nothing more is sent. Comes at most once and never after Ready.

    :param failure: kind and bounded summary (04 8).
    :param error: ``AgentStartError``, ``LoadSessionFailedError`` or
        ``AgentDoesNotSupportSessionError``; a JSON-RPC error is its ``__cause__``.
    """

    failure: SessionFailure
    error: AgentError


@dataclass(frozen=True, slots=True)
class EventsEmitted:
    """Events in order. How a run of events is cut into outputs depends on the reads; never rely
    on it.

    A blank ``turn_id`` marks a session fact outside a turn (usage, title, commands, options;
    07 R11); all others carry the turn they belong to: the one of the prompt, one that the agent
    began (``TurnOpened``), or, with a v2 agent, an earlier one whose tool calls and terminals go
    on in the background (07 4.10). ``timestamp`` is ``NO_TIME``.
    """

    events: Sequence[AgentEvent]


@dataclass(frozen=True, slots=True)
class TurnOpened:
    """The agent began to work without a prompt of ours (07 4.9, 9.1); its events follow.

    Until its ``TurnClosed`` no prompt is accepted from a v2 agent's caller; a v1 agent's next
    prompt ends it.

    :param source: of its events, always ``synthetic``.
    :param reason: always ``agent_initiated``.
    """

    turn_id: str
    source: str = "synthetic"
    reason: str = "agent_initiated"


@dataclass(frozen=True, slots=True)
class WorkChanged:
    """What the agent is doing has changed in a way that turns do not tell (07 4.6, 4.10).

    :param state: ``running``, ``blocked`` (it waits for the user: stall timers pause),
        ``unknown`` (busy in a way we do not know) or ``idle``.
    :param background: ids of work that goes on beside or after the turn; as long as there is any,
        an idle session must not be reaped.
    """

    state: str
    background: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoticeSeen:
    """A notification that says nothing to us, but that the agent lives (07 9.3).

    :param method: bounded; a vendor's, such as ``_session/retrying``.
    """

    method: str


@dataclass(frozen=True, slots=True)
class KillTerminals:
    """A turn was cancelled, and these terminals of ours that it created still run (07 R5)."""

    turn_id: str
    terminal_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TurnClosed:
    """The turn is over, after its terminal event, or without one when a stop was requested.

    :param suspect: the process may answer later prompts wrongly (07 R3): a cancel was not
        acknowledged or answered with another error, or a turn was ``cancelled`` unasked.
    """

    turn_id: str
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class SteerAnswered:
    """The agent's answer to a steering message (07 9.1).

    :param outcome: ``injected``, ``not_running`` (nothing was taken: back to the queue),
        ``new_turn`` or ``failed``.
    :param error: the cause of ``failed``.
    """

    steer_id: str
    outcome: str
    error: RequestError | None = None


@dataclass(frozen=True, slots=True)
class ClientCallAsked:
    """The agent asks for a file or a terminal; the static policy allowed it, confinement is the
    asked one's.

    Answer with ``answer(key, result)`` or ``answer_error(key, error)``, unless a
    :class:`ClientCallCancelled` for the key came first.

    :param key: names this call; never reused.
    :param method: ``fs/read_text_file``, ``fs/write_text_file``, or ``terminal/create``,
        ``output``, ``wait_for_exit``, ``kill``, ``release``.
    :param params: ``sessionId`` and the members of the method, ``None`` when absent, of checked
        types: ``path``, ``line``, ``limit``; ``path``, ``content``; ``command``, ``args`` (tuple),
        ``env`` (tuple of pairs), ``cwd``, ``outputByteLimit``; ``terminalId``.
    :param turn_id: the turn it belongs to, or blank.
    """

    key: int
    method: str
    params: Mapping[str, Any]
    turn_id: str = ""


@dataclass(frozen=True, slots=True)
class InterceptAsked:
    """Show a tool call to the gateway before it is served or decided (04 5.6).

    Answer with ``intercepted(key, patched)``; a :class:`ClientCallCancelled` for the key withdraws
    it.

    :param tool_id: ``Read``, ``Write``, ``Bash`` or a name of the agent's.
    :param input: the input of the tool as JSON values.
    """

    key: int
    tool_id: str
    read_only: bool
    input: Any
    turn_id: str


@dataclass(frozen=True, slots=True)
class ElicitationAsked:
    """The agent asks the user something (07 R28); answer with ``answer_elicitation``.

    :param key: names this question; never reused.
    :param mode: ``form`` with ``schema``, or ``url`` with ``url`` and ``elicitation_id``.
    :param turn_id: the open turn; blank for a question that belongs to none.
    """

    key: int
    mode: str
    message: str
    schema: Mapping[str, Any]
    url: str
    elicitation_id: str
    tool_call_id: str
    turn_id: str


@dataclass(frozen=True, slots=True)
class ElicitationDone:
    """A question needs no answer any more.

    :param key: of its ``ElicitationAsked``.
    :param why: ``completed`` (what the url leads to was done), ``withdrawn`` by the agent, or
        ``canceled`` with its turn or the process.
    """

    key: int
    why: str


@dataclass(frozen=True, slots=True)
class SessionAnswered:
    """The answer to a request about sessions, such as ``list_sessions``.

    :param call_id: as the call returned it.
    :param result: the members of the result; empty with an error.
    """

    call_id: int
    operation: str
    result: Mapping[str, Any]
    error: RequestError | None = None


@dataclass(frozen=True, slots=True)
class ClientCallCancelled:
    """The agent withdrew the call, or is gone; it is answered already, drop the work.

    Also of an ``InterceptAsked``.
    """

    key: int


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """After ``stop_requested``, once: the agent needs no more time for its session.

    It answered ``session/close``, does not offer it, or is gone.
    """


@dataclass(frozen=True, slots=True)
class TimerArmed:
    """Call ``timer_fired(name)`` after ``seconds``; arming a name again replaces its timer."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TimerCancelled:
    """The timer of that name is not needed any more."""

    name: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Nothing more will be read or written. Comes once, after all it caused.

    Only a ``SessionClosed`` may still follow, should a stop be requested later.

    :param cause: for people, such as ``line of 10485760 bytes or more``.
    """

    cause: str


@dataclass(frozen=True, slots=True)
class Logged:
    """Something for the log; bounded, but not redacted.

    :param level: ``debug``, ``info`` or ``warning``.
    """

    level: str
    text: str


Output: TypeAlias = (
    Ready
    | StartFailed
    | EventsEmitted
    | TurnOpened
    | WorkChanged
    | NoticeSeen
    | KillTerminals
    | TurnClosed
    | SteerAnswered
    | ClientCallAsked
    | ClientCallCancelled
    | InterceptAsked
    | ElicitationAsked
    | ElicitationDone
    | SessionAnswered
    | SessionClosed
    | TimerArmed
    | TimerCancelled
    | Disconnected
    | Logged
)
