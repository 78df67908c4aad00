"""Which calls a runtime remembers, so that one that is sent again takes effect once; pure.

Rules owned here: a running call is remembered as long as it runs; an answer for ``ANSWER_S``,
within the limits below. What can not be told from a call that was answered and forgotten does not
run again: :class:`RequestExpiredError`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .control import CallId
from .errors import BusOverloadedError, RequestExpiredError

ANSWER_S = 600.0
"""How long an answer is kept for a caller that asks again."""
ANSWERS_MAX = 1000
"""Answers kept of one caller; the oldest go first."""
ANSWER_BYTES_MAX = 32 * 1024 * 1024
"""Answers kept in all, by size; the oldest go first."""
CALLERS_MAX = 4096
"""Callers known at once; a further one is refused until one was silent for ``ANSWER_S``."""
CALLS_PER_CALLER_MAX = 64
CALLS_MAX = 4096


@dataclass(slots=True)
class Remembered:
    """One call: running until it has an answer.

    :param peer: where its answers go: the connection that spoke of it last.
    :param items: what was sent of a stream and is not known to have arrived, by index.
    :param had: the last item known to have arrived.
    :param until: the last item that may be sent.
    """

    id: CallId
    peer: bytes
    until: int = 0
    had: int = 0
    sent: int = 0
    items: deque[tuple[int, bytes]] = field(default_factory=deque)
    items_bytes: int = 0
    answer: bytes | None = None
    heard_at: float = 0.0

    def add_item(self, index: int, data: bytes) -> None:
        """An item was made."""
        self.items.append((index, data))
        self.items_bytes += len(data)
        self.sent = index

    def grant(self, had: int, until: int) -> None:
        """The caller has items up to ``had`` and takes more; older grants change nothing."""
        self.had = max(self.had, min(had, self.sent))
        self.until = max(self.until, until)
        while self.items and self.items[0][0] <= self.had:
            self.items_bytes -= len(self.items.popleft()[1])


@dataclass(slots=True)
class _Caller:
    calls: dict[int, Remembered] = field(default_factory=dict)
    answered: OrderedDict[int, float] = field(default_factory=OrderedDict)
    running: int = 0
    floor: int = 0
    """The highest number of an answer that was forgotten."""
    heard_at: float = 0.0


class Window:
    """The calls of all callers.

    :param clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._callers: OrderedDict[bytes, _Caller] = OrderedDict()
        self._answers: deque[tuple[CallId, int]] = deque()
        self._answer_bytes = 0
        self.running = 0
        """Calls without an answer."""

    def find(self, id: CallId) -> Remembered | None:
        """A call that is known."""
        caller = self._callers.get(id.client)
        return caller.calls.get(id.number) if caller else None

    def begin(self, id: CallId, peer: bytes, age_s: float, credit: int) -> Remembered:
        """Take in a call that is not known.

        :raises RequestExpiredError: it may have been answered and forgotten.
        :raises BusOverloadedError: there are too many.
        """
        now = self._clock()
        caller = self._callers.get(id.client)
        if age_s >= ANSWER_S or (caller is not None and id.number <= caller.floor):
            raise RequestExpiredError(
                f"call {id}: too old to tell whether it took effect", request_id=str(id)
            )
        if caller is None:
            caller = self._admit(id.client, now)
        for count, limit in (
            (caller.running, CALLS_PER_CALLER_MAX),
            (self.running, CALLS_MAX),
        ):
            if count >= limit:
                raise BusOverloadedError(f"more than {limit} calls at once", limit=limit)
        call = Remembered(id, peer, credit, heard_at=now)
        caller.calls[id.number] = call
        caller.running += 1
        self.running += 1
        self._heard(id.client, caller, now)
        return call

    def hear(self, call: Remembered, peer: bytes) -> None:
        """The caller spoke of it."""
        call.peer = peer
        call.heard_at = self._clock()
        self._heard(call.id.client, self._callers[call.id.client], call.heard_at)

    def answered(self, call: Remembered, answer: bytes) -> None:
        """It does not run any more; keep its answer as long as there is room."""
        now = self._clock()
        caller = self._callers[call.id.client]
        call.answer = answer
        caller.running -= 1
        self.running -= 1
        caller.answered[call.id.number] = now
        self._answers.append((call.id, len(answer)))
        self._answer_bytes += len(answer)
        self._heard(call.id.client, caller, now)
        while len(caller.answered) > ANSWERS_MAX:
            self._forget(caller, next(iter(caller.answered)))
        while self._answer_bytes > ANSWER_BYTES_MAX and len(self._answers) > 1:
            self._forget_oldest()

    def expire(self) -> None:
        """Forget what is old enough."""
        limit = self._clock() - ANSWER_S
        while self._answers:
            id, _ = self._answers[0]
            caller = self._callers.get(id.client)
            kept = caller.answered.get(id.number) if caller else None
            if kept is not None and kept > limit:
                break
            self._forget_oldest()
        while self._callers:
            client, caller = next(iter(self._callers.items()))
            if caller.heard_at > limit or caller.calls:
                break
            del self._callers[client]

    def _admit(self, client: bytes, now: float) -> _Caller:
        if len(self._callers) >= CALLERS_MAX:
            self.expire()
        if len(self._callers) >= CALLERS_MAX:
            raise BusOverloadedError(
                f"more than {CALLERS_MAX} callers within {ANSWER_S:.0f} s", limit=CALLERS_MAX
            )
        caller = self._callers[client] = _Caller(heard_at=now)
        return caller

    def _heard(self, client: bytes, caller: _Caller, now: float) -> None:
        caller.heard_at = now
        self._callers.move_to_end(client)

    def _forget_oldest(self) -> None:
        id, size = self._answers.popleft()
        self._answer_bytes -= size
        caller = self._callers.get(id.client)
        if caller is not None and id.number in caller.answered:
            self._forget(caller, id.number)

    def _forget(self, caller: _Caller, number: int) -> None:
        del caller.answered[number]
        del caller.calls[number]
        caller.floor = max(caller.floor, number)
