"""The ledgers of the sessions of a home, where the host keeps them (01 12, 03 12.3)."""

from __future__ import annotations

import logging
from pathlib import Path

from ...storage.ledger import LedgerMaterializer, SessionLedgerRecord
from ..errors import SessionError
from ..model.session import SessionMeta
from ..runtime.future import GreenFuture
from .world import FileWorker


class Ledgers:
    """Makes and discards them, outside of the hub.

    :param sessions: the directory of the sessions.
    """

    def __init__(
        self,
        materializer: LedgerMaterializer,
        sessions: Path,
        worker: FileWorker,
        logger: logging.Logger,
    ) -> None:
        self._materializer = materializer
        self._sessions = sessions
        self._worker = worker
        self._logger = logger

    def make(self, meta: SessionMeta) -> GreenFuture[None]:
        """Have the ledger of a session made that has just stopped."""
        record = self._record(meta)
        return self._worker.submit(self._materializer.materialize_session_ledger, record)

    def discard(self, meta: SessionMeta) -> None:
        """Remove the ledger of a history that is gone; a failure is logged."""
        record = self._record(meta)
        try:
            self._worker.submit(self._materializer.discard_session_ledger, record).get()
        except SessionError as error:
            self._logger.warning('session "%s": its ledger stays: %s', meta.id, error)

    def _record(self, meta: SessionMeta) -> SessionLedgerRecord:
        return SessionLedgerRecord(
            session_id=meta.id,
            events_db_path=str(self._sessions / meta.id / "events.journal"),
            workspace_id=meta.workspace_id,
            agent_name=meta.agent_name,
            session_type=meta.session_type,
            lineage=meta.lineage,
            started_at=meta.created_at,
            ended_at=meta.updated_at,
        )
