"""Repair of interrupted histories: rows are appended, as one transaction (03 10)."""

from __future__ import annotations

from collections.abc import Sequence

from ...storage.session_store import SessionStore, StoredRow
from ..core.repair import CRASH_REASONS, plan_session_repair, with_persisted
from ..errors import SessionError
from ..model.event import AgentEvent
from ..model.ids import normalize_stored_session_id
from ..model.query import EventQuery
from ..model.repair import RepairOpts, RepairResult
from ..model.session import SessionMeta
from ..model.settings import LIFECYCLE_TIMEOUT
from ..runtime.future import GreenFuture
from ..session.waits import answer
from .group import VerbGroup


class RepairVerbs(VerbGroup):
    """Repair."""

    def repair_session(
        self,
        session_id: str,
        *,
        dry_run: bool = False,
        force: bool = False,
        timeout: float | None = None,
    ) -> RepairResult:
        """Close the interrupted turn of a stopped session: tool results, then a terminal error.

        :param dry_run: only say what would be done.
        :param force: also repair a session that was stopped on purpose.
        :returns: what is wrong with the history, and what was appended.
        :raises SessionNotFoundError: no such session.
        :raises SessionNotActiveError: it is just being started.
        :raises StorageError: the rows could not be appended; none of them was.
        """
        checked = normalize_stored_session_id(session_id, "repair_session")
        live = self._runtime.registry.get(checked)
        if live is not None:
            return self._plan(live.state.meta, RepairOpts(dry_run=True))[0]
        meta = self._runtime.read_meta(checked, "repair_session")
        self._runtime.registry.reserve(checked)
        try:
            return self._repair(meta, RepairOpts(dry_run, force), timeout)
        finally:
            self._runtime.registry.release(checked)

    def _repair_before_resume(self, meta: SessionMeta) -> None:
        """A resume begins with an unforced repair; a failure of that is only logged (01 8)."""
        if meta.stop_reason not in CRASH_REASONS:
            return
        try:
            self._repair(meta, RepairOpts(), LIFECYCLE_TIMEOUT)
        except (SessionError, TimeoutError) as error:
            self._runtime.logger.warning('repair before resume of "%s": %s', meta.id, error)

    def _plan(
        self, meta: SessionMeta, opts: RepairOpts
    ) -> tuple[RepairResult, tuple[AgentEvent, ...]]:
        runtime = self._runtime
        reader = runtime.home.reader(meta.id)
        try:
            rows = runtime.off_hub(reader.query, EventQuery())
        finally:
            reader.close()
        return plan_session_repair(meta.id, meta, opts, rows, now=runtime.clock.now())

    def _repair(self, meta: SessionMeta, opts: RepairOpts, timeout: float | None) -> RepairResult:
        result, events = self._plan(meta, opts)
        if not events:
            return result
        store = self._runtime.home.open_session(meta.id, create=False)
        try:
            rows = self._append(store, meta, events, timeout)
        finally:
            closed: GreenFuture[Exception | None] = GreenFuture()
            store.close(closed.set)
            answer(closed, LIFECYCLE_TIMEOUT, "repair_session")
        return with_persisted(result, [row.id for row in rows])

    def _append(
        self,
        store: SessionStore,
        meta: SessionMeta,
        events: Sequence[AgentEvent],
        timeout: float | None,
    ) -> Sequence[StoredRow]:
        done: GreenFuture[Exception | None] = GreenFuture()
        rows = store.submit(events, agent_name=meta.agent_name, durable=True, done=done.set)
        error = answer(done, timeout, "repair_session")
        if error is not None:
            raise error
        self._runtime.publisher.publish(meta.id, [row.row for row in rows])
        return rows
