"""Verbs of a session at work: prompt, queue, steer, interrupt, cancel, approve (02)."""

from __future__ import annotations

from typing import Any

from ..core.inputs import (
    CancelRequested,
    InterruptRequested,
    PermissionApproved,
    PromptSubmitted,
    QueuedPromptCancelRequested,
    SteerRequested,
)
from ..core.turn import check_message
from ..errors import SessionNotActiveError, SessionValueError
from ..model.turn import BusyInputMode, InputQueueSummary, SendPromptResult
from ..runtime.mailbox import Lane
from ..session.stream import PromptStream
from .group import VerbGroup
from .runtime import answer


class PromptVerbs(VerbGroup):
    """Prompt, queue, steer, interrupt, cancel, approve."""

    def prompt(
        self, session_id: str, message: str, *, timeout: float | None = None
    ) -> PromptStream:
        """Start a turn and return its stream; returns once the agent has the prompt (02 3).

        :param timeout: seconds until the prompt is accepted; never a limit of the turn.
        :raises SessionValueError: blank or oversized message.
        :raises PromptInProgressError: the session is working already.
        :raises SessionNotActiveError: the session is stopped, starting or stopping.
        :raises SessionNotFoundError: no such session.
        :raises SessionMailboxFullError: too many prompts wait to be looked at.
        """
        stream: PromptStream = self._submit(session_id, message, None, timeout)
        return stream

    def send_prompt(
        self, session_id: str, message: str, *, mode: str = "", timeout: float | None = None
    ) -> SendPromptResult:
        """Prompt a session that may be busy (02 7.1).

        :param mode: ``queue``, ``interrupt`` or ``steer``; blank is the configured default.
        :returns: what became of it; ``events`` is the stream when a turn was started.
        :raises SessionInputQueueFullError: mode ``queue`` and the queue is at its capacity.
        :raises TimeoutError: mode ``interrupt`` and the running turn did not end in time.

        Other errors: as :meth:`prompt`.
        """
        chosen = mode.strip() or self._runtime.options.session_busy_input_config.default_mode
        if chosen not in set(BusyInputMode):
            raise SessionValueError(f'invalid busy input mode "{mode}"', session_id=session_id)
        result: SendPromptResult = self._submit(session_id, message, BusyInputMode(chosen), timeout)
        return result

    def steer_prompt(
        self, session_id: str, message: str, *, timeout: float | None = None
    ) -> SendPromptResult:
        """Give the running turn a new direction at its next tool boundary (02 7.6).

        :raises PromptNotInProgressError: the session is idle.
        """
        live = self._runtime.live(session_id, "steer_prompt")
        check_message(message, live.id)
        future = self._ask(live, lambda ask: SteerRequested(ask, message))
        result: SendPromptResult = answer(future, timeout, "steer_prompt")
        return result

    def interrupt_prompt(
        self, session_id: str, *, timeout: float | None = None
    ) -> SendPromptResult:
        """Cancel the running turn and drop what is queued; does not wait for its end (02 7.5)."""
        live = self._runtime.live(session_id, "interrupt_prompt")
        future = self._ask(live, InterruptRequested)
        result: SendPromptResult = answer(future, timeout, "interrupt_prompt")
        return result

    def cancel_prompt(self, session_id: str, *, timeout: float | None = None) -> None:
        """Ask the agent to end the running turn; an idle session is left alone (02 11.1).

        :raises SessionNotFoundError: no such session.
        """
        try:
            live = self._runtime.live(session_id, "cancel_prompt")
        except SessionNotActiveError:
            return
        answer(self._ask(live, CancelRequested), timeout, "cancel_prompt")

    def cancel_queued_prompt(
        self, session_id: str, queue_entry_id: str, *, timeout: float | None = None
    ) -> SendPromptResult:
        """Take a queued input back (02 7.8).

        :raises SessionInputQueueEntryNotFoundError: no such pending entry.
        """
        live = self._runtime.live(session_id, "cancel_queued_prompt")
        future = self._ask(live, lambda ask: QueuedPromptCancelRequested(ask, queue_entry_id))
        result: SendPromptResult = answer(future, timeout, "cancel_queued_prompt")
        return result

    def approve_permission(
        self,
        session_id: str,
        *,
        decision: str,
        request_id: str = "",
        turn_id: str = "",
        timeout: float | None = None,
    ) -> None:
        """Answer a permission request; returns once the decision is stored (02 14.2).

        :param decision: ``allow-once``, ``allow-always``, ``reject-once`` or ``reject-always``.
        :param request_id: the request; or ``turn_id`` when it has exactly one pending.
        :raises PendingPermissionNotFoundError: not pending: unknown, answered or timed out.
        :raises PendingPermissionConflictError: ``turn_id`` alone, and several are pending.
        :raises InvalidPermissionDecisionError: the agent did not offer that decision.
        :raises SessionValueError: unknown decision, or nothing named.
        """
        live = self._runtime.live(session_id, "approve_permission")
        future = self._ask(live, lambda ask: PermissionApproved(ask, decision, request_id, turn_id))
        answer(future, timeout, "approve_permission")

    def is_prompting(self, session_id: str) -> bool:
        """Whether a turn is being set up or running; ``False`` for an id that is not live."""
        live = self._runtime.registry.get(session_id.strip())
        return live is not None and live.state.is_prompting

    def input_queue_summary(self, session_id: str) -> InputQueueSummary:
        """How much input waits in a live session (02 8.3)."""
        live = self._runtime.live(session_id, "input_queue_summary")
        queue = live.state.queue
        return InputQueueSummary(queue.generation, len(queue.entries))

    def _submit(
        self, session_id: str, message: str, mode: BusyInputMode | None, timeout: float | None
    ) -> Any:
        live = self._runtime.live(session_id, "prompt")
        check_message(message, live.id)
        generate = self._runtime.options.turn_id_generator
        turn_id = generate() if generate else ""
        future = self._ask(
            live, lambda ask: PromptSubmitted(ask, message, mode, turn_id=turn_id), Lane.WORK
        )
        return answer(future, timeout, "prompt")
