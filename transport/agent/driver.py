"""The default driver: agents as child processes that speak ACP (04 1.3).

Call it in greenlets of one hub. ``start``, ``steer`` and ``stop`` block their greenlet; ``prompt``
and ``cancel`` return at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gevent

from ...actors.errors import (
    AgentError,
    PromptInProgressError,
    SessionValueError,
)
from ..acp.client import AcpClient
from ..acp.options import ClientOpts
from ..acp.outputs import Ready, SessionAnswered, StartFailed, SteerAnswered
from .context import CallContext
from .facilities import NETWORK_COMMAND, Facilities
from .files import Workspace
from .link import READ_STALL_S
from .natives import Offload
from .process import ACPAgentProcess
from .process_store import MemoryProcessStore
from .protocol import AgentProcess, PromptRequest, StartOpts
from .quirks import with_quirks
from .starting import launched, package_version, start_error, startup_error, validated
from .stop import STOP_TIMEOUT_S, stop_process
from .stream import PROMPT_BUFFER_SIZE, TurnStream
from .sweep import Sweep
from .tool_processes import ToolProcesses
from .tool_records import InterruptReport, ProcessConfig, ProcessOwner, ProcessSource, Scope

CANCEL_GRACE_S = 5.0
PERMISSION_TIMEOUT_S = 300.0
STEER_TIMEOUT_S = 10.0
SETTLE_S = 0.05
INITIALIZE_TIMEOUT_S = 30.0
SESSION_TIMEOUT_S = 60.0
SET_TIMEOUT_S = 15.0


class ACPDriver:
    """Starts agents and talks to them. Non-positive times and sizes mean the default (04 1.3).

    :param stop_timeout: seconds an agent may take to leave after the end of its input.
    :param cancel_grace: seconds a cancelled turn may take to end (D27).
    :param prompt_buffer_size: events a turn holds for its reader before the agent is slowed down.
    :param permission_timeout: seconds until an unanswered permission request is rejected.
    :param initialize_timeout: seconds for the first answer (D2); so are the next two.
    :param session_timeout: for opening or restoring the session.
    :param set_timeout: for each of mode, model and effort.
    :param read_stall: seconds the reader of events may be behind before the agent is cut off (D9).
    :param network_command: what a turn that came over the network may run, before its subcommand.
    :param process_registry: knows the agents and their terminals; by default one of its own.
    :param offload: runs blocking work; by default in the hub's pool of native threads.
    :param pidfd: whether exits are watched by pidfd where the system has it.
    """

    def __init__(
        self,
        *,
        stop_timeout: float = STOP_TIMEOUT_S,
        cancel_grace: float = CANCEL_GRACE_S,
        prompt_buffer_size: int = PROMPT_BUFFER_SIZE,
        permission_timeout: float = PERMISSION_TIMEOUT_S,
        initialize_timeout: float = INITIALIZE_TIMEOUT_S,
        session_timeout: float = SESSION_TIMEOUT_S,
        set_timeout: float = SET_TIMEOUT_S,
        read_stall: float = READ_STALL_S,
        network_command: Sequence[str] = NETWORK_COMMAND,
        process_registry: ToolProcesses | None = None,
        offload: Offload | None = None,
        pidfd: bool = True,
    ) -> None:
        self._stop_timeout = _positive(stop_timeout, STOP_TIMEOUT_S)
        self._cancel_grace = _positive(cancel_grace, CANCEL_GRACE_S)
        self._permission_timeout = _positive(permission_timeout, PERMISSION_TIMEOUT_S)
        self._initialize_timeout = _positive(initialize_timeout, INITIALIZE_TIMEOUT_S)
        self._session_timeout = _positive(session_timeout, SESSION_TIMEOUT_S)
        self._set_timeout = _positive(set_timeout, SET_TIMEOUT_S)
        self.processes = (
            ToolProcesses(MemoryProcessStore()) if process_registry is None else process_registry
        )
        """Every process that works for a session of this driver (04 9)."""
        run = offload or _in_native_thread
        self._facilities = Facilities(
            offload=run,
            sweep=Sweep(run),
            registry=self.processes,
            prompt_buffer_size=int(_positive(prompt_buffer_size, PROMPT_BUFFER_SIZE)),
            read_stall_s=_positive(read_stall, READ_STALL_S),
            network_command=tuple(network_command) or NETWORK_COMMAND,
            pidfd=pidfd,
        )

    def start(self, ctx: CallContext, opts: StartOpts) -> ACPAgentProcess:
        """Start an agent and open or restore its session; a failure leaves nothing running.

        :raises AgentNotAvailableError: the command is not there.
        :raises WorkspaceRootMissingError: ``cwd`` or an additional directory is not there.
        :raises AgentStartError: any other failure, with ``failure``; a refused restore has
            ``LoadSessionFailedError`` or ``AgentDoesNotSupportSessionError`` among its causes.
        :raises TimeoutError: the context ended first.
        """
        ctx.check()
        opts, roots = validated(with_quirks(opts))
        workspace = Workspace(roots)
        child = launched(opts)
        process = ACPAgentProcess(
            child,
            AcpClient(self._client_opts(opts, workspace)),
            opts,
            workspace=workspace,
            facilities=self._facilities,
        )
        try:
            self._register(ctx, process, opts)
            process.channel.open()
            outcome: Ready | StartFailed = _await(ctx, process.channel.started)
            self._checkpoint(process, opts, outcome)
        except BaseException as error:
            raise self._cleaned_up(process, error) from error.__cause__
        if isinstance(outcome, StartFailed):
            stopped = self._cleaned_up(process, outcome.error)
            raise start_error(outcome, process) if stopped is outcome.error else stopped
        process.is_ready(outcome)
        return process

    def _register(self, ctx: CallContext, process: ACPAgentProcess, opts: StartOpts) -> None:
        """Make the agent known before it is talked to (04 2.4)."""
        process.terminals.owner = ProcessOwner(session_id=opts.session_id)
        config = ProcessConfig(
            source=ProcessSource.ACP_AGENT,
            owner=process.terminals.owner,
            pid=process.pid,
            process_group_id=process.pid,
            command=process.command,
            args=process.args,
            cwd=process.cwd,
            interrupt=lambda: self.stop(CallContext(), process),
        )
        try:
            process.attach(self.processes.register(ctx, config))
        except Exception as error:
            raise startup_error("agent process registration failed", error) from error

    def _checkpoint(
        self, process: ACPAgentProcess, opts: StartOpts, outcome: Ready | StartFailed
    ) -> None:
        """Let the record name the agent's own session too (04 2.5; D28)."""
        if isinstance(outcome, StartFailed) or process.record is None:
            return
        owner = ProcessOwner(opts.session_id, acp_session_id=outcome.acp_session_id)
        process.terminals.owner = owner
        try:
            process.record.checkpoint(owner=owner)
        except Exception as error:
            raise startup_error("agent process registration failed", error) from error

    def _client_opts(self, opts: StartOpts, workspace: Workspace) -> ClientOpts:
        return ClientOpts(
            cwd=workspace.roots[0],
            additional_dirs=workspace.roots[1:],
            locate=workspace.locate,
            permissions=opts.permissions,
            system_prompt=opts.system_prompt.strip(),
            system_prompt_delivery=opts.system_prompt_delivery or "first_turn_prefix",
            resume_session_id=opts.resume_session_id,
            model=opts.preferred_model.strip(),
            reasoning_effort=opts.reasoning_effort.strip(),
            mcp_servers=opts.mcp_servers,
            auth_method=opts.auth_method,
            client_version=package_version(),
            fs=opts.advertise_fs,
            terminal=opts.advertise_terminal,
            acp_version=opts.acp_version,
            elicitation=opts.answerer is not None,
            gateway=opts.gateway is not None,
            replay=opts.replay,
            native_system_prompt=opts.native_system_prompt,
            provider_name=opts.provider_name,
            runtime_provider=opts.runtime_provider,
            provider_base_url=opts.provider_base_url,
            new_turn_id=opts.new_turn_id,
            network_command=self._facilities.network_command,
            initialize_timeout_s=self._initialize_timeout,
            session_timeout_s=self._session_timeout,
            set_timeout_s=self._set_timeout,
            settle_s=SETTLE_S if opts.settle_s is None else opts.settle_s,
            cancel_grace_s=self._cancel_grace,
            permission_timeout_s=self._permission_timeout,
        )

    def _cleaned_up(self, process: ACPAgentProcess, error: BaseException) -> BaseException:
        """Stop a process that did not start, however little time the caller has left.

        :returns: the error to raise: ``error``, or both when the stop failed too (04 2.8).
        """
        try:
            stop_process(CallContext(), process, self._stop_timeout)
        except AgentError as stop_error:
            what = "stop failed while cleaning up failed start"
            return BaseExceptionGroup(what, [error, stop_error])
        return error

    def prompt(self, ctx: CallContext, process: AgentProcess, request: PromptRequest) -> TurnStream:
        """Open a turn and send its prompt; the events come through the stream.

        Waits while the agent works in a turn that it opened itself, as long as the context lasts
        (07 4.9).

        :raises SessionValueError: blank turn id or message, or a negative interval.
        :raises PromptInProgressError: a turn is open.
        :raises OperationUnavailableError: the agent is stopping or gone.
        :raises TimeoutError: the agent was still busy when the context ended.
        """
        ctx.check()
        if request.activity_heartbeat_interval < 0:
            raise SessionValueError("the heartbeat interval is negative", operation="prompt")
        channel = _ours(process).channel
        while True:
            try:
                return channel.prompt(request)
            except PromptInProgressError:
                over = channel.streams.own_over
                if over is None:
                    raise
            ctx.wait(over)
            ctx.check()

    def cancel(self, ctx: CallContext, process: AgentProcess) -> None:
        """Ask the agent to end its turn; the stream ends when it has, or after the grace."""
        ctx.check()
        channel = _ours(process).channel
        channel.link.act(channel.client.cancel())

    def steer(self, ctx: CallContext, process: AgentProcess, steer_id: str, text: str) -> str:
        """Send text into the running turn and wait for the agent's word on it.

        :returns: ``injected``, ``not_running``, ``new_turn`` or ``failed``.
        :raises OperationUnavailableError: the agent does not take steering.
        :raises TimeoutError: no answer in time; the text may still have been taken.
        """
        ctx.check()
        left = ctx.remaining()
        limited = ctx if left is not None else CallContext.after(STEER_TIMEOUT_S)
        answer: SteerAnswered = _await(limited, _ours(process).channel.steer(steer_id, text))
        return answer.outcome

    def request(
        self, ctx: CallContext, process: AgentProcess, operation: str, *arguments: str
    ) -> Mapping[str, Any]:
        """Ask the agent about its sessions, beside the conversation (07 3).

        :param operation: ``list_sessions``, ``delete_session``, ``fork_session``, ``set_title``,
            ``set_mode``, ``set_model``, ``set_effort``, ``set_option``, ``log_in`` or ``log_out``.
        :returns: the members of the agent's answer.
        :raises SessionValueError: no such operation, or a blank argument.
        :raises OperationUnavailableError: the agent does not offer it, or is not ready.
        :raises RequestError: the agent's refusal.
        :raises TimeoutError: no answer in time; it may still have been done.
        """
        ctx.check()
        answer: SessionAnswered = _await(ctx, _ours(process).channel.request(operation, *arguments))
        if answer.error is not None:
            raise answer.error
        return answer.result

    def stop(self, ctx: CallContext, process: AgentProcess) -> None:
        """End the process and everything it started (see :mod:`.stop`)."""
        stop_process(ctx, _ours(process), self._stop_timeout)

    def interrupt(self, ctx: CallContext, session_id: str, turn_id: str) -> InterruptReport:
        """End the processes that work for one turn: terminals, hooks, tools; not the agent (D28).

        :param session_id: greenroom's id of the session.
        :param turn_id: blank means all that works for the session, and its agent.
        :raises ScopedInterruptNotFoundError: nothing does.
        :raises ExceptionGroup: some could not be ended; the others were.
        """
        scope = Scope(session_id=session_id, turn_id=turn_id, reason="prompt canceled")
        return self.processes.interrupt(ctx, scope)


def _await(ctx: CallContext, result: Any) -> Any:
    ctx.wait(result)
    if not result.ready():
        ctx.check()
    return result.get(block=False)


def _in_native_thread(call: Any, *args: Any) -> Any:
    return gevent.get_hub().threadpool.apply(call, args)


def _positive(value: float, default: float) -> float:
    return value if value > 0 else default


def _ours(process: AgentProcess | None) -> ACPAgentProcess:
    if process is None:
        raise SessionValueError("agent process is required")
    if not isinstance(process, ACPAgentProcess):
        raise SessionValueError("unsupported agent process implementation")
    return process
