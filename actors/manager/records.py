"""Verbs that read what is kept beside the events: usage, permission log, hook runs (03 6, 9)."""

from __future__ import annotations

from datetime import datetime

from ...storage.session_records import hook_runs, permission_log, session_usage
from ..model.home import HomeStatus
from ..model.records import HookRunQuery, HookRunRecord, PermissionRecord, SessionUsage
from .queries import QueryVerbs


class RecordVerbs(QueryVerbs):
    """Usage, permission log, hook runs, and how the home itself is."""

    def home_status(self) -> HomeStatus:
        """How the store of the home is: a failed sync makes it read-only (DESIGN 5.10)."""
        store = self._runtime.home
        return HomeStatus(
            home=str(self._runtime.options.home),
            read_only=store.log.error is not None,
            error=str(store.error or ""),
            live_sessions=len(self._runtime.registry.all()),
        )

    def usage(self, session_id: str) -> SessionUsage:
        """Tokens and cost: of each ended turn of the conversation, and of the session in all.

        A turn counts once it has ended; a clear of the conversation keeps the statistics.

        :raises SessionNotFoundError: no such session.
        :raises StorageError: its store can not be read.
        """
        return self._read(session_id, "usage", session_usage)

    def permission_log(self, session_id: str) -> tuple[PermissionRecord, ...]:
        """Every request for a permission and its decision, oldest first; a clear keeps them.

        :raises SessionNotFoundError: no such session.
        :raises StorageError: its store can not be read.
        """
        return self._read(session_id, "permission_log", permission_log)

    def hook_runs(
        self,
        session_id: str,
        *,
        event: str = "",
        outcome: str = "",
        since: datetime | None = None,
        limit: int = 0,
    ) -> tuple[HookRunRecord, ...]:
        """The hook runs of the conversation, by time (03 6).

        :param limit: the most recent so many; 0 is all.
        :raises SessionNotFoundError: no such session.
        :raises StoreValidationError: an unknown outcome, or a negative limit.
        :raises StorageError: its store can not be read.
        """
        query = HookRunQuery(event.strip(), outcome.strip(), since, limit)
        return self._read(session_id, "hook_runs", lambda reader: hook_runs(reader, query))
