"""Look at an agent without using it: is it installed, does it speak, what does it want (04 10).

For ``greenroom doctor --agent NAME``. A probe never raises for what an agent does: the report says
it, with the next step as advice.
"""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import gevent
from gevent.event import AsyncResult

from ...actors.errors import AgentNotAvailableError, SessionError, SessionValueError
from ...actors.model.agent import AgentDef, Caps
from ...actors.model.failure import FailureKind, SessionFailure
from . import natives
from .context import CallContext
from .driver import ACPDriver
from .launcher import find_command
from .protocol import StartOpts
from .quirks import quirks_of
from .tool_records import bounded

VERSION_TIMEOUT_S = 5.0
HANDSHAKE_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 2.0
VERSION_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe found.

    :param command: absolute path of the command, or blank.
    :param version: first line that the command prints for its version; blank where none is known.
    :param handshake_ok: whether a session could be opened; it is closed again.
    :param auth_methods: ids of the ways to log in that the agent offers.
    :param failure: why no session could be opened.
    :param advice: the next step, for people; blank when there is nothing to do.
    """

    agent_name: str
    installed: bool = False
    command: str = ""
    version: str = ""
    handshake_ok: bool = False
    protocol_version: int = 0
    agent_info: str = ""
    auth_methods: tuple[str, ...] = ()
    failure: SessionFailure | None = None
    advice: str = ""


def probe_agent(
    agent: AgentDef, ctx: CallContext, *, driver: ACPDriver | None = None
) -> ProbeReport:
    """Find, ask and start an agent in an empty directory, then stop it. In a greenlet.

    :param ctx: bounds the whole; a session gets ``HANDSHAKE_TIMEOUT_S`` of it at most.
    """
    report = ProbeReport(agent.name)
    env = {**os.environ, **dict(agent.env)}
    quirks = quirks_of(agent.name, agent.command)
    try:
        if not agent.command:
            raise AgentNotAvailableError("the agent has no command", agent_name=agent.name)
        path = find_command(agent.command[0], env.get("PATH", os.defpath))
    except AgentNotAvailableError as error:
        hint = f"install it: {agent.install_hint}" if agent.install_hint else str(error)
        return replace(report, advice=hint)
    report = replace(report, installed=True, command=path)
    if quirks.version_args:
        report = replace(report, version=_version((path, *quirks.version_args), env, ctx))
    return _handshake(agent, ctx, driver or ACPDriver(), report, quirks.auth_hint)


def _version(argv: tuple[str, ...], env: dict[str, str], ctx: CallContext) -> str:
    """The first line of what a command prints; blank when it takes too long."""
    printed: AsyncResult[str] = AsyncResult()
    gevent.spawn(_run_bounded, argv, env).link(printed)
    if not ctx.wait(printed, VERSION_TIMEOUT_S + 1) or not printed.successful():
        return ""
    lines = [line.strip() for line in printed.get(block=False).splitlines() if line.strip()]
    return bounded(lines[0][:VERSION_CHARS_MAX]) if lines else ""


def _run_bounded(argv: tuple[str, ...], env: dict[str, str]) -> str:
    found: str = gevent.get_hub().threadpool.apply(natives.run, (argv, env, VERSION_TIMEOUT_S))
    return found


def _handshake(
    agent: AgentDef, ctx: CallContext, driver: ACPDriver, report: ProbeReport, auth_hint: str
) -> ProbeReport:
    left = ctx.remaining()
    limit = HANDSHAKE_TIMEOUT_S if left is None else min(left, HANDSHAKE_TIMEOUT_S)
    bounded_ctx = CallContext(time.monotonic() + limit, ctx.cancelled)
    with tempfile.TemporaryDirectory(prefix="greenroom-probe-") as place:
        opts = StartOpts(agent.name, agent.command, os.path.realpath(place), env=agent.env)
        try:
            process = driver.start(bounded_ctx, opts)
        except (SessionError, TimeoutError, BaseExceptionGroup) as error:
            return _failed(report, error, auth_hint)
        try:
            return _answered(report, process.caps_snapshot())
        finally:
            driver.stop(CallContext(), process)


def _answered(report: ProbeReport, caps: Caps) -> ProbeReport:
    return replace(
        report,
        handshake_ok=True,
        protocol_version=caps.protocol_version,
        agent_info=caps.agent_info,
        auth_methods=caps.auth_methods,
    )


def _failed(report: ProbeReport, error: BaseException, auth_hint: str) -> ProbeReport:
    found: Any = getattr(error, "failure", None)
    kind = FailureKind.TIMEOUT if isinstance(error, TimeoutError) else FailureKind.UNKNOWN
    failed = found or SessionFailure(kind, bounded(str(error)))
    match failed.kind:
        case FailureKind.PROVIDER_AUTH:
            advice = f"log in: {auth_hint}" if auth_hint else "log in with the agent's own command"
        case FailureKind.TIMEOUT:
            advice = "the agent did not answer in time; run its command by hand to see why"
        case FailureKind.STARTUP:
            advice = "the command does not run; install it again"
        case _:
            advice = f"the agent runs but opens no session: {failed.summary[:300]}"
            if auth_hint:
                advice += f"; if it is not logged in: {auth_hint}"
    return replace(report, failure=failed, advice=advice)


@dataclass(frozen=True, slots=True)
class TargetReport:
    """Whether a command could be run (04 10).

    :param status: ``ok``, ``missing``, ``invalid`` (it can not be split), ``canceled`` or
        ``timeout``.
    """

    status: str
    checked_at: datetime
    duration_ms: int
    agent_name: str = ""
    provider: str = ""
    command: str = ""
    executable: str = ""
    error: str = ""


def probe_target(
    ctx: CallContext,
    *,
    agent_name: str = "",
    provider: str = "",
    command: str = "",
    timeout: float = COMMAND_TIMEOUT_S,
) -> TargetReport:
    """Look a command up without running it. In a greenlet.

    :param command: split like a POSIX shell does.
    :raises SessionValueError: a timeout that is not positive.
    """
    if timeout <= 0:
        raise SessionValueError("probe: the timeout must be positive", operation="probe")
    began, checked_at = time.monotonic(), datetime.now(UTC)
    executable, status, error = _look_up(ctx, command, timeout)
    return TargetReport(
        status,
        checked_at,
        int((time.monotonic() - began) * 1000),
        agent_name=agent_name.strip(),
        provider=provider.strip(),
        command=bounded(command),
        executable=executable,
        error=bounded(error),
    )


def _look_up(ctx: CallContext, command: str, timeout: float) -> tuple[str, str, str]:
    """Path, status and error."""
    try:
        argv = shlex.split(command)
    except ValueError as error:
        return "", "invalid", str(error)
    if not argv:
        return "", "invalid", "the command is empty"
    if ctx.cancelled.is_set():
        return "", "canceled", "the call was cancelled"
    found: AsyncResult[str] = AsyncResult()
    path = os.environ.get("PATH", os.defpath)
    gevent.spawn(gevent.get_hub().threadpool.apply, find_command, (argv[0], path)).link(found)
    if not ctx.wait(found, timeout):
        status = "canceled" if ctx.cancelled.is_set() else "timeout"
        return "", status, f"{status} while looking for the command"
    if isinstance(found.exception, AgentNotAvailableError):
        return "", "missing", str(found.exception)
    return found.get(block=False), "ok", ""
