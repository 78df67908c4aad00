"""Named requests that took effect, stored in the commit of their effect.

A request that comes again under its name, also in a later life of the runtime, is answered from
here and does not run again. Rules owned here: a record is kept for ``KEPT_S``, of the newest
``RECORDED_MAX``; where one had to go before its time, requests begun before it are not run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .effects import TableChange

CALLS_TABLE = "calls"
FORGOTTEN_KEY = "forgotten"
"""The document that tells until when records went before their time."""
KEPT_S = 660.0
"""Longer than a caller may ask again (600 s), by what its clock may be off."""
RECORDED_MAX = 1000
"""Records of one session."""


class RecordedCalls:
    """Which records a session's store holds; their answers stay on disk.

    :param documents: the table as it is stored.
    """

    def __init__(self, documents: Mapping[Any, Mapping[str, Any]]) -> None:
        found = {str(key): float(document["at"]) for key, document in documents.items()}
        self._forgotten = found.pop(FORGOTTEN_KEY, 0.0)
        self._at = dict(sorted(found.items(), key=lambda pair: pair[1]))

    def record(
        self, request_id: str, answer: Mapping[str, Any], now: datetime
    ) -> tuple[TableChange, ...]:
        """The changes that store an answer, and drop what is too old or too much."""
        at = now.timestamp()
        self._at[request_id] = at
        changes = [TableChange(CALLS_TABLE, request_id, {**answer, "at": at})]
        early = 0.0
        while len(self._at) > RECORDED_MAX or next(iter(self._at.values())) < at - KEPT_S:
            gone = next(iter(self._at))
            went = self._at.pop(gone)
            early = went if went >= at - KEPT_S else early
            changes.append(TableChange(CALLS_TABLE, gone, None))
        if early > self._forgotten:
            self._forgotten = early
            changes.append(TableChange(CALLS_TABLE, FORGOTTEN_KEY, {"at": early}))
        return tuple(changes)


def may_be_forgotten(forgotten: Mapping[str, Any] | None, began_at: float) -> bool:
    """Whether a request without a record may have had one.

    :param forgotten: the document of ``FORGOTTEN_KEY``.
    :param began_at: when it was sent first, in seconds since 1970.
    """
    return forgotten is not None and began_at <= float(forgotten["at"])
