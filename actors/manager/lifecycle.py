"""Verbs of a session's life: create, resume, stop (01 7-9)."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ...transport.acp.failures import is_load_session_resource_missing
from ...transport.agent.context import CallContext
from ...transport.agent.presets import resolve_agent
from ..core.inputs import StopRequested
from ..core.state import SessionState
from ..errors import (
    SessionError,
    SessionNotActiveError,
    SessionNotFoundError,
    SessionValueError,
)
from ..model.agent import AgentDef, PermissionMode
from ..model.ids import SESSION_PREFIX, normalize_stored_session_id
from ..model.restart import RestartPolicy
from ..model.session import (
    SessionLineage,
    SessionMeta,
    State,
    StopCause,
    StopReason,
)
from ..session.agent_start import StartPlan
from ..session.live import LiveSession
from ..session.startup import Launch, start_session
from .repairing import RepairVerbs
from .runtime import answer
from .workspaces import Workspace


class LifecycleVerbs(RepairVerbs):
    """Create, resume, stop."""

    def create(
        self,
        *,
        agent_name: str,
        workspace_path: str = "",
        workspace: str = "",
        name: str = "",
        permissions: str = "",
        restart: RestartPolicy | str | None = None,
        timeout: float | None = None,
    ) -> LiveSession:
        """Start a new session and return its handle.

        :param agent_name: ``demo``, a preset, or a key of the manager's ``agents``.
        :param workspace_path: directory the agent works in.
        :param workspace: the same by id of a known workspace; give exactly one of the two.
        :param name: display name.
        :param permissions: ``deny-all``, ``approve-reads`` (default) or ``approve-all``.
        :param restart: ``temporary`` (default: a crash ends the session), ``transient`` (a crash
            or a stall restarts the agent), ``permanent`` (so does a clean exit), or a
            :class:`RestartPolicy` (01 9.6). Default: the manager's ``restart``.
        :param timeout: seconds the start may take; ``None`` leaves the driver's own limits.
        :raises SessionValueError: a missing or contradictory argument.
        :raises AgentNotAvailableError: unknown agent, or its command is not installed.
        :raises WorkspaceNotFoundError: no workspace of that id.
        :raises WorkspaceRootMissingError: the directory does not exist.
        :raises AgentStartError: the agent did not start; a stopped session records why.
        :raises TimeoutError: it did not start in time.
        """
        self._check_open("create")
        agent = self._agent(agent_name)
        place = self._workspace(workspace, workspace_path)
        mode = _permission_mode(permissions or agent.permissions)
        session_id = self._new_id()
        now = self._runtime.clock.now()
        meta = SessionMeta(
            id=session_id,
            name=name.strip(),
            agent_name=agent.name,
            provider=agent.name,
            model=agent.model,
            workspace_id=place.id,
            effective_permissions=mode,
            state=State.STARTING,
            lineage=SessionLineage(root_session_id=session_id),
            restart=RestartPolicy.of(restart or self._runtime.options.restart),
            created_at=now,
            updated_at=now,
        )
        return self._start(meta, place.root, agent, None, timeout)

    def resume(self, session_id: str, *, timeout: float | None = None) -> LiveSession:
        """Start a stored session again; a live one is returned as it is (01 8).

        The agent restores its own session where it can; where it no longer has it, a fresh one is
        opened under the same id.

        :raises SessionNotFoundError: no such session.
        :raises AgentNotAvailableError: its agent is not known or installed any more.
        :raises WorkspaceRootMissingError: its directory is gone.
        :raises AgentStartError: the agent did not start; the stored session is as it was.
        :raises TimeoutError: it did not start in time.
        """
        self._check_open("resume")
        checked = normalize_stored_session_id(session_id, "resume")
        pending = self._runtime.registry.pending(checked)
        if pending is not None:
            answer(pending, timeout, "resume")
        live = self._runtime.registry.get(checked)
        if live is not None and live.state.meta.state is State.ACTIVE and not live.state.exit:
            return live
        if live is not None:
            answer(live.retired, timeout, "resume")
        stored = self._runtime.read_meta(checked, "resume")
        agent = self._agent(stored.agent_name)
        root = self._runtime.off_hub(self._runtime.workspaces.resolve, stored.workspace_id).root
        self._repair_before_resume(stored)
        starting = replace(stored, state=State.STARTING, liveness=None)
        try:
            return self._start(starting, root, agent, stored, timeout)
        except SessionError as error:
            if not (stored.acp_session_id and is_load_session_resource_missing(error)):
                raise
            self._runtime.logger.info(
                'session.resume.load_session_missing_fallback session_id="%s"', checked
            )
            return self._start_afresh(starting, root, agent, stored, timeout, error)

    def stop(self, session_id: str, *, timeout: float | None = None) -> None:
        """Stop a session: its agent ends, its store closes, its directory is complete.

        :raises SessionNotFoundError: no live session of that id.
        :raises TimeoutError: it did not stop in time; the stop goes on.
        """
        self.stop_with_cause(session_id, StopCause.USER_REQUESTED, timeout=timeout)

    def stop_with_cause(
        self, session_id: str, cause: str, detail: str = "", *, timeout: float | None = None
    ) -> None:
        """Stop a session for a reason that is stored with it (01 9.1, 9.4).

        :param cause: a :class:`StopCause`; ``none`` means ``user_requested``.
        :raises SessionValueError: unknown cause.
        :raises SessionNotFoundError: no live session of that id.
        :raises TimeoutError: it did not stop in time; the stop goes on.
        """
        if cause not in set(StopCause):
            raise SessionValueError(f'stop: unknown cause "{cause}"', session_id=session_id)
        checked = normalize_stored_session_id(session_id, "stop")
        live = self._runtime.registry.get(checked)
        missing = SessionNotFoundError(
            f'stop: no live session "{checked}"', session_id=checked, operation="stop"
        )
        if live is None:
            raise missing
        future = self._ask(live, lambda ask: StopRequested(ask, StopCause(cause), detail, timeout))
        try:
            answer(future, timeout, "stop")
        except SessionNotActiveError as error:
            raise missing from error
        answer(live.retired, timeout, "stop")

    def wait_for_finalizations(self, *, timeout: float | None = None) -> None:
        """Wait until no session is on its way to its end, whoever sent it there (01 10.1).

        :raises TimeoutError: one still is.
        """
        ending = {State.STOPPING, State.STOPPED}
        registry = self._runtime.registry
        while found := [live for live in registry.all() if live.state.meta.state in ending]:
            for live in found:
                answer(live.retired, timeout, "wait_for_finalizations")

    def wait_for_prompt_drains(self, *, timeout: float | None = None) -> None:
        """Wait until no session has a turn, including those that queued input starts (02 6).

        :raises TimeoutError: one still has.
        """
        registry = self._runtime.registry
        while busy := [live for live in registry.all() if live.state.is_prompting]:
            for live in busy:
                answer(live.when(_has_no_turn), timeout, "wait_for_prompt_drains")
                answer(live.drained(), timeout, "wait_for_prompt_drains")

    def delete(self, session_id: str, *, timeout: float | None = None) -> None:
        """Remove a session and everything stored of it; a live one is stopped first (01 14).

        :raises SessionNotFoundError: no such session.
        :raises SessionNotActiveError: it is just being started.
        :raises TimeoutError: it did not stop in time; nothing was removed.
        """
        checked = normalize_stored_session_id(session_id, "delete")
        if self._runtime.registry.pending(checked) is not None:
            raise SessionNotActiveError(
                f'delete: session "{checked}" is being started',
                session_id=checked,
                operation="delete",
                state=State.STARTING,
            )
        with suppress(SessionNotFoundError):
            self.stop_with_cause(
                checked, StopCause.USER_REQUESTED, "session deleted", timeout=timeout
            )
        directory, documents = self._directory(checked), self._runtime.world.documents
        if not self._runtime.off_hub(documents.is_directory, directory):
            raise SessionNotFoundError(
                f'delete: session "{checked}" not found', session_id=checked, operation="delete"
            )
        self._runtime.off_hub(documents.remove_tree, directory)

    def _start_afresh(
        self,
        starting: SessionMeta,
        root: str,
        agent: AgentDef,
        stored: SessionMeta,
        timeout: float | None,
        first: SessionError,
    ) -> LiveSession:
        """The agent lost the session: once more, without its id (01 8.7)."""
        reason = stored.stop_reason
        forgotten = replace(
            stored,
            acp_session_id="",
            stop_reason=reason if reason is StopReason.AGENT_CRASHED else StopReason.ERROR,
            stop_detail=stored.stop_detail
            if reason is StopReason.AGENT_CRASHED
            else "start did not complete",
        )
        fresh = replace(starting, acp_session_id="")
        try:
            return self._start(fresh, root, agent, forgotten, timeout)
        except SessionError as error:
            raise ExceptionGroup(f'resume: session "{stored.id}"', [first, error]) from error

    def _start(
        self,
        meta: SessionMeta,
        root: str,
        agent: AgentDef,
        resumed: SessionMeta | None,
        timeout: float | None,
    ) -> LiveSession:
        runtime = self._runtime
        runtime.registry.reserve(meta.id)
        try:
            live = self._launch(self._start_plan(meta, root, agent, resumed), timeout)
            self._activate(live)
        finally:
            runtime.registry.release(meta.id)
        return live

    def _start_plan(
        self, meta: SessionMeta, root: str, agent: AgentDef, resumed: SessionMeta | None
    ) -> StartPlan:
        runtime = self._runtime
        return StartPlan(
            meta=meta,
            workspace=root,
            agent=agent,
            directory=self._directory(meta.id),
            busy_input=runtime.options.session_busy_input_config,
            supervision=runtime.options.session_supervision,
            id_seed=runtime.world.id_seed(),
            resumed=resumed,
        )

    def _launch(self, plan: StartPlan, timeout: float | None) -> LiveSession:
        runtime, context = self._runtime, CallContext.after(timeout)
        return start_session(
            Launch(plan, runtime.home, runtime.ports_for, context, runtime.world.documents)
        )

    def _activate(self, live: LiveSession) -> None:
        live.handle = self._runtime.handle_of(live)
        live.ports.notices.created(live.handle)
        self._runtime.registry.activate(live)

    def _check_open(self, operation: str) -> None:
        if self._runtime.closing:
            raise SessionNotActiveError(f"{operation}: the manager is closed", operation=operation)

    def _agent(self, name: str) -> AgentDef:
        if not name.strip():
            raise SessionValueError("create: agent name is required")
        return resolve_agent(name.strip(), self._runtime.options.agents)

    def _workspace(self, workspace: str, path: str) -> Workspace:
        if bool(workspace.strip()) is bool(str(path).strip()):
            raise SessionValueError("create: exactly one of workspace and workspace_path is needed")
        catalog = self._runtime.workspaces
        if workspace.strip():
            return self._runtime.off_hub(catalog.resolve, workspace)
        return self._runtime.off_hub(catalog.resolve_or_register, path)

    def _new_id(self) -> str:
        generate = self._runtime.options.session_id_generator
        made = generate() if generate else session_id_for(self._request_id)
        if not made.strip():
            raise SessionValueError("session id generator returned empty id")
        return normalize_stored_session_id(made, "create")

    def _directory(self, session_id: str) -> Path:
        return self._runtime.options.home / "sessions" / session_id


def session_id_for(request_id: str) -> str:
    """A new session's id: always the same for a named request, so its retry finds the session."""
    if not request_id:
        return f"{SESSION_PREFIX}-{secrets.token_hex(8)}"
    return f"{SESSION_PREFIX}-{hashlib.sha256(request_id.encode()).hexdigest()[:16]}"


def _has_no_turn(state: SessionState) -> bool:
    return state.turn is None


def _permission_mode(permissions: str) -> PermissionMode:
    mode = permissions.strip() or PermissionMode.APPROVE_READS
    if mode not in set(PermissionMode):
        known = ", ".join(PermissionMode)
        raise SessionValueError(f'permissions: "{mode}" is not one of {known}')
    return PermissionMode(mode)
