"""What a commit changes in a session's tables: the step's changes, the answers it owes, and what
is kept in step with its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from ...storage.session_store import StateOp
from ..core.books import Books, enter, hook_run, load_stats
from ..core.effects import Commit, Reply, TableChange
from ..core.recorded_calls import CALLS_TABLE, RecordedCalls
from ..model.records import STATS_TABLE, HookRunRecord, TokenStats
from ..model.turn import SendPromptResult

if TYPE_CHECKING:
    from .live import LiveSession


class Recorder:
    """Keeps the tables of one session; the answers of named requests are read when one comes."""

    def __init__(self, live: LiveSession) -> None:
        self._asks = live.asks
        self._store = live.ports.store
        self._now = live.ports.clock.now
        self._calls: RecordedCalls | None = None
        self._agent_name = live.ports.agent_name
        self._books = Books(
            session_id=live.id,
            agent_name=self._agent_name,
            policy=live.state.meta.effective_permissions,
            epoch=self._store.epoch(),
            id_seed=live.state.id_seed,
            stats=self._stored_stats(),
        )

    def state_ops(self, commit: Commit) -> list[StateOp]:
        """Everything a commit changes beside its rows."""
        self._books, kept = enter(self._books, commit.events)
        changes = [*commit.changes, *kept]
        for answer in commit.owed:
            if request_id := self._asks.request_id(answer.ask):
                changes.extend(self._records().record(request_id, _document(answer), self._now()))
        return [_state_op(change) for change in changes]

    def hook_run(self, run: HookRunRecord) -> list[StateOp]:
        """What keeps the record of a hook that ran (03 6)."""
        self._books, change = hook_run(self._books, run)
        return [_state_op(change)]

    def take_back(self) -> None:
        """A commit failed: the statistics are what the store holds."""
        self._books = replace(self._books, stats=self._stored_stats())

    def _stored_stats(self) -> TokenStats | None:
        return load_stats(self._store.state_document(STATS_TABLE, self._agent_name))

    def _records(self) -> RecordedCalls:
        if self._calls is None:
            self._calls = RecordedCalls(self._store.state_documents(CALLS_TABLE))
        return self._calls


def _state_op(change: TableChange) -> StateOp:
    return StateOp(change.table, change.key, change.document)


def _document(answer: Reply) -> dict[str, Any]:
    value = answer.value
    if isinstance(value, SendPromptResult):
        value = replace(value, events=None)
    return {"result": msgspec.to_builtins(value), "turn_id": answer.stream_turn_id}
