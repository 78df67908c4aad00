"""The caller's view of one turn: bounded, never in the way of the turn (02 5).

Events are pushed in the hub after they were stored and published; they are read from any thread,
greenlet or asyncio task. A reader that falls behind the bound is told so and reads on from the
store; the turn never waits for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType

import pykka

from ..errors import PromptStreamLaggedError
from ..model.event import AgentEvent
from ..model.runs import heads_of
from ..runtime.future import GreenFuture

_NO_WAIT: GreenFuture[None] = GreenFuture()


class PromptStream:
    """Iterates the events of one turn, in order.

    :param turn_id: the turn.
    :param session_id: greenroom's session id, for errors.
    :param size: events held for a reader that is behind.

    Iteration ends when the turn ended and everything was read, or after :meth:`close`. It raises
    :class:`PromptStreamLaggedError` once when the reader fell behind. Leaving a stream never
    disturbs the turn.
    """

    def __init__(self, turn_id: str, session_id: str, size: int) -> None:
        self.turn_id = turn_id
        self._session_id = session_id
        self._size = size
        self._events: deque[AgentEvent] = deque()
        self._waiters: deque[GreenFuture[None]] = deque()
        self._ended: GreenFuture[None] = GreenFuture()
        self._terminal: AgentEvent | None = None
        self._closed = False
        self._over = False
        self._lagged = False
        self._last_sequence = 0

    def push(self, events: Sequence[AgentEvent], last: int) -> None:
        """Deliver events that were stored together; runs in the hub, never waits.

        :param last: the sequence of the last one; 0 when they could not be stored.
        """
        for event in heads_of(events):
            if event.is_terminal:
                self._terminal = event
        if not (self._closed or self._lagged):
            room = self._size - len(self._events)
            self._events.extend(islice(events, room))
            beyond = max(0, len(events) - room)
            self._lagged = beyond > 0
            if last and room:
                self._last_sequence = last - beyond
        self._wake()

    def end(self) -> None:
        """The turn is over; called once, in the hub, after the last push."""
        if not self._over:
            self._over = True
            self._ended.set(None)
            self._wake()

    def close(self) -> None:
        """Stop reading; the turn goes on. Events already buffered can still be read."""
        self._closed = True
        self._wake()

    def result(self, timeout: float | None = None) -> AgentEvent | None:
        """Wait for the end of the turn.

        :param timeout: seconds; ``None`` waits without limit.
        :returns: the terminal event, or ``None`` when the turn ended without one (a stop).
        :raises TimeoutError: the turn is still running.
        """
        try:
            self._ended.get(timeout=timeout)
        except pykka.Timeout:
            raise TimeoutError(
                f'turn "{self.turn_id}" is still running after {timeout} s'
            ) from None
        return self._terminal

    def next(self, timeout: float | None = None) -> AgentEvent | None:
        """The next event, or ``None`` when there will be no more.

        :param timeout: seconds to wait for one.
        :raises TimeoutError: none came in time.
        :raises PromptStreamLaggedError: the reader fell behind; raised once, then the stream ends.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            ready, event, waiter = self._take_or_wait()
            if ready:
                return event
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                waiter.get(timeout=left)
            except pykka.Timeout:
                with suppress(ValueError):
                    self._waiters.remove(waiter)
                raise TimeoutError(f'turn "{self.turn_id}": no event within {timeout} s') from None

    def _take_or_wait(self) -> tuple[bool, AgentEvent | None, GreenFuture[None]]:
        """An event, the end, or a future that is set when looking again is worth it.

        The waiter is in place before the second look, so no wake-up falls between the two.
        """
        ready, event = self._take()
        if ready:
            return True, event, _NO_WAIT
        waiter: GreenFuture[None] = GreenFuture()
        self._waiters.append(waiter)
        ready, event = self._take()
        return ready, event, waiter

    def _take(self) -> tuple[bool, AgentEvent | None]:
        try:
            return True, self._events.popleft()
        except IndexError:
            pass
        if self._lagged:
            self._lagged, self._closed = False, True
            raise PromptStreamLaggedError(
                f'turn "{self.turn_id}": the reader fell more than {self._size} events behind; '
                f"read on with events(after_sequence={self._last_sequence})",
                session_id=self._session_id,
                last_sequence=self._last_sequence,
            )
        # An event pushed between the two looks would be lost to an early end.
        if (self._over or self._closed) and not self._events:
            return True, None
        return False, None

    def _wake(self) -> None:
        while self._waiters:
            self._waiters.popleft().set(None)

    def __iter__(self) -> Iterator[AgentEvent]:
        while (event := self.next()) is not None:
            yield event

    async def __aiter__(self) -> AsyncIterator[AgentEvent]:
        while True:
            ready, event, waiter = self._take_or_wait()
            if not ready:
                await waiter
            elif event is None:
                return
            else:
                yield event

    async def wait(self) -> AgentEvent | None:
        """:meth:`result` for asyncio: the terminal event, awaited."""
        await self._ended
        return self._terminal

    def __enter__(self) -> PromptStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
