"""What the session layer knows of a driver: three Protocols and the values they exchange.

Pure vocabulary (04 1): a scripted driver in a test implements these and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from ...actors.model.agent import ApproveRequest, Caps, PermissionMode
from ...actors.model.event import AgentEvent
from ..acp.options import McpServer
from ..acp.outputs import WorkChanged
from .context import CallContext
from .deciders import ElicitationAnswerer, ToolExecutionGateway
from .tool_records import InterruptReport

EventSink = Callable[[tuple[AgentEvent, ...]], None]
"""Takes events in order; called in the hub's own greenlet, so it must not block."""
WorkSink = Callable[[WorkChanged], None]
"""Takes what the agent does now; called like an ``EventSink``."""


@dataclass(frozen=True, slots=True)
class HealthState:
    """What a driver knows of an agent's health (04 10).

    Unhealthy means: not ``healthy`` *and* any other member present. All blank is no evidence.
    """

    healthy: bool = False
    message: str = ""
    details: Any = None
    last_checked_at: datetime | None = None
    consecutive_failures: int = 0
    last_error: str = ""

    @property
    def is_unhealthy(self) -> bool:
        """Whether there is evidence, and it is bad."""
        return not self.healthy and self != HealthState()


@dataclass(frozen=True, slots=True)
class PromptActivityReport:
    """The turn is still waited for, or, with another kind, something happens in it (04 1.4).

    :param kind: ``agent_waiting``; ``terminal_output`` of a command the agent runs through us;
        ``client_call`` when it asks for a file or a terminal; ``agent_notice`` of a vendor's own
        notification, such as that it retries its model (07 9.3).
    """

    timestamp: datetime
    kind: str = "agent_waiting"
    detail: str = "waiting for session/prompt response"


ActivityReporter = Callable[[PromptActivityReport], None]
"""Called in the hub, the first time inside ``prompt``; must not block (02 12.2)."""


@dataclass(frozen=True, slots=True)
class StartOpts:
    """How to start one agent process (04 1.4, 2.1). Blank means "not asked for".

    :param agent_name: for messages only.
    :param command: argv; the first member is looked up on the child's PATH.
    :param cwd: existing directory; made canonical.
    :param additional_dirs: further existing absolute directories the agent may work in.
    :param env: variables for the child; of one name the last wins.
    :param inherit_env: whether ``env`` goes on top of our own environment or is all of it.
    :param advertise_fs: whether the agent is offered file callbacks (07 R27).
    :param settle_s: silence that ends a turn after its answer, ``None`` for the default; 0 for an
        agent known to answer last (04 4.2).
    :param session_id: greenroom's own id of the session, for scoped interrupts (D28).
    :param advertise_terminal: whether the agent is offered terminals.
    :param acp_version: ``auto``, ``1`` or ``2`` (07 1).
    :param gateway: looks at every tool call that comes through us (04 5.6).
    :param answerer: answers the agent's questions; without one they are declined (07 R28).
    :param new_turn_id: names turns that the agent opens itself; absent, they are numbered.
    :param replay: whether a restored v2 agent is asked for its history (07 4.11).
    :param native_system_prompt: with delivery ``native``, also give the system prompt to
        ``session/new`` where the agent takes one (D12).
    :param provider_name: with the next two, whether prompts may be cached (04 4.1).
    """

    agent_name: str
    command: tuple[str, ...]
    cwd: str
    additional_dirs: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    inherit_env: bool = True
    permissions: PermissionMode = PermissionMode.APPROVE_READS
    system_prompt: str = ""
    system_prompt_delivery: str = "first_turn_prefix"
    preferred_model: str = ""
    reasoning_effort: str = ""
    resume_session_id: str = ""
    mcp_servers: tuple[McpServer, ...] = ()
    auth_method: str = ""
    advertise_fs: bool = True
    settle_s: float | None = None
    session_id: str = ""
    advertise_terminal: bool = True
    acp_version: str = "auto"
    gateway: ToolExecutionGateway | None = None
    answerer: ElicitationAnswerer | None = None
    new_turn_id: Callable[[], str] | None = None
    replay: bool = False
    native_system_prompt: bool = False
    provider_name: str = ""
    runtime_provider: str = ""
    provider_base_url: str = ""


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """One prompt (04 1.4).

    :param turn_id: greenroom's id of the turn; every event of the turn carries it.
    :param message: the text.
    :param meta: goes to the agent as ``_meta``, unless empty.
    :param activity_reporter: told that the turn is waited for: at once, then in every interval.
    :param activity_heartbeat_interval: in seconds; 0 for the default of 30.
    """

    turn_id: str
    message: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    activity_reporter: ActivityReporter | None = None
    activity_heartbeat_interval: float = 0.0


@runtime_checkable
class DriverStream(Protocol):
    """The events of one turn, in order, for one reader."""

    @property
    def turn_id(self) -> str:
        """The turn."""
        ...

    @property
    def suspect(self) -> bool:
        """At the end: whether the agent may answer later prompts wrongly (07 R3)."""
        ...

    def take(self) -> Sequence[AgentEvent]:
        """Wait for events and take all there are; none means the stream is over."""
        ...

    def __iter__(self) -> Iterator[AgentEvent]:
        """The same, one by one."""
        ...


TurnSink = Callable[[DriverStream], None]
"""Takes the stream of a turn that the agent opened (07 4.9); called like an ``EventSink``."""


@runtime_checkable
class AgentProcess(Protocol):
    """One running agent, owned by one session (04 1.2)."""

    pid: int
    agent_name: str
    command: str
    args: tuple[str, ...]
    cwd: str
    session_id: str
    """The agent's own id of the session."""
    caps: Caps
    """As of the end of the start; :meth:`caps_snapshot` is the newest."""
    started_at: datetime
    on_event: EventSink | None
    """Takes session facts that belong to no turn (07 R11); a few are held until it is set."""
    on_turn: TurnSink | None
    """Takes turns that the agent opens itself; a few are held until it is set."""
    on_work: WorkSink | None
    """Takes what the agent does, as far as turns do not tell it: whether it waits for its user, and
    what goes on in the background (07 4.6, 4.10)."""

    @property
    def suspect(self) -> bool:
        """Whether the last turn ended in a way after which later prompts may fail (07 R3)."""
        ...

    @property
    def done(self) -> Any:
        """A ``gevent.event.Event``, set once, after the result of :meth:`wait` is there."""
        ...

    def wait(self) -> Exception | None:
        """Wait for the end: ``None`` after a stop or exit status 0, else what happened."""
        ...

    def stderr(self) -> str:
        """The last 128 KiB of the agent's stderr."""
        ...

    def caps_snapshot(self) -> Caps:
        """What the agent can do now."""
        ...

    def approve_permission(self, ctx: CallContext, request: ApproveRequest) -> None:
        """Answer a pending permission request (04 6.4)."""
        ...


@runtime_checkable
class HealthReporting(Protocol):
    """A process whose driver knows something of its health; optional (04 10)."""

    def health_state(self) -> HealthState:
        """The evidence there is; see :class:`HealthState`."""
        ...


@runtime_checkable
class ScopedInterrupter(Protocol):
    """A driver that can end what works for one turn, and nothing else (04 1.1)."""

    def interrupt(self, ctx: CallContext, session_id: str, turn_id: str) -> InterruptReport:
        """End what works for the turn.

        :raises ScopedInterruptNotFoundError: nothing does.
        """
        ...


@runtime_checkable
class AgentDriver(Protocol):
    """Starts agents and talks to them (04 1.1). Call it in greenlets of one hub."""

    def start(self, ctx: CallContext, opts: StartOpts) -> AgentProcess:
        """Start an agent and open or restore its session."""
        ...

    def prompt(
        self, ctx: CallContext, process: AgentProcess, request: PromptRequest
    ) -> DriverStream:
        """Open a turn; returns at once."""
        ...

    def cancel(self, ctx: CallContext, process: AgentProcess) -> None:
        """Ask the agent to end its turn; does not wait for it."""
        ...

    def steer(self, ctx: CallContext, process: AgentProcess, steer_id: str, text: str) -> str:
        """Send text into the running turn; returns the outcome."""
        ...

    def stop(self, ctx: CallContext, process: AgentProcess) -> None:
        """End the process and everything it started."""
        ...
