"""Answers to subscribers that catch up: heads from a table, rows from the store.

Rule owned here: whatever is asked, the asker gets an answer, and nobody else is disturbed; a
session that is deleted has no rows.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from ...actors.errors import SessionError, SessionNotFoundError
from .catchup import (
    HEADS_PER_REPLY_MAX,
    PAGE_BYTES_MAX,
    ErrorReply,
    HeadsReply,
    HeadsRequest,
    RowsRequest,
    decode_request,
    encode_page,
    encode_reply,
    request_id_of,
)
from .errors import BusProtocolError
from .heads import HeadSource, HeadTable
from .positions import NOWHERE


class RowsPage(Protocol):
    """What a store answers: rows after a position, and where it ends."""

    @property
    def rows(self) -> Sequence[bytes]: ...
    @property
    def head_epoch(self) -> int: ...
    @property
    def head_sequence(self) -> int: ...
    @property
    def reset(self) -> bool: ...


class RowSource(HeadSource, Protocol):
    """The committed rows of a runtime, read in the hub thread.

    A head is ``(epoch, sequence)``; a position equal to a head is in the store. ``rows_after``
    returns at least one row while there is one, and with ``reset`` when the position is not in
    the store: then from the last position that is.
    """

    def rows_after(
        self, session_id: str, epoch: int, sequence: int, bytes_max: int
    ) -> RowsPage: ...


class Answers:
    """Answers requests, each in one step of the hub.

    :param heads: of the same source; it must be complete before all heads are asked for.
    """

    def __init__(self, source: RowSource, heads: HeadTable, logger: logging.Logger) -> None:
        self._source = source
        self._heads = heads
        self._logger = logger
        self.requests = self.pages = self.failures = 0

    def wants_all_heads(self, data: bytes) -> bool:
        """Whether a request needs a complete table."""
        try:
            request = decode_request(data)
        except BusProtocolError:
            return False
        return isinstance(request, HeadsRequest) and request.session_id is None

    def answer(self, data: bytes) -> bytes:
        """The reply to what may be a request."""
        self.requests += 1
        try:
            match decode_request(data):
                case HeadsRequest(request_id, None, after):
                    heads, more = self._heads.page(after, HEADS_PER_REPLY_MAX)
                    return encode_reply(HeadsReply(request_id, heads, more))
                case HeadsRequest(request_id, str(session_id)):
                    head = self._heads.refresh(session_id)
                    known = () if head is None else (head,)
                    return encode_reply(HeadsReply(request_id, known, more=False))
                case RowsRequest() as request:
                    self.pages += 1
                    return self._page(request)
                case request:
                    raise BusProtocolError(f"request: {type(request).__name__}")
        except (BusProtocolError, SessionError) as error:
            self.failures += 1
            return encode_reply(ErrorReply(request_id_of(data), str(error)))
        except Exception as error:
            # A bug of the store must not end the service for everybody; the asker is told.
            self.failures += 1
            self._logger.exception("bus: a request failed")
            return encode_reply(ErrorReply(request_id_of(data), f"internal error: {error!r}"))

    def _page(self, request: RowsRequest) -> bytes:
        session_id, position = request.session_id, (request.epoch, request.sequence)
        bytes_max = min(request.bytes_max, PAGE_BYTES_MAX)
        try:
            page = self._source.rows_after(session_id, *position, bytes_max)
        except SessionNotFoundError:
            # Deleted since the asker heard of it: nothing of it is stored any more.
            self._heads.forget(session_id)
            return encode_page(request, (), NOWHERE, position != NOWHERE)
        return encode_page(request, page.rows, (page.head_epoch, page.head_sequence), page.reset)
