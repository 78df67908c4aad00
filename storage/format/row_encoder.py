"""Rows of one epoch of a session, encoded fast: the same bytes as :func:`rows.encode_row` makes.

Most events of a turn are chunks of text that differ from the last one in their text only. Such a
row is put together from pieces made once (03 14.1); everything else takes the general encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import cbor2
import msgspec

from ...actors.errors import StoreValidationError
from ...actors.model.event import EVENT_SCHEMA, NO_TIME, TEXT_CHUNK_TYPES, AgentEvent
from ...actors.model.runs import TextRun
from .cbor_items import ARRAY, TEXT, UNSIGNED, head
from .envelope import EVENT_MEMBERS
from .rows import ROW_BYTES_MAX, ROW_HEAD, encode_row
from .times import time_text

_TEXT = EVENT_MEMBERS.index("text")
_TIMESTAMP = EVENT_MEMBERS.index("timestamp")
_LEADING = EVENT_MEMBERS.index("request_id")
# Nulls are dropped at the end of an envelope: one item for the schema, one for each member.
_WITH_TEXT = head(ARRAY, 2 + _TEXT)
_WITHOUT_TEXT = head(ARRAY, 1 + _TEXT)
_DEFAULTS = msgspec.structs.astuple(AgentEvent(type=""))
# Between the ids and the time, and from the text to the raw value, which a chunk does not keep.
_MIDDLE_UNSET = _DEFAULTS[_LEADING:_TIMESTAMP]
_END = EVENT_MEMBERS.index("raw")
_END_UNSET = _DEFAULTS[_TEXT + 1 : _END]
_MIDDLE_NULLS = b"\xf6" * len(_MIDDLE_UNSET)
_SHORT_HEADS = tuple(head(TEXT, size) for size in range(1024))
_LONGEST_CHUNK = ROW_BYTES_MAX // 8


def encode_text(text: str) -> bytes:
    """The CBOR of a text."""
    data = text.encode()
    size = len(data)
    return (_SHORT_HEADS[size] if size < 1024 else head(TEXT, size)) + data


def _is_plain(event: AgentEvent, timestamp: datetime) -> bool:
    """Whether nothing but its text makes the event another than a chunk of its turn."""
    if event.type not in TEXT_CHUNK_TYPES or timestamp is not event.timestamp:
        return False
    members = msgspec.structs.astuple(event)
    return members[_TEXT + 1 : _END] == _END_UNSET and members[_LEADING:_TIMESTAMP] == _MIDDLE_UNSET


class RowEncoder:
    """Encodes the rows of one session and epoch; keeps the pieces of the last chunk's row."""

    __slots__ = (
        "_agent_name",
        "_chunk",
        "_epoch",
        "_kind",
        "_moment",
        "_moment_text",
        "_prefix",
        "_session_id",
        "_turn",
    )

    def __init__(self, session_id: str, epoch: int) -> None:
        self._session_id = session_id
        self._epoch = epoch
        self._prefix = bytes((ROW_HEAD,)) + encode_text(session_id) + head(UNSIGNED, epoch)
        self._agent_name: str | None = None
        self._chunk: tuple[str, str, str] | None = None
        self._turn = b""
        self._kind = b""
        self._moment: datetime = NO_TIME
        self._moment_text = b""

    def encode_run(
        self,
        sequence: int,
        ids: Sequence[str],
        agent_name: str,
        timestamp: datetime,
        run: TextRun,
    ) -> list[bytes]:
        """The rows of chunks that follow each other, from ``sequence`` on; as :meth:`encode`."""
        template = run.template
        if _is_plain(template, timestamp) and max(map(len, run.texts)) <= _LONGEST_CHUNK:
            return self._chunk_rows(sequence, ids, agent_name, template, run.texts)
        return [
            self.encode(number, row_id, agent_name, timestamp, event)
            for number, (row_id, event) in enumerate(zip(ids, run, strict=True), sequence)
        ]

    def encode(
        self, sequence: int, row_id: str, agent_name: str, timestamp: datetime, event: AgentEvent
    ) -> bytes:
        """The row of one event.

        :raises StoreValidationError: see :func:`rows.encode_row`.
        """
        if _is_plain(event, timestamp) and len(event.text) <= _LONGEST_CHUNK:
            return self._chunk_rows(sequence, (row_id,), agent_name, event, (event.text,))[0]
        return encode_row(
            session_id=self._session_id,
            epoch=self._epoch,
            sequence=sequence,
            id=row_id,
            turn_id=event.turn_id,
            type=event.type,
            agent_name=agent_name,
            timestamp=timestamp,
            event=event,
        )

    def _chunk_rows(
        self,
        sequence: int,
        ids: Sequence[str],
        agent_name: str,
        event: AgentEvent,
        texts: Sequence[str],
    ) -> list[bytes]:
        rows = []
        try:
            self._prepare(agent_name, event)
            prefix, time, join = self._prefix, self._moment_text, b"".join
            middle, behind = self._turn + time, self._kind + time
            with_text, without_text = middle + _WITH_TEXT + behind, middle + _WITHOUT_TEXT + behind
            for number, (row_id, text) in enumerate(zip(ids, texts, strict=True), sequence):
                # Spelled out: a call for each text would cost as much as the row.
                own_id, data = row_id.encode(), text.encode()
                length, size = len(own_id), len(data)
                own_head = _SHORT_HEADS[length] if length < 1024 else head(TEXT, length)
                parts = (prefix, head(UNSIGNED, number), own_head, own_id)
                if size:
                    text_head = _SHORT_HEADS[size] if size < 1024 else head(TEXT, size)
                    rows.append(join((*parts, with_text, text_head, data)))
                else:
                    rows.append(join((*parts, without_text)))
        except UnicodeEncodeError as error:
            raise StoreValidationError(f"store: event can not be encoded: {error}") from error
        return rows

    def _prepare(self, agent_name: str, event: AgentEvent) -> None:
        facts = (event.turn_id, event.type, event.session_id)
        if facts != self._chunk or agent_name != self._agent_name:
            self._keep_pieces(agent_name, event)
        if event.timestamp != self._moment or not self._moment_text:
            self._moment_text = encode_text(time_text(event.timestamp))
            self._moment = event.timestamp

    def _keep_pieces(self, agent_name: str, event: AgentEvent) -> None:
        kind = encode_text(event.type)
        turn = encode_text(event.turn_id)
        agent_session = encode_text(event.session_id) if event.session_id else b"\xf6"
        turn_or_null = turn if event.turn_id else b"\xf6"
        self._turn = turn + kind + encode_text(agent_name)
        self._kind = cbor2.dumps(EVENT_SCHEMA) + kind + agent_session + turn_or_null + _MIDDLE_NULLS
        # Last: pieces that could not be made are not mistaken for those of the next row.
        self._chunk = (event.turn_id, event.type, event.session_id)
        self._agent_name = agent_name
