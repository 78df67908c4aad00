"""Starting an agent process, for a session that starts and for one that lives on (01 7.8-7.13)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import gevent

from ...transport.acp.failures import classified_failure, failure_from_error, make_failure
from ...transport.agent.context import CallContext
from ...transport.agent.protocol import AgentProcess, StartOpts
from ..core.hooking import session_fields
from ..core.inputs import AgentEventsArrived, AgentExited, AgentGone, AgentStarted
from ..core.provider_env import session_env
from ..errors import AgentExitedError, HookFailedError
from ..model.agent import AgentDef, PermissionMode
from ..model.failure import FailureKind, SessionFailure
from ..model.hooks import AgentPayload, HookEvent
from ..model.session import SessionMeta
from ..model.settings import SessionBusyInputConfig, SessionSupervisionConfig
from ..runtime.mailbox import Lane
from .agent_calls import hear_of_work
from .live import LiveSession
from .provider_secrets import Environment, unlock
from .tool_gateway import ToolGateway

STDERR_IN_EVENT_BYTES_MAX = 32 * 1024
"""How much of the agent's stderr an exit row carries (01 10.1 step 3)."""
CUT_OFF = "process exited during active prompt"
"""What is wrong with a clean exit in the middle of a turn (01 9.5)."""


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What is started.

    :param meta: the record in state ``starting``.
    :param id_seed: what the incarnation makes its ids of.
    :param resumed: the meta a failed resume goes back to; ``None`` for a new session.
    :param clears: whether it begins with an empty conversation (01 13).
    :param lost: whether the agent no longer has the conversation that is resumed (01 8.7).
    :param system_prompt: what the agent is told before anything else (01 7.6).
    """

    meta: SessionMeta
    workspace: str
    agent: AgentDef
    directory: Path
    busy_input: SessionBusyInputConfig
    supervision: SessionSupervisionConfig
    id_seed: str
    resumed: SessionMeta | None = None
    clears: bool = False
    lost: bool = False
    system_prompt: str = ""


def launch_agent(context: CallContext, live: LiveSession, plan: StartPlan) -> AgentProcess:
    """Start the agent as the host's ``agent.pre_start`` leaves it (01 7.10, 7.11).

    :raises HookFailedError: the hook raised, denied, or took too long.
    :raises AgentStartError: a credential could not be had.

    Other errors: the driver's.
    """
    opts = start_opts(plan, live, unlock(live, plan.agent))
    hooks = live.ports.hooks
    if hooks.hears(HookEvent.AGENT_PRE_START):
        asked = _agent_payload(HookEvent.AGENT_PRE_START, live, opts.command, opts.cwd)
        told = hooks.dispatch(asked)
        command = (told.command, *(arg for arg in told.args if arg.strip()))
        opts = replace(opts, command=command, cwd=told.cwd)
    return live.ports.driver.start(context, opts)


def started(process: AgentProcess, ask: int, restored: bool) -> AgentStarted:
    """What the session is told of an agent that runs."""
    return AgentStarted(
        ask,
        process.session_id,
        process.caps_snapshot(),
        process.pid,
        process.started_at,
        restored,
    )


def tell_spawned(live: LiveSession, process: AgentProcess) -> None:
    """``agent.spawned``: the agent is up and the session active (01 7.12)."""
    tell_agent(live, HookEvent.AGENT_SPAWNED, process)


def tell_agent(
    live: LiveSession, event: HookEvent, process: AgentProcess | None, error: str = ""
) -> None:
    """An observation about the agent process; who hears it is waited for."""
    if live.ports.hooks.hears(event):
        command = (process.command, *process.args) if process is not None else ("",)
        cwd = process.cwd if process is not None else live.state.workspace
        payload = _agent_payload(event, live, command, cwd)
        pid = process.pid if process is not None else 0
        live.ports.hooks.dispatch(replace(payload, pid=pid, error=error))


def watch_exit(live: LiveSession, process: AgentProcess) -> None:
    """From here on the session hears of facts outside a turn, and of the end of its agent."""
    process.on_event = lambda events: live.tell(AgentEventsArrived("", events), Lane.EXEMPT)
    hear_of_work(live, process)
    process.done.rawlink(lambda _: gevent.spawn(_exited, live, process))


def _exited(live: LiveSession, process: AgentProcess) -> None:
    error = process.wait()
    if error is None:
        live.tell(AgentExited("", _cut_off(live, process)), Lane.EXEMPT)
        return
    live.tell(AgentGone(str(error)), Lane.EXEMPT)
    stderr = error.stderr if isinstance(error, AgentExitedError) else process.stderr()
    failure = make_failure(FailureKind.PROCESS_EXIT, "agent exited", error)
    failure = live.ports.bundles.attach(failure, live.state.meta, process, error=str(error))
    tail = stderr[-STDERR_IN_EVENT_BYTES_MAX:]
    live.tell(AgentExited(str(error), failure, tail), Lane.EXEMPT)


def _cut_off(live: LiveSession, process: AgentProcess) -> SessionFailure | None:
    """The failure that a clean exit is, if it is one: nobody asked for it and a turn runs."""
    state = live.state
    if state.turn is None or not state.takes_input:
        return None
    live.tell(AgentGone(CUT_OFF), Lane.EXEMPT)
    failure = SessionFailure(FailureKind.PROCESS_EXIT, CUT_OFF)
    return live.ports.bundles.attach(failure, state.meta, process)


def start_opts(plan: StartPlan, live: LiveSession, secrets: Environment) -> StartOpts:
    """What the driver is told (01 7.11)."""
    mode = plan.meta.effective_permissions or PermissionMode.APPROVE_READS
    return StartOpts(
        agent_name=plan.agent.name,
        command=plan.agent.command,
        cwd=plan.workspace,
        env=(*plan.agent.env, *session_env(plan.meta), *secrets),
        permissions=PermissionMode(mode),
        system_prompt=plan.system_prompt,
        preferred_model=plan.meta.model,
        reasoning_effort=plan.meta.reasoning_effort,
        resume_session_id=plan.meta.acp_session_id,
        session_id=plan.meta.id,
        new_turn_id=live.name_own_turn,
        gateway=ToolGateway.of(live),
        answerer=live.ports.answerer,
    )


def failure_of(error: Exception) -> SessionFailure:
    """The typed failure of a start (01 7.13)."""
    known = classified_failure(error)
    if known is not None:
        return known
    if isinstance(error, HookFailedError):
        return make_failure(FailureKind.STARTUP, "session pre-start hook failed", error)
    kind = failure_from_error(error, FailureKind.STARTUP)
    return make_failure(kind, "agent runtime startup failed", error)


def _agent_payload(
    event: HookEvent, live: LiveSession, command: tuple[str, ...], cwd: str
) -> AgentPayload:
    meta = live.state.meta
    return AgentPayload(
        event=event,
        timestamp=live.ports.clock.now(),
        command=command[0],
        args=tuple(command[1:]),
        cwd=cwd,
        provider=meta.provider,
        model=meta.model,
        **session_fields(meta, live.state.workspace),
    )
