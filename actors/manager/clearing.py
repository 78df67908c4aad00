"""Clearing a conversation: the same session, an empty history, a fresh agent (01 13, 03 12.1)."""

from __future__ import annotations

from dataclasses import replace

from ..core.clear import cleared_meta
from ..core.inputs import ClearRequested, StopRequested
from ..errors import SessionNotActiveError, StorageError
from ..model.hooks import HookEvent
from ..model.ids import normalize_stored_session_id
from ..model.session import SessionMeta, State, StopCause
from ..session.agent_start import StartPlan
from ..session.live import LiveSession
from ..session.waits import answer
from .lifecycle import LifecycleVerbs
from .runtime import META_FILE

OPERATION = "clear_conversation"


class ClearVerbs(LifecycleVerbs):
    """Clear."""

    def clear_conversation(self, session_id: str, *, timeout: float | None = None) -> LiveSession:
        """Begin an empty conversation under the same id, with a fresh session of the agent.

        The history, its usage and its hook runs go; health, permission log and statistics stay;
        input that still waits is cancelled, and the input generation advances (DESIGN 5.7). The
        old history stays when anything fails before the new one is complete.

        :param timeout: seconds for the stop and for the start; ``None`` is no limit.
        :returns: the handle of the active session.
        :raises SessionNotFoundError: no such session.
        :raises SessionNotActiveError: it is just being started, or cleared.
        :raises PromptInProgressError: it is working on a prompt.
        :raises AgentNotAvailableError: its agent is not known or installed any more.
        :raises AgentStartError: the agent did not start; the old history is back.
        :raises StorageError: the files could not be replaced; the old history is back.
        :raises TimeoutError: it did not stop or start in time.
        """
        self._check_open(OPERATION)
        runtime = self._runtime
        checked = normalize_stored_session_id(session_id, OPERATION)
        if runtime.registry.pending(checked) is not None:
            raise SessionNotActiveError(
                f'{OPERATION}: session "{checked}" is being started',
                session_id=checked,
                operation=OPERATION,
                state=State.STARTING,
            )
        live = runtime.registry.get(checked)
        if live is not None:
            answer(live.ask(lambda ask: ClearRequested(ask, timeout)), timeout, OPERATION)
            answer(live.retired, timeout, OPERATION)
        stored = runtime.read_meta(checked, OPERATION)
        agent = self._agent(stored.agent_name, stored.provider, stored.model)
        root = runtime.off_hub(runtime.workspaces.resolve, stored.workspace_id).root
        runtime.registry.reserve(checked, exclusive=True)
        try:
            answer(runtime.registry.unread(checked), timeout, OPERATION)
            emptied = cleared_meta(stored, runtime.clock.now())
            starting = replace(emptied, state=State.STARTING)
            plan = replace(self._start_plan(starting, root, agent, emptied), clears=True)
            return self._replace(plan, stored, timeout)
        finally:
            runtime.registry.release(checked)

    def _replace(self, plan: StartPlan, stored: SessionMeta, timeout: float | None) -> LiveSession:
        """Start on an empty history; what fails brings the old one back."""
        runtime = self._runtime
        try:
            live = self._launch(plan, timeout)
        except Exception as error:
            self._bring_back(stored, error)
            raise
        try:
            runtime.off_hub(runtime.home.stored.commit_clear, stored.id)
        except StorageError as error:
            stop = live.ask(lambda ask: StopRequested(ask, StopCause.CLEAR_CONVERSATION))
            answer(stop, None, OPERATION)
            answer(live.retired, None, OPERATION)
            self._bring_back(stored, error)
            raise
        if runtime.ledgers is not None:
            runtime.ledgers.discard(stored)
        self._activate(live, HookEvent.SESSION_POST_RESUME)
        return live

    def _bring_back(self, stored: SessionMeta, cause: Exception) -> None:
        runtime = self._runtime
        path = self._directory(stored.id) / META_FILE
        try:
            if runtime.home.is_open(stored.id):
                raise StorageError(
                    f'{OPERATION}: "{stored.id}" did not close; the next start of the runtime '
                    "brings its history back",
                    session_id=stored.id,
                    operation=OPERATION,
                )
            runtime.off_hub(runtime.home.stored.abandon_clear, stored.id)
            runtime.off_hub(runtime.world.documents.write_meta, path, stored)
        except StorageError as error:
            raise ExceptionGroup(f'{OPERATION}: session "{stored.id}"', [cause, error]) from cause
