"""Who waits for an answer of a session: numbered futures, each settled exactly once."""

from __future__ import annotations

from typing import Any

from ..runtime.future import GreenFuture


class Asks:
    """The waiting callers of one session."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, GreenFuture[Any]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def open(self) -> tuple[int, GreenFuture[Any]]:
        """A fresh ask and the future of its answer."""
        self._last += 1
        future: GreenFuture[Any] = GreenFuture()
        self._waiting[self._last] = future
        return self._last, future

    def reply(self, ask: int, value: Any) -> None:
        """Answer; an ask that was settled before is left alone."""
        future = self._waiting.pop(ask, None)
        if future is not None:
            future.set(value)

    def refuse(self, ask: int, error: BaseException) -> None:
        """Answer with an error; an ask that was settled before is left alone."""
        future = self._waiting.pop(ask, None)
        if future is not None:
            future.set_exception((type(error), error, error.__traceback__))

    def refuse_all(self, error: BaseException) -> None:
        """The session is gone: nobody waits for ever."""
        for ask in list(self._waiting):
            self.refuse(ask, error)
