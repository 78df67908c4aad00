"""Keeps the health rows of live sessions in step with them (05 2.4, 2.5).

A row is put when what it says of a session has changed, at most one per session each
``WRITE_INTERVAL_S``, all of them in one record; the last one always. Activity alone changes no row:
whoever reads it gets it computed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ...storage.health_rows import HealthStore, JournalHealthStore
from ..core.health import HealthInputs, compute_health
from ..errors import SessionError
from ..model.health import SessionHealth
from ..model.session import State
from ..runtime.clock import Timekeeper, TimerHandle
from ..runtime.future import GreenFuture
from ..session.live import LiveSession
from .world import FileWorker

WRITE_INTERVAL_S = 0.25
"""Seconds between two writes of changed rows."""


@dataclass(slots=True)
class _Kept:
    """What is remembered of one live session: its last row, and what that was made of."""

    row: SessionHealth | None = None
    facts: tuple[object, ...] = ()


class HealthKeeper:
    """The rows of the live sessions of one runtime; used in its hub only.

    :param store: ``None`` keeps nothing.
    """

    def __init__(
        self,
        store: HealthStore | None,
        worker: FileWorker,
        clock: Timekeeper,
        logger: logging.Logger,
    ) -> None:
        self.store = store
        self._worker = worker
        self._clock = clock
        self._logger = logger
        self._kept: dict[str, _Kept] = {}
        self._changed: dict[str, SessionHealth] = {}
        self._timer: TimerHandle | None = None

    def note(self, live: LiveSession) -> None:
        """A step was taken: a row is made when it says something else than the last."""
        facts = _facts(live)
        kept = self._kept.get(live.id)
        if kept is not None and kept.facts == facts:
            return
        self._write(live, touch=not live.state.is_prompting)

    def touch(self, live: LiveSession) -> SessionHealth:
        """Somebody is there: presence moves, unless a prompt runs (05 2.4)."""
        return self._write(live, touch=not live.state.is_prompting)

    def forget(self, session_id: str) -> None:
        """The session was deleted; of a host's own store its row is the host's."""
        self._changed.pop(session_id, None)
        if isinstance(self.store, JournalHealthStore):
            self._worker.submit(self.store.remove, session_id)

    def flush(self) -> GreenFuture[None]:
        """Write every changed row; set when that is done, whatever came of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows, self._changed = list(self._changed.values()), {}
        return self._worker.submit(self._put_all, rows)

    def _write(self, live: LiveSession, *, touch: bool) -> SessionHealth:
        state = live.state
        kept = self._kept.setdefault(live.id, _Kept())
        inputs = HealthInputs(
            active_prompt=state.is_prompting,
            attachable=_attachable(live),
            touch_presence=touch and state.meta.state is State.ACTIVE,
            last_error=state.stalled,
        )
        row = compute_health(live.info(), kept.row, self._clock.now(), inputs)
        kept.row, kept.facts = row, _facts(live)
        if state.meta.state is State.STOPPED:
            del self._kept[live.id]
        if self.store is not None:
            self._changed[live.id] = row
            if self._timer is None:
                self._timer = self._clock.call_later(WRITE_INTERVAL_S, self.flush)
        return row

    def _put_all(self, rows: Sequence[SessionHealth]) -> None:
        """In the worker. A row that can not be kept costs nobody anything (05 2.5)."""
        store = self.store
        try:
            if isinstance(store, JournalHealthStore):
                store.upsert_all(rows)
            elif store is not None:
                for row in rows:
                    store.upsert_session_health(row)
        except SessionError as error:
            self._logger.warning("session health was not stored: %s", error)


def _attachable(live: LiveSession) -> bool:
    state = live.state
    return state.meta.state is State.ACTIVE and state.exit is None and not state.dying


def _facts(live: LiveSession) -> tuple[object, ...]:
    state = live.state
    return state.meta.state, state.turn is None, state.exit is None, state.dying, state.stalled
