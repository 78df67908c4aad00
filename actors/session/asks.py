"""Who waits for an answer of a session: numbered futures, each settled exactly once."""

from __future__ import annotations

from typing import Any

from ..runtime.future import GreenFuture


class Asks:
    """The waiting callers of one session."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, GreenFuture[Any]] = {}
        self._requests: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def open(self, request_id: str = "") -> tuple[int, GreenFuture[Any]]:
        """A fresh ask and the future of its answer.

        :param request_id: the name its caller asks again by; blank: it has none.
        """
        self._last += 1
        future: GreenFuture[Any] = GreenFuture()
        self._waiting[self._last] = future
        if request_id:
            self._requests[self._last] = request_id
        return self._last, future

    def request_id(self, ask: int) -> str:
        """The name of an open ask's request, blank when it has none."""
        return self._requests.get(ask, "")

    def reply(self, ask: int, value: Any) -> None:
        """Answer; an ask that was settled before is left alone."""
        future = self._settled(ask)
        if future is not None:
            future.set(value)

    def refuse(self, ask: int, error: BaseException) -> None:
        """Answer with an error; an ask that was settled before is left alone."""
        future = self._settled(ask)
        if future is not None:
            future.set_exception((type(error), error, error.__traceback__))

    def refuse_all(self, error: BaseException) -> None:
        """The session is gone: nobody waits for ever."""
        for ask in list(self._waiting):
            self.refuse(ask, error)

    def _settled(self, ask: int) -> GreenFuture[Any] | None:
        self._requests.pop(ask, None)
        return self._waiting.pop(ask, None)
