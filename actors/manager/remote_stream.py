"""A prompt stream whose turn runs in another process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType

from ...transport.bus.control_client import ControlClient
from ...transport.bus.control_pending import PendingStream
from ..model.event import AgentEvent
from .values import AGENT_EVENT


class RemotePromptStream:
    """The events of one turn of a session in another process; one reader at a time.

    Iteration, :meth:`next`, :meth:`result` and :meth:`close` are those of ``PromptStream``.
    """

    def __init__(self, client: ControlClient, items: PendingStream, turn_id: str) -> None:
        self.turn_id = turn_id
        self._client = client
        self._items = items
        self._read: deque[AgentEvent] = deque()
        self._terminal: AgentEvent | None = None
        self._over = False
        self._closed = False

    def next(self, timeout: float | None = None) -> AgentEvent | None:
        """The next event, or ``None`` when there will be no more.

        :raises TimeoutError: none came in time.
        """
        if self._read:
            return self._read.popleft()
        return None if self._closed else self._receive(timeout)

    def result(self, timeout: float | None = None) -> AgentEvent | None:
        """Wait for the end of the turn; what arrives meanwhile can still be read.

        :raises TimeoutError: the turn is still running.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._over:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            event = self._receive(left)
            if event is not None and not self._closed:
                self._read.append(event)
        return self._terminal

    def close(self) -> None:
        """Stop reading; the turn goes on."""
        self._closed = True

    def _receive(self, timeout: float | None) -> AgentEvent | None:
        if self._over:
            return None
        if timeout is not None:
            self._client.wait_for(self._items, time.monotonic() + timeout)
            if not self._items.has_news():
                raise TimeoutError(f'turn "{self.turn_id}": no event within {timeout} s')
        try:
            event: AgentEvent = AGENT_EVENT.decode(next(self._items))
        except StopIteration:
            self._over = True
            return None
        if event.is_terminal:
            self._terminal = event
        return event

    def __iter__(self) -> Iterator[AgentEvent]:
        while (event := self.next()) is not None:
            yield event

    def __enter__(self) -> RemotePromptStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
