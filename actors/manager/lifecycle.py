"""Verbs of a session's life: create, resume, stop (01 7-9)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ...transport.acp.failures import is_load_session_resource_missing
from ...transport.agent.context import CallContext
from ..core.hooking import session_payload
from ..core.inputs import Activated, StopRequested
from ..core.state import SessionState
from ..errors import (
    SessionError,
    SessionNotActiveError,
    SessionNotFoundError,
    SessionValueError,
)
from ..model.agent import AgentDef
from ..model.create_opts import CreateOpts
from ..model.hooks import HookEvent
from ..model.ids import normalize_stored_session_id
from ..model.restart import RestartPolicy
from ..model.session import (
    SessionMeta,
    State,
    StopCause,
    StopReason,
)
from ..runtime.future import GreenFuture
from ..session.agent_start import StartPlan
from ..session.live import LiveSession
from ..session.startup import Launch, start_session
from ..session.waits import answer
from .group import check_texts
from .planning import PlanningVerbs


class LifecycleVerbs(PlanningVerbs):
    """Create, resume, stop."""

    def create(
        self,
        *,
        agent_name: str,
        workspace_path: str = "",
        workspace: str = "",
        name: str = "",
        type: str = "",
        provider: str = "",
        model: str = "",
        reasoning_effort: str = "",
        permissions: str = "",
        channel: str = "",
        prompt_overlay: str = "",
        restart: RestartPolicy | str | None = None,
        timeout: float | None = None,
    ) -> LiveSession:
        """Start a new session and return its handle; the options are those of :class:`CreateOpts`.

        :param timeout: seconds the start may take; ``None`` leaves the driver's own limits.
        :raises SessionValueError: a missing or contradictory argument.
        :raises InvalidRuntimeOverrideError: model or effort without provider, unknown effort.
        :raises AgentNotAvailableError: unknown agent, or its command is not installed.
        :raises ProviderUnavailableError: unknown provider.
        :raises WorkspaceNotFoundError: no workspace of that id.
        :raises WorkspaceRootMissingError: the directory does not exist.
        :raises HookFailedError: a gate of the host refused it, or failed.
        :raises AgentStartError: the agent did not start; a stopped session records why.
        :raises TimeoutError: it did not start in time.
        """
        opts = CreateOpts(
            agent_name=agent_name,
            workspace_path=workspace_path,
            workspace=workspace,
            name=name,
            type=type,
            provider=provider,
            model=model,
            reasoning_effort=reasoning_effort,
            permissions=permissions,
            channel=channel,
            prompt_overlay=prompt_overlay,
            restart=restart,
        )
        meta, root, agent = self._planned(opts)
        return self._start(meta, root, agent, None, timeout)

    def resume(self, session_id: str, *, timeout: float | None = None) -> LiveSession:
        """Start a stored session again; a live one is returned as it is (01 8).

        The agent restores its own session where it can; where it no longer has it, a fresh one is
        opened under the same id.

        :raises SessionNotFoundError: no such session.
        :raises ExceptionGroup: what its start would need is gone, all of it (01 8):
            ``StoreValidationError``, ``WorkspaceRootMissingError``, ``AgentNotAvailableError``,
            ``StoreCorruptError``; :func:`error_is` finds each.
        :raises HookFailedError: a gate of the host refused it, or failed.
        :raises AgentStartError: the agent did not start; the stored session is as it was.
        :raises TimeoutError: it did not start in time.
        """
        self._check_open("resume")
        checked = normalize_stored_session_id(session_id, "resume")
        registry = self._runtime.registry
        while (busy := self._busy(checked)) is not None:
            answer(busy, timeout, "resume")
        live = registry.get(checked)
        if live is not None:
            return live
        with registry.resuming(checked):
            return self._resume_stored(checked, timeout)

    def _busy(self, session_id: str) -> GreenFuture[None] | None:
        """What must be over before it is known whether an id has to be resumed."""
        registry = self._runtime.registry
        live = registry.get(session_id)
        if live is not None and not _is_settled(live.state):
            # It may be on its way: to its end, or back from the end of its agent.
            return live.when(_is_settled)
        ending = live if live is not None and not live.state.takes_input else None
        if (last := ending or registry.ending(session_id)) is not None:
            return last.retired
        return registry.resumed(session_id) or registry.pending(session_id)

    def _resume_stored(self, checked: str, timeout: float | None) -> LiveSession:
        stored, root = self._pre_resume(self._runtime.read_meta(checked, "resume"))
        agent = self._agent(stored.agent_name, stored.provider, stored.model)
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
        live = self._stop(session_id, cause, detail, timeout, cooperative=False)
        answer(live.retired, timeout, "stop")

    def request_stop_with_cause(
        self, session_id: str, cause: str, detail: str = "", *, timeout: float | None = None
    ) -> None:
        """Ask a session's agent to end its work, without ending its process (01 9.4).

        The session is ``stopping`` from here on and stops when the process exits, or by a stop.

        :raises AgentError: the agent could not be asked; the session stays ``stopping``.

        Other errors: as :meth:`stop_with_cause`.
        """
        self._stop(session_id, cause, detail, timeout, cooperative=True)

    def _stop(
        self, session_id: str, cause: str, detail: str, timeout: float | None, *, cooperative: bool
    ) -> LiveSession:
        check_texts("stop", session_id, cause=cause, detail=detail)
        if cause not in set(StopCause):
            raise SessionValueError(f'stop: unknown cause "{cause}"', session_id=session_id)
        checked = normalize_stored_session_id(session_id, "stop")
        live = self._runtime.registry.get(checked)
        missing = SessionNotFoundError(
            f'stop: no live session "{checked}"', session_id=checked, operation="stop"
        )
        if live is None:
            raise missing

        def request(ask: int) -> StopRequested:
            return StopRequested(ask, StopCause(cause), detail, timeout, cooperative=cooperative)

        try:
            answer(self._ask(live, request), timeout, "stop")
        except SessionNotActiveError as error:
            raise missing from error
        return live

    def wait_for_finalizations(self, *, timeout: float | None = None) -> None:
        """Wait until no session is on its way to its end, whoever sent it there (01 10.1).

        :raises TimeoutError: one still is.
        """
        ending = {State.STOPPING, State.STOPPED}
        registry = self._runtime.registry
        while found := [
            *(live for live in registry.all() if live.state.meta.state in ending),
            *registry.all_ending(),
        ]:
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
        if (last := self._runtime.registry.ending(checked)) is not None:
            answer(last.retired, timeout, "delete")
        directory, documents = self._directory(checked), self._runtime.world.documents
        if not self._runtime.off_hub(documents.is_directory, directory):
            raise SessionNotFoundError(
                f'delete: session "{checked}" not found', session_id=checked, operation="delete"
            )
        self._discard_ledger(directory / "meta.json")
        self._runtime.off_hub(documents.remove_tree, directory)
        self._runtime.health.forget(checked)

    def _discard_ledger(self, path: Path) -> None:
        """The ledger of a session that is about to be deleted; only its record tells where."""
        if self._runtime.ledgers is None:
            return
        with suppress(SessionError):
            meta = self._runtime.off_hub(self._runtime.world.documents.read_meta, path)
            self._runtime.ledgers.discard(meta)

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
            return self._start(fresh, root, agent, forgotten, timeout, lost=True)
        except SessionError as error:
            raise ExceptionGroup(f'resume: session "{stored.id}"', [first, error]) from error

    def _start(
        self,
        meta: SessionMeta,
        root: str,
        agent: AgentDef,
        resumed: SessionMeta | None,
        timeout: float | None,
        *,
        lost: bool = False,
    ) -> LiveSession:
        runtime = self._runtime
        runtime.registry.reserve(meta.id)
        try:
            plan = replace(self._start_plan(meta, root, agent, resumed), lost=lost)
            live = self._launch(plan, timeout)
            event = HookEvent.SESSION_POST_RESUME if resumed else HookEvent.SESSION_POST_CREATE
            self._activate(live, event)
        finally:
            runtime.registry.release(meta.id)
        return live

    def _launch(self, plan: StartPlan, timeout: float | None) -> LiveSession:
        runtime, context = self._runtime, CallContext.after(timeout)
        return start_session(
            Launch(plan, runtime.home, runtime.ports_for, context, runtime.world.documents)
        )

    def _activate(self, live: LiveSession, event: HookEvent) -> None:
        """The session is there for everybody; the host hears of it in order (01 7.12)."""
        live.handle = self._runtime.handle_of(live)
        state, ports = live.state, live.ports
        now = ports.clock.now()
        ports.hooks.post(session_payload(event, state.meta, state.workspace, now))
        ports.notices.created(live.handle)
        self._runtime.registry.activate(live)
        live.tell(Activated())


def _is_settled(state: SessionState) -> bool:
    return state.takes_input or state.meta.state is State.STOPPED


def _has_no_turn(state: SessionState) -> bool:
    return state.turn is None
