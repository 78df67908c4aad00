"""The default driver: agents as child processes that speak ACP (04 1.3).

Call it in greenlets of one hub. ``start``, ``steer`` and ``stop`` block their greenlet; ``prompt``
and ``cancel`` return at once.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gevent

from ...actors.errors import (
    AgentError,
    AgentNotAvailableError,
    AgentStartError,
    SessionValueError,
    WorkspaceRootMissingError,
)
from ...actors.model.agent import PermissionMode
from ...actors.model.failure import FAILURE_SUMMARY_BYTES_MAX, FailureKind, bound_text, failure
from ..acp.client import AcpClient
from ..acp.failures import make_failure
from ..acp.options import ClientOpts
from ..acp.outputs import Ready, StartFailed, SteerAnswered
from .calls import Offload
from .context import CallContext
from .files import Workspace
from .launcher import ChildHandle, launch
from .link import READ_STALL_S
from .process import ACPAgentProcess
from .protocol import AgentProcess, PromptRequest, StartOpts
from .stop import STOP_TIMEOUT_S, stop_process
from .stream import PROMPT_BUFFER_SIZE, TurnStream
from .sweep import Sweep

CANCEL_GRACE_S = 5.0
PERMISSION_TIMEOUT_S = 300.0
STEER_TIMEOUT_S = 10.0
SETTLE_S = 0.05
INITIALIZE_TIMEOUT_S = 30.0
SESSION_TIMEOUT_S = 60.0
SET_TIMEOUT_S = 15.0
STDERR_IN_FAILURE_BYTES_MAX = 1024
"""Of the agent's stderr appended to a failed start; half of what a summary may have (D7)."""
DELIVERIES = frozenset({"", "first_turn_prefix", "native"})


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
        offload: Offload | None = None,
        pidfd: bool = True,
    ) -> None:
        self._stop_timeout = _positive(stop_timeout, STOP_TIMEOUT_S)
        self._cancel_grace = _positive(cancel_grace, CANCEL_GRACE_S)
        self._prompt_buffer_size = int(_positive(prompt_buffer_size, PROMPT_BUFFER_SIZE))
        self._permission_timeout = _positive(permission_timeout, PERMISSION_TIMEOUT_S)
        self._initialize_timeout = _positive(initialize_timeout, INITIALIZE_TIMEOUT_S)
        self._session_timeout = _positive(session_timeout, SESSION_TIMEOUT_S)
        self._set_timeout = _positive(set_timeout, SET_TIMEOUT_S)
        self._read_stall = _positive(read_stall, READ_STALL_S)
        self._offload = offload or _in_native_thread
        self._sweep = Sweep(self._offload)
        self._pidfd = pidfd

    def start(self, ctx: CallContext, opts: StartOpts) -> ACPAgentProcess:
        """Start an agent and open or restore its session; a failure leaves nothing running.

        :raises AgentNotAvailableError: the command is not there.
        :raises WorkspaceRootMissingError: ``cwd`` or an additional directory is not there.
        :raises AgentStartError: any other failure, with ``failure``; a refused restore has
            ``LoadSessionFailedError`` or ``AgentDoesNotSupportSessionError`` among its causes.
        :raises TimeoutError: the context ended first.
        """
        ctx.check()
        opts, roots = _validated(opts)
        workspace = Workspace(roots)
        child = _launched(opts)
        process = ACPAgentProcess(
            child,
            AcpClient(self._client_opts(opts, workspace)),
            agent_name=opts.agent_name,
            workspace=workspace,
            offload=self._offload,
            sweep=self._sweep,
            prompt_buffer_size=self._prompt_buffer_size,
            read_stall_s=self._read_stall,
            pidfd=self._pidfd,
        )
        try:
            process.open()
            outcome: Ready | StartFailed = _await(ctx, process.started)
        except BaseException as error:
            raise self._cleaned_up(process, error) from error.__cause__
        if isinstance(outcome, StartFailed):
            stopped = self._cleaned_up(process, outcome.error)
            raise _start_error(outcome, process) if stopped is outcome.error else stopped
        return process

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
            client_version=_package_version(),
            fs=opts.advertise_fs,
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

        :raises SessionValueError: blank turn id or message.
        :raises PromptInProgressError: a turn is open.
        :raises OperationUnavailableError: the agent is stopping or gone.
        """
        ctx.check()
        return _ours(process).open_turn(request.turn_id, request.message, dict(request.meta))

    def cancel(self, ctx: CallContext, process: AgentProcess) -> None:
        """Ask the agent to end its turn; the stream ends when it has, or after the grace."""
        ctx.check()
        _ours(process).cancel()

    def steer(self, ctx: CallContext, process: AgentProcess, steer_id: str, text: str) -> str:
        """Send text into the running turn and wait for the agent's word on it.

        :returns: ``injected``, ``not_running``, ``new_turn`` or ``failed``.
        :raises OperationUnavailableError: the agent does not take steering.
        :raises TimeoutError: no answer in time; the text may still have been taken.
        """
        ctx.check()
        left = ctx.remaining()
        limited = ctx if left is not None else CallContext.after(STEER_TIMEOUT_S)
        answer: SteerAnswered = _await(limited, _ours(process).steer(steer_id, text))
        return answer.outcome

    def stop(self, ctx: CallContext, process: AgentProcess) -> None:
        """End the process and everything it started (see :mod:`.stop`)."""
        stop_process(ctx, _ours(process), self._stop_timeout)


def _await(ctx: CallContext, result: Any) -> Any:
    ctx.wait(result)
    if not result.ready():
        ctx.check()
    return result.get(block=False)


def _in_native_thread(call: Any, *args: Any) -> Any:
    return gevent.get_hub().threadpool.apply(call, args)


def _positive(value: float, default: float) -> float:
    return value if value > 0 else default


def _package_version() -> str:
    try:
        return version("greenroom")
    except PackageNotFoundError:
        return "0"


def _ours(process: AgentProcess | None) -> ACPAgentProcess:
    if process is None:
        raise SessionValueError("agent process is required")
    if not isinstance(process, ACPAgentProcess):
        raise SessionValueError("unsupported agent process implementation")
    return process


def _validated(opts: StartOpts) -> tuple[StartOpts, tuple[str, ...]]:
    """The options with what is checked in 04 2.1 checked, and the canonical roots."""
    wrong = [
        text
        for text, is_wrong in (
            ("agent name is required", not opts.agent_name.strip()),
            ("command is required", not any(part.strip() for part in opts.command[:1])),
            ("cwd is required", not opts.cwd.strip()),
            (
                "an additional directory is not absolute",
                any(path.strip() and not os.path.isabs(path) for path in opts.additional_dirs),
            ),
            (
                f"unknown permissions {opts.permissions!r}",
                opts.permissions not in set(PermissionMode),
            ),
            (
                f"unknown system prompt delivery {opts.system_prompt_delivery!r}",
                opts.system_prompt_delivery not in DELIVERIES,
            ),
        )
        if is_wrong
    ]
    if wrong:
        raise _startup_error("invalid ACP start options", SessionValueError("; ".join(wrong)))
    cwd = _directory(opts.cwd)
    others = [_directory(path) for path in opts.additional_dirs if path.strip()]
    roots = tuple(dict.fromkeys([cwd, *others]))
    return replace(opts, cwd=cwd, permissions=PermissionMode(opts.permissions)), roots


def _directory(path: str) -> str:
    canonical = os.path.realpath(path)
    if not os.path.isdir(canonical):
        raise WorkspaceRootMissingError(f"the directory {path} does not exist", path=path)
    return canonical


def _launched(opts: StartOpts) -> ChildHandle:
    given = dict(opts.env)
    env = {**os.environ, **given} if opts.inherit_env else given
    try:
        return launch(opts.command, cwd=opts.cwd, env=env)
    except AgentNotAvailableError as error:
        error.agent_name = opts.agent_name
        raise
    except OSError as error:
        where = f"agent {opts.agent_name}, command {opts.command[0]}, in {opts.cwd}"
        raise _startup_error(f"agent subprocess startup failed ({where})", error) from error


def _startup_error(step: str, cause: Exception) -> AgentStartError:
    settled = make_failure(FailureKind.STARTUP, step, cause)
    error = AgentStartError(settled.summary, failure=settled)
    error.__cause__ = cause
    return error


def _start_error(outcome: StartFailed, process: ACPAgentProcess) -> AgentStartError:
    """The error of a failed handshake, with the end of what the agent wrote to stderr (D7)."""
    tail = process.stderr().strip().encode()[-STDERR_IN_FAILURE_BYTES_MAX:].decode(errors="ignore")
    settled = outcome.failure
    if tail:
        room = FAILURE_SUMMARY_BYTES_MAX - len(tail.encode()) - len("; stderr=")
        settled = failure(settled.kind, f"{bound_text(settled.summary, room)}; stderr={tail}")
    error = AgentStartError(settled.summary, failure=settled)
    is_plain = type(outcome.error) is AgentStartError
    error.__cause__ = outcome.error.__cause__ if is_plain else outcome.error
    return error
