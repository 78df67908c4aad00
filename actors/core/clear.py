"""Clearing a conversation: who may, what stays of the session, and the fence of its queue (01 13).

====================================  ===================================================
a live session that                   is answered
====================================  ===================================================
is starting                           ``SessionNotActiveError``, nothing changed
has a turn, or a prompt that waits    ``PromptInProgressError``, nothing changed
is idle, or on its way to its end     once it has stopped, cause ``clear_conversation``
====================================  ===================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..model.session import SessionMeta, State, StopCause
from . import busy_input
from .effects import TableChange
from .inputs import ClearRequested, StopRequested
from .state import SessionState
from .stopping import stop_requested
from .turn import Step, in_progress


def clear_requested(state: SessionState, input: ClearRequested, now: datetime) -> Step:
    """Stop an idle session, so that its conversation can be replaced."""
    if state.turn is not None or state.replacement is not None:
        return state, in_progress(state, input.ask, "clear_conversation")
    stop = StopRequested(input.ask, StopCause.CLEAR_CONVERSATION, deadline_s=input.deadline_s)
    return stop_requested(state, stop, now)


def cleared_meta(meta: SessionMeta, now: datetime) -> SessionMeta:
    """The document of a stopped session without its conversation; why it failed is kept."""
    return replace(
        meta,
        state=State.STOPPED,
        stop_reason=None,
        stop_detail="",
        acp_session_id="",
        liveness=None,
        updated_at=now,
    )


def fenced_queue(
    documents: Iterable[Mapping[str, Any]], generation: int, now: datetime
) -> tuple[TableChange, ...]:
    """The next input generation, and the end of every entry of an older one (DESIGN 5.7).

    :raises msgspec.ValidationError: a document that is no queue entry.
    """
    (_, changes), _ = busy_input.fence(busy_input.load(documents, generation), now)
    return changes
