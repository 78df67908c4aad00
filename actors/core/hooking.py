"""What hooks are told of a session: its payloads, made from what the step knows (06 1.2-1.4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..model.hooks import HookEvent, InputPayload, SessionPayload, TurnPayload
from ..model.session import SessionMeta
from ..model.turn import TurnSource
from .state import SessionState, Turn

INPUT_CLASSES = {
    TurnSource.USER: "user_message",
    TurnSource.NETWORK: "network_message",
    TurnSource.SYNTHETIC: "synthetic_reentry",
}
"""``input_class`` by the source of the turn (06 1.3)."""


def session_fields(meta: SessionMeta, workspace: str) -> dict[str, Any]:
    """The session context of every payload (06 1.2)."""
    return {
        "session_id": meta.id,
        "session_name": meta.name,
        "session_type": str(meta.session_type),
        "agent_name": meta.agent_name,
        "workspace_id": meta.workspace_id,
        "workspace": workspace,
        "acp_session_id": meta.acp_session_id,
        "state": str(meta.state),
        "created_at": meta.created_at,
        "updated_at": meta.updated_at,
    }


def session_payload(
    event: HookEvent, meta: SessionMeta, workspace: str, now: datetime
) -> SessionPayload:
    """A step of the session's life."""
    return SessionPayload(event=event, timestamp=now, **session_fields(meta, workspace))


def input_payload(state: SessionState, turn: Turn, now: datetime) -> InputPayload:
    """A message on its way in."""
    return InputPayload(
        event=HookEvent.INPUT_PRE_SUBMIT,
        timestamp=now,
        turn_id=turn.turn_id,
        input_class=INPUT_CLASSES[turn.source],
        message=turn.message,
        **session_fields(state.meta, state.workspace),
    )


def turn_payload(event: HookEvent, state: SessionState, turn: Turn, now: datetime) -> TurnPayload:
    """The start or the end of a turn."""
    return TurnPayload(
        event=event,
        timestamp=now,
        turn_id=turn.turn_id,
        input_class=INPUT_CLASSES[turn.source],
        user_message=turn.message,
        **session_fields(state.meta, state.workspace),
    )
