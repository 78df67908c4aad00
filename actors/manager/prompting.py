"""Verbs of a session at work: prompt, queue, steer, interrupt, cancel, approve (02)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import gevent

from ..core.inputs import (
    CancelRequested,
    InterruptRequested,
    PermissionApproved,
    PermissionAsked,
    PromptAbandoned,
    PromptSubmitted,
    QueuedPromptCancelRequested,
    SteerRequested,
    SyntheticPromptSubmitted,
)
from ..core.prompt_meta import network_meta, validated_meta
from ..core.turn import check_message
from ..errors import SessionNotActiveError, SessionValueError
from ..model.agent import CALLER_DECISIONS
from ..model.prompt_meta import PromptMeta, PromptNetworkMeta, PromptSyntheticMeta
from ..model.turn import BusyInputMode, InputQueueSummary, SendPromptResult, TurnSource
from ..runtime.mailbox import Lane
from ..session.stream import PromptStream
from ..session.waits import answer
from .group import VerbGroup, check_texts


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

    def prompt_with_opts(
        self,
        session_id: str,
        *,
        message: str,
        turn_source: str = "",
        prompt_meta: PromptMeta | Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> PromptStream:
        """:meth:`prompt` for a turn that comes from somewhere, with what travels with it (02 2).

        :param turn_source: ``user`` (default) or ``network``.
        :param prompt_meta: a :class:`PromptMeta`, or its JSON object.
        :raises SessionValueError: an unknown source, or metadata that do not belong to it.

        Other errors: as :meth:`prompt`.
        """
        live = self._runtime.live(session_id, "prompt")
        check_texts("prompt", live.id, turn_source=turn_source)
        meta = validated_meta(_prompt_meta(prompt_meta), turn_source, session_id=live.id)
        stream: PromptStream = self._submit(session_id, message, None, timeout, meta)
        return stream

    def prompt_network(
        self,
        session_id: str,
        message: str,
        *meta: PromptNetworkMeta | Mapping[str, Any],
        timeout: float | None = None,
    ) -> PromptStream:
        """:meth:`prompt` for a message of another peer (02 2).

        :param meta: where it comes from: one :class:`PromptNetworkMeta`, or its JSON object.
        :raises SessionValueError: more than one.

        Other errors: as :meth:`prompt`.
        """
        live = self._runtime.live(session_id, "prompt")
        given = [_group(PromptNetworkMeta, one) for one in meta]
        told = network_meta(given, session_id=live.id)
        stream: PromptStream = self._submit(session_id, message, None, timeout, told)
        return stream

    def prompt_synthetic(
        self,
        session_id: str,
        *,
        message: str,
        metadata: PromptSyntheticMeta | Mapping[str, Any],
        turn_id: str = "",
        skip_if_busy: bool = False,
        interrupt_if_agent_waiting: bool = False,
        timeout: float | None = None,
    ) -> PromptStream:
        """Run a prompt that no person wrote; a busy session runs it later (02 10).

        :param metadata: why it was made; ``reason`` is required.
        :param turn_id: the id of its turn; blank: a fresh one.
        :param skip_if_busy: refuse instead of waiting for the session to be idle.
        :param interrupt_if_agent_waiting: end a turn in which the agent only waits.
        :returns: the stream, at once; one that never ran yields a single ``error``.
        :raises PromptInProgressError: busy, and ``skip_if_busy``.
        :raises SessionInputQueueFullError: too many wait already.
        :raises SessionValueError: blank message, or metadata without a reason.
        :raises SessionNotActiveError: the session is stopped, starting or stopping.
        :raises SessionNotFoundError: no such session.
        """
        live = self._runtime.live(session_id, "prompt_synthetic")
        checked = check_message(message, live.id)
        told = PromptMeta(synthetic=_group(PromptSyntheticMeta, metadata))
        meta = validated_meta(told, TurnSource.SYNTHETIC, session_id=live.id, dedicated=True)
        check_texts("prompt_synthetic", live.id, turn_id=turn_id)
        future = self._ask(
            live,
            lambda ask: SyntheticPromptSubmitted(
                ask, checked, meta, turn_id, skip_if_busy, interrupt_if_agent_waiting
            ),
            Lane.WORK,
        )
        stream: PromptStream = answer(future, timeout, "prompt_synthetic")
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
        check_texts("send_prompt", session_id, mode=mode)
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
        :raises SessionValueError: the id of the entry is blank, or no text.
        """
        live = self._runtime.live(session_id, "cancel_queued_prompt")
        check_texts("cancel_queued_prompt", live.id, queue_entry_id=queue_entry_id)
        if not queue_entry_id.strip():
            raise SessionValueError(
                "cancel_queued_prompt: queue entry id is required", session_id=live.id
            )
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
        check_texts(
            "approve_permission",
            live.id,
            decision=decision,
            request_id=request_id,
            turn_id=turn_id,
        )
        future = self._ask(live, lambda ask: PermissionApproved(ask, decision, request_id, turn_id))
        answer(future, timeout, "approve_permission")

    def request_permission(
        self,
        session_id: str,
        *,
        title: str,
        kind: str = "",
        tool_call_id: str = "",
        options: Sequence[str] = (),
        timeout: float | None = None,
    ) -> str:
        """Ask for a permission for a tool of the host's own, and wait for the decision (02 14.3).

        The session's permission mode decides what it can; the rest waits for
        ``approve_permission``, within 300 seconds, else it is rejected.

        :param title: what it is for.
        :param kind: of the tool; ``read`` is allowed in more modes.
        :param options: the decisions that may be given; none: all of them.
        :returns: the decision; ``canceled`` when the turn it was asked in ended first.
        :raises SessionValueError: a blank title, or an option that is no decision.
        :raises PendingPermissionNotFoundError: the session stopped meanwhile.
        :raises SessionNotActiveError: the session is stopped, starting or stopping.
        :raises SessionNotFoundError: no such session.
        :raises TimeoutError: not decided in time; the request still waits.
        """
        operation = "request_permission"
        live = self._runtime.live(session_id, operation)
        check_texts(operation, live.id, title=title, kind=kind, tool_call_id=tool_call_id)
        given = () if isinstance(options, str) else tuple(options)
        if not title.strip() or not all(option in CALLER_DECISIONS for option in given):
            raise SessionValueError(
                f"{operation}: a title, and options that are decisions, are needed",
                session_id=live.id,
                operation=operation,
            )
        asked = partial(
            PermissionAsked,
            title=title.strip(),
            kind=kind.strip(),
            tool_call_id=tool_call_id.strip(),
            options=given,
        )
        return str(answer(self._ask(live, asked), timeout, operation))

    def is_prompting(self, session_id: str) -> bool:
        """Whether a turn is being set up or running; ``False`` for an id that is not live."""
        live = self._runtime.registry.get(str(session_id).strip())
        return live is not None and live.state.is_prompting

    def input_queue_summary(self, session_id: str) -> InputQueueSummary:
        """How much input waits in a live session (02 8.3)."""
        live = self._runtime.live(session_id, "input_queue_summary")
        queue = live.state.queue
        return InputQueueSummary(queue.generation, len(queue.entries))

    def _submit(
        self,
        session_id: str,
        message: str,
        mode: BusyInputMode | None,
        timeout: float | None,
        meta: PromptMeta | None = None,
    ) -> Any:
        live = self._runtime.live(session_id, "prompt")
        check_message(message, live.id)
        generate = self._runtime.options.turn_id_generator
        turn_id = generate() if generate else ""
        meta = meta or PromptMeta()
        source = TurnSource(meta.turn_source or TurnSource.USER)
        asked: list[int] = []

        def submit(ask: int) -> PromptSubmitted:
            asked.append(ask)
            return PromptSubmitted(ask, message, mode, source, turn_id, meta)

        future = self._ask(live, submit, Lane.WORK)
        try:
            return answer(future, timeout, "prompt")
        except (TimeoutError, gevent.GreenletExit):
            live.tell(PromptAbandoned(asked[0]))
            raise


def _prompt_meta(given: PromptMeta | Mapping[str, Any] | None) -> PromptMeta | None:
    if given is None or isinstance(given, PromptMeta):
        return given
    if not isinstance(given, Mapping):
        raise SessionValueError("prompt metadata must be a PromptMeta or an object")
    return PromptMeta.from_json(given)


Group = TypeVar("Group", PromptNetworkMeta, PromptSyntheticMeta)


def _group(kind: type[Group], given: Group | Mapping[str, Any]) -> Group:
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise SessionValueError(f"prompt metadata must be a {kind.__name__} or an object")
    return kind.from_json(given)
