"""Verbs of session health (05 2.6, 2.7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ...storage.health_rows import sorted_rows, stale_row
from ..core.health import HealthInputs, compute_health
from ..errors import SessionHealthNotFoundError, SessionNotFoundError
from ..model.health import (
    HealthRecoveryResult,
    SessionHealth,
    SessionHealthListQuery,
    SessionHealthState,
)
from ..model.ids import normalize_stored_session_id
from ..session.waits import answer
from .records import RecordVerbs


class HealthVerbs(RecordVerbs):
    """Health."""

    def get_session_health(self, session_id: str) -> SessionHealth:
        """The health of a session, computed now; looking at a live one is a sign of presence.

        :raises SessionNotFoundError: no such session.
        :raises StorageError: the row can not be read or stored.
        """
        checked = normalize_stored_session_id(session_id, "get_session_health")
        live = self._runtime.registry.get(checked)
        if live is not None:
            return self._runtime.health.touch(live)
        info = self.status(checked)
        previous = self._stored_row(checked)
        row = compute_health(info, previous, self._runtime.clock.now(), HealthInputs())
        return self._keep(row)

    def touch_session_presence(self, session_id: str) -> SessionHealth:
        """Somebody watches a live session (05 2.6).

        :raises SessionNotFoundError: it is not live.
        """
        checked = normalize_stored_session_id(session_id, "touch_session_presence")
        live = self._runtime.registry.get(checked)
        if live is None:
            raise SessionNotFoundError(
                f'touch_session_presence: session "{checked}" is not live', session_id=checked
            )
        return self._runtime.health.touch(live)

    def list_session_health(
        self,
        *,
        workspace_id: str = "",
        agent_name: str = "",
        session_id: str = "",
        state: str = "",
        health: str = "",
        eligible_for_wake: bool | None = None,
        limit: int = 0,
    ) -> tuple[SessionHealth, ...]:
        """The health of all sessions that have a row, the newest first (05 2.6).

        Sessions that are idle and were not looked at for a while are marked stale first.

        :param limit: at most so many; 0 is all.
        :raises InvalidSessionHealthError: an unknown state or health, or a negative limit.
        """
        query = SessionHealthListQuery(
            workspace_id, agent_name, session_id, state, health, eligible_for_wake, limit
        )
        runtime = self._runtime
        live = [runtime.health.touch(one) for one in runtime.registry.all()]
        store = runtime.health.store
        if store is None:
            found = sorted_rows([row for row in live if query.matches(row)])
            return tuple(found[:limit] if limit else found)
        self._mark_stale()
        return tuple(runtime.off_hub(store.list_session_health, query))

    def recover_session_health(self) -> HealthRecoveryResult:
        """Bring the rows of an earlier runtime up to date; a second run changes nothing (05 2.7).

        :raises StorageError: rows or documents can not be read or stored.
        """
        runtime = self._runtime
        live = [runtime.health.touch(one) for one in runtime.registry.all()]
        store = runtime.health.store
        if store is None:
            return HealthRecoveryResult(len(live))
        active = {row.session_id for row in live}
        recomputed = 0
        for row in runtime.off_hub(store.list_session_health_recovery_inputs, 0):
            if row.session_id in active or not row.session_id.strip():
                continue
            fresh = self._recovered(row)
            if replace(fresh, updated_at=row.updated_at) != row:
                self._keep(fresh)
                recomputed += 1
        return HealthRecoveryResult(len(live), recomputed, self._mark_stale())

    def _recovered(self, row: SessionHealth) -> SessionHealth:
        now = self._runtime.clock.now()
        try:
            info = self.status(row.session_id)
        except SessionNotFoundError:
            gone = replace(
                row, state=SessionHealthState.DETACHED, active_prompt=False, attachable=False
            )
            return stale_row(gone, now)
        return compute_health(info, row, now, HealthInputs())

    def _mark_stale(self) -> int:
        runtime = self._runtime
        answer(runtime.health.flush(), None, "session_health")
        store, now = runtime.health.store, runtime.clock.now()
        assert store is not None
        stale_after = runtime.options.session_health_config.session_health_stale_after
        cutoff = now - timedelta(seconds=stale_after)
        return runtime.off_hub(store.mark_session_health_stale, cutoff, now)

    def _stored_row(self, session_id: str) -> SessionHealth | None:
        store = self._runtime.health.store
        if store is None:
            return None
        answer(self._runtime.health.flush(), None, "session_health")
        try:
            return self._runtime.off_hub(store.get_session_health, session_id)
        except SessionHealthNotFoundError:
            return None

    def _keep(self, row: SessionHealth) -> SessionHealth:
        store = self._runtime.health.store
        if store is None:
            return row.validate()
        return self._runtime.off_hub(store.upsert_session_health, row)
