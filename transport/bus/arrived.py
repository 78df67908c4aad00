"""Rows as they arrive: what they are at once, what is in them when it is asked for; pure.

Following means looking at every row's position and at the content of some. Rule owned here: facts
are checked on arrival; a content that is no envelope spoils its event only, not the stream.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import cbor2

from ...actors.model.event import AgentEvent, EventType, SessionEvent
from ...storage.format.envelope import decode_envelope, render_envelope
from ...storage.format.rows import ROWS_MAX
from ...storage.format.times import parse_time
from .errors import BusProtocolError

_TEXT_TYPES = frozenset(
    {EventType.USER_MESSAGE.value, EventType.AGENT_MESSAGE.value, EventType.THOUGHT.value}
)
_FACTS = (str, int, int, str, str, str, str, str)
_WITH_ENVELOPE, _WITH_TEXT = (*_FACTS, list), (*_FACTS, str)
_END = "greenroom.end"
_ENDED = cbor2.dumps(_END) + b"\xff"


class ArrivedEvent(SessionEvent):
    """A stored event that was received; ``timestamp``, ``event`` and ``content`` are made late.

    They raise :class:`StoreValidationError` when the row holds no such thing.
    """

    __slots__ = ("_event", "_moment", "_raw", "_time")

    def __init__(self, row: list[Any]) -> None:
        # One unpacking: this runs for every row of every session followed.
        (
            self.session_id,
            self.epoch,
            self.sequence,
            self.id,
            self.turn_id,
            self.type,
            self.agent_name,
            self._time,
            self._raw,
        ) = row
        self._event: AgentEvent | None = None
        self._moment: datetime | None = None

    @property
    def timestamp(self) -> datetime:  # type: ignore[override]
        """When the row was made."""
        if self._moment is None:
            self._moment = parse_time(self._time)
        return self._moment

    @property
    def event(self) -> AgentEvent:  # type: ignore[override]
        """What happened."""
        if self._event is None:
            self._event = self._decoded()
        return self._event

    @property
    def content(self) -> str:
        """The stored content as text."""
        return self._raw if type(self._raw) is str else render_envelope(self._raw)

    def _decoded(self) -> AgentEvent:
        if type(self._raw) is list:
            return decode_envelope(self._raw)
        shown = self._raw.strip() if self.type in _TEXT_TYPES else ""
        return AgentEvent(
            type=self.type, turn_id=self.turn_id, timestamp=self.timestamp, text=shown
        )


def arrived_events(data: bytes) -> list[ArrivedEvent]:
    """The events of a CBOR sequence of rows.

    :raises BusProtocolError: garbage, a fact of another type, or more than ``ROWS_MAX`` rows.
    """
    # One call of the decoder for all rows: an array of unknown length around them, closed by a
    # mark that a stray "break" inside the data would leave unread.
    try:
        rows = cbor2.loads(b"\x9f" + data + _ENDED)
    except Exception as error:  # whatever a decoder makes of garbage, it is garbage
        raise BusProtocolError(f"rows: {error}") from error
    if type(rows) is not list or not rows or rows.pop() != _END:
        raise BusProtocolError("rows: no sequence of rows")
    if len(rows) > ROWS_MAX:
        raise BusProtocolError(f"rows: more than {ROWS_MAX}")
    for row in rows:
        kinds = tuple(map(type, row)) if type(row) is list else ()
        if kinds not in (_WITH_ENVELOPE, _WITH_TEXT):
            raise BusProtocolError("rows: a row with a fact of the wrong type")
    return [ArrivedEvent(row) for row in rows]

