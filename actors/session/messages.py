"""Tells the conversation hooks of an agent's messages, between the driver and the mailbox (02 P5).

It runs in the greenlet that reads the turn's stream, so a hook that takes its time slows that
agent down and nobody else. What hooks see is redacted; what they change is redacted again when it
is recorded. A message ends when what it is made of is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import pykka

from ..core.hooking import session_fields
from ..core.message_hooks import OpenMessage, delta_type
from ..core.redaction import redact_agent_event
from ..model.event import AgentEvent
from ..model.hooks import HookEvent, MessagePayload
from ..model.settings import LIFECYCLE_TIMEOUT
from .hook_runner import HookRunner
from .live import LiveSession

MESSAGE_EVENTS = frozenset(
    {HookEvent.MESSAGE_START, HookEvent.MESSAGE_DELTA, HookEvent.MESSAGE_END}
)
Record = Callable[[Sequence[AgentEvent]], None]
"""Hands events to the session; returns once they are taken in."""


class Messages:
    """The messages of one turn.

    :param record: called with what the agent said, in order.
    """

    def __init__(self, live: LiveSession, turn_id: str, record: Record) -> None:
        self._live = live
        self._hooks: HookRunner = live.ports.hooks
        self._open = OpenMessage(turn_id)
        self._turn_id = turn_id
        self._record = record

    def take(self, events: Sequence[AgentEvent]) -> None:
        """A batch of the agent's events."""
        if not MESSAGE_EVENTS & self._hooks.listened:
            self._record(events)
            return
        for event in events:
            shown = redact_agent_event(event, self._live.ports.redactor)
            if self._open.closes(shown):
                self.end()
            if self._open.opens(shown):
                self._open = self._open.opened()
                started = self._hooks.dispatch(
                    self._payload(HookEvent.MESSAGE_START, "full", shown)
                )
                shown = msgspec.structs.replace(shown, text=started.text)
            if self._open.continues(shown):
                self._open = self._open.with_chunk(shown)
                self._hooks.post(self._payload(HookEvent.MESSAGE_DELTA, delta_type(shown), shown))
            self._record((shown,))

    def end(self) -> None:
        """Close the open message, if there is one, once its chunks are recorded."""
        if not self._open.is_open:
            return
        with suppress(pykka.Timeout):
            self._live.drained().get(timeout=LIFECYCLE_TIMEOUT)
        whole = AgentEvent(type="", text=self._open.text, raw=self._open.raw)
        self._hooks.dispatch(self._payload(HookEvent.MESSAGE_END, "full", whole))
        self._open = self._open.closed()

    def _payload(self, event: HookEvent, kind: str, shown: AgentEvent) -> MessagePayload:
        state = self._live.state
        return MessagePayload(
            event=event,
            timestamp=self._live.ports.clock.now(),
            turn_id=self._turn_id,
            message_id=self._open.id,
            delta_type=kind,
            text=shown.text,
            raw=shown.raw,
            **session_fields(state.meta, state.workspace),
        )
