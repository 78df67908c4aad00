"""Tells the host's notifier what happened, in order, without ever holding a session up (01 19).

Callbacks run in a greenlet of the hub, one after the other; one that raises is logged. A notifier
that can not keep up loses the oldest notices and the loss is logged: everything is in the store.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import gevent

from ..model.event import AgentEvent

NOTICES_MAX = 10_000
"""Notices that wait for a slow notifier, per session."""


@runtime_checkable
class Notifier(Protocol):
    """What a host may be told of."""

    def on_session_created(self, session: Any) -> None:
        """A session became active; comes before everything else about this incarnation."""

    def on_session_stopped(self, session: Any) -> None:
        """An incarnation is over; comes last, once."""

    def on_agent_event(self, session_id: str, event: AgentEvent) -> None:
        """An event was stored."""


@runtime_checkable
class AgentEventNotifier(Protocol):
    """A notifier that wants the session with each event, instead of ``on_agent_event``."""

    def on_agent_event_for_session(self, session: Any, event: AgentEvent) -> None:
        """An event was stored."""


class Notices:
    """The notices of one session.

    :param notifier: the host's, or ``None``.
    """

    def __init__(self, notifier: Notifier | None, logger: logging.Logger) -> None:
        self._notifier = notifier
        # Looked up once: the question costs as much as the notice.
        with_session = isinstance(notifier, AgentEventNotifier)
        self._with_session: Any = notifier if with_session else None
        self._logger = logger
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = False
        self._lost = 0
        self._created = False
        self._over = False

    def created(self, session: Any) -> None:
        """The session is active; one that is over already is told of right behind."""
        self._created = True
        if self._notifier is not None:
            notifier = self._notifier
            self._put(lambda: notifier.on_session_created(session))
        if self._over:
            self.stopped(session)

    def stopped(self, session: Any) -> None:
        """The incarnation is over; of one that never became active nobody is told."""
        self._over = True
        if self._notifier is not None and self._created:
            notifier = self._notifier
            self._put(lambda: notifier.on_session_stopped(session))

    def stored(self, session: Any, session_id: str, events: Iterable[AgentEvent]) -> None:
        """Events were stored, or, marked so, could not be."""
        notifier = self._notifier
        if notifier is None:
            return
        with_session = self._with_session
        for event in events:
            if with_session is not None:
                self._put(partial(with_session.on_agent_event_for_session, session, event))
            else:
                self._put(partial(notifier.on_agent_event, session_id, event))

    def _put(self, notice: Callable[[], object]) -> None:
        if len(self._waiting) >= NOTICES_MAX:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(notice)
        if not self._running:
            self._running = True
            gevent.spawn(self._run)

    def _run(self) -> None:
        try:
            while self._waiting:
                notice = self._waiting.popleft()
                try:
                    notice()
                except Exception:
                    self._logger.exception("a notifier raised")
        finally:
            self._running = False
        if self._lost:
            self._logger.warning("a slow notifier lost %d notices", self._lost)
            self._lost = 0
