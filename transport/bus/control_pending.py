"""Calls on their way, as their callers hold them: results to wait for, streams to iterate.

Rules owned here: an answer is taken once, items in their order and once; a stream grants more when
half of its credit was taken, or many bytes, and never more than the caller has room for.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .control import (
    Answer,
    CallId,
    CallMessage,
    EndAnswer,
    ErrorAnswer,
    ItemAnswer,
    OkAnswer,
    UnknownAnswer,
    encode_message,
)
from .errors import BusLostError, BusProtocolError, BusTimeoutError

if TYPE_CHECKING:
    from .control_client import ControlClient


GRANT_BYTES = 64 * 1024
"""Items taken, by size, after which more are granted; far less than what a runtime holds back."""


class PendingCall:
    """A call whose result is still to come; one thread waits for it.

    :param timeout: seconds it may take from now on.
    """

    def __init__(
        self, client: ControlClient, message: CallMessage, timeout: float | None, resend: bool
    ) -> None:
        self.number = 0
        self.over = False
        """There will be nothing more."""
        self.poke_at = math.inf
        self.pokes = 0
        self._client = client
        self._message = message
        self._began_at = time.monotonic()
        self._timeout_s = timeout
        self._deadline = math.inf if timeout is None else self._began_at + timeout
        self._resend = resend
        self._asleep = threading.Lock()
        self._asleep.acquire()
        self._result: Any = None
        self._error: Exception | None = None

    def result(self) -> Any:
        """Wait for the result.

        :raises BusTimeoutError: none in time; the call was cancelled.
        :raises BusLostError: the runtime was started anew meanwhile, and the call may not be sent
            again.
        :raises BusClosedError: the client was closed meanwhile.
        :raises Exception: whatever the runtime answered.
        """
        self._client.wait_for(self, self._deadline)
        if not self.over:
            self._client.drop(self, cancel=True)
            raise self._late()
        if self._error is not None:
            raise self._error
        return self._result

    def done(self) -> bool:
        """Whether :meth:`result` would not wait; it is learned only while somebody waits."""
        return self.over

    def _late(self) -> BusTimeoutError:
        return BusTimeoutError(
            f"{self._message.verb}: no answer within {self._timeout_s} s",
            timeout_s=self._timeout_s or 0.0,
        )

    # -- for the client -------------------------------------------------------------------------

    def encoded(self, client: bytes, *, again: bool = False) -> bytes:
        """The message, as of now; one that is sent again is never of age 0."""
        now = time.monotonic()
        left = None
        if self._deadline != math.inf:
            left = max(math.ceil((self._deadline - now) * 1000), 0)
        age = max(math.floor((now - self._began_at) * 1000), 1) if again else 0
        sent = self._message
        id = CallId(client, self.number)
        return encode_message(CallMessage(id, sent.verb, sent.args, left, age, sent.credit))

    def window(self) -> tuple[int, int]:
        """Items had, and the last one that may be sent."""
        return 0, 0

    def has_news(self) -> bool:
        """Whether its caller has something to look at."""
        return self.over

    def take(self, answer: Answer, size: int) -> bool:
        """Something arrived for it; whether the call is to be sent again."""
        match answer:
            case OkAnswer(_, result):
                self._result = result
                self._finish(None)
            case ErrorAnswer(_, name, message, fields):
                self._finish(self._client.errors.rebuild(name, message, fields))
            case UnknownAnswer():
                if self._resend and self.window()[0] == 0:
                    return True
                verb = self._message.verb
                self._finish(BusLostError(f"{verb}: the connection was lost", verb=verb))
            case _:
                self._finish(BusProtocolError(f"{self._message.verb}: streams, but was called"))
        return False

    def fail(self, error: Exception) -> None:
        """It will get no answer."""
        if not self.over:
            self._finish(error)

    def sleep(self, seconds: float) -> None:
        """Until roused; somebody else receives meanwhile."""
        self._asleep.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))

    def rouse(self) -> None:
        """End :meth:`sleep`, now or the next one."""
        if self._asleep.locked():
            # Another thread may do the same just now.
            with contextlib.suppress(RuntimeError):
                self._asleep.release()

    def _finish(self, error: Exception | None) -> None:
        self._error = error
        self.over = True
        self.rouse()


class PendingStream(PendingCall):
    """A stream: iterate it. Leaving it as a context manager, or :meth:`close`, cancels the rest."""

    def __init__(
        self, client: ControlClient, message: CallMessage, timeout: float | None, resend: bool
    ) -> None:
        super().__init__(client, message, timeout, resend)
        self._items: deque[tuple[Any, int]] = deque()
        self._arrived = 0
        self._taken = 0
        self._taken_bytes = 0
        self._credit = max(message.credit, 1)
        self._until = message.credit
        self._count: int | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next item.

        :raises StopIteration: the stream is complete.
        :raises BusLostError: it was cut; items may be missing.
        :raises Exception: see :meth:`PendingCall.result`.
        """
        if not self._items:
            self._client.wait_for(self, self._deadline)
        if self._items:
            return self._take_item()
        if not self.over:
            self.close()
            raise self._late()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def result(self) -> list[Any]:
        """The rest of the stream."""
        return list(self)

    def close(self) -> None:
        """Want nothing more; idempotent."""
        self._client.drop(self, cancel=not self.over)
        self._items.clear()
        self.fail(BusLostError("the stream was closed", verb=self._message.verb))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take_item(self) -> Any:
        item, size = self._items.popleft()
        self._taken += 1
        self._taken_bytes += size
        few = self._until - self._taken <= self._credit // 2
        if not self.over and (few or self._taken_bytes >= GRANT_BYTES):
            self._taken_bytes = 0
            self._until = self._taken + self._credit
            self._client.grant(self, self._arrived, self._until)
        return item

    def window(self) -> tuple[int, int]:
        return self._arrived, self._until

    def has_news(self) -> bool:
        return self.over or bool(self._items)

    def take(self, answer: Answer, size: int) -> bool:
        match answer:
            case ItemAnswer(_, index, value):
                if index == self._arrived + 1:
                    self._arrived = index
                    self._items.append((value, size))
                    self.rouse()
                elif index > self._arrived:
                    self.poke_at = 0.0  # one was lost: ask for it
            case EndAnswer(_, count) if count != self._arrived:
                self.poke_at = 0.0
            case EndAnswer(_, count):
                self._client.grant(self, count, count)
                self._finish(None)
            case _:
                return super().take(answer, size)
        return False
