"""One call while it runs: its greenlet, its deadline, its stream.

Rules owned here: an answer is made exactly once, whatever the handler, its deadline and a cancel do
at the same time; a stream's next item is asked for only when it may be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import gevent
import gevent.event
import greenlet
import msgspec

from .control import EndAnswer, ItemAnswer, OkAnswer, encode_answer
from .errors import BusClosedError, BusTimeoutError
from .roles import Role
from .window import Remembered

OK = "ok"
"""The outcome of a call that was answered; another one is ``cancelled`` or the name of an error."""
STREAM_BYTES_MAX = 4 * 1024 * 1024
"""Items of one stream on their way, by size; at least one, however long."""


class Call(msgspec.Struct, frozen=True):
    """What a handler is given.

    :param request_id: the name of the call, the same when it is sent again; to be stored with
        its effect.
    :param role: what its key may do; ``None`` of a call that was refused.
    :param user: the name of the caller's key; empty for the owner of the local sockets.
    :param deadline_s: seconds it may take; the handler is cut off then.
    :param age_s: seconds since it was sent first; 0 is the first time.
    """

    request_id: str
    verb: str
    args: dict[str, Any]
    role: Role | None
    user: str
    deadline_s: float | None
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be called.

    :param handler: runs in a greenlet of its own and returns plain data; with ``streams`` an
        iterable of plain data, which is closed when the caller cancels.
    :param waits: whether the handler may wait. One that never does, and does not stream, spares
        its callers the greenlet; it has no deadline.
    """

    handler: Callable[[Call], Any]
    role: Role = Role.OPERATE
    streams: bool = False
    waits: bool = True


class Owner(Protocol):
    """Where a running call gets rid of what it makes."""

    def recalled(self, call: Call) -> tuple[Any] | None: ...
    def item(self, call: Remembered, index: int, data: bytes) -> None: ...
    def finish(self, call: Call, known: Remembered, answer: bytes, outcome: str) -> None: ...
    def error_answer(self, number: int, error: BaseException) -> bytes: ...


class Running:
    """A call and the greenlet that does it."""

    def __init__(self, call: Remembered, verb: Verb, owner: Owner) -> None:
        self.call = call
        self._verb = verb
        self._owner = owner
        self._more: gevent.event.Event | None = None
        self._greenlet: greenlet.greenlet | None = None

    @property
    def streams(self) -> bool:
        """Whether it makes items."""
        return self._verb.streams

    def start(self, call: Call) -> None:
        """Begin at once, up to where the handler waits; to be called by the hub itself."""
        if not self._verb.waits:
            self._run(call)
            return
        self._greenlet = greenlet.greenlet(self._run, gevent.get_hub())
        self._greenlet.switch(call)

    def wake(self) -> None:
        """There may be more credit."""
        if self._more is not None:
            self._more.set()

    def cancel(self) -> None:
        """The caller wants no answer, or will get none any more."""
        if self._greenlet is not None:
            gevent.kill(self._greenlet)

    def _run(self, call: Call) -> None:
        alarm = None
        if call.deadline_s is not None and self._verb.waits:
            late = BusTimeoutError(f"{call.verb}: not done in time", timeout_s=call.deadline_s)
            alarm = gevent.Timeout.start_new(call.deadline_s, late)
        outcome = OK
        try:
            made = self._answer(call)
        except gevent.GreenletExit:
            outcome = "cancelled"
            cut = BusClosedError("the call was cancelled")
            made = self._owner.error_answer(self.call.id.number, cut)
        except BaseException as error:  # nothing that a handler raises may end the hub
            outcome = type(error).__name__
            made = self._owner.error_answer(self.call.id.number, error)
        finally:
            if alarm is not None:
                alarm.close()
        self._owner.finish(call, self.call, made, outcome)

    def _answer(self, call: Call) -> bytes:
        number = self.call.id.number
        stored = self._owner.recalled(call)
        result = self._verb.handler(call) if stored is None else stored[0]
        if not self._verb.streams:
            return encode_answer(OkAnswer(number, result))
        return encode_answer(EndAnswer(number, self._stream(result)))

    def _stream(self, items: Iterable[Any]) -> int:
        index = 0
        iterator = iter(items)
        try:
            while True:
                self._wait_for_credit(index + 1)
                try:
                    value = next(iterator)
                except StopIteration:
                    return index
                index += 1
                data = encode_answer(ItemAnswer(self.call.id.number, index, value))
                self._owner.item(self.call, index, data)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _wait_for_credit(self, index: int) -> None:
        call = self.call
        while index > call.until or (call.items and call.items_bytes >= STREAM_BYTES_MAX):
            self._more = self._more or gevent.event.Event()
            self._more.clear()
            self._more.wait()
