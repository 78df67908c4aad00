"""A subscriber for asyncio: no thread waits, the event loop goes on.

Rules owned here: it belongs to the loop it is first awaited in, one coroutine reads at a time, and
the loop gets its turn at least every ``EVENTS_PER_TURN`` events. The sockets' descriptors are
watched only while somebody waits: they stay readable as long as nobody takes.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from ...actors.model.event import SessionEvent
from . import following
from .following import Following

EVENTS_PER_TURN = 100


class AsyncSubscriber(Following):
    """Follows one session, or all sessions of a runtime; parameters as :class:`Following`.

    ``async for`` ends when it is closed. With ``after=NOW``, now is when it is entered as a
    context manager, or first read.
    """

    def _begin(self) -> None:
        self._reading = asyncio.Lock()
        self._handed_out = 0

    async def next(self, timeout: float | None = None) -> SessionEvent | None:
        """The next event.

        :param timeout: seconds to wait; ``None`` waits for ever.
        :returns: ``None`` when the time is up or the subscriber was closed meanwhile.
        :raises BusClosedError: it is closed, or was made before a fork.
        :raises BusProtocolError: the runtime speaks another version.
        :raises BusRemoteError: the runtime failed to answer, again and again.
        :raises BusTimeoutError: ``after=NOW``, and the runtime does not answer.
        """
        self._check_open()
        if self._handed_out >= EVENTS_PER_TURN:
            self._handed_out = 0
            await asyncio.sleep(0)
        event = None if self._seeks_now else self._follower.take()
        if event is None:
            event = await self._wait(timeout)
        self._handed_out += event is not None
        return event

    async def read(self, timeout: float | None = None) -> list[SessionEvent]:
        """The events that are there, after waiting for the first as :meth:`next` does."""
        event = await self.next(timeout)
        return [] if event is None else [event, *self._follower.take_all()]

    async def __aiter__(self) -> AsyncIterator[SessionEvent]:
        while not self._closed and self._owner == os.getpid():
            event = await self.next()
            if event is not None:
                yield event

    async def close(self) -> None:
        """Stop; a reader in another task returns. Idempotent."""
        if self._owner != os.getpid():
            return
        self._closed = True
        if self._connection.destroyed:
            return
        self._connection.wake()
        async with self._reading:
            if not self._connection.destroyed:
                self._connection.destroy()

    async def __aenter__(self) -> Self:
        if self._seeks_now:
            async with self._reading:
                await self._find_now()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _wait(self, timeout: float | None) -> SessionEvent | None:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        event: SessionEvent | None = None
        async with self._reading:
            if self._seeks_now and not self._closed:
                await self._find_now()
            in_time = True
            while event is None and in_time and not self._closed:
                in_time = await self._work(deadline)
                event = self._follower.take()
        return event

    async def _work(self, deadline: float) -> bool:
        """Ask, wait and take in, once; whether there is time left."""
        await self._pause(self._follower.begin(deadline))
        self._follower.take_in()
        return time.monotonic() < deadline

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0 or self._connection.ready():
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        timer = None if seconds == math.inf else loop.call_later(seconds, over.set)
        descriptors = self._connection.descriptors()
        for descriptor in descriptors:
            loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            if timer is not None:
                timer.cancel()

    async def _find_now(self) -> None:
        deadline = time.monotonic() + following.NOW_TIMEOUT_S
        while not self._machine.synced and not self._closed and await self._work(deadline):
            pass
        if not self._machine.synced:
            raise self._no_answer()
        self._seeks_now = False
