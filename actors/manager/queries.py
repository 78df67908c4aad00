"""Verbs that read: snapshot and store, never the mailbox (01 15, 03 7)."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ...storage.catalog import SessionCatalog
from ...storage.format.transcript import UIMessage, to_ui_messages
from ...storage.readonly import SessionReader
from ..core.recovery import classify_inactive_meta_for_recovery
from ..errors import SessionError, SessionNotFoundError, StoreClosedError
from ..model.event import SessionEvent
from ..model.ids import normalize_stored_session_id
from ..model.query import EventQuery, TurnHistory
from ..model.session import SessionInfo
from ..session.live import LiveSession, info_of
from ..session.waits import answer
from .group import VerbGroup

R = TypeVar("R")


class QueryVerbs(VerbGroup):
    """Get, list, status, events, history, transcript."""

    def get(self, session_id: str) -> LiveSession | None:
        """The handle of a live session, ``None`` when there is none; never raises."""
        return self._runtime.registry.get(str(session_id).strip())

    def list(self) -> tuple[SessionInfo, ...]:
        """The live sessions, oldest first."""
        return tuple(live.info() for live in self._runtime.registry.all())

    def list_all(self) -> tuple[SessionInfo, ...]:
        """Live and stored sessions, oldest first; unreadable meta is logged and skipped.

        Stored ones are read from the catalog, not one by one.
        """
        runtime = self._runtime
        found = {live.id: live.info() for live in runtime.registry.all()}
        unsettled: Sequence[str]
        if (catalog := runtime.catalog) is None:
            unsettled = runtime.off_hub(runtime.home.session_ids)
        else:
            stored, unsettled = runtime.off_hub(self._settled, catalog, frozenset(found))
            found = {**stored, **found}
        for session_id in unsettled:
            if session_id in found:
                continue
            try:
                found[session_id] = self.status(session_id)
            except SessionNotFoundError:
                continue
            except SessionError as error:
                self._runtime.logger.warning('list: session "%s": %s', session_id, error)
        return tuple(sorted(found.values(), key=lambda info: (str(info.created_at), info.id)))

    def _settled(
        self, catalog: SessionCatalog, live: Container[str]
    ) -> tuple[dict[str, SessionInfo], Sequence[str]]:
        """Sessions nobody runs, and the ids of those whose document must be looked at."""
        roots = self._runtime.workspaces.roots()
        now = self._runtime.clock.now()
        settled: dict[str, SessionInfo] = {}
        unsettled = []
        for listed in catalog.sessions():
            session_id, meta = listed.session_id, listed.meta
            if session_id in live:
                continue
            if meta is None or classify_inactive_meta_for_recovery(now, meta)[1]:
                unsettled.append(session_id)
            else:
                settled[session_id] = info_of(meta, roots.get(meta.workspace_id, ""))
        if catalog.error is not None:
            self._runtime.logger.warning("catalog: %s", catalog.error)
        return settled, unsettled

    def status(self, session_id: str) -> SessionInfo:
        """The snapshot of a session, live or stored.

        :raises SessionNotFoundError: no such session.
        """
        checked = normalize_stored_session_id(session_id, "status")
        live = self._runtime.registry.get(checked)
        if live is not None:
            return live.info()
        meta = self._runtime.read_meta(checked, "status")
        root = self._runtime.off_hub(self._runtime.workspaces.root_of, meta.workspace_id)
        return info_of(meta, root)

    def events(
        self,
        session_id: str,
        *,
        type: str = "",
        agent_name: str = "",
        turn_id: str = "",
        since: datetime | None = None,
        limit: int = 0,
        after_sequence: int = 0,
        order: str = "tail",
    ) -> tuple[SessionEvent, ...]:
        """Stored events, oldest first (03 7).

        :param limit: at most this many; 0 is all. ``order`` says which end they are taken from.
        :param after_sequence: only later ones.
        :raises SessionNotFoundError: no such session.
        :raises StoreValidationError: a negative limit or cursor, or an unknown order.
        """
        query = EventQuery(
            type=type,
            agent_name=agent_name,
            turn_id=turn_id,
            since=since,
            limit=limit,
            after_sequence=after_sequence,
            order=order,
        )
        return tuple(self._read(session_id, "events", lambda store: store.query(query)))

    def crash_bundle(self, session_id: str) -> dict[str, Any] | None:
        """What is known about the failure a session ended with (01 11.3).

        :returns: the document of the crash bundle, texts redacted; ``None`` when its failure has
            none, or there is no failure.
        :raises SessionNotFoundError: no such session.
        :raises StorageError: the bundle is gone.
        """
        info = self.status(session_id)
        if info.failure is None or not info.failure.crash_bundle_path:
            return None
        data = self._runtime.bundles.read(Path(info.failure.crash_bundle_path))
        document: dict[str, Any] = msgspec.json.decode(data)
        return document

    def history(
        self,
        session_id: str,
        *,
        type: str = "",
        agent_name: str = "",
        turn_id: str = "",
        since: datetime | None = None,
        limit: int = 0,
        after_sequence: int = 0,
        order: str = "tail",
    ) -> tuple[TurnHistory, ...]:
        """Stored events grouped by turn, in order of each turn's first row (03 7).

        Parameters and errors as :meth:`events`; they choose rows before these are grouped.
        """
        query = EventQuery(
            type=type,
            agent_name=agent_name,
            turn_id=turn_id,
            since=since,
            limit=limit,
            after_sequence=after_sequence,
            order=order,
        )
        return tuple(self._read(session_id, "history", lambda store: store.history(query)))

    def transcript(self, session_id: str) -> tuple[UIMessage, ...]:
        """The conversation as UI messages (03 8).

        :raises SessionNotFoundError: no such session.
        """
        everything = EventQuery()
        return tuple(
            self._read(
                session_id, "transcript", lambda store: to_ui_messages(store.query(everything))
            )
        )

    def _read(self, session_id: str, operation: str, read: Callable[[SessionReader], R]) -> R:
        checked = normalize_stored_session_id(session_id, operation)
        try:
            return self._read_once(checked, operation, read)
        except StoreClosedError:
            # It stopped meanwhile: read what it left.
            live = self._runtime.registry.get(checked)
            if live is not None:
                answer(live.retired, None, operation)
            return self._read_once(checked, operation, read)

    def _read_once(self, session_id: str, operation: str, read: Callable[[SessionReader], R]) -> R:
        """Of the live store, else of the files: those of an ending session are complete first."""
        runtime = self._runtime
        live = runtime.registry.get(session_id)
        if live is None:
            runtime.read_meta(session_id, operation)
        elif live.state.finalizing:
            answer(live.retired, None, operation)
        while (replaced := runtime.registry.replaced(session_id)) is not None:
            answer(replaced, None, operation)
        with runtime.registry.reading(session_id):
            store = runtime.home.reader(session_id)
            try:
                return runtime.off_hub(read, store)
            finally:
                store.close()
