"""Rows: one stored event as immutable CBOR bytes, made once and carried everywhere (03 14.1).

A row is ``[session_id, epoch, sequence, id, turn_id, type, agent_name, timestamp, content]``;
``content`` is the envelope array, or text that is no envelope. Log, journal, published frame and
catch-up hold the same bytes. Every function here is pure and refuses garbage with
:class:`StoreValidationError`.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import cbor2

from ...actors.errors import StoreValidationError
from ...actors.model.event import AgentEvent, EventType, SessionEvent
from .cbor_items import item_end, read_text, read_unsigned
from .envelope import content_text, decode_envelope, encode_envelope, render_envelope
from .times import parse_time, time_text

__all__ = [
    "ROWS_MAX",
    "ROW_BYTES_MAX",
    "RowPosition",
    "content_text",
    "decode_row",
    "decode_rows",
    "encode_row",
    "encode_text_row",
    "parse_time",
    "row_position",
    "split_rows",
    "time_text",
]

ROW_BYTES_MAX = 32 * 1024 * 1024
"""Longest row stored: the longest prompt or agent line, escaped, with room to spare."""
ROWS_MAX = 65536
"""Most rows read from one frame or page."""

ROW_HEAD = 0x89
"""The head byte of an array of nine."""
_TEXT_TYPES = frozenset(
    {EventType.USER_MESSAGE.value, EventType.AGENT_MESSAGE.value, EventType.THOUGHT.value}
)
_END = "greenroom.end"
_FACTS = (str, int, int, str, str, str, str, str)


class RowPosition(NamedTuple):
    """Where a row stands: the session, and the cursor after it."""

    session_id: str
    epoch: int
    sequence: int


def encode_row(
    *,
    session_id: str,
    epoch: int,
    sequence: int,
    id: str,
    turn_id: str,
    type: str,
    agent_name: str,
    timestamp: datetime,
    event: AgentEvent,
) -> bytes:
    """Encode one event as a row (03 14.1).

    :param timestamp: of the row; the event carries its own.
    :raises StoreValidationError: a time without a zone, text that is no Unicode, a value that has
        no stored form, or a row longer than ``ROW_BYTES_MAX``.
    """
    facts = [session_id, epoch, sequence, id, turn_id, type, agent_name, time_text(timestamp)]
    return _dump([*facts, encode_envelope(event)])


def encode_text_row(
    *,
    session_id: str,
    epoch: int,
    sequence: int,
    id: str,
    turn_id: str,
    type: str,
    agent_name: str,
    timestamp: datetime,
    content: str,
) -> bytes:
    """Encode a row whose content is text and no envelope; limits as :func:`encode_row`."""
    facts = [session_id, epoch, sequence, id, turn_id, type, agent_name, time_text(timestamp)]
    return _dump([*facts, content])


def decode_row(row: bytes) -> SessionEvent:
    """The stored event of a row; its JSON ``content`` is rendered when asked for.

    :raises StoreValidationError: no row, or a damaged one.
    """
    return _session_event(_load(row))


def decode_rows(data: bytes) -> list[SessionEvent]:
    """All events of a CBOR sequence of rows, faster than splitting and decoding each.

    :raises StoreValidationError: garbage, or more than ``ROWS_MAX`` rows.
    """
    # One call of the decoder for all rows: an array of unknown length around them, closed by a
    # mark that a stray "break" inside the data would leave unread.
    rows = _load(b"\x9f" + data + cbor2.dumps(_END) + b"\xff")
    if not isinstance(rows, list) or not rows or rows.pop() != _END:
        raise StoreValidationError("store: no sequence of rows", field="rows")
    if len(rows) > ROWS_MAX:
        raise StoreValidationError(f"store: more than {ROWS_MAX} rows", field="rows")
    return [_session_event(row) for row in rows]


def row_position(row: bytes, offset: int = 0) -> RowPosition:
    """Session, epoch and sequence of the row at ``offset``, without decoding the rest.

    :raises StoreValidationError: no row.
    """
    if offset >= len(row) or row[offset] != ROW_HEAD:
        raise StoreValidationError("store: no row", field="row")
    session_id, offset = read_text(row, offset + 1)
    epoch, offset = read_unsigned(row, offset)
    sequence, _ = read_unsigned(row, offset)
    return RowPosition(session_id, epoch, sequence)


def split_rows(data: bytes) -> list[bytes]:
    """Cut a CBOR sequence into its rows.

    :raises StoreValidationError: garbage, a cut row, or more than ``ROWS_MAX`` rows.
    """
    rows: list[bytes] = []
    offset = 0
    while offset < len(data):
        if data[offset] != ROW_HEAD:
            raise StoreValidationError(f"store: no row at byte {offset}", field="rows")
        if len(rows) == ROWS_MAX:
            raise StoreValidationError(f"store: more than {ROWS_MAX} rows", field="rows")
        end = item_end(data, offset)
        rows.append(data[offset:end])
        offset = end
    return rows


def _dump(row: list[Any]) -> bytes:
    try:
        data = cbor2.dumps(row)
    except (cbor2.CBOREncodeError, UnicodeEncodeError, TypeError, RecursionError) as error:
        raise StoreValidationError(f"store: event can not be encoded: {error}") from error
    if len(data) > ROW_BYTES_MAX:
        raise StoreValidationError(
            f"store: a row of {len(data)} bytes is over the limit of {ROW_BYTES_MAX}", field="row"
        )
    return data


def _load(data: bytes) -> Any:
    try:
        return cbor2.loads(data)
    except (cbor2.CBORError, ValueError, TypeError, RecursionError) as error:
        raise StoreValidationError(f"store: no row: {error}", field="row") from error


def _session_event(row: Any) -> SessionEvent:
    if not isinstance(row, list) or len(row) != 9:
        raise StoreValidationError("store: no row", field="row")
    for value, kind in zip(row, _FACTS, strict=False):
        if type(value) is not kind:
            raise StoreValidationError("store: a fact of the row has the wrong type", field="row")
    session_id, epoch, sequence, row_id, turn_id, kind, agent_name, timestamp, content = row
    moment = parse_time(timestamp)
    if isinstance(content, list):
        event = decode_envelope(content)
        text: Any = partial(render_envelope, content)
    elif isinstance(content, str):
        shown = content.strip() if kind in _TEXT_TYPES else ""
        event = AgentEvent(type=kind, turn_id=turn_id, timestamp=moment, text=shown)
        text = content
    else:
        raise StoreValidationError("store: content is neither envelope nor text", field="content")
    return SessionEvent(
        id=row_id,
        session_id=session_id,
        epoch=epoch,
        sequence=sequence,
        turn_id=turn_id,
        type=kind,
        agent_name=agent_name,
        timestamp=moment,
        event=event,
        content=text,
    )
