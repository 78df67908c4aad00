"""A caller's end of the control plane: calls from any thread, streams as iterators.

There is no thread behind it: of the threads that wait for answers one at a time does the receiving
for all, and the next takes over when it has its own. Rules owned here: a call keeps its name when
it is sent again, so it takes effect once; after a new connection, and after silence, the runtime is
asked about every unanswered call; a deadline that passed is a :class:`BusTimeoutError`, and the
call is cancelled.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Self, TypeVar

from .control import (
    CLIENT_BYTES,
    Answer,
    CallId,
    CallMessage,
    CancelMessage,
    GrantMessage,
    PingAnswer,
    decode_answer,
    encode_message,
)
from .control_pending import PendingCall, PendingStream
from .control_wire import ControlWire
from .credentials import Credentials
from .error_table import ErrorTable
from .errors import BusClosedError, BusOverloadedError, BusProtocolError

POKE_S = 1.0
"""Silence about a call after which the runtime is asked about it; doubles to ``POKE_MAX_S``."""
POKE_MAX_S = 10.0
LOOK_S = 0.25
"""Between two looks which calls nothing was heard of."""
CREDIT = 64
"""Items of a stream on their way, unless the caller says otherwise."""
MESSAGES_PER_LOOK = 100
PENDING_MAX = 10_000
"""Unanswered calls of one client."""


K = TypeVar("K", bound=PendingCall)


class ControlClient:
    """Calls a runtime.

    :param address: the control plane's; of a ``tcp://`` one, ``keys`` are needed.
    :param errors: the exceptions that travel.
    :raises BusEndpointError: an address that can not be connected to.
    """

    def __init__(
        self, address: str, *, errors: ErrorTable, keys: Credentials | None = None
    ) -> None:
        self.address = address
        self.errors = errors
        self._client = secrets.token_bytes(CLIENT_BYTES)
        self._owner = os.getpid()
        self._io = threading.Lock()
        self._state = threading.Lock()
        self._number = 0
        self._pending: dict[int, PendingCall] = {}
        self._waiting: dict[PendingCall, None] = {}
        self._look_at = 0.0
        self._outbox: deque[bytes] = deque()
        self._closed = False
        self._wire = ControlWire(address, keys)

    def call(
        self,
        verb: str,
        args: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        resend: bool = True,
    ) -> Any:
        """Call a verb and wait for its result; parameters and errors as :meth:`submit`."""
        return self.submit(verb, args, timeout=timeout, resend=resend).result()

    def submit(
        self,
        verb: str,
        args: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        resend: bool = True,
    ) -> PendingCall:
        """Call a verb; its result is waited for later, so that many calls can be on their way.

        :param args: plain data by name.
        :param timeout: seconds it may take from now on; ``None`` is no limit.
        :param resend: after a new connection, send it again if the runtime does not know it:
            right for what changes nothing, and for effects the runtime stores with the call's
            name. Without, such a call fails with :class:`BusLostError`.
        :raises BusClosedError: the client is closed, or was made before a fork.
        :raises BusProtocolError: an argument that is no plain data.
        """
        return self._begin(PendingCall, verb, args, timeout, resend, 0)

    def stream(
        self,
        verb: str,
        args: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        resend: bool = True,
        credit: int = CREDIT,
    ) -> PendingStream:
        """Call a verb that streams; iterate the result, and close it to cancel.

        :param credit: items the runtime may send before some were taken.
        """
        return self._begin(PendingStream, verb, args, timeout, resend, credit)

    def close(self) -> None:
        """Stop; whoever waits gets :class:`BusClosedError`. Idempotent."""
        if self._owner != os.getpid():
            return
        with self._state:
            self._closed = True
            pending = list(self._pending.values())
            self._pending.clear()
        for call in pending:
            call.fail(BusClosedError("the client was closed"))
        self._wire.wake()
        with self._io:
            self._wire.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- for pending calls ----------------------------------------------------------------------

    def wait_for(self, call: PendingCall, deadline: float) -> None:
        """Until the call has something new, or ``deadline``; receives for everybody meanwhile."""
        # It counts as waiting before it looks whether somebody receives: who stops receiving
        # between the two then finds it.
        self._waiting[call] = None
        try:
            while not call.has_news() and time.monotonic() < deadline:
                self._check_owner()
                if self._io.acquire(blocking=False):
                    try:
                        self._receive(call, deadline)
                    finally:
                        del self._waiting[call]  # somebody else is to receive now
                        self._leave()
                        self._waiting[call] = None
                else:
                    call.sleep(deadline - time.monotonic())
        finally:
            del self._waiting[call]
            self._promote()

    def grant(self, call: PendingStream, had: int, until: int) -> None:
        """Take more of a stream."""
        self._post(encode_message(GrantMessage(CallId(self._client, call.number), had, until)))

    def drop(self, call: PendingCall, *, cancel: bool) -> None:
        """The call is over for its caller."""
        with self._state:
            known = self._pending.pop(call.number, None)
        if known is not None and cancel:
            self._post(encode_message(CancelMessage(CallId(self._client, call.number))))

    # -- work -----------------------------------------------------------------------------------

    def _begin(
        self,
        kind: type[K],
        verb: str,
        args: dict[str, Any] | None,
        timeout: float | None,
        resend: bool,
        credit: int,
    ) -> K:
        self._check_owner()
        message = CallMessage(CallId(self._client, 1), verb, dict(args or {}), None, 0, credit)
        call = kind(self, message, timeout, resend)
        with self._state:
            if self._closed:
                raise BusClosedError("the client is closed")
            if len(self._pending) >= PENDING_MAX:
                raise BusOverloadedError(
                    f"more than {PENDING_MAX} unanswered calls", limit=PENDING_MAX
                )
            self._number += 1
            call.number = self._number
            call.poke_at = time.monotonic() + POKE_S
            self._pending[call.number] = call
        try:
            self._post(call.encoded(self._client))
        except BusProtocolError:
            self.drop(call, cancel=False)
            raise
        return call

    def _check_owner(self) -> None:
        if self._owner != os.getpid():
            raise BusClosedError("the client belongs to the parent process")

    def _post(self, data: bytes) -> None:
        """Send now if the socket is free, else have who receives send it."""
        self._outbox.append(data)
        if self._io.acquire(blocking=False):
            self._leave()
        else:
            self._wire.wake()

    def _flush(self) -> bool:
        """Whether the socket took everything; not when its queue is full."""
        while self._outbox and not self._wire.destroyed:
            if not self._wire.send(self._outbox[0]):
                return False
            self._outbox.popleft()
        return True

    def _leave(self) -> None:
        """Let go of the socket; what was posted meanwhile is sent first."""
        sent = self._flush()
        self._io.release()
        while sent and self._outbox and self._io.acquire(blocking=False):
            sent = self._flush()
            self._io.release()
        self._promote()

    def _receive(self, call: PendingCall, deadline: float) -> None:
        while not call.has_news() and not self._closed:
            sent = self._flush()
            now = time.monotonic()
            if now >= deadline:
                return
            if now >= self._look_at:
                self._look(now)
            if self._wire.wait(min(deadline, self._look_at) - now, sending=not sent):
                self._take_in(call)

    def _look(self, now: float) -> None:
        """Ask about what may have been lost."""
        self._look_at = now + LOOK_S
        again = self._wire.reconnected()
        self._poke([call for call in self._known() if again or call.poke_at <= now])

    def _take_in(self, call: PendingCall) -> None:
        """What has arrived; a caller who has its answer does not wait for the rest."""
        for _ in range(MESSAGES_PER_LOOK):
            data = self._wire.receive()
            with contextlib.suppress(BusProtocolError):  # garbage is no answer to anything
                self._take(decode_answer(data), len(data))
            if call.over or not self._wire.readable():
                return

    def _known(self) -> list[PendingCall]:
        with self._state:
            return list(self._pending.values())

    def _take(self, answer: Answer, size: int) -> None:
        if isinstance(answer, PingAnswer):
            return
        call = self._pending.get(answer.number)
        if call is None:
            return
        call.poke_at, call.pokes = time.monotonic() + POKE_S, 0
        if call.take(answer, size):
            self._outbox.append(call.encoded(self._client, again=True))
        elif call.over:
            self._pending.pop(call.number, None)

    def _poke(self, calls: list[PendingCall]) -> None:
        """Ask about calls; not while the questions of before have not left yet."""
        ask = not self._outbox
        for call in calls:
            call.pokes += 1
            call.poke_at = time.monotonic() + min(POKE_S * 2**call.pokes, POKE_MAX_S)
            if ask:
                had, until = call.window()
                poke = GrantMessage(CallId(self._client, call.number), had, until, again=True)
                self._outbox.append(encode_message(poke))

    def _promote(self) -> None:
        """The socket may be free: wake one of those that wait, to receive for the others."""
        if self._waiting and not self._io.locked():
            for call in list(self._waiting)[:1]:
                call.rouse()
