"""What a host's hooks are told and may change: payloads, groups, and the table of events (06 1).

A *gate* is awaited, and its error or denial stops the operation. An *observation* that is sync is
awaited too, but its error is only logged; one that is async is never waited for. Hooks run in
greenlets of the manager's hub: they wait through gevent, and take blocking work to a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from .event import RawJSON


class HookEvent(StrEnum):
    """The events the session layer dispatches."""

    SESSION_PRE_CREATE = "session.pre_create"
    SESSION_POST_CREATE = "session.post_create"
    SESSION_PRE_RESUME = "session.pre_resume"
    SESSION_POST_RESUME = "session.post_resume"
    SESSION_PRE_STOP = "session.pre_stop"
    SESSION_POST_STOP = "session.post_stop"
    INPUT_PRE_SUBMIT = "input.pre_submit"
    PROMPT_POST_ASSEMBLE = "prompt.post_assemble"
    AGENT_PRE_START = "agent.pre_start"
    AGENT_SPAWNED = "agent.spawned"
    AGENT_CRASHED = "agent.crashed"
    AGENT_STOPPED = "agent.stopped"
    TURN_START = "turn.start"
    TURN_END = "turn.end"
    MESSAGE_START = "message.start"
    MESSAGE_DELTA = "message.delta"
    MESSAGE_END = "message.end"
    MESSAGE_PERSISTED = "session.message_persisted"
    EVENT_PRE_RECORD = "event.pre_record"
    EVENT_POST_RECORD = "event.post_record"
    TOOL_PRE_CALL = "tool.pre_call"
    TOOL_POST_CALL = "tool.post_call"
    TOOL_POST_ERROR = "tool.post_error"


class HookKind(StrEnum):
    """What an answer, or an error, of a hook may do."""

    GATE = "gate"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class HookPoint:
    """One event: the group of ``HookSet`` that hears of it, and how.

    :param waits: whether what happens next waits for the hook.
    """

    group: str
    kind: HookKind
    waits: bool = True


_GATE, _OBSERVE = HookKind.GATE, HookKind.OBSERVE

HOOK_POINTS: dict[HookEvent, HookPoint] = {
    HookEvent.SESSION_PRE_CREATE: HookPoint("session", _GATE),
    HookEvent.SESSION_POST_CREATE: HookPoint("session", _OBSERVE, waits=False),
    HookEvent.SESSION_PRE_RESUME: HookPoint("session", _GATE),
    HookEvent.SESSION_POST_RESUME: HookPoint("session", _OBSERVE, waits=False),
    HookEvent.SESSION_PRE_STOP: HookPoint("session", _GATE),
    HookEvent.SESSION_POST_STOP: HookPoint("session", _OBSERVE),
    HookEvent.INPUT_PRE_SUBMIT: HookPoint("prompt", _GATE),
    HookEvent.PROMPT_POST_ASSEMBLE: HookPoint("prompt", _GATE),
    HookEvent.AGENT_PRE_START: HookPoint("agent", _GATE),
    HookEvent.AGENT_SPAWNED: HookPoint("agent", _OBSERVE),
    HookEvent.AGENT_CRASHED: HookPoint("agent", _OBSERVE),
    HookEvent.AGENT_STOPPED: HookPoint("agent", _OBSERVE),
    HookEvent.TURN_START: HookPoint("conversation", _GATE),
    HookEvent.TURN_END: HookPoint("conversation", _OBSERVE),
    HookEvent.MESSAGE_START: HookPoint("conversation", _OBSERVE),
    HookEvent.MESSAGE_DELTA: HookPoint("conversation", _OBSERVE, waits=False),
    HookEvent.MESSAGE_END: HookPoint("conversation", _OBSERVE),
    HookEvent.MESSAGE_PERSISTED: HookPoint("conversation", _OBSERVE, waits=False),
    HookEvent.EVENT_PRE_RECORD: HookPoint("events", _OBSERVE, waits=False),
    HookEvent.EVENT_POST_RECORD: HookPoint("events", _OBSERVE, waits=False),
    HookEvent.TOOL_PRE_CALL: HookPoint("tools", _GATE),
    HookEvent.TOOL_POST_CALL: HookPoint("tools", _OBSERVE, waits=False),
    HookEvent.TOOL_POST_ERROR: HookPoint("tools", _OBSERVE, waits=False),
}
"""Every event once; nothing is dispatched that does not stand here."""

UNDENIABLE = frozenset({HookEvent.TURN_START})
"""Gates on an error alone: a denial they return is ignored (06 1.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPayload:
    """What every payload holds: the event, its session, and whether it is denied (06 1.2).

    A hook answers with a changed copy (``dataclasses.replace``), or with ``None`` for no change.
    """

    event: HookEvent
    timestamp: datetime
    session_id: str = ""
    session_name: str = ""
    session_type: str = ""
    agent_name: str = ""
    workspace_id: str = ""
    workspace: str = ""
    acp_session_id: str = ""
    state: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deny: bool = False
    deny_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPayload(HookPayload):
    """``session.*``: a gate may change name, type, agent and workspace (06 1.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPayload(HookPayload):
    """``agent.*``: ``agent.pre_start`` may change command, args and cwd (06 1.3)."""

    command: str = ""
    args: tuple[str, ...] = ()
    cwd: str = ""
    provider: str = ""
    model: str = ""
    pid: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPayload(HookPayload):
    """``input.pre_submit``: the message may be replaced (06 1.3)."""

    turn_id: str
    input_class: str
    message: str
    context_blocks: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblyPayload(HookPayload):
    """``prompt.post_assemble``: the system prompt may be replaced (06 1.3)."""

    prompt: str = ""
    input_class: str = "startup_prompt"
    context_blocks: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPayload(HookPayload):
    """``turn.start`` and ``turn.end`` (06 1.4)."""

    turn_id: str
    input_class: str
    user_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePayload(HookPayload):
    """``message.*``: the text of ``message.start`` replaces the first chunk (06 1.4)."""

    turn_id: str
    message_id: str
    delta_type: str
    text: str
    role: str = "assistant"
    raw: RawJSON | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePersistedPayload(HookPayload):
    """``session.message_persisted``: an ``agent_message`` is stored (06 1.4)."""

    turn_id: str
    message_id: str
    message_seq: int
    text: str
    root_session_id: str
    actor_kind: str
    actor_id: str
    parent_session_id: str = ""
    role: str = "assistant"
    raw: RawJSON | None = None
    persisted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPayload(HookPayload):
    """``event.*``: ``sequence`` is set once the row is stored (06 1.5)."""

    turn_id: str
    record_type: str
    content: Any = None
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPayload(HookPayload):
    """``tool.*``: ``tool.pre_call`` may change id, input and read-only (06 1.6)."""

    turn_id: str
    tool_id: str
    read_only: bool = False
    tool_input: Any = None
    tool_call_id: str = ""
    title: str = ""
    tool_result: Any = None
    error: str = ""


class LifecycleHooks(Protocol):
    """The life of a session."""

    def dispatch_session_pre_create(self, payload: SessionPayload) -> SessionPayload | None: ...
    def dispatch_session_post_create(self, payload: SessionPayload) -> SessionPayload | None: ...
    def dispatch_session_pre_resume(self, payload: SessionPayload) -> SessionPayload | None: ...
    def dispatch_session_post_resume(self, payload: SessionPayload) -> SessionPayload | None: ...
    def dispatch_session_pre_stop(self, payload: SessionPayload) -> SessionPayload | None: ...
    def dispatch_session_post_stop(self, payload: SessionPayload) -> SessionPayload | None: ...


class PromptHooks(Protocol):
    """What goes to the agent."""

    def dispatch_input_pre_submit(self, payload: InputPayload) -> InputPayload | None: ...
    def dispatch_prompt_post_assemble(self, payload: AssemblyPayload) -> AssemblyPayload | None: ...


class AgentHooks(Protocol):
    """The agent process."""

    def dispatch_agent_pre_start(self, payload: AgentPayload) -> AgentPayload | None: ...
    def dispatch_agent_spawned(self, payload: AgentPayload) -> AgentPayload | None: ...
    def dispatch_agent_crashed(self, payload: AgentPayload) -> AgentPayload | None: ...
    def dispatch_agent_stopped(self, payload: AgentPayload) -> AgentPayload | None: ...


class ConversationHooks(Protocol):
    """Turns and the messages of the agent."""

    def dispatch_turn_start(self, payload: TurnPayload) -> TurnPayload | None: ...
    def dispatch_turn_end(self, payload: TurnPayload) -> TurnPayload | None: ...
    def dispatch_message_start(self, payload: MessagePayload) -> MessagePayload | None: ...
    def dispatch_message_delta(self, payload: MessagePayload) -> MessagePayload | None: ...
    def dispatch_message_end(self, payload: MessagePayload) -> MessagePayload | None: ...
    def dispatch_session_message_persisted(
        self, payload: MessagePersistedPayload
    ) -> MessagePersistedPayload | None: ...


class EventHooks(Protocol):
    """The rows of a session."""

    def dispatch_event_pre_record(self, payload: RecordPayload) -> RecordPayload | None: ...
    def dispatch_event_post_record(self, payload: RecordPayload) -> RecordPayload | None: ...


class ToolHooks(Protocol):
    """What an agent does through us."""

    def dispatch_tool_pre_call(self, payload: ToolPayload) -> ToolPayload | None: ...
    def dispatch_tool_post_call(self, payload: ToolPayload) -> ToolPayload | None: ...
    def dispatch_tool_post_error(self, payload: ToolPayload) -> ToolPayload | None: ...


@dataclass(frozen=True, slots=True)
class HookSet:
    """The hooks of a host by group; ``None`` is none, and costs nothing (06 1.1)."""

    session: LifecycleHooks | None = None
    prompt: PromptHooks | None = None
    agent: AgentHooks | None = None
    conversation: ConversationHooks | None = None
    events: EventHooks | None = None
    tools: ToolHooks | None = None

    @property
    def listened(self) -> frozenset[HookEvent]:
        """The events somebody hears of."""
        return frozenset(
            event for event, point in HOOK_POINTS.items() if getattr(self, point.group) is not None
        )
