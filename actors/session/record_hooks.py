"""Tells the event hooks of rows: before they are submitted, and once they are stored (06 1.5).

Nothing is made for nobody: without a listener each call is one look into a set.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...storage.format.envelope import content_text
from ...storage.session_store import StoredRow
from ..core.hooking import session_fields
from ..model.event import AgentEvent, EventType
from ..model.hooks import HookEvent, MessagePersistedPayload, RecordPayload
from .live import LiveSession

PERSISTED_TYPE = EventType.AGENT_MESSAGE


class RecordHooks:
    """The rows of one session."""

    def __init__(self, live: LiveSession) -> None:
        self._live = live
        self._hooks = live.ports.hooks

    def before(self, events: Sequence[AgentEvent]) -> None:
        """Rows are about to be submitted."""
        if self._hooks.hears(HookEvent.EVENT_PRE_RECORD):
            for event in events:
                self._hooks.post(self._payload(HookEvent.EVENT_PRE_RECORD, event))

    def after(self, rows: Sequence[StoredRow]) -> None:
        """Rows are stored."""
        heard = self._hooks.hears(HookEvent.EVENT_POST_RECORD)
        persisted = self._hooks.hears(HookEvent.MESSAGE_PERSISTED)
        if not (heard or persisted):
            return
        for row in rows:
            if heard:
                payload = self._payload(HookEvent.EVENT_POST_RECORD, row.event, row.sequence)
                self._hooks.post(payload)
            if persisted and row.event.type == PERSISTED_TYPE:
                self._hooks.post(self._message(row))

    def _payload(self, kind: HookEvent, event: AgentEvent, sequence: int = 0) -> RecordPayload:
        state = self._live.state
        return RecordPayload(
            event=kind,
            timestamp=event.timestamp,
            turn_id=event.turn_id,
            record_type=event.type,
            content=content_text(event),
            sequence=sequence,
            **session_fields(state.meta, state.workspace),
        )

    def _message(self, row: StoredRow) -> MessagePersistedPayload:
        state, event = self._live.state, row.event
        lineage = state.meta.lineage
        parent = lineage.parent_session_id if lineage else ""
        return MessagePersistedPayload(
            event=HookEvent.MESSAGE_PERSISTED,
            timestamp=event.timestamp,
            turn_id=event.turn_id,
            message_id=row.id,
            message_seq=row.sequence,
            text=event.text,
            raw=event.raw,
            persisted=content_text(event),
            root_session_id=(lineage.root_session_id if lineage else "") or state.id,
            parent_session_id=parent,
            actor_kind="agent_subagent" if parent else "agent_root",
            actor_id=state.id,
            **session_fields(state.meta, state.workspace),
        )
