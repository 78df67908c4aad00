"""What a commit changes in a session's tables: the step's changes, and the answers it owes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from ...storage.session_store import SessionStore, StateOp
from ..core.effects import Commit, Reply
from ..core.recorded_calls import CALLS_TABLE, RecordedCalls
from ..model.turn import SendPromptResult
from .asks import Asks


class Recorder:
    """Stores the answers of named requests with their effects; of one session.

    :param store: read when the first one comes.
    """

    def __init__(self, asks: Asks, store: SessionStore, now: Callable[[], datetime]) -> None:
        self._asks = asks
        self._store = store
        self._now = now
        self._calls: RecordedCalls | None = None

    def state_ops(self, commit: Commit) -> list[StateOp]:
        """Everything a commit changes beside its rows."""
        changes = list(commit.changes)
        for answer in commit.owed:
            if request_id := self._asks.request_id(answer.ask):
                changes.extend(self._records().record(request_id, _document(answer), self._now()))
        return [StateOp(change.table, change.key, change.document) for change in changes]

    def _records(self) -> RecordedCalls:
        if self._calls is None:
            self._calls = RecordedCalls(self._store.state_documents(CALLS_TABLE))
        return self._calls


def _document(answer: Reply) -> dict[str, Any]:
    value = answer.value
    if isinstance(value, SendPromptResult):
        value = replace(value, events=None)
    return {"result": msgspec.to_builtins(value), "turn_id": answer.stream_turn_id}
