"""The health rows of a home's sessions, in ``catalog.journal`` (05 2.8, 2.10).

A row is small, and there is one per session: all are read to list them, and changed in one record
to mark them stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Protocol

import msgspec

from ..actors.errors import (
    InvalidSessionHealthError,
    SessionHealthNotFoundError,
    StoreValidationError,
)
from ..actors.model.health import (
    IneligibilityReason,
    SessionHealth,
    SessionHealthListQuery,
    SessionHealthState,
    SessionHealthStatus,
)
from .format.operations import Location, Operation, Put, Remove, encode_document
from .table_storage import JournalStorage

HEALTH_TABLE = "health"

_SETTLED = frozenset({SessionHealthStatus.STALE, SessionHealthStatus.DEAD})


class HealthStore(Protocol):
    """Where health rows are kept (05 2.10). Calls come one at a time, outside of the hub."""

    def upsert_session_health(self, row: SessionHealth) -> SessionHealth:
        """Validate, and put in place of an earlier row of the session."""
        ...

    def get_session_health(self, session_id: str) -> SessionHealth:
        """The row; raises ``SessionHealthNotFoundError`` when there is none."""
        ...

    def list_session_health(self, query: SessionHealthListQuery) -> list[SessionHealth]:
        """The rows asked for, by ``updated_at``, then id, descending."""
        ...

    def list_session_health_recovery_inputs(self, limit: int) -> list[SessionHealth]:
        """Rows to be looked at when a runtime starts; 0 is all."""
        ...

    def mark_session_health_stale(self, cutoff: datetime | None, updated_at: datetime) -> int:
        """Mark idle sessions unseen since ``cutoff``, as one step; how many."""
        ...


class JournalHealthStore:
    """A ``HealthStore`` on a journal. All methods do file work, and are for one thread."""

    def __init__(self, storage: JournalStorage) -> None:
        self._storage = storage

    def upsert_session_health(self, row: SessionHealth) -> SessionHealth:
        """Put a row in place of an earlier one of its session.

        :raises InvalidSessionHealthError: a member that is wrong; nothing was written.
        :raises StorageError: it was not written.
        """
        self.upsert_all([row])
        return row

    def upsert_all(self, rows: Sequence[SessionHealth]) -> None:
        """The same for several rows, as one record; errors as there."""
        self._storage.commit([_put(row.validate()) for row in rows])

    def get_session_health(self, session_id: str) -> SessionHealth:
        """The row of a session.

        :raises SessionHealthNotFoundError: there is none.
        """
        place = self._storage.places(HEALTH_TABLE).get(session_id)
        if place is None:
            raise SessionHealthNotFoundError(
                f'session health of "{session_id}" is not stored', session_id=session_id
            )
        return self._load(place)

    def list_session_health(self, query: SessionHealthListQuery) -> list[SessionHealth]:
        """The rows asked for, newest first, then by id, descending."""
        found = sorted_rows([row for row in self._rows() if query.matches(row)])
        return found[: query.limit] if query.limit else found

    def list_session_health_recovery_inputs(self, limit: int) -> list[SessionHealth]:
        """All rows; 0 is no limit.

        :raises InvalidSessionHealthError: a negative limit.
        """
        return self.list_session_health(SessionHealthListQuery(limit=limit))

    def mark_session_health_stale(self, cutoff: datetime | None, updated_at: datetime) -> int:
        """Mark idle sessions whose presence is older than ``cutoff``, in one record; how many.

        :raises InvalidSessionHealthError: no cutoff.
        """
        if cutoff is None:
            raise InvalidSessionHealthError("session health: cutoff is required", field="cutoff")
        stale = [stale_row(row, updated_at) for row in self._rows() if _is_due(row, cutoff)]
        self.upsert_all(stale)
        return len(stale)

    def remove(self, session_id: str) -> None:
        """Forget a session that was deleted; one without a row is no error."""
        if session_id in self._storage.places(HEALTH_TABLE):
            self._storage.commit([Remove(HEALTH_TABLE, session_id)])

    def _rows(self) -> list[SessionHealth]:
        return [self._load(place) for place in self._storage.places(HEALTH_TABLE).values()]

    def _load(self, place: Location) -> SessionHealth:
        try:
            return msgspec.convert(self._storage.load(place), SessionHealth)
        except msgspec.ValidationError as error:
            text = f"store: no health row: {error}"
            raise StoreValidationError(text, field="document") from error


def sorted_rows(rows: list[SessionHealth]) -> list[SessionHealth]:
    """Newest first, then by id, descending (05 2.10)."""
    return sorted(rows, key=lambda row: (row.updated_at, row.session_id), reverse=True)


def stale_row(row: SessionHealth, updated_at: datetime) -> SessionHealth:
    """The row of a session nobody has seen for a while."""
    return replace(
        row,
        health=SessionHealthStatus.STALE,
        eligible_for_wake=False,
        ineligibility_reason=IneligibilityReason.STALE,
        updated_at=updated_at,
    )


def _is_due(row: SessionHealth, cutoff: datetime) -> bool:
    idle = row.state is SessionHealthState.IDLE and not row.active_prompt
    unseen = row.last_presence_at is None or row.last_presence_at < cutoff
    return idle and unseen and row.health not in _SETTLED


def _put(row: SessionHealth) -> Operation:
    return Put(HEALTH_TABLE, row.session_id, encode_document(asdict(row)))
