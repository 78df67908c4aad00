"""What a start needs: agent, workspace, prompt and id, as the host's gates leave them (01 7, 8)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...transport.agent.presets import resolve_agent
from ..core.hooking import session_fields, session_payload
from ..core.provider_env import check_overrides
from ..errors import (
    AgentNotAvailableError,
    ProviderUnavailableError,
    SessionError,
    SessionNotActiveError,
    SessionValueError,
    StoreCorruptError,
)
from ..model.agent import AgentDef, PermissionMode
from ..model.create_opts import CreateOpts
from ..model.hooks import AssemblyPayload, HookEvent, SessionPayload
from ..model.ids import SESSION_PREFIX, normalize_stored_session_id
from ..model.restart import RestartPolicy
from ..model.session import SessionLineage, SessionMeta, SessionType, State
from ..session.agent_start import StartPlan
from .repairing import RepairVerbs
from .workspaces import Workspace


class PlanningVerbs(RepairVerbs):
    """The steps of create and resume that come before storage: a failure leaves nothing."""

    def _check_open(self, operation: str) -> None:
        if self._runtime.closing:
            raise SessionNotActiveError(f"{operation}: the manager is closed", operation=operation)

    def _planned(self, opts: CreateOpts) -> tuple[SessionMeta, str, AgentDef]:
        """The record of a new session, its directory and its agent (01 7.1 P1-P6, S1)."""
        self._check_open("create")
        checked = opts.checked()
        asked = self._pre_create(checked)
        place = self._workspace(asked.workspace_id, asked.workspace)
        agent = self._agent(asked.agent_name, checked.provider, checked.model)
        check_overrides(checked.provider, checked.model, checked.reasoning_effort)
        kind = session_type(asked.session_type)
        session_id = self._new_id()
        now = self._runtime.clock.now()
        meta = SessionMeta(
            id=session_id,
            name=asked.session_name.strip(),
            agent_name=agent.name,
            provider=agent.provider,
            model=agent.model,
            reasoning_effort=checked.reasoning_effort.strip(),
            workspace_id=place.id,
            channel=checked.channel.strip(),
            session_type=kind,
            effective_permissions=permission_mode(kind, checked.permissions or agent.permissions),
            prompt_overlay=checked.prompt_overlay.strip(),
            state=State.STARTING,
            lineage=SessionLineage(root_session_id=session_id),
            restart=RestartPolicy.of(checked.restart or self._runtime.options.restart),
            created_at=now,
            updated_at=now,
        )
        return meta, place.root, agent

    def _pre_create(self, opts: CreateOpts) -> SessionPayload:
        """What is asked for, as ``session.pre_create`` leaves it (01 7.2)."""
        asked = SessionPayload(
            event=HookEvent.SESSION_PRE_CREATE,
            timestamp=self._runtime.clock.now(),
            session_name=opts.name,
            session_type=opts.type,
            agent_name=opts.agent_name,
            workspace_id=opts.workspace,
            workspace=opts.workspace_path,
            state=State.STARTING,
        )
        told = self._runtime.hook_runner().dispatch(asked)
        if told.workspace_id.strip() and told.workspace.strip():
            raise SessionValueError(
                "session.pre_create produced both workspace id and workspace path",
                operation="create",
            )
        return told

    def _pre_resume(self, stored: SessionMeta) -> tuple[SessionMeta, str]:
        """The stored session and its directory, if everything a start needs is there (01 8)."""
        self._validate_infrastructure(stored)
        runtime = self._runtime
        payload = session_payload(HookEvent.SESSION_PRE_RESUME, stored, "", runtime.clock.now())
        told = runtime.hook_runner().dispatch(payload)
        stored = replace(
            stored,
            name=told.session_name,
            agent_name=told.agent_name,
            workspace_id=told.workspace_id,
            session_type=session_type(told.session_type),
        )
        return stored, runtime.off_hub(runtime.workspaces.resolve, stored.workspace_id).root

    def _validate_infrastructure(self, stored: SessionMeta) -> None:
        checks: dict[str, Callable[[], object]] = {
            "workspace_dir": lambda: self._runtime.off_hub(
                self._runtime.workspaces.resolve, stored.workspace_id
            ),
            "agent": lambda: self._agent(stored.agent_name, stored.provider, stored.model),
            "event_store": lambda: self._check_store(stored.id),
        }
        failures: list[SessionError] = []
        for name, check in checks.items():
            if name == "agent" and failures:
                continue
            try:
                check()
            except SessionError as error:
                self._runtime.logger.warning(
                    'session.resume.validation_failed session_id="%s" agent_name="%s" '
                    'provider="%s" check=%s: %s',
                    stored.id,
                    stored.agent_name,
                    stored.provider,
                    name,
                    error,
                )
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ExceptionGroup(
                f'resume: session "{stored.id}": validate resume infrastructure', failures
            )

    def _check_store(self, session_id: str) -> None:
        if not self._runtime.off_hub(self._runtime.home.stored.has_journal, session_id):
            raise StoreCorruptError(
                f'resume: session "{session_id}": its history is missing',
                session_id=session_id,
                operation="resume",
            )

    def _agent(self, name: str, provider: str = "", model: str = "") -> AgentDef:
        """The agent, run by the provider that is asked for (01 7.5)."""
        if not name.strip():
            raise SessionValueError("create: agent name is required", operation="create")
        agents = self._runtime.options.agents
        agent = resolve_agent(name.strip(), agents)
        own, wanted = (agent.provider or agent.name).lower(), provider.strip().lower()
        if wanted in ("", own):
            return replace(agent, provider=own, model=model.strip() or agent.model)
        try:
            other = resolve_agent(wanted, agents)
        except AgentNotAvailableError as error:
            raise ProviderUnavailableError(
                f'create: provider "{wanted}" is not available', provider=wanted
            ) from error
        return replace(
            agent,
            command=other.command,
            env=(*other.env, *agent.env),
            install_hint=other.install_hint,
            provider=wanted,
            credentials=other.credentials,
            model=model.strip() or other.model,
        )

    def _workspace(self, workspace: str, path: str) -> Workspace:
        if bool(workspace.strip()) is bool(path.strip()):
            raise SessionValueError(
                "create: exactly one of workspace and workspace_path is needed", operation="create"
            )
        catalog = self._runtime.workspaces
        if workspace.strip():
            return self._runtime.off_hub(catalog.resolve, workspace)
        return self._runtime.off_hub(catalog.resolve_or_register, path)

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
            system_prompt=self._system_prompt(meta, root, agent),
        )

    def _system_prompt(self, meta: SessionMeta, root: str, agent: AgentDef) -> str:
        """The agent's prompt as the host leaves it, then the caller's overlay (01 7.6)."""
        payload = AssemblyPayload(
            event=HookEvent.PROMPT_POST_ASSEMBLE,
            timestamp=self._runtime.clock.now(),
            prompt=agent.prompt,
            **session_fields(meta, root),
        )
        assembled = self._runtime.hook_runner().dispatch(payload).prompt.strip()
        return "\n\n".join(part for part in (assembled, meta.prompt_overlay) if part)

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


def session_type(kind: str) -> SessionType:
    """The type of that name; anything unknown is ``user`` (01 2.2)."""
    known = kind.strip()
    return SessionType(known) if known in set(SessionType) else SessionType.USER


def permission_mode(kind: SessionType, permissions: str) -> PermissionMode:
    """What the agent may do without asking; a dream may do all (01 7.5).

    :raises SessionValueError: an unknown mode.
    """
    if kind is SessionType.DREAM:
        return PermissionMode.APPROVE_ALL
    mode = permissions.strip() or PermissionMode.APPROVE_READS
    if mode not in set(PermissionMode):
        known = ", ".join(PermissionMode)
        raise SessionValueError(f'permissions: "{mode}" is not one of {known}')
    return PermissionMode(mode)
