"""Where records of processes are kept: the Protocol a host implements, and memory (04 9)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from ...actors.errors import ScopedInterruptNotFoundError
from .tool_records import ProcessRecord, ProcessState, Scope

ENDED_RECORDS_MAX = 1000
"""Records of ended processes that memory keeps; the oldest go first."""


@dataclass(frozen=True, slots=True)
class ProcessQuery:
    """Which records: of a scope (an empty one is everything), active ones only or all."""

    scope: Scope = field(default_factory=Scope)
    active_only: bool = False

    def covers(self, record: ProcessRecord) -> bool:
        """Whether the record is asked for."""
        return (record.is_active or not self.active_only) and self.scope.covers(record)


@dataclass(frozen=True, slots=True)
class StateChange:
    """A new state; ``None`` leaves a member as it is."""

    state: ProcessState
    updated_at: datetime
    error: str | None = None
    exit_code: int | None = None
    completed_at: datetime | None = None

    def of(self, record: ProcessRecord) -> ProcessRecord:
        """The record in the new state."""
        return replace(
            record,
            state=self.state,
            updated_at=self.updated_at,
            error=record.error if self.error is None else self.error,
            exit_code=record.exit_code if self.exit_code is None else self.exit_code,
            completed_at=self.completed_at or record.completed_at,
        )


class ProcessStore(Protocol):
    """Keeps records, also over restarts of the runtime. Calls come one at a time."""

    def upsert(self, record: ProcessRecord) -> None:
        """Keep a record in place of an earlier one of its id."""
        ...

    def update_state(self, record_id: str, change: StateChange) -> None:
        """Change the state of one.

        :raises ScopedInterruptNotFoundError: no such record.
        """
        ...

    def list(self, query: ProcessQuery) -> list[ProcessRecord]:
        """Records by ``updated_at``, then ``id``."""
        ...


class MemoryProcessStore:
    """Records of this runtime's life."""

    def __init__(self) -> None:
        self._records: dict[str, ProcessRecord] = {}
        self._ended: dict[str, None] = {}

    @property
    def count(self) -> int:
        """How many records are kept."""
        return len(self._records)

    def upsert(self, record: ProcessRecord) -> None:
        """Keep a record."""
        self._records[record.id] = record
        self._ended.pop(record.id, None)
        if not record.is_active:
            self._ended[record.id] = None
        while len(self._ended) > ENDED_RECORDS_MAX:
            oldest = next(iter(self._ended))
            del self._ended[oldest], self._records[oldest]

    def update_state(self, record_id: str, change: StateChange) -> None:
        """Change the state of one.

        :raises ScopedInterruptNotFoundError: no such record.
        """
        found = self._records.get(record_id)
        if found is None:
            raise ScopedInterruptNotFoundError(f"no process record {record_id}")
        self.upsert(change.of(found))

    def list(self, query: ProcessQuery) -> list[ProcessRecord]:
        """Records by ``updated_at``, then ``id``."""
        found = [record for record in self._records.values() if query.covers(record)]
        return sorted(found, key=lambda record: (record.updated_at, record.id))
