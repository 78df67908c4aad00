"""Starts the agent of a session again while the session lives on (01 9.6)."""

from __future__ import annotations

from dataclasses import replace

from ...transport.acp.failures import is_load_session_resource_missing
from ...transport.agent.context import CallContext
from ...transport.agent.protocol import AgentProcess
from ..core.inputs import AgentStartFailed
from ..errors import AgentDoesNotSupportSessionError, error_is
from ..model.settings import LIFECYCLE_TIMEOUT
from .agent_start import (
    StartPlan,
    failure_of,
    launch_agent,
    started,
    tell_spawned,
    watch_exit,
)
from .live import LiveSession


def restart_agent(plan: StartPlan, live: LiveSession) -> None:
    """Start the agent of a session that lives on (01 9.6); what came of it is an input.

    Where the agent no longer has its session, or can not restore any, a fresh one is opened under
    the same id.
    """
    meta = replace(plan.meta, acp_session_id=live.state.meta.acp_session_id)
    try:
        process = _start_or_open_afresh(live, replace(plan, meta=meta))
    except Exception as error:
        failure = live.ports.bundles.attach(
            failure_of(error), live.state.meta, None, error=str(error)
        )
        live.tell(AgentStartFailed(0, failure))
        return
    if live.state.finalizing:
        _stop_unwanted(live, process)
        return
    live.ports.process = process
    live.tell(started(process, 0, bool(meta.acp_session_id)))
    tell_spawned(live, process)
    watch_exit(live, process)


def _start_or_open_afresh(live: LiveSession, plan: StartPlan) -> AgentProcess:
    context = CallContext.after(None)
    try:
        return launch_agent(context, live, plan)
    except Exception as error:
        lost = is_load_session_resource_missing(error)
        if not plan.meta.acp_session_id or not (
            lost or error_is(error, AgentDoesNotSupportSessionError)
        ):
            raise
    live.ports.logger.info(
        'session.resume.load_session_missing_fallback session_id="%s"', plan.meta.id
    )
    afresh = replace(plan, meta=replace(plan.meta, acp_session_id=""))
    return launch_agent(context, live, afresh)


def _stop_unwanted(live: LiveSession, process: AgentProcess) -> None:
    """The session ended while its agent was started: nobody else knows of the process."""
    try:
        live.ports.driver.stop(CallContext.after(2 * LIFECYCLE_TIMEOUT), process)
    except Exception:
        live.ports.logger.exception('session "%s": its agent did not stop', live.id)
