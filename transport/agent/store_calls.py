"""Calls of a store of process records: one after the other, waited for only so long (04 9)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult

from .natives import Offload
from .process_store import ProcessQuery, ProcessStore, StateChange
from .tool_records import ProcessRecord

RECORD_TIMEOUT_S = 1.0
"""How long a call of the store is waited for (04 1.3)."""
CALLS_MAX = 10_000
"""Calls that may wait for a slow store; more are refused."""


class StoreCalls:
    """A store behind a queue, so that a late write never undoes a later one.

    :param store: ``None`` keeps nothing and has nothing.
    :param offload: for a store that blocks; absent, it is called in the hub at once.
    :param seconds: how long a call is waited for; what was not waited for may still happen.
    """

    def __init__(self, store: ProcessStore | None, offload: Offload | None, seconds: float) -> None:
        self._store = store
        self._offload = offload
        self._seconds = seconds if seconds > 0 else RECORD_TIMEOUT_S
        self._waiting: deque[tuple[Callable[[], Any], AsyncResult[Any]]] = deque()
        self._is_calling = False

    def upsert(self, record: ProcessRecord) -> None:
        """Keep a record; raises what the store raises, or :class:`TimeoutError`."""
        if self._store is not None:
            self._call(self._store.upsert, record)

    def update_state(self, record_id: str, change: StateChange) -> None:
        """Change the state of a record."""
        if self._store is not None:
            self._call(self._store.update_state, record_id, change)

    def list(self, query: ProcessQuery) -> list[ProcessRecord]:
        """The records asked for."""
        if self._store is None:
            return []
        found: list[ProcessRecord] = self._call(self._store.list, query)
        return found

    def _call(self, call: Callable[..., Any], *args: Any) -> Any:
        if self._offload is None:
            return call(*args)
        if len(self._waiting) >= CALLS_MAX:
            raise TimeoutError("the store of process records is too slow")
        answer: AsyncResult[Any] = AsyncResult()
        self._waiting.append((lambda: call(*args), answer))
        if not self._is_calling:
            self._is_calling = True
            gevent.spawn(self._call_all, self._offload)
        try:
            return answer.get(timeout=self._seconds)
        except gevent.Timeout:
            raise TimeoutError("the store of process records did not answer in time") from None

    def _call_all(self, offload: Offload) -> None:
        try:
            while self._waiting:
                call, answer = self._waiting.popleft()
                try:
                    answer.set(offload(call))
                except Exception as error:
                    answer.set_exception(error)
        finally:
            self._is_calling = False
